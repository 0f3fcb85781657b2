package swift

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/fail"
)

// server is as much of a Swift with Keystone as the tests want to see misbehave. What a real one does is tested against radosgw.
type server struct {
	*httptest.Server
	logins  atomic.Int64
	life    time.Duration // of tokens
	mu      sync.Mutex
	good    string // the token that is good now
	objects map[string]object
	// before, where set, answers a request instead of the server if it says true.
	before func(w http.ResponseWriter, r *http.Request) bool
}

// object is one that the server has.
type object struct {
	body []byte
	mark string
}

// keep takes an object.
func (s *server) keep(r *http.Request, body []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[r.URL.Path] = object{body, r.Header.Get(markHeader)}
}

func start(t *testing.T) *server {
	t.Helper()
	s := &server{life: time.Hour, objects: map[string]object{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /auth/v1", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Auth-User") != "user" || r.Header.Get("X-Auth-Key") != "key" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Storage-Url", s.URL+"/store")
		w.Header().Set("X-Auth-Token", s.token())
	})
	mux.HandleFunc("POST /v2.0/tokens", func(w http.ResponseWriter, r *http.Request) {
		if !holds(r, `"username":"user"`, `"password":"key"`, `"tenantName":"team"`) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.write(w, fmt.Sprintf(`{"access": {"token": {"id": %q, "expires": %q}, "serviceCatalog": [{"type": "object-store", "endpoints": [
			{"region": "east", "publicURL": "http://127.0.0.1:1/wrong"}, {"region": "west", "publicURL": %q}]}]}}`, s.token(), s.end(), s.URL+"/store"))
	})
	mux.HandleFunc("POST /v3/auth/tokens", func(w http.ResponseWriter, r *http.Request) {
		if !holds(r, `"name":"user"`, `"password":"key"`, `"project":{"name":"team","domain":{"name":"Default"}}`) {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		w.Header().Set("X-Subject-Token", s.token())
		w.WriteHeader(http.StatusCreated)
		s.write(w, fmt.Sprintf(`{"token": {"expires_at": %q, "catalog": [{"type": "object-store", "endpoints": [
			{"interface": "public", "region": "east", "url": "http://127.0.0.1:1/wrong"}, {"interface": "public", "region": "west", "url": %q}]}]}}`, s.end(), s.URL+"/store/"))
	})
	mux.HandleFunc("/store/", s.store)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func holds(r *http.Request, parts ...string) bool {
	body, err := io.ReadAll(r.Body)
	for _, part := range parts {
		if err != nil || !strings.Contains(string(body), part) {
			return false
		}
	}
	return true
}

func (s *server) end() string { return time.Now().Add(s.life).UTC().Format(time.RFC3339) }

// token makes the one that is good from now on.
func (s *server) token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.good = fmt.Sprintf("token-%d", s.logins.Add(1))
	return s.good
}

func (s *server) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.good = "none"
}

