package distapi_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/filesystem"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// onDisk keeps blobs in a directory, so that they are files.
func onDisk(t testing.TB) func(*settings) {
	t.Helper()
	driver, err := filesystem.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return func(s *settings) { s.driver = driver }
}

func TestRangesOfABlob(t *testing.T) {
	t.Parallel()
	const text = "0123456789abcdef"
	for where, change := range map[string]func(*settings){"memory": func(*settings) {}, "directory": onDisk(t)} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			s := start(t, change)
			path := "/v2/app/blobs/" + s.pushBlob("app", text)
			for asked, want := range map[string]string{
				"bytes=0-3": "0123", "bytes=10-": "abcdef", "bytes=-2": "ef", "bytes=12-99": "cdef", "bytes=0-": text, "bytes=15-15": "f", "bytes=-99": text,
			} {
				if got := s.do(http.MethodGet, path, nil, header("Range", asked)).is(http.StatusPartialContent); string(got.body) != want {
					t.Errorf("%s: %q", asked, got.body)
				}
			}
			s.do(http.MethodGet, path, nil, header("Range", "bytes=0-3")).has("Content-Range", "bytes 0-3/16").has("Content-Length", "4")
			s.do(http.MethodGet, path, nil, header("Range", "Bytes=0-3")).is(http.StatusPartialContent).has("Content-Range", "bytes 0-3/16")
			for _, unknown := range []string{"items=0-3", "seconds=1-2, 5-", "x=" + strings.Repeat("0-0,", 100) + "1-1"} {
				if got := s.do(http.MethodGet, path, nil, header("Range", unknown)).is(http.StatusOK).has("Content-Range", ""); string(got.body) != text {
					t.Errorf("%s: %q", unknown, got.body)
				}
			}
			for _, asked := range []string{"bytes=16-", "bytes=99-100", "bytes=-0", "bytes=5-0", "bytes=x-", "bytes=0-1,x", "bytes=" + strings.Repeat("0-0,", 100) + "1-1"} {
				a := s.do(http.MethodGet, path, nil, header("Range", asked)).is(http.StatusRequestedRangeNotSatisfiable, oci.CodeRangeInvalid)
				a.has("Content-Type", "application/json").has("Cache-Control", "").has("Docker-Content-Digest", "")
			}
			s.do(http.MethodGet, path, nil, header("Range", "bytes=99-")).has("Content-Range", "bytes */16")
			a := s.do(http.MethodGet, path, nil, header("If-Match", `"`+sum("other")+`"`)).is(http.StatusPreconditionFailed, oci.CodePreconditionFailed)
			a.has("Content-Type", "application/json").has("Cache-Control", "").has("Docker-Content-Digest", "")
			several(t, s.do(http.MethodGet, path, nil, header("Range", "bytes=0-1,4-5,-1")).is(http.StatusPartialContent), "01", "45", "f")
			other := header("If-Range", `"`+sum("other")+`"`)
			s.do(http.MethodGet, path, nil, header("Range", "bytes=0-3"), other).is(http.StatusOK).has("Content-Length", "16")
		})
	}
}

func several(t *testing.T, a *answer, want ...string) {
	t.Helper()
	_, parameters, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(strings.NewReader(string(a.body)), parameters["boundary"])
	for _, w := range want {
		p, partErr := parts.NextPart()
		if partErr != nil {
			t.Fatal(partErr)
		}
		if got, readErr := io.ReadAll(p); readErr != nil || string(got) != w {
			t.Errorf("part %q, %v, want %q", got, readErr, w)
		}
	}
	if _, err = parts.NextPart(); err != io.EOF { //nolint:errorlint // multipart answers io.EOF itself
		t.Errorf("more parts than asked for: %v", err)
	}
}

