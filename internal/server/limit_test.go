package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dial opens a connection and sends a text.
func dial(t *testing.T, r *running, text string) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", r.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := conn.Close(); closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
			t.Error(closeErr)
		}
	})
	if err = conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err = io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn
}

// rest reads what the server still sends before it closes the connection.
func rest(t *testing.T, conn net.Conn) string {
	t.Helper()
	text, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the server keeps the connection open; so far %q", text)
	}
	return string(text) // a reset is an end too
}

func TestClientsThatStandStillAreCutOff(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_HEADER_TIMEOUT=1s", "HAVN_HTTP_PROGRESS_TIMEOUT=1s", "HAVN_HTTP_IDLE_TIMEOUT=1s")
	auth := basic()[1]
	for name, text := range map[string]string{
		"no byte":                 "",
		"half a header":           "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"an idle connection":      "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
		"a body that stops":       "POST /v2/library/app/blobs/uploads/?digest=sha256:" + emptyHash + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + auth + "\r\nContent-Length: 100\r\n\r\nx",
		"a body nobody reads":     "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx",
		"a body without a caller": "PUT /v2/library/app/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rest(t, dial(t, r, text))
		})
	}
}

func TestClientsThatDripAreCutOff(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_HEADER_TIMEOUT=1s", "HAVN_HTTP_PROGRESS_TIMEOUT=1s")
	auth := basic()[1]
	for name, text := range map[string]string{
		"a header":                "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"a form":                  "POST /service/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n\r\na=",
		"a form in chunks":        "POST /service/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\nea60\r\na=",
		"a manifest":              "PUT /v2/library/app/manifests/1 HTTP/1.1\r\nHost: x\r\nAuthorization: " + auth + "\r\nContent-Length: 60000\r\n\r\n{",
		"a body without a caller": "PUT /v2/library/app/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{",
		"a body nobody reads":     "POST /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn := dial(t, r, text)
			begin, ended := time.Now(), make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, conn) //nolint:errcheck // a reset is an end too
			}()
			for time.Since(begin) < 10*time.Second {
				select {
				case <-ended:
					return
				case <-time.After(300 * time.Millisecond):
					_, _ = io.WriteString(conn, "x") //nolint:errcheck // the reader notices the end
				}
			}
			t.Error("the connection is still open")
		})
	}
}

func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_MAX_HEADER_BYTES=4KiB")
	answer := rest(t, dial(t, r, "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("a", 64<<10)+"\r\n\r\n"))
	if !strings.HasPrefix(answer, "HTTP/1.1 431 ") {
		t.Errorf("answer %q", answer)
	}
}

// dialFrom is dial from one of this machine's addresses, without waiting for anything.
func dialFrom(t *testing.T, r *running, from, text string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(t.Context(), "tcp", r.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := conn.Close(); closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
			t.Error(closeErr)
		}
	})
	if err = conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err = io.WriteString(conn, text); err != nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return conn
}

// begins waits until the server answers a connection.
func begins(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := io.ReadFull(conn, make([]byte, 15)); err != nil {
		t.Fatal(err)
	}
}

const (
	idleRequest = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	lastRequest = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)

// busyRequest is one that the server asks to go on with and that never ends.
func busyRequest() string {
	return "POST /v2/library/app/blobs/uploads/?digest=sha256:" + emptyHash + " HTTP/1.1\r\nHost: x\r\nAuthorization: " + basic()[1] + "\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 16
	r := start(t, fmt.Sprintf("HAVN_HTTP_MAX_CONNECTIONS=%d", most))
	var open []net.Conn
	for range most {
		conn := dial(t, r, busyRequest())
		begins(t, conn)
		open = append(open, conn)
	}
	next := make(chan string, 1)
	waiting := dial(t, r, lastRequest)
	go func() {
		text, err := io.ReadAll(waiting)
		next <- fmt.Sprint(string(text), err)
	}()
	select {
	case text := <-next:
		t.Fatalf("one more than the most was served: %q", text)
	case <-time.After(200 * time.Millisecond): // no event says that nothing happens; a server without a bound answers in one
	}
	if err := open[0].Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case text := <-next:
		if !strings.HasPrefix(text, "HTTP/1.1 200 ") {
			t.Errorf("answer %q", text)
		}
	case <-time.After(patience):
		t.Fatal("the place that became free is not used")
	}
}

func TestIdleConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_MAX_CONNECTIONS=16", "HAVN_HTTP_IDLE_TIMEOUT=1h")
	busy := dial(t, r, busyRequest())
	begins(t, busy)
	var idle []net.Conn
	for range 40 {
		conn := dialFrom(t, r, "127.0.0.1", idleRequest)
		begins(t, conn)
		// The server learns after its answer that the connection is idle.
		for deadline := time.Now().Add(patience); r.LastIdle() != conn.LocalAddr().String(); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a connection without a request is not idle")
			}
		}
		idle = append(idle, conn)
	}
	if text := rest(t, dialFrom(t, r, "127.0.0.2", lastRequest)); !strings.HasPrefix(text, "HTTP/1.1 200 ") {
		t.Errorf("somebody else is answered %q", text)
	}
	rest(t, idle[0])
	last := idle[len(idle)-1]
	if _, err := io.WriteString(last, lastRequest); err != nil {
		t.Fatal(err)
	}
	if text := rest(t, last); strings.Count(text, "HTTP/1.1 200 ") != 1 { // the first one's status line was read
		t.Errorf("the newest idle one ended first: %q", text)
	}
	if _, err := io.WriteString(busy, "x"); err != nil {
		t.Errorf("one with a request ended: %v", err)
	}
}

func TestOneAddressHasItsShareOfConnections(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_MAX_CONNECTIONS=16", "HAVN_HTTP_MAX_CONNECTIONS_PER_ADDRESS=4", "HAVN_HTTP_TRUSTED_PROXIES=127.0.0.3")
	for _, from := range []string{"127.0.0.1", "127.0.0.3"} {
		for range 4 {
			begins(t, dialFrom(t, r, from, busyRequest()))
		}
	}
	for range 20 {
		if text := rest(t, dialFrom(t, r, "127.0.0.1", lastRequest)); text != "" {
			t.Fatalf("more than its share is answered: %q", text)
		}
	}
	for _, from := range []string{"127.0.0.2", "127.0.0.3"} {
		if text := rest(t, dialFrom(t, r, from, lastRequest)); !strings.HasPrefix(text, "HTTP/1.1 200 ") {
			t.Errorf("%s is answered %q", from, text)
		}
	}
	if n := len(r.log.lines("connections of one address are refused")); n != 1 {
		t.Errorf("the log says so %d times", n)
	}
	for range 10 { // its own idle ones make room for its own
		begins(t, dialFrom(t, r, "127.0.0.4", idleRequest))
	}
}

func TestProbesAreAnsweredAtTheSecondAddressWhenAllConnectionsAreTaken(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_MAX_CONNECTIONS=16", "HAVN_METRICS_ADDR=127.0.0.1:0")
	for range 16 {
		begins(t, dial(t, r, busyRequest()))
	}
	for _, path := range []string{"/healthz", "/readyz"} {
		if a := get(t, "http://"+r.MetricsAddr().String()+path); a.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", path, a.Status, a.body)
		}
	}
}

func TestOtherMethodsAndPathsOutsideTheRegistry(t *testing.T) {
	t.Parallel()
	r := start(t)
	for _, c := range []struct {
		method, path string
		want         int
	}{
		{http.MethodPost, "/healthz", http.StatusMethodNotAllowed},
		{http.MethodDelete, "/readyz", http.StatusMethodNotAllowed},
		{http.MethodHead, "/healthz", http.StatusOK},
		{http.MethodGet, "/", http.StatusOK},
		{http.MethodGet, "/metrics", http.StatusNotFound},
		{http.MethodGet, "/debug/pprof/", http.StatusNotFound},
		{http.MethodGet, "/v2/../healthz", http.StatusNotFound},
		{http.MethodGet, "/v3/", http.StatusNotFound},
	} {
		a, err := do(t, http.DefaultClient, c.method, r.URL()+c.path, nil)
		if err != nil || a.StatusCode != c.want {
			t.Errorf("%s %s: %v %v, want %d", c.method, c.path, a.Response, err, c.want)
		}
	}
}
