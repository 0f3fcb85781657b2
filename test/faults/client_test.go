package faults

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/forgetfs"
	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/request"
)

// pushVar tells this program, run again, that it is a client: method, URL, length (-1: in chunks of HTTP) and the first byte to send.
const pushVar = "HAVN_TEST_PUSH"

// endless is what a client sends: always the same, without an end.
func endless(from int64) (io.Reader, error) {
	all := rand.NewChaCha8([32]byte{})
	_, err := io.CopyN(io.Discard, all, from)
	return all, err
}

// unhurried lets bytes through for as long as a client lives, some 30 MB a second at most.
type unhurried struct{ io.Reader }

func (u unhurried) Read(p []byte) (int, error) {
	time.Sleep(time.Millisecond)
	return u.Reader.Read(p)
}

// pusher sends a body that has no end, if this process was started for that, and answers whether it was.
func pusher() bool {
	var method, url string
	var length, from int64
	order := os.Getenv(pushVar)
	if order == "" {
		return false
	}
	_, err := fmt.Sscan(order, &method, &url, &length, &from)
	var body io.Reader
	if err == nil {
		body, err = endless(from)
	}
	if err == nil {
		_, _, err = request.Send(context.Background(), http.DefaultClient, method, url, request.Octets, unhurried{body}, length)
	}
	fmt.Fprintln(os.Stderr, err) // it should have been killed
	return true
}

// announced is what a client says that it sends: more than comes before it is killed, and less than the disk has room for, or it would be refused.
const announced = 1 << 30

// TestAClientThatIsKilledGoesOnWhereItsBytesAreDurable kills the process of a client while it sends, twice in one upload. What its upload's status says then is what a power cut leaves.
func TestAClientThatIsKilledGoesOnWhereItsBytesAreDurable(t *testing.T) {
	t.Parallel()
	volume := forgetfs.New(t)
	s := harness.Start(t, harness.Options{Data: filepath.Join(volume.Path, "data")})
	for _, c := range []sending{{http.MethodPatch, "", -1}, {http.MethodPatch, "", announced}, {http.MethodPut, "?digest=" + request.Digest(nil), announced}} {
		before := stored(t, s)
		begun, err := (&client{s.HTTP(), s.URL}).do(t.Context(), http.MethodPost, "/v2/faults/app0/blobs/uploads/", "", nil, http.StatusAccepted)
		must(t, err)
		at, offset := begun.Location, int64(0)
		for range 2 {
			c.untilKilled(t, s, at, offset, before)
			next, size := status(t, s, at)
			if size <= offset || stored(t, s) != before+size {
				t.Fatalf("%s: the upload stands at %d after a client that began at %d was killed, and %d bytes are stored", c.method, size, offset, stored(t, s)-before)
			}
			volume.Cut(t)
			s.Kill(t)
			volume.Restore(t, 0, 0)
			s.Again(t)
			if _, kept := status(t, s, at); kept != size || stored(t, s) != before+size {
				t.Fatalf("%s: the upload stood at %d, and after a power cut at %d, with %d bytes", c.method, size, kept, stored(t, s)-before)
			}
			at, offset = next, size
		}
		ends(t, s, at, offset)
	}
}

// stored is how many bytes of blobs are on the disk.
func stored(t *testing.T, s *harness.Server) (sum int64) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.Join(s.Data, "blobs", "objects"), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	}))
	return sum
}

// sending is a request whose body has no end.
type sending struct {
	method, query string
	length        int64 // as it says; -1: in chunks of HTTP
}

// untilKilled runs a client until some bytes are on the disk behind those from before and of its upload, kills it, and waits until the server is through with it.
func (c sending) untilKilled(t *testing.T, s *harness.Server, at string, offset, before int64) {
	t.Helper()
	order := fmt.Sprintf("%s %s%s%s %d %d", c.method, s.URL, at, c.query, c.length, offset)
	program, err := os.Executable()
	must(t, err)
	p := harness.Launch(t, harness.Spawn{Name: "client", Dir: t.TempDir(), Argv: []string{program}, Env: []string{pushVar + "=" + order}})
	p.Await(t, func() error {
		if stored(t, s) <= before+offset {
			return fmt.Errorf("nothing came of %s", order)
		}
		return nil
	})
	time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
	p.Kill(t)
	if said := p.Log(); said != "" {
		t.Fatalf("the client ended by itself: %s", said)
	}
	s.Await(t, func() error {
		if !strings.Contains(s.Log(), "method="+c.method+" path="+at+" ") {
			return fmt.Errorf("the server still waits for %s", order)
		}
		return nil
	})
}

// status answers where an upload goes on, and how many bytes of it are there.
func status(t *testing.T, s *harness.Server, at string) (location string, size int64) {
	t.Helper()
	a, err := (&client{s.HTTP(), s.URL}).do(t.Context(), http.MethodGet, at, "", nil, http.StatusNoContent)
	must(t, err)
	_, err = fmt.Sscan(a.Location[strings.LastIndex(a.Location, "/")+1:], &size)
	must(t, err)
	if want := fmt.Sprintf("0-%d", max(0, size-1)); a.Range != want {
		t.Fatalf("Range %s of an upload at %s", a.Range, a.Location)
	}
	return a.Location, size
}

// ends sends what is left of a blob, which nobody sees before that.
func ends(t *testing.T, s *harness.Server, at string, offset int64) {
	t.Helper()
	const rest = 100_000
	c := &client{s.HTTP(), s.URL}
	all, err := endless(0)
	must(t, err)
	whole, err := io.ReadAll(io.LimitReader(all, offset+rest))
	must(t, err)
	for _, part := range [][]byte{whole[:offset], whole} {
		_, err = c.do(t.Context(), http.MethodHead, "/v2/faults/app0/blobs/"+request.Digest(part), "", nil, http.StatusNotFound)
		must(t, err)
	}
	digest := request.Digest(whole)
	_, err = c.do(t.Context(), http.MethodPut, at+"?digest="+digest, request.Octets, whole[offset:], http.StatusCreated)
	must(t, err)
	got, err := c.do(t.Context(), http.MethodGet, "/v2/faults/app0/blobs/"+digest, "", nil, http.StatusOK)
	must(t, err)
	if request.Digest(got.Text) != digest {
		t.Errorf("%d bytes, want %d", len(got.Text), len(whole))
	}
}
