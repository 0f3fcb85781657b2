package distapi_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

func TestOtherMethodsAreRefusedWithThoseThatThereAre(t *testing.T) {
	t.Parallel()
	s := start(t)
	for path, allow := range map[string]string{
		"/v2/":                        "GET, HEAD",
		"/v2/_catalog":                "GET, HEAD",
		"/v2/app/tags/list":           "GET, HEAD",
		"/v2/app/manifests/v1":        "GET, HEAD, PUT, DELETE",
		"/v2/app/blobs/sha256:x":      "GET, HEAD, DELETE",
		"/v2/app/blobs/uploads/":      "POST",
		"/v2/app/blobs/uploads/00/1":  "GET, HEAD, PATCH, PUT, DELETE",
		"/v2/app/referrers/sha256:xx": "GET, HEAD",
		"/service/token":              "GET, POST",
	} {
		for _, method := range []string{"OPTIONS", "TRACE", "POST", "PUT", "PATCH", "DELETE", "BREW"} {
			if !strings.Contains(allow, method) {
				s.do(method, path, nil, nobody).is(http.StatusMethodNotAllowed, oci.CodeUnsupported).has("Allow", allow)
			}
		}
	}
	s.do("GET", "/v2/app/nothing", nil, nobody).is(http.StatusNotFound, oci.CodeUnsupported)
}

// raw sends a request as it is, which net/http's client would not.
func (s *service) raw(request string) (status int, body string) {
	s.Helper()
	c, err := (&net.Dialer{}).DialContext(s.Context(), "tcp", s.host)
	s.ok(err)
	defer s.close(c)
	s.ok(c.SetDeadline(time.Now().Add(patient)))
	_, err = io.WriteString(c, request)
	s.ok(err)
	response, err := http.ReadResponse(bufio.NewReader(c), nil)
	s.ok(err)
	defer s.close(response.Body)
	text, err := io.ReadAll(response.Body)
	s.ok(err)
	return response.StatusCode, string(text)
}

func TestPathsThatLookElsewhereAreRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushImage("app", "v1")
	for _, path := range []string{
		"/v2/../app/manifests/v1", "/v2/app/../app/manifests/v1", "/v2/./app/manifests/v1", "/v2//app/manifests/v1", "/v2/library%2fapp/manifests/v1", "/v2/app%00/manifests/v1",
		"/v2/%61pp%ff/manifests/v1", "/v2/app/..%2fapp/manifests/v1", "/v2/a\xffp/manifests/v1", "/v2/..%2f..%2fetc%2fpasswd/manifests/v1",
	} {
		status, text := s.raw("GET " + path + " HTTP/1.1\r\nHost: havn\r\nConnection: close\r\n\r\n")
		if status != http.StatusBadRequest || !strings.Contains(text, oci.CodeNameInvalid) {
			t.Errorf("%q: status %d, %s", path, status, text)
		}
	}
	if status, text := s.raw("GET /v2/%61pp/manifests/v1 HTTP/1.1\r\nHost: havn\r\nConnection: close\r\n\r\n"); status != http.StatusOK {
		t.Errorf("an encoded letter: status %d, %s", status, text)
	}
}

func TestABodyThatStandsStillEndsAndWhatCameIsKept(t *testing.T) {
	t.Parallel()
	s := start(t, func(set *settings) { set.api.ProgressTimeout = 3 * time.Second })
	begun, token := s.begin("app"), s.token("repository:app:pull,push")
	for what, c := range map[string]struct {
		request string
		status  int
	}{
		"an upload":  {fmt.Sprintf("PATCH %s HTTP/1.1\r\nHost: havn\r\nAuthorization: Bearer %s\r\nContent-Length: 1000\r\n\r\n12345", begun, token), http.StatusRequestTimeout},
		"a manifest": {"PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: havn\r\nAuthorization: Bearer " + token + "\r\nContent-Length: 1000\r\n\r\n{", http.StatusRequestTimeout},
		"a form": {
			"POST /service/token HTTP/1.1\r\nHost: havn\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 1000\r\n\r\na=b",
			http.StatusRequestTimeout,
		},
		"a body that nobody reads": {"PUT /v2/app/manifests/v1 HTTP/1.1\r\nHost: havn\r\nContent-Length: 1000\r\n\r\n{", http.StatusUnauthorized},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			if status, text := s.raw(c.request); status != c.status {
				t.Errorf("status %d: %s", status, text)
			}
			if what == "an upload" {
				s.do("GET", begun, nil).is(http.StatusNoContent).has("Range", "0-4")
			}
		})
	}
}

// broken is a store that answers nothing.
type broken struct {
	blob.Driver
	err error
}

func (b *broken) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	if b.err != nil {
		return blob.Written{}, b.err
	}
	return b.Driver.Put(ctx, name, size, r)
}

