package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/request"
)

const (
	// cuts is how many pushes have to be cut off by kill -9.
	cuts    = 200
	pushers = 16
	// maxKills ends the test where pushes are cut off too seldom, which would be a fault of the test.
	maxKills = 60
)

// under runs traffic while something happens to the server, and answers when the traffic has ended.
func under(t *testing.T, l *ledger, s *harness.Server, seed uint64, happen func()) {
	t.Helper()
	while(t, func(ctx context.Context) { l.traffic(ctx, s, pushers, seed) }, happen)
}

// while does some work while something happens, and answers when the work has ended.
func while(t *testing.T, work func(ctx context.Context), happen func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var all sync.WaitGroup
	all.Go(func() { work(ctx) })
	happen()
	stop()
	all.Wait()
}

// moves waits until another image is acknowledged: a busy machine may take long to begin.
func (l *ledger) moves(t *testing.T) {
	t.Helper()
	before, _ := l.counts()
	for deadline := time.Now().Add(harness.Patience); ; time.Sleep(time.Millisecond) {
		now, _ := l.counts()
		if now > before {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no push was acknowledged within %s", harness.Patience)
		}
	}
}

func TestKillNineLosesNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	s, l := harness.Start(t, harness.Options{}), newLedger()
	source := rand.New(rand.NewPCG(7, 7))
	kills := 0
	for ; kills < maxKills; kills++ {
		if _, cut := l.counts(); cut >= cuts {
			break
		}
		under(t, l, s, uint64(kills), func() {
			l.moves(t)
			time.Sleep(time.Duration(source.IntN(400)) * time.Millisecond)
			s.Kill(t)
		})
		s.Again(t)
	}
	images, cut := l.counts()
	if cut < cuts {
		t.Fatalf("%d pushes were cut off by %d kills, want %d", cut, kills, cuts)
	}
	l.check(t, s)
	t.Logf("%d kills cut off %d pushes; %d images and %d blobs were acknowledged", kills, cut, images, len(l.blobs))
}

func TestAStoppedServerGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	s, l := harness.Start(t, harness.Options{}), newLedger()
	under(t, l, s, 1, func() {
		for range 3 {
			l.moves(t)
			s.Signal(t, syscall.SIGSTOP)
			time.Sleep(time.Second)
			s.Signal(t, syscall.SIGCONT)
		}
		l.moves(t)
	})
	l.check(t, s)
	s.Kill(t)
	s.Again(t)
	l.check(t, s)
}

func TestAGracefulStopLosesNothing(t *testing.T) {
	t.Parallel()
	s, l := harness.Start(t, harness.Options{}), newLedger()
	for round := range 5 {
		under(t, l, s, uint64(round), func() {
			l.moves(t)
			s.Finish(t)
		})
		s.Again(t)
	}
	l.check(t, s)
}

// TestAGracefulStopLetsRequestsFinish holds a push in its middle while the server is asked to stop.
func TestAGracefulStopLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	s, l := harness.Start(t, harness.Options{Env: []string{"HAVN_HTTP_DRAIN_TIMEOUT=5m"}}), newLedger()
	data := noise(rand.New(rand.NewPCG(3, 3)), 1<<20)
	digest := request.Digest(data)
	body, rest := io.Pipe()
	defer func() { must(t, body.Close()) }()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v2/faults/app0/blobs/uploads/?digest="+digest, body)
	must(t, err)
	req.ContentLength = int64(len(data))
	req.SetBasicAuth(harness.User, harness.Password)
	status := make(chan int, 1)
	go func() {
		res, doErr := s.HTTP().Do(req)
		if doErr == nil {
			doErr = res.Body.Close()
		}
		if doErr != nil {
			t.Errorf("the push under way: %v", doErr)
			status <- 0
			return
		}
		status <- res.StatusCode
	}()
	_, err = rest.Write(data[:len(data)/2])
	must(t, err)
	s.Await(t, func() error {
		if found, globErr := filepath.Glob(filepath.Join(s.Data, "blobs", "objects", "*", "*")); globErr != nil || len(found) == 0 {
			return fmt.Errorf("the push has not begun to write: %w", globErr)
		}
		return nil
	})
	s.Signal(t, syscall.SIGTERM)
	s.Await(t, func() error {
		conn, dialErr := net.Dial("tcp", s.Addr)
		if dialErr != nil {
			return nil //nolint:nilerr // this is what is waited for
		}
		return errors.Join(errors.New("it still takes connections"), conn.Close())
	})
	_, err = rest.Write(data[len(data)/2:])
	must(t, err, rest.Close())
	if got := <-status; got != http.StatusCreated {
		t.Errorf("the push under way was answered %d", got)
	}
	select { // a second signal would mean: at once
	case <-s.Ended():
	case <-time.After(harness.Patience):
		t.Fatal("it does not end")
	}
	s.Finish(t)
	s.Again(t)
	l.blobs[digest] = "faults/app0"
	l.check(t, s)
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