func (s *server) write(w io.Writer, text string) {
	if _, err := io.WriteString(w, text); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func (s *server) store(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	good := r.Header.Get("X-Auth-Token") == s.good
	found, there := s.objects[r.URL.Path]
	s.mu.Unlock()
	switch {
	case s.before != nil && s.before(w, r):
	case !good:
		w.WriteHeader(http.StatusUnauthorized)
	case strings.Count(r.URL.Path, "/") == 2 && r.Method == http.MethodGet:
		s.write(w, "[]")
	case strings.Count(r.URL.Path, "/") == 2:
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.keep(r, body)
		w.WriteHeader(http.StatusCreated)
	case !there:
		w.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodDelete:
		s.mu.Lock()
		delete(s.objects, r.URL.Path)
		s.mu.Unlock()
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set(markHeader, found.mark)
		http.ServeContent(w, r, "", time.Now(), bytes.NewReader(found.body))
	}
}

func (s *server) config(t *testing.T, path string) Config {
	t.Helper()
	at, err := url.Parse(s.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	client := s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	pool, err := parts.NewPool(1<<20, filepath.Join(t.TempDir(), "parts"), 1)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		AuthURL: at, Username: "user", Password: "key", Tenant: "team", Region: "west", Containers: []string{"blobs"}, Pool: pool, HTTP: client, Clock: time.Now,
	}
}

func (s *server) open(t *testing.T) blob.Driver {
	t.Helper()
	return s.openWith(t, s.config(t, "/auth/v1"))
}

func (s *server) openWith(t *testing.T, c Config) blob.Driver {
	t.Helper()
	d, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// impatient opens a driver whose clock goes so fast that little is tried again.
func (s *server) impatient(t *testing.T) blob.Driver {
	t.Helper()
	c := s.config(t, "/auth/v1")
	var asked atomic.Int64
	c.Clock = func() time.Time { return time.Now().Add(time.Duration(asked.Add(1)) * patience / 2) }
	return s.openWith(t, c)
}

func TestEachVersionOfAuthenticationLogsIn(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/auth/v1", "/v2.0", "/v2.0/", "/v3"} {
		s := start(t)
		if _, err := New(t.Context(), s.config(t, path)); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if n := s.logins.Load(); n != 1 {
			t.Errorf("%s: %d logins for one driver", path, n)
		}
		c := s.config(t, path)
		c.Password = "wrong"
		if _, err := New(t.Context(), c); !fail.Is(err, fail.Unavailable) || !strings.Contains(fail.HintOf(err), "storage.swift.password") {
			t.Errorf("%s, wrong password: %v, hint %q", path, err, fail.HintOf(err))
		}
	}
}

func TestTheVersionIsReadFromThePathAlone(t *testing.T) {
	t.Parallel()
	for at, want := range map[string]int{
		"http://10.32.3.70:7480/auth/v1": 1, "http://srv3.example.com:7480/auth": 1, "http://v2.example.com/auth/v1.0": 1, "https://k.example.com:5000/v3": 3,
		"https://k.example.com/identity/v3/": 3, "https://k.example.com/v2.0": 2, "https://k.example.com:5000/": 0,
	} {
		u, err := url.Parse(at)
		if err != nil {
			t.Fatal(err)
		}
		got, err := (&Config{AuthURL: u}).version()
		if got != want || (err == nil) != (want != 0) {
			t.Errorf("%s: %d, %v, want %d", at, got, err, want)
		}
	}
}

func TestATokenThatIsOverIsRenewed(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.open(t)
	name := "objects/aa/x"
	if _, err := d.Put(t.Context(), name, -1, strings.NewReader("hello")); err != nil {
		t.Fatal(err)
	}
	for what, do := range map[string]func() error{
		"put":    func() error { _, err := d.Put(t.Context(), "objects/aa/other", -1, strings.NewReader("x")); return err },
		"stat":   func() error { _, err := d.Stat(t.Context(), name); return err },
		"get":    func() error { r, err := d.Get(t.Context(), name, 0, -1); return errors.Join(err, closed(r)) },
		"delete": func() error { return d.Delete(t.Context(), "objects/aa/nothing") },
		"list": func() error {
			for _, err := range d.List(t.Context(), "") {
				return err
			}
			return nil
		},
	} {
		s.expire()
		before := s.logins.Load()
		if err := do(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := s.logins.Load() - before; n != 1 {
			t.Errorf("%s: %d logins", what, n)
		}
	}
}

func closed(r io.Closer) error {
	if r == nil {
		return nil
	}
	return r.Close()
}

func TestManyRequestsShareOneLogin(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.open(t)
	s.expire()
	before := s.logins.Load()
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := d.Stat(t.Context(), "objects/aa/absent"); !fail.Is(err, fail.NotFound) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	// One that was refused late may find another one's token gone: a few more logins than one, not one for each.
	if n := s.logins.Load() - before; n < 1 || n > 5 {
		t.Errorf("%d logins for 50 requests", n)
	}
}

func TestATokenIsRenewedBeforeItsEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := s.config(t, "/v3")
	var now atomic.Int64
	c.Clock = func() time.Time { return time.Now().Add(time.Duration(now.Load())) }
	d, err := New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	now.Store(int64(s.life - renewBefore - time.Minute))
	if _, err = d.Stat(t.Context(), "x"); !fail.Is(err, fail.NotFound) || s.logins.Load() != 1 {
		t.Errorf("before: %v, %d logins", err, s.logins.Load())
	}
	now.Store(int64(s.life - renewBefore + time.Minute))
	if _, err = d.Stat(t.Context(), "x"); !fail.Is(err, fail.NotFound) || s.logins.Load() != 2 {
		t.Errorf("near its end: %v, %d logins", err, s.logins.Load())
	}
}

func TestRefusedCredentialsAreNotSentWithEachRequest(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.open(t)
	var tried atomic.Int64
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/auth") {
			tried.Add(1)
		}
		w.WriteHeader(http.StatusUnauthorized)
	})
	for range 20 {
		if _, err := d.Stat(t.Context(), "x"); !fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "" {
			t.Fatalf("%v, hint %q", err, fail.HintOf(err))
		}
	}
	if n := tried.Load(); n > 2 { // the library tries once more by itself
		t.Errorf("refused credentials were sent %d times", n)
	}
}