func TestOurOwnFaultsAreLoggedOnceAndNotTold(t *testing.T) {
	t.Parallel()
	var store *broken
	s := start(t, func(set *settings) {
		store = &broken{Driver: set.driver}
		set.driver = store
		set.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Request-Id", "request-77")
				h.ServeHTTP(w, r)
			})
		}
	})
	push := "/v2/app/blobs/uploads/?digest=" + sum(layer)
	store.err = fail.E(fail.Internal, io.ErrShortWrite, "the disk under /secret/path is odd")
	a := s.do("POST", push, layer).is(http.StatusInternalServerError, "UNKNOWN")
	if !strings.Contains(string(a.body), "request-77") || strings.Contains(string(a.body), "secret") {
		t.Errorf("%s", a.body)
	}
	if n := strings.Count(s.log.String(), "/secret/path"); n != 1 || !strings.Contains(s.log.String(), "request_id=request-77") {
		t.Errorf("logged %d times:\n%s", n, s.log)
	}
	for _, kind := range []fail.Kind{fail.Invalid, fail.Exists, fail.Conflict, fail.Unavailable} {
		inner := fail.E(kind, nil, "database: SELECT secret").Inner()
		for _, store.err = range []error{inner, fmt.Errorf("find user: %w", inner), fail.E(kind, fmt.Errorf("find user: %w", inner), "push")} {
			if a = s.do("POST", push, layer); a.status < http.StatusBadRequest || strings.Contains(string(a.body), "secret") || strings.Contains(string(a.body), "find user") {
				t.Errorf("%d: %s", a.status, a.body)
			}
		}
	}
	store.err = fail.E(fail.Unavailable, nil, "the store is away")
	s.do("POST", push, layer).is(http.StatusServiceUnavailable, oci.CodeUnavailable).has("Retry-After", "5")
	store.err = nil
	s.do("POST", push, layer).is(http.StatusCreated)
}

// full is a store with little room left.
type full struct{ blob.Driver }

func (full) Space(context.Context) (free, total int64, err error) { return 1 << 20, 1 << 40, nil }

func TestAFullStoreRefusesPushesAndServesPulls(t *testing.T) {
	t.Parallel()
	s := start(t, func(set *settings) {
		set.driver = full{set.driver}
		set.registry.LowDiskBytes = 2 << 20
	})
	for _, a := range []*answer{
		s.do("POST", "/v2/app/blobs/uploads/", nil), s.do("POST", "/v2/app/blobs/uploads/?digest="+sum(layer), layer), s.putManifest("app", "v1", index()),
	} {
		a.is(http.StatusInsufficientStorage, oci.CodeDenied).has("Retry-After", "")
	}
	s.do("GET", "/v2/_catalog", nil).is(http.StatusOK)
	s.do("DELETE", "/v2/app/manifests/v1", nil).is(http.StatusNotFound)
}

func TestTooManyManifestsAtOnceAreHeldUp(t *testing.T) {
	t.Parallel()
	s := start(t, func(set *settings) { set.registry.MaxUploadsPerSubject = 1 })
	text := index()
	done := make(chan *answer, 1)
	var out *io.PipeWriter
	begin := func() {
		var in *io.PipeReader
		in, out = io.Pipe()
		go func() {
			done <- s.do("PUT", "/v2/app/manifests/slow", in, header("Content-Type", oci.MediaTypeImageIndex))
		}()
	}
	begin()
	_, err := io.WriteString(out, text[:1])
	s.ok(err)
	s.eventually("the second manifest is refused", func() bool {
		a := s.do("PUT", "/v2/app/manifests/v1", text, header("Content-Type", oci.MediaTypeImageIndex))
		if a.status == http.StatusCreated {
			select {
			case slow := <-done: // it came while the other had the place
				slow.is(http.StatusTooManyRequests)
				begin()
				_, err = io.WriteString(out, text[:1])
				s.ok(err)
			default:
			}
			return false
		}
		a.is(http.StatusTooManyRequests, oci.CodeTooManyRequests)
		return a.header.Get("Retry-After") == "1"
	})
	_, err = io.WriteString(out, text[1:])
	s.ok(err)
	s.ok(out.Close())
	(<-done).is(http.StatusCreated)
	s.do("PUT", "/v2/app/manifests/v1", text, header("Content-Type", oci.MediaTypeImageIndex)).is(http.StatusCreated)
}

func TestTooManyUploadsAtOnceAreHeldUp(t *testing.T) {
	t.Parallel()
	s := start(t, func(set *settings) { set.registry.MaxUploadsPerSubject = 1 })
	one, two := s.begin("app"), s.begin("app")
	in, out := io.Pipe()
	done := make(chan *answer)
	go func() { done <- s.do("PATCH", one, in) }()
	// More than the sockets between hold: when it is written, the server is reading, and the only place is taken.
	_, err := io.WriteString(out, strings.Repeat("x", 16<<20))
	s.ok(err)
	s.eventually("the second upload is refused", func() bool {
		a := s.do("PATCH", two, "1")
		if a.status == http.StatusAccepted {
			two = a.location()
			return false
		}
		a.is(http.StatusTooManyRequests, oci.CodeTooManyRequests)
		return a.header.Get("Retry-After") == "1"
	})
	s.ok(out.Close())
	(<-done).is(http.StatusAccepted)
	s.do("PATCH", two, "1").is(http.StatusAccepted)
}
