package server_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/server"
)

func TestMetricsAndProfilesAreOnTheSecondAddressAlone(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_METRICS_ADDR=127.0.0.1:0")
	inside := "http://" + r.MetricsAddr().String()
	get(t, r.URL()+"/v2/")
	get(t, r.URL()+"/v2/library/app/manifests/1", basic()...)
	if a, err := do(t, http.DefaultClient, http.MethodPost, r.URL()+"/v2/library/app/blobs/uploads/?digest=sha256:"+helloHash, strings.NewReader("hello"), basic()...); err != nil || a.StatusCode != http.StatusCreated {
		t.Fatal(a, err)
	}
	text := get(t, inside+"/metrics").body
	for _, want := range []string{
		label("havn_http_requests_total", "code", "401", "method", "GET", "route", "base") + " 1\n",
		label("havn_http_requests_total", "code", "404", "method", "GET", "route", "manifest") + " 1\n",
		label("havn_http_requests_total", "code", "201", "method", "POST", "route", "upload") + " 1\n",
		label("havn_http_received_bytes_total", "route", "upload") + " 5\n",
		label("havn_http_request_seconds_count", "method", "POST", "route", "upload") + " 1\n",
		"havn_http_requests_in_flight 0\n", label("havn_build_info", "version", "test") + " 1\n",
		"go_goroutines ", "process_resident_memory_bytes ", "havn_store_seconds_count{", "havn_db_", "havn_sweep_last_success_timestamp_seconds ", "havn_pushes_total{",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, grep(text, "havn_"))
		}
	}
	// The queries of every pull, which are in no transaction.
	if reads := label("havn_db_read_seconds_count", "outcome", "ok"); !strings.Contains(text, reads) || strings.Contains(text, reads+" 0\n") {
		t.Errorf("no queries in\n%s", grep(text, "havn_db_"))
	}
	if a := get(t, inside+"/debug/pprof/goroutine?debug=1"); a.StatusCode != http.StatusOK || !strings.Contains(a.body, "goroutine profile") {
		t.Errorf("profile: %s", a.Status)
	}
	if a := get(t, inside+"/v2/"); a.StatusCode != http.StatusNotFound {
		t.Errorf("the registry on the second address: %s", a.Status)
	}
}