func TestABlobSaysWhatItIs(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.pushBlob("app", layer)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		a := s.do(method, "/v2/app/blobs/"+d, nil).is(http.StatusOK).has("Content-Type", "application/octet-stream").has("Docker-Content-Digest", d)
		a.has("ETag", `"`+d+`"`).has("Content-Length", "7").has("Accept-Ranges", "bytes").has("X-Content-Type-Options", "nosniff")
		s.do(method, "/v2/app/blobs/"+d, nil, header("If-None-Match", `"`+d+`"`)).is(http.StatusNotModified)
	}
	s.do(http.MethodGet, "/v2/app/blobs/"+sum("x"), nil).is(http.StatusNotFound, oci.CodeBlobUnknown)
	s.do(http.MethodGet, "/v2/other/blobs/"+d, nil).is(http.StatusNotFound, oci.CodeNameUnknown)
	s.do(http.MethodGet, "/v2/app/blobs/sha256:x", nil).is(http.StatusBadRequest, oci.CodeDigestInvalid)
	s.do(http.MethodGet, "/v2/app/blobs/latest", nil).is(http.StatusBadRequest, oci.CodeDigestInvalid)
	empty := s.pushBlob("app", "")
	s.do(http.MethodGet, "/v2/app/blobs/"+empty, nil).is(http.StatusOK).has("Content-Length", "0")
}

// noisy is text that no layer below makes smaller.
func noisy(n int) string {
	b := make([]byte, n)
	r := rand.New(rand.NewSource(1))
	r.Read(b)
	return string(b)
}

// direct counts what comes through io.ReaderFrom, as sendfile needs it.
type direct struct {
	http.ResponseWriter
	files *atomic.Int64
}

func (d direct) Unwrap() http.ResponseWriter { return d.ResponseWriter }

func (d direct) ReadFrom(src io.Reader) (int64, error) {
	if limited, ok := src.(*io.LimitedReader); ok {
		if _, ok = limited.R.(*os.File); ok {
			d.files.Add(1)
		}
	}
	return io.Copy(d.ResponseWriter, src)
}

func TestAFileReachesTheConnectionAsAFile(t *testing.T) {
	t.Parallel()
	var files atomic.Int64
	s := start(t, onDisk(t), func(set *settings) {
		set.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(direct{w, &files}, r) })
		}
	})
	text := noisy(1 << 20)
	path := "/v2/app/blobs/" + s.pushBlob("app", text)
	if got := s.do(http.MethodGet, path, nil).is(http.StatusOK); string(got.body) != text {
		t.Error("the bytes differ")
	}
	if got := s.do(http.MethodGet, path, nil, header("Range", "bytes=1000-900000")).is(http.StatusPartialContent); string(got.body) != text[1000:900001] {
		t.Error("the bytes of the range differ")
	}
	if files.Load() != 2 {
		t.Errorf("%d answers were sent as files, want 2", files.Load())
	}
}

// stopping lets a file through in pieces, and says after each of them that the deadline passed: a client that is slow and moves.
type stopping struct {
	http.ResponseWriter
	pieces *atomic.Int64
}

func (p stopping) Unwrap() http.ResponseWriter { return p.ResponseWriter }

func (p stopping) ReadFrom(src io.Reader) (int64, error) {
	p.pieces.Add(1)
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		return io.Copy(p.ResponseWriter, src)
	}
	piece := &io.LimitedReader{R: limited.R, N: min(limited.N, 100_000)}
	n, err := io.Copy(p.ResponseWriter, piece)
	limited.N -= n
	if err == nil && limited.N > 0 {
		err = os.ErrDeadlineExceeded
	}
	return n, err
}

func TestASlowPullIsServedWholeAsLongAsItMoves(t *testing.T) {
	t.Parallel()
	var pieces atomic.Int64
	s := start(t, onDisk(t), func(set *settings) {
		set.api.ProgressTimeout = time.Hour
		set.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(stopping{w, &pieces}, r) })
		}
	})
	text := noisy(1 << 20)
	d := s.pushBlob("app", text)
	if got := s.do(http.MethodGet, "/v2/app/blobs/"+d, nil).is(http.StatusOK); string(got.body) != text {
		t.Error("the bytes differ")
	}
	if pieces.Load() != 11 {
		t.Errorf("%d pieces, want 11", pieces.Load())
	}
}

