package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/request"
)

// fill takes all room of a disk but so many bytes. The function that it answers gives it back.
func fill(t *testing.T, dir string, leave int64) (empty func()) {
	t.Helper()
	var room syscall.Statfs_t
	must(t, syscall.Statfs(dir, &room))
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	must(t, err)
	must(t, syscall.Fallocate(int(f.Fd()), 0, 0, int64(room.Bavail)*room.Bsize-leave), f.Close())
	return func() {
		t.Helper()
		must(t, os.Remove(path))
	}
}

// untilRefused lets clients push until each was refused, and answers how.
func (l *ledger) untilRefused(t *testing.T, s *harness.Server, seed uint64) []*request.Refused {
	t.Helper()
	refusals := make([]*request.Refused, pushers)
	for i := range refusals {
		refusals[i] = new(request.Refused) // where no answer comes
	}
	var all sync.WaitGroup
	for i := range pushers {
		all.Go(func() {
			c := &client{s.HTTP(), s.URL}
			defer c.http.CloseIdleConnections()
			source := rand.New(rand.NewPCG(seed, uint64(i)))
			for n := 0; ; n++ {
				err := l.push(t.Context(), c, source, newImage(source, fmt.Sprintf("faults/app%d", i%repositories), fmt.Sprintf("s%dc%dn%d", seed, i, n)))
				if err == nil {
					continue
				}
				if !errors.As(err, &refusals[i]) {
					t.Errorf("no answer: %v", err)
				}
				return
			}
		})
	}
	all.Wait()
	return refusals
}

func TestAFullDiskOfTheDatabaseRefusesPushesAndServesPulls(t *testing.T) {
	t.Parallel()
	for name, blobs := range map[string]func(data string) string{
		"alone":          func(string) string { return filepath.Join(t.TempDir(), "blobs") },
		"with the blobs": func(data string) string { return filepath.Join(data, "blobs") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			small := disk(t, "32m")
			data := filepath.Join(small, "data")
			s, l := harness.Start(t, harness.Options{Data: data, Env: []string{"HAVN_STORAGE_FILESYSTEM_PATH=" + blobs(data), "HAVN_STORAGE_LOW_DISK=0"}}), newLedger()
			c := &client{s.HTTP(), s.URL}
			source := rand.New(rand.NewPCG(5, 5))
			must(t, l.push(t.Context(), c, source, newImage(source, "faults/app0", "before")))
			for round, leave := range []int64{0, 512 << 10} {
				empty := fill(t, small, leave)
				for _, r := range l.untilRefused(t, s, uint64(round)) {
					wantRefusal(t, r.Answer, r, http.StatusInsufficientStorage)
				}
				l.check(t, s)
				for _, path := range []string{"/service/token?service=harbor-registry&scope=repository:faults/app0:pull", "/readyz"} {
					if _, err := c.do(t.Context(), http.MethodGet, path, "", nil, http.StatusOK); err != nil {
						t.Error(err)
					}
				}
				empty()
				if err := l.push(t.Context(), c, source, newImage(source, "faults/app0", fmt.Sprint("after", round))); err != nil {
					t.Errorf("a push when there is room again: %v", err)
				}
			}
			if log := s.Log(); !strings.Contains(log, "status=507") || !strings.Contains(log, "the disk of the data directory is full") {
				t.Error("the log does not say why")
			}
			// A start writes to the database, so it needs room.
			empty := fill(t, small, 0)
			s.Kill(t)
			empty()
			s.Again(t)
			l.check(t, s)
		})
	}
}