const helloHash = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func grep(text, word string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, word) {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestTheAccessLogSaysWhoDidWhatAndNoSecrets(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_HTTP_TRUSTED_PROXIES=127.0.0.1")
	get(t, r.URL()+"/v2/?token=hush", append(basic(), "X-Request-Id", "mine-1", "User-Agent", "pod\"man/5", "X-Forwarded-For", "203.0.113.9")...)
	get(t, r.URL()+"/v2/x%0Alevel=ERROR/manifests/%FF", "X-Request-Id", "bad id", "Authorization", "Bearer hush")
	get(t, r.URL()+"/healthz")
	await(t, "two lines", func() bool { return len(r.log.lines("request")) == 2 })
	first, second := r.log.lines("request")[0], r.log.lines("request")[1]
	for key, want := range map[string]any{
		"level": "INFO", "method": "GET", "path": "/v2/", "status": 200.0, "received": 0.0, "request_id": "mine-1", "subject": "admin", "remote": "203.0.113.9", "proto": "HTTP/1.1", "agent": "pod\"man/5",
	} {
		if first[key] != want {
			t.Errorf("%s is %v, want %v in %v", key, first[key], want, first)
		}
	}
	if at, ok := first["time"].(string); !ok {
		t.Errorf("time %v", first["time"])
	} else if _, err := time.Parse(time.RFC3339Nano, at); err != nil {
		t.Error(err)
	}
	if second["path"] != "/v2/x%0Alevel=ERROR/manifests/%FF" || second["request_id"] == "bad id" || second["request_id"] == "" || second["subject"] != "" {
		t.Errorf("%v", second)
	}
	if strings.Contains(r.log.String(), "hush") {
		t.Errorf("a secret is in the log:\n%s", r.log)
	}
}

func TestTheAccessLogCountsWhatWasSent(t *testing.T) {
	t.Parallel()
	r := start(t)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		if _, err := do(t, http.DefaultClient, method, r.URL()+"/v2/app/manifests/v1", nil, basic()...); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the lines", func() bool { return len(r.log.lines("request")) == 2 })
	if with, without := r.log.lines("request")[0]["bytes"], r.log.lines("request")[1]["bytes"]; with == 0.0 || without != 0.0 {
		t.Errorf("%v bytes of a GET, %v of a HEAD, which has no body", with, without)
	}
}

func TestTheAccessLogSaysWhyARequestWasRefused(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_LOG_FORMAT=json")
	get(t, r.URL()+"/v2/", basic()...)
	get(t, r.URL()+"/v2/app/manifests/v1", basic()...)
	if _, err := do(t, http.DefaultClient, http.MethodPut, r.URL()+"/v2/app/manifests/v1", strings.NewReader("{"), append(basic(), "Content-Type", "application/vnd.oci.image.manifest.v1+json")...); err != nil {
		t.Fatal(err)
	}
	await(t, "the lines", func() bool { return len(r.log.lines("request")) == 3 })
	for i, want := range []any{nil, "NAME_UNKNOWN", "MANIFEST_INVALID"} {
		line := r.log.lines("request")[i]
		if why, ok := line["why"].(string); line["code"] != want || ok != (want != nil) || ok && why == "" {
			t.Errorf("line %d: %v", i, line)
		}
	}
}

func TestNobodyFillsTheLogWithOneRequest(t *testing.T) {
	t.Parallel()
	r := start(t)
	long := strings.Repeat("x", 50<<10)
	for _, c := range [][2]string{{http.MethodGet, "/" + long}, {http.MethodGet, "/v2/" + long + "/tags/list"}, {"X" + long, "/v2/"}} {
		if _, err := do(t, http.DefaultClient, c[0], r.URL()+c[1], nil, "User-Agent", strings.Repeat("ü", 5<<10), "X-Request-Id", "y"+long[:5<<10]); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the lines", func() bool { return len(r.log.lines("request")) == 3 })
	for line := range strings.Lines(r.log.String()) {
		if len(line) > 4<<10 {
			t.Errorf("a line of %d bytes: %s", len(line), line[:1000])
		}
	}
	if agent := r.log.lines("request")[0]["agent"]; agent != strings.Repeat("ü", 512)+"…" {
		t.Errorf("agent %v", agent)
	}
}

func TestTheAccessLogCanBeTurnedOff(t *testing.T) {
	t.Parallel()
	r := start(t, "HAVN_LOG_ACCESS=false")
	a := get(t, r.URL()+"/v2/")
	if a.Header.Get("X-Request-Id") == "" {
		t.Error("no request id")
	}
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	if n := len(r.log.lines("request")); n != 0 {
		t.Errorf("%d lines", n)
	}
}

func TestLinesOfTheAccessLogReadAsThoseOfSlog(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	for _, nasty := range []string{"", "plain", "a b", "a=b", "quote\"", "back\\slash", "new\nline", "nul\x00", "\xff\xfe", "ümlaut", "\u2028", "\x7f", "日本"} {
		var line map[string]any
		if err := json.Unmarshal(new(server.AccessEntry).Line(config.JSON, at, nasty, "x", 7, 1500*time.Microsecond), &line); err != nil {
			t.Fatalf("%q: %v", nasty, err)
		}
		if want := strings.ToValidUTF8(nasty, "\uFFFD"); line["path"] != want && line["path"] != strings.ReplaceAll(want, "\uFFFD", "\uFFFD\uFFFD") {
			t.Errorf("%q comes back as %q", nasty, line["path"])
		}
		if line["bytes"] != 7.0 || line["ms"] != 1.5 || line["msg"] != "request" || line["time"] != "2026-01-02T03:04:05.006Z" {
			t.Errorf("%v", line)
		}
		text := string(new(server.AccessEntry).Line(config.Text, at, nasty, "x", 7, 0))
		if strings.Count(text, "\n") != 1 || !strings.HasPrefix(text, "time=2026-01-02T03:04:05.006Z level=INFO msg=request path=") || !strings.HasSuffix(text, " agent=x bytes=7 ms=0.000\n") {
			t.Errorf("%q", text)
		}
	}
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("request", "path", "a b\"", "agent", "x")
	want := b.String()[strings.Index(b.String(), " level="):]
	got := string(new(server.AccessEntry).Line(config.Text, at, "a b\"", "x", 0, 0))
	if got = got[strings.Index(got, " level="):]; !strings.HasPrefix(got, strings.TrimSuffix(want, "\n")) {
		t.Errorf("%q, slog writes %q", got, want)
	}
}

func TestPathsFallIntoFewClasses(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v2/": "base", "/v2": "base", "/v2/_catalog": "catalog", "/v2/a/manifests/1": "manifest", "/v2/a/b/manifests/sha256:x": "manifest", "/v2/a/blobs/sha256:x": "blob",
		"/v2/a/blobs/uploads/": "upload", "/v2/a/blobs/uploads": "upload", "/v2/a/blobs/uploads/id": "upload", "/v2/a/blobs/uploads/id/5": "upload", "/v2/a/tags/list": "tags",
		"/v2/a/referrers/sha256:x": "referrers", "/service/token": "token", "/healthz": "health", "/readyz": "health", "/": "other", "/v2/x": "other", "": "other", "/v3/a/manifests/1": "other",
	} {
		if got := server.ClassOf(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

func TestRequestIDsAreTakenOnlyIfTheyAreSane(t *testing.T) {
	t.Parallel()
	for _, sane := range []string{"a", "550e8400-e29b-41d4-a716-446655440000", "1-2.3_4:5/6+7="} {
		if got := server.RequestID(sane); got != sane {
			t.Errorf("%q becomes %q", sane, got)
		}
	}
	for _, bad := range []string{"", "a b", "a\n", "ü", strings.Repeat("a", 65), "\"", "<x>"} {
		if got := server.RequestID(bad); got == bad || got == "" {
			t.Errorf("%q becomes %q", bad, got)
		}
	}
}

func TestABlobGoesFromTheFileToTheSocket(t *testing.T) {
	t.Parallel()
	// The wrapper in front of every answer must hand files on to what is below it: net/http's writer, whose connection calls sendfile.
	below := &fileTaker{ResponseRecorder: httptest.NewRecorder()}
	front := server.Observed(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		to, ok := w.(io.ReaderFrom)
		if !ok {
			t.Fatalf("%T can't take a file", w)
		}
		if n, err := to.ReadFrom(strings.NewReader("hello")); n != 5 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
	}))
	front.ServeHTTP(below, httptest.NewRequest(http.MethodGet, "/", nil))
	if below.taken != 5 {
		t.Errorf("%d bytes were handed on", below.taken)
	}
	// And the connections of our listeners must be TCP connections as they are, not copies through memory.
	server.WithConnection(t, func(conn net.Conn) {
		if _, ok := conn.(io.ReaderFrom); !ok {
			t.Errorf("%T can't take a file", conn)
		}
	})
}

type fileTaker struct {
	*httptest.ResponseRecorder
	taken int64
}

// ReadFrom takes what could be a file.
func (f *fileTaker) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(io.Discard, src)
	f.taken += n
	return n, err
}

func TestAPanicIsLoggedAndCutsTheConnection(t *testing.T) {
	t.Parallel()
	log := &journal{}
	front := server.ObservedTo(log, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oh") }))
	s := httptest.NewServer(front)
	defer s.Close()
	if a, err := do(t, s.Client(), http.MethodGet, s.URL+"/v2/", nil); err == nil && a.StatusCode != http.StatusInternalServerError {
		t.Errorf("answered %s", a.Status)
	}
	await(t, "the panic in the log", func() bool { return len(log.lines("a handler panicked")) == 1 })
}

func TestRequestsAreTracedWhereThatIsConfigured(t *testing.T) {
	t.Parallel()
	spans := make(chan string, 100)
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			spans <- r.URL.Path + " " + string(body)
		}
		w.WriteHeader(http.StatusOK)
	}))
	defer collector.Close()
	r := start(t, "HAVN_TRACING_OTLP_ENDPOINT="+collector.URL)
	get(t, r.URL()+"/v2/library/app/manifests/1", "traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	get(t, r.URL()+"/v2/library/app/manifests/%ff%fe", "User-Agent", "scanner \xff") // what a stranger sends takes nobody else's traces with it
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	select {
	case span := <-spans:
		if !strings.HasPrefix(span, "/v1/traces ") || !strings.Contains(span, "GET manifest") || !strings.Contains(span, "scanner \uFFFD") || !strings.Contains(span, "\x4b\xf9\x2f\x35\x77\xb3\x4d\xa6") {
			t.Errorf("%q", span)
		}
	case <-time.After(patience):
		t.Fatal("no span arrives")
	}
}

func TestSystemdIsTold(t *testing.T) {
	dir := t.TempDir()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "n"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if closeErr := socket.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	}()
	if err = socket.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(dir, "n"))
	t.Setenv("WATCHDOG_USEC", "300000")
	r := start(t, "HAVN_HTTP_DRAIN_TIMEOUT=7m")
	expect := func(want string) {
		t.Helper()
		buf := make([]byte, 4096)
		for {
			n, readErr := socket.Read(buf)
			if readErr != nil {
				t.Fatalf("%s is not said: %v", want, readErr)
			}
			if strings.HasPrefix(string(buf[:n]), want) {
				return
			}
		}
	}
	expect("READY=1\n")
	expect("WATCHDOG=1")
	r.stop()
	expect("STOPPING=1\nEXTEND_TIMEOUT_USEC=435000000\n") // seven minutes, and what follows
	if err = r.wait(t); err != nil {
		t.Fatal(err)
	}
}