func TestAPullThatStandsStillEnds(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	s := start(t, onDisk(t), func(set *settings) {
		set.api.ProgressTimeout = 2 * time.Second
		set.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
					defer close(ended)
				}
				h.ServeHTTP(w, r)
			})
		}
	})
	text := noisy(32 << 20)
	d := oci.Sum(oci.SHA256, []byte(text))
	name, err := oci.ParseName("app")
	s.ok(err)
	_, err = s.registry.PushBlob(t.Context(), name, registry.PushBlob{Digest: d, Size: int64(len(text)), Body: strings.NewReader(text)})
	s.ok(err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/v2/app/blobs/"+d.String(), nil)
	s.ok(err)
	r.SetBasicAuth("admin", password)
	response, err := (&http.Transport{}).RoundTrip(r)
	s.ok(err)
	defer s.close(response.Body)
	select { // nothing is read
	case <-ended:
	case <-time.After(patient):
		t.Fatal("the request is still under way")
	}
	if n, readErr := io.Copy(io.Discard, response.Body); readErr == nil {
		t.Errorf("%d bytes and no error: a part was taken for the whole", n)
	}
}

// losing is a store that lost an object.
type losing struct {
	blob.Driver
	lost atomic.Bool
}

func (l *losing) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if l.lost.Load() {
		return nil, fail.E(fail.NotFound, nil, "object %s", name)
	}
	return l.Driver.Get(ctx, name, off, n)
}

func TestALostObjectIsNeverServedAsAPart(t *testing.T) {
	t.Parallel()
	var store *losing
	s := start(t, func(set *settings) {
		store = &losing{Driver: set.driver}
		set.driver = store
	})
	d := s.pushBlob("app", layer)
	store.lost.Store(true)
	s.do(http.MethodGet, "/v2/app/blobs/"+d, nil).is(http.StatusInternalServerError)
	s.eventually("the loss is logged", func() bool { return strings.Contains(s.log.String(), "which a blob is made of") })
}

func TestAStoreThatGivesNoByteIsAnsweredFor(t *testing.T) {
	t.Parallel()
	var after atomic.Int64
	s := start(t, func(set *settings) {
		set.driver = &blobtest.Faulty{Driver: set.driver, OnGet: func(int64) (int64, error) {
			return after.Swap(min(after.Load(), 0)), fail.E(fail.Unavailable, nil, "connection reset")
		}}
	})
	path := "/v2/app/blobs/" + s.pushBlob("app", noisy(1<<20))
	for _, bytes := range []int64{-1, 0} { // the object is not opened, or opened and gives nothing
		after.Store(bytes)
		for _, span := range []string{"", "bytes=2-5"} {
			got := s.do(http.MethodGet, path, nil, header("Range", span)).is(http.StatusServiceUnavailable)
			if got.header.Get("Retry-After") == "" || !strings.Contains(string(got.body), oci.CodeUnavailable) {
				t.Errorf("after %d bytes, %q: %v %s", bytes, span, got.header, got.body)
			}
			for _, name := range []string{"Accept-Ranges", "Cache-Control", "Content-Range", "Docker-Content-Digest", "ETag"} {
				if value := got.header.Get(name); value != "" {
					t.Errorf("after %d bytes, %q: the refusal has %s: %s, which is of the blob", bytes, span, name, value)
				}
			}
		}
	}
	after.Store(500_000) // and no more: a part is cut off
	if n, err := s.tryPull(path); err == nil {
		t.Errorf("%d bytes and no error", n)
	}
	empty := s.pushBlob("app", "")
	if got := s.do(http.MethodGet, "/v2/app/blobs/"+empty, nil).is(http.StatusOK); len(got.body) != 0 || got.header.Get("Docker-Content-Digest") != empty {
		t.Errorf("an empty blob: %v %q", got.header, got.body)
	}
}

