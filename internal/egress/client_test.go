package egress

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// patience is for what is not about time: long enough for a busy machine.
const patience = time.Minute

var here = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}

func client(t *testing.T, c Config) *http.Client {
	t.Helper()
	if c.Timeout == 0 {
		c.Timeout = patience
	}
	if c.MaxResponseBytes == 0 {
		c.MaxResponseBytes = 1 << 20
	}
	made, err := NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.CloseIdleConnections)
	return made
}

// get answers the body of an address, or the error of asking or reading.
func get(t *testing.T, c *http.Client, address string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(r)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(answer.Body)
	if closed := answer.Body.Close(); closed != nil {
		t.Error(closed)
	}
	return string(text), err
}

// serve starts a server on 127.0.0.1 and answers it and its count of requests.
func serve(t *testing.T, h http.HandlerFunc) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var asked atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s, &asked
}

func hello(w http.ResponseWriter, _ *http.Request) {
	if _, err := io.WriteString(w, "hello"); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// flush sends what was written, so that the client sees an answer whose length it does not know.
func flush(w http.ResponseWriter) {
	if err := http.NewResponseController(w).Flush(); err != nil {
		panic(http.ErrAbortHandler)
	}
}

func port(t *testing.T, s *httptest.Server) string {
	t.Helper()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

func TestAServerInsideIsNotReachedUnderAnyName(t *testing.T) {
	t.Parallel()
	s, asked := serve(t, hello)
	c := client(t, Config{})
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "[::1]"} {
		text, err := get(t, c, "http://"+net.JoinHostPort(strings.Trim(host, "[]"), port(t, s)))
		if !fail.Is(err, fail.Denied) || fail.HintOf(err) == "" {
			t.Errorf("%s: %q, %v, kind %v", host, text, err, fail.KindOf(err))
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("the server inside was asked %d times", n)
	}
	if text, err := get(t, client(t, Config{Allow: here}), s.URL); err != nil || text != "hello" {
		t.Errorf("an allowed address: %q, %v", text, err)
	}
}

func TestARedirectInsideIsNotFollowed(t *testing.T) {
	t.Parallel()
	inside, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatalf("a second address of the loopback: %v; Linux has it at once, elsewhere add 127.0.0.2 to the loopback interface", err)
	}
	var asked atomic.Int64
	hidden := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	if err = hidden.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	hidden.Listener = inside
	hidden.Start()
	t.Cleanup(hidden.Close)
	outside, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, hidden.URL, http.StatusTemporaryRedirect)
	})

	if _, err = get(t, client(t, Config{Allow: here}), outside.URL); !fail.Is(err, fail.Denied) || asked.Load() != 0 {
		t.Errorf("%v, kind %v; the server inside was asked %d times", err, fail.KindOf(err), asked.Load())
	}
	if _, err = get(t, client(t, Config{Allow: Anywhere()}), outside.URL); err != nil || asked.Load() != 1 {
		t.Errorf("anywhere: %v; the server inside was asked %d times", err, asked.Load())
	}
}

func TestRedirectsEnd(t *testing.T) {
	t.Parallel()
	var s *httptest.Server
	s, asked := serve(t, func(w http.ResponseWriter, r *http.Request) {
		left, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		if err != nil || left == 0 {
			hello(w, r)
			return
		}
		http.Redirect(w, r, s.URL+"/"+strconv.Itoa(left-1), http.StatusFound)
	})
	c := client(t, Config{Allow: here})
	if text, err := get(t, c, s.URL+"/5"); err != nil || text != "hello" || asked.Load() != 6 {
		t.Errorf("five redirects: %q, %v after %d requests", text, err, asked.Load())
	}
	asked.Store(0)
	if _, err := get(t, c, s.URL+"/1000"); !fail.Is(err, fail.Invalid) || asked.Load() != 6 {
		t.Errorf("a thousand redirects: %v after %d requests", err, asked.Load())
	}
}

func TestOnlyHTTPIsSpoken(t *testing.T) {
	t.Parallel()
	target := "file:///etc/passwd"
	s, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, http.StatusFound) })
	c := client(t, Config{Allow: here})
	for _, address := range []string{s.URL, target, "gopher://127.0.0.1:1/", "http:///path", "//127.0.0.1/"} {
		if _, err := get(t, c, address); !fail.Is(err, fail.Invalid) {
			t.Errorf("%s: %v, kind %v", address, err, fail.KindOf(err))
		}
	}
}