func TestAnAnswerBeforeTheEndOfAPutIsAnError(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.impatient(t)
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusCreated)
		}
		return r.Method == http.MethodPut
	}
	endless := readerFunc(func(p []byte) (int, error) { return len(p), nil })
	if _, err := d.Put(t.Context(), "x", -1, endless); err == nil {
		t.Error("an object of which the server took a part counts as written")
	}
}

func TestNothingReadsTheSourceAfterAPut(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.impatient(t)
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusInternalServerError)
		}
		return r.Method == http.MethodPut
	}
	for range 20 {
		reads := 0 // not atomic: the race detector would see a read after Put returned
		_, err := d.Put(t.Context(), "x", -1, readerFunc(func(p []byte) (int, error) {
			if reads++; reads > 100 {
				return 0, io.EOF
			}
			return len(p), nil
		}))
		if !fail.Is(err, fail.Unavailable) {
			t.Fatal(err)
		}
		reads = 0
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestABrokenSourceLeavesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.open(t)
	cause := errors.New("cable cut")
	_, err := d.Put(t.Context(), "x", 1000, io.MultiReader(strings.NewReader("half"), iotest.ErrReader(cause)))
	if !errors.Is(err, cause) {
		t.Error(err)
	}
	if _, err = d.Stat(t.Context(), "x"); !fail.Is(err, fail.NotFound) {
		t.Errorf("after a source that broke off: %v", err)
	}
}

func TestAWholeObjectInsteadOfARangeIsAnError(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.open(t)
	if _, err := d.Put(t.Context(), "x", -1, strings.NewReader("0123456789")); err != nil {
		t.Fatal(err)
	}
	s.before = func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("Range")
		return false
	}
	if _, err := d.Get(t.Context(), "x", 5, -1); !fail.Is(err, fail.Unavailable) {
		t.Errorf("from 5 on: %v", err)
	}
	r, err := d.Get(t.Context(), "x", 0, 3)
	if err != nil {
		t.Fatal(err)
	}
	if body, readErr := io.ReadAll(r); readErr != nil || string(body) != "012" {
		t.Errorf("%q, %v", body, readErr)
	}
	if err = r.Close(); err != nil {
		t.Error(err)
	}
}

func TestAPasswordFollowsNoRedirect(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(other.Close)
	s := start(t)
	s.Config.Handler = http.RedirectHandler(other.URL+"/auth/v1", http.StatusMovedPermanently)
	_, err := New(t.Context(), s.config(t, "/auth/v1"))
	if !strings.Contains(fail.HintOf(err), "storage.swift.auth_url") || asked.Load() != 0 {
		t.Errorf("%v, hint %q, the other server was asked %d times", err, fail.HintOf(err), asked.Load())
	}
}

func TestATokenStaysOnTLS(t *testing.T) {
	t.Parallel()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Storage-Url", "http://"+r.Host+"/swift/v1")
		w.Header().Set("X-Auth-Token", "t")
	}))
	t.Cleanup(s.Close)
	at, err := url.Parse(s.URL + "/auth/v1")
	if err != nil {
		t.Fatal(err)
	}
	l := &login{cfg: &Config{AuthURL: at, HTTP: s.Client(), Clock: time.Now}, version: 1}
	got, err := l.session(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	if want := s.URL + "/swift/v1"; got.storage.String() != want {
		t.Errorf("the token goes to %s, want %s", &got.storage, want)
	}
}

func TestTimesOfListingsAreRead(t *testing.T) {
	t.Parallel()
	want := time.Date(2026, 11, 25, 22, 42, 6, 0, time.UTC)
	for _, text := range []string{"2026-11-25T22:42:06", "2026-11-25T22:42:06Z", "2026-11-25T22:42:06.123456", "2026-11-25T22:42:06.123Z"} {
		if got, err := parseTime(text); err != nil || got.Truncate(time.Second) != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if _, err := parseTime(""); err == nil {
		t.Error("no time is read as one")
	}
}

func FuzzListing(f *testing.F) {
	f.Add(`[{"name":"objects/aa/x","bytes":3,"last_modified":"2026-11-25T22:42:06.123456"},{"subdir":"a/"}]`)
	f.Add(`{}`)
	f.Fuzz(func(t *testing.T, text string) {
		var page []entry
		if json.Unmarshal([]byte(text), &page) != nil {
			return
		}
		for _, e := range page {
			if _, err := parseTime(e.LastModified); err == nil && e.LastModified == "" {
				t.Fatal("no time is read as one")
			}
		}
	})
}
