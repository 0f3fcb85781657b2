package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func stream(t *testing.T, c StreamConfig) *http.Client {
	t.Helper()
	if c.NoProgress == 0 {
		c.NoProgress = patience
	}
	made, err := NewStream(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.CloseIdleConnections)
	return made
}

// pipes is a listener whose connections are pipes in memory: with them time is the test's own.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	conn, ok := <-p.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.conns) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

// dial answers one end of a pipe. The other one is the server's, or nobody's if there is none.
func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	if p != nil {
		p.conns <- there
	}
	return &end{Conn: here}, nil
}

// end is one of a pipe, with the errors of a socket.
type end struct{ net.Conn }

func (e *end) Read(b []byte) (int, error) {
	n, err := e.Conn.Read(b)
	return n, asSocket(err)
}

func (e *end) Write(b []byte) (int, error) {
	n, err := e.Conn.Write(b)
	return n, asSocket(err)
}

func (e *end) SetDeadline(at time.Time) error { return asSocket(e.Conn.SetDeadline(at)) }

func asSocket(err error) error {
	if errors.Is(err, io.ErrClosedPipe) {
		return net.ErrClosed
	}
	return err
}

// timed runs a test in time of its own, with a client and a server; without a handler nobody reads what is sent.
func timed(t *testing.T, limit time.Duration, h http.HandlerFunc, test func(t *testing.T, c *http.Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var l *pipes
		if h != nil {
			l = &pipes{conns: make(chan net.Conn)}
			s := &http.Server{Handler: h}
			defer s.Close() //nolint:errcheck // of pipes: never fails
			go s.Serve(l)   //nolint:errcheck // it ends when it is closed
		}
		c := newStream(StreamConfig{NoProgress: limit}, l.dial)
		defer c.CloseIdleConnections()
		test(t, c)
	})
}

// TestAStreamMayTakeLongWhileBytesMove sends and reads for longer than the limit, in both directions, a byte at a time.
func TestAStreamMayTakeLongWhileBytesMove(t *testing.T) {
	t.Parallel()
	const limit, pause, times = 30 * time.Second, 20 * time.Second, 20
	timed(t, limit, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
		for range times {
			hello(w, r)
			flush(w)
			time.Sleep(pause)
		}
	}, func(t *testing.T, c *http.Client) {
		in, out := io.Pipe()
		go func() {
			for range times {
				if _, err := out.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(pause)
			}
			out.Close() //nolint:errcheck // of a pipe: never fails
		}()
		answer, err := c.Post("http://there", "text/plain", in)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(answer.Body)
		if closed := answer.Body.Close(); closed != nil {
			t.Error(closed)
		}
		if err != nil || string(text) != strings.Repeat("hello", times) {
			t.Errorf("%q, %v", text, err)
		}
	})
}

func TestAStreamThatStandsStillEnds(t *testing.T) {
	t.Parallel()
	const limit = 30 * time.Second
	// Only a server that has read the body sees that its client is gone.
	read := func(r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			panic(http.ErrAbortHandler)
		}
	}
	for what, handler := range map[string]http.HandlerFunc{
		"no answer": func(_ http.ResponseWriter, r *http.Request) {
			read(r)
			<-r.Context().Done()
		},
		"half a body": func(w http.ResponseWriter, r *http.Request) {
			read(r)
			hello(w, r)
			flush(w)
			<-r.Context().Done()
		},
		// One that takes nothing: nobody reads.
		"nothing taken": nil,
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			timed(t, limit, handler, func(t *testing.T, c *http.Client) {
				began := time.Now()
				answer, err := c.Post("http://there", "text/plain", bytes.NewReader(make([]byte, 1<<20)))
				if err == nil {
					_, err = io.Copy(io.Discard, answer.Body)
					answer.Body.Close() //nolint:errcheck // it broke off
				}
				if err == nil || Hint(err, "a", "b") == "" || !strings.Contains(err.Error(), "for 30s") {
					t.Errorf("%v, hint %q", err, Hint(err, "a", "b"))
				}
				if took := time.Since(began); took < limit || took > 2*limit {
					t.Errorf("it took %s", took)
				}
			})
		})
	}
}

func TestHintsSayWhatToDo(t *testing.T) {
	t.Parallel()
	tlsServer := httptest.NewTLSServer(http.HandlerFunc(hello))
	t.Cleanup(tlsServer.Close)
	roots := x509.NewCertPool()
	roots.AddCert(tlsServer.Certificate())
	plain, _ := serve(t, hello)
	gone, _ := serve(t, hello)
	gone.Close()
	late := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	late.TLS = &tls.Config{MaxVersion: tls.VersionTLS13}
	late.StartTLS()
	t.Cleanup(late.Close)
	for _, c := range []struct {
		what, address, want string
		config              StreamConfig
	}{
		{"nobody listens", gone.URL, "is the server running", StreamConfig{}},
		{"unknown authority", tlsServer.URL, "the-ca-key", StreamConfig{}},
		{"another name", strings.Replace(tlsServer.URL, "127.0.0.1", "localhost", 1), "another name", StreamConfig{Roots: roots}},
		{"plain HTTP", strings.Replace(plain.URL, "http", "https", 1), "does not speak TLS", StreamConfig{}},
		{"unknown host", "http://nowhere.invalid", "resolv.conf", StreamConfig{}},
	} {
		_, err := get(t, stream(t, c.config), c.address)
		if hint := Hint(err, "the-address-key", "the-ca-key"); err == nil || !strings.Contains(hint, c.want) {
			t.Errorf("%s: hint %q of %v", c.what, hint, err)
		}
	}
}

func TestLinkLocalAndLoopbackAddressesAloneGoAroundTheProxy(t *testing.T) {
	t.Parallel()
	at, err := url.Parse("http://proxy.example:3128")
	if err != nil {
		t.Fatal(err)
	}
	transport, ok := stream(t, StreamConfig{Proxy: at}).Transport.(*http.Transport)
	if !ok {
		t.Fatal("another transport")
	}
	for address, want := range map[string]bool{"http://10.0.0.1/": true, "https://s3.amazonaws.com/x": true, "http://169.254.169.254/latest": false, "http://[fe80::1]/": false, "http://127.0.0.1:9000/": false, "http://localhost:9000/": false} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if by, proxyErr := transport.Proxy(r); proxyErr != nil || (by != nil) != want {
			t.Errorf("%s goes by %v, %v", address, by, proxyErr)
		}
	}
}