// unreadable is a directory whose files can't be read, as on a disk that answers EIO.
type unreadable struct{ *filesystem.Driver }

func (u unreadable) OpenFile(ctx context.Context, name string) (*os.File, error) {
	f, err := u.Driver.OpenFile(ctx, name)
	if err != nil {
		return nil, err
	}
	if err = f.Close(); err != nil {
		return nil, err
	}
	return os.OpenFile(f.Name(), os.O_WRONLY, 0)
}

func TestADiskThatFailsIsLoggedAndNeverServedAsAPart(t *testing.T) {
	t.Parallel()
	driver, err := filesystem.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, func(set *settings) { set.driver = unreadable{driver} })
	for _, size := range []int{1 << 10, 1 << 20} { // copied, and sent by the kernel
		d := s.pushBlob("app", noisy(size))
		if n, readErr := s.tryPull("/v2/app/blobs/" + d); readErr == nil {
			t.Errorf("%d bytes and no error", n)
		}
		s.eventually("the disk's error is logged", func() bool {
			return strings.Contains(s.log.String(), "bad file descriptor") && strings.Contains(s.log.String(), d)
		})
	}
}

// tryPull reads an answer that may break off.
func (s *service) tryPull(path string) (int64, error) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), http.MethodGet, s.url+path, nil)
	s.ok(err)
	r.SetBasicAuth("admin", password)
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer s.close(response.Body)
	return io.Copy(io.Discard, response.Body)
}

func TestBlobsTravelOverHTTP2(t *testing.T) {
	t.Parallel()
	s := start(t, onDisk(t), func(set *settings) { set.api.ProgressTimeout = time.Hour })
	server := httptest.NewUnstartedServer(s.handler)
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	text := noisy(3 << 20)
	send := func(method, path, body string) (*http.Response, string) {
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		s.ok(err)
		r.SetBasicAuth("admin", password)
		response, err := server.Client().Transport.RoundTrip(r)
		s.ok(err)
		defer s.close(response.Body)
		got, err := io.ReadAll(response.Body)
		s.ok(err)
		return response, string(got)
	}
	push, said := send(http.MethodPost, "/v2/app/blobs/uploads/?digest="+sum(text), text) //nolint:bodyclose // send closes it
	if push.ProtoMajor != 2 || push.StatusCode != http.StatusCreated {
		t.Fatalf("%s, status %d: %s", push.Proto, push.StatusCode, said)
	}
	pull, got := send(http.MethodGet, push.Header.Get("Location"), "") //nolint:bodyclose // send closes it
	if pull.StatusCode != http.StatusOK || got != text {
		t.Errorf("status %d, %d bytes", pull.StatusCode, len(got))
	}
}

// queueing is a store that does not read on, in the middle of an object, while others are served.
type queueing struct {
	blob.Driver
	wait time.Duration
}

// Put is the driver's.
func (d queueing) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	first := make([]byte, 100_000)
	n, err := io.ReadFull(r, first)
	if err == nil {
		time.Sleep(d.wait) // what is waited for is that nothing happens
	}
	return d.Driver.Put(ctx, name, size, io.MultiReader(bytes.NewReader(first[:n]), r))
}

// TestAPushWaitsForTheStore: the deadlines are for clients that send nothing, and none does while the store takes nothing.
func TestAPushWaitsForTheStore(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	s := start(t, func(set *settings) {
		set.api.ProgressTimeout = limit
		set.driver = queueing{set.driver, 5 * limit / 2}
	})
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", http2), func(t *testing.T) {
			t.Parallel()
			text := noisy(6 << 20)
			response, said := s.secured(http2, limit).sends(t, http.MethodPost, "/v2/app/blobs/uploads/?digest="+sum(text), strings.NewReader(text)) //nolint:bodyclose // sends closes it
			if response.StatusCode != http.StatusCreated || (response.ProtoMajor == 2) != http2 {
				t.Errorf("%s, status %d: %s", response.Proto, response.StatusCode, said)
			}
		})
	}
}