func TestAnAnswerIsWholeOrAnError(t *testing.T) {
	t.Parallel()
	const limit = 1000
	send := func(n int, known bool) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			if known {
				w.Header().Set("Content-Length", strconv.Itoa(n))
			} else {
				w.WriteHeader(http.StatusOK)
				flush(w)
			}
			if _, err := w.Write(make([]byte, n)); err != nil {
				panic(http.ErrAbortHandler)
			}
		}
	}
	packed := func(w http.ResponseWriter, _ *http.Request) {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		if _, err := z.Write(make([]byte, 100*limit)); err != nil {
			panic(err)
		}
		if err := z.Close(); err != nil {
			panic(err)
		}
		w.Header().Set("Content-Encoding", "gzip")
		if _, err := w.Write(b.Bytes()); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	broken := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "500")
		if _, err := io.WriteString(w, "half"); err != nil {
			panic(err)
		}
		panic(http.ErrAbortHandler)
	}
	for _, c := range []struct {
		what   string
		handle http.HandlerFunc
		kind   fail.Kind
		n      int // without an error
	}{
		{"nothing", send(0, true), 0, 0},
		{"what just fits", send(limit, true), 0, limit},
		{"what just fits, its length unknown", send(limit, false), 0, limit},
		{"a byte more", send(limit+1, true), fail.TooLarge, 0},
		{"a byte more, its length unknown", send(limit+1, false), fail.TooLarge, 0},
		{"much more, its length unknown", send(100*limit, false), fail.TooLarge, 0},
		{"more after unpacking", packed, fail.TooLarge, 0},
		{"half an answer", broken, fail.Unavailable, 0},
	} {
		s, _ := serve(t, c.handle)
		text, err := get(t, client(t, Config{Allow: here, MaxResponseBytes: limit}), s.URL)
		switch {
		case len(text) > limit:
			t.Errorf("%s: %d bytes", c.what, len(text))
		case c.kind == 0 && (err != nil || len(text) != c.n):
			t.Errorf("%s: %d bytes, %v", c.what, len(text), err)
		case c.kind != 0 && !fail.Is(err, c.kind):
			t.Errorf("%s: %v, kind %v, want %v", c.what, err, fail.KindOf(err), c.kind)
		}
	}
}

func TestTheLengthOfAHeadIsNoBody(t *testing.T) {
	t.Parallel()
	s, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "1000000000") })
	r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client(t, Config{Allow: here, MaxResponseBytes: 10}).Do(r)
	if err != nil || answer.ContentLength != 1_000_000_000 {
		t.Fatalf("%+v, %v", answer, err)
	}
	if err = answer.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestAServerThatIsSilentIsGivenUp(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	silent, _ := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-end:
		}
	})
	stuck, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		hello(w, r)
		flush(w)
		select {
		case <-r.Context().Done():
		case <-end:
		}
	})
	t.Cleanup(func() { close(end) }) // runs before the servers are closed, which wait for their handlers
	for what, address := range map[string]string{"from the beginning": silent.URL, "in the middle": stuck.URL} {
		if text, err := get(t, client(t, Config{Allow: here, Timeout: 200 * time.Millisecond}), address); !fail.Is(err, fail.Unavailable) {
			t.Errorf("%s: %q, %v, kind %v", what, text, err, fail.KindOf(err))
		}
	}
}

func TestNobodyThereIsUnavailable(t *testing.T) {
	t.Parallel()
	s, _ := serve(t, hello)
	s.Close()
	if _, err := get(t, client(t, Config{Allow: here}), s.URL); !fail.Is(err, fail.Unavailable) {
		t.Errorf("%v, kind %v", err, fail.KindOf(err))
	}
}

func TestOnlyGivenAuthoritiesAreTrusted(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	if _, err := get(t, client(t, Config{Allow: here, Roots: roots}), s.URL); !fail.Is(err, fail.Unavailable) {
		t.Errorf("an unknown authority: %v, kind %v", err, fail.KindOf(err))
	}
	roots = x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := client(t, Config{Allow: here, Roots: roots})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if answer.ProtoMajor != 2 {
		t.Errorf("spoke %s", answer.Proto)
	}
	if err = answer.Body.Close(); err != nil {
		t.Error(err)
	}
}

