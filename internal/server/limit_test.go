package server_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
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

func TestHeadersAreBounded(t *testing.T) {
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

	t.Parallel()
	r := start(t, "HAVN_HTTP_MAX_HEADER_BYTES=4KiB")
	answer := rest(t, dial(t, r, "GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: "+strings.Repeat("a", 64<<10)+"\r\n\r\n"))
	if !strings.HasPrefix(answer, "HTTP/1.1 431 ") {
		t.Errorf("answer %q", answer)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const most = 16
	r := start(t, fmt.Sprintf("HAVN_HTTP_MAX_CONNECTIONS=%d", most))
	var open []net.Conn
	for range most {
		conn := dial(t, r, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		if _, err := io.ReadFull(conn, make([]byte, 15)); err != nil {
			t.Fatal(err)
		}
		open = append(open, conn)
	}
	next := make(chan string, 1)
	waiting := dial(t, r, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
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