// holding is a store that takes only the beginning of objects of a size, until it lets go.
type holding struct {
	blob.Driver
	size int64
	held chan struct{} // gets one for each that is held
	free chan struct{}
}

// Put is the driver's.
func (d holding) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	if size != d.size {
		return d.Driver.Put(ctx, name, size, r)
	}
	first := make([]byte, 100_000)
	n, err := io.ReadFull(r, first)
	if err == nil {
		d.held <- struct{}{}
		<-d.free
	}
	return d.Driver.Put(ctx, name, size, io.MultiReader(bytes.NewReader(first[:n]), r))
}

// TestAPushWaitsForOthersOnItsConnection: what came of bodies of which the store takes nothing fills what a connection of HTTP/2 holds, and nothing comes of another one.
func TestAPushWaitsForOthersOnItsConnection(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	const large, small, ofStream = 6 << 20, 5 << 20, 512 << 10
	store := holding{size: large, held: make(chan struct{}), free: make(chan struct{})}
	s := start(t, func(set *settings) {
		set.api.ProgressTimeout = limit
		store.Driver, set.driver = set.driver, &store
	})
	server := httptest.NewUnstartedServer(s.handler)
	server.EnableHTTP2, server.Config.WriteTimeout = true, limit
	server.Config.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: ofStream, MaxReceiveBufferPerConnection: 2 * ofStream}
	server.StartTLS()
	t.Cleanup(server.Close)
	to := secure{server}
	to.sends(t, http.MethodGet, "/v2/", nil) //nolint:bodyclose // sends closes it: the one connection is there
	var all sync.WaitGroup
	push := func(name string, size int) {
		text := name + noisy(size-len(name))
		all.Go(func() {
			response, said := to.sends(t, http.MethodPost, "/v2/app/blobs/uploads/?digest="+sum(text), strings.NewReader(text)) //nolint:bodyclose // sends closes it
			if response.ProtoMajor != 2 || response.StatusCode != http.StatusCreated {
				t.Errorf("%s over %s: status %d: %s", name, response.Proto, response.StatusCode, said)
			}
		})
	}
	for _, name := range []string{"one", "other"} {
		push(name, large)
		<-store.held
	}
	push("third", small)
	time.Sleep(5 * limit / 2) // what is waited for is that nothing happens
	close(store.free)
	all.Wait()
}

func TestABodyOverHTTP2ThatStandsStillEnds(t *testing.T) {
	t.Parallel()
	const limit = 2 * time.Second
	s := start(t, func(set *settings) { set.api.ProgressTimeout = limit })
	body, hand := io.Pipe()
	defer s.close(body)
	go func() {
		_, err := io.WriteString(hand, "12345") // and nothing more
		s.ok(err)
	}()
	begun := s.begin("app")
	response, said := s.secured(true, limit).sends(t, http.MethodPatch, begun, body) //nolint:bodyclose // sends closes it
	if response.ProtoMajor != 2 || response.StatusCode != http.StatusRequestTimeout {
		t.Errorf("%s, status %d: %s", response.Proto, response.StatusCode, said)
	}
	s.do("GET", begun, nil).is(http.StatusNoContent).has("Range", "0-4")
}

// secure is a server with TLS before the same API.
type secure struct{ *httptest.Server }

func (s *service) secured(http2 bool, limit time.Duration) secure {
	server := httptest.NewUnstartedServer(s.handler)
	server.EnableHTTP2, server.Config.WriteTimeout = http2, limit
	server.StartTLS()
	s.Cleanup(server.Close)
	return secure{server}
}

// sends sends a request and reads the answer.
func (s secure) sends(t *testing.T, method, path string, body io.Reader) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("admin", password)
	response, err := s.Client().Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	said, err := io.ReadAll(response.Body)
	if closeErr := response.Body.Close(); err != nil || closeErr != nil {
		t.Fatal(err, closeErr)
	}
	return response, string(said)
}