func TestARedirectDoesNotLeaveHTTPS(t *testing.T) {
	t.Parallel()
	plain, asked := serve(t, hello)
	s := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	if _, err := get(t, client(t, Config{Allow: here, Roots: roots}), s.URL); !fail.Is(err, fail.Invalid) || asked.Load() != 0 {
		t.Errorf("%v, kind %v; the plain server was asked %d times", err, fail.KindOf(err), asked.Load())
	}
}

func TestAProxyMakesTheConnectionsAndTargetsAreCheckedAllTheSame(t *testing.T) {
	t.Parallel()
	proxy, asked := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Host == "8.8.8.8" && r.URL.Path == "/away":
			http.Redirect(w, r, "http://169.254.169.254/latest", http.StatusFound)
		case r.URL.Host == "":
			http.Error(w, "not asked as a proxy", http.StatusBadRequest)
		default:
			hello(w, r)
		}
	})
	at, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := client(t, Config{Proxy: at})
	text, err := get(t, c, "http://8.8.8.8/")
	if err != nil || text != "hello" || asked.Load() != 1 {
		t.Errorf("%q, %v; the proxy was asked %d times", text, err, asked.Load())
	}
	for _, address := range []string{"http://10.0.0.1/", "http://localhost/", "http://[::1]/", "http://169.254.169.254/", "http://[::ffff:a00:1]/"} {
		if _, err = get(t, c, address); !fail.Is(err, fail.Denied) {
			t.Errorf("%s: %v, kind %v", address, err, fail.KindOf(err))
		}
	}
	if asked.Load() != 1 {
		t.Errorf("the proxy was asked %d times", asked.Load())
	}
	if _, err = get(t, c, "http://8.8.8.8/away"); !fail.Is(err, fail.Denied) || asked.Load() != 2 {
		t.Errorf("redirect: %v, kind %v; the proxy was asked %d times", err, fail.KindOf(err), asked.Load())
	}
	text, err = get(t, client(t, Config{Proxy: at, Allow: Anywhere()}), "http://10.0.0.1/")
	if err != nil || text != "hello" {
		t.Errorf("anywhere: %q, %v", text, err)
	}
}

func TestNamesBehindAProxy(t *testing.T) {
	t.Parallel()
	l := lookup{guard: guard{nil, closed()}, find: func(_ context.Context, _, host string) ([]netip.Addr, error) {
		switch host {
		case "public.example":
			return []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("2606:4700::1")}, nil
		case "mixed.example":
			return []netip.Addr{netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("10.0.0.1")}, nil
		}
		return nil, errors.New("no such host")
	}}
	for host, want := range map[string]fail.Kind{
		"public.example": 0, "known-to-the-proxy.example": 0, "a.b.c1": 0, "8.8.8.8": 0, "0xyz.example": 0,
		"mixed.example": fail.Denied, "127.0.0.1": fail.Denied, "fd00::1": fail.Denied,
		"127.1": fail.Invalid, "2130706433": fail.Invalid, "0x7f000001": fail.Invalid, "0x7f.1": fail.Invalid, "127.0.0.0x1": fail.Invalid, "0177.0.0.1": fail.Invalid,
		"127.0.0.1.": fail.Invalid, "a.0x": fail.Invalid,
	} {
		if err := l.check(t.Context(), host); (err == nil) != (want == 0) || want != 0 && !fail.Is(err, want) {
			t.Errorf("%s: %v, kind %v, want %v", host, err, fail.KindOf(err), want)
		}
	}
}

func TestNothingIsUnbounded(t *testing.T) {
	t.Parallel()
	for _, c := range []Config{{}, {Timeout: time.Second}, {MaxResponseBytes: 1}, {Timeout: -1, MaxResponseBytes: 1}, {Timeout: time.Second, MaxResponseBytes: -1}} {
		if made, err := NewClient(c); err == nil {
			t.Errorf("%+v makes %v", c, made)
		}
	}
}

func TestACertificateIsVerifiedUnlessTheOperatorSaysNo(t *testing.T) {
	t.Parallel()
	s := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // refused handshakes
	s.StartTLS()
	t.Cleanup(s.Close)
	if _, err := get(t, client(t, Config{Allow: here}), s.URL); !fail.Is(err, fail.Unavailable) || !Hopeless(err) {
		t.Errorf("an authority that is not known: %v, kind %v", err, fail.KindOf(err))
	}
	if text, err := get(t, client(t, Config{Allow: here, SkipVerify: true}), s.URL); err != nil || text != "hello" {
		t.Errorf("without verification: %q, %v", text, err)
	}
}
