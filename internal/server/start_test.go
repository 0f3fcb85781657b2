package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/server"
)

// patience is how long a test waits for what should take a moment.
const patience = 60 * time.Second

const password = "correct-horse-7"

// journal keeps what a server logs.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}

// lines answers the log's lines with a message, decoded.
func (j *journal) lines(msg string) []map[string]any {
	var all []map[string]any
	for line := range strings.Lines(j.String()) {
		var l map[string]any
		if json.Unmarshal([]byte(line), &l) == nil && l["msg"] == msg {
			all = append(all, l)
		}
	}
	return all
}

// running is a server under test.
type running struct {
	*server.Server
	log    *journal
	data   string
	stop   context.CancelFunc
	reload chan os.Signal
	done   chan error
	ended  bool
	fails  bool   // the test expects an error of Run
	hurry  func() // ends the drain delay
	err    error
}

func configure(t *testing.T, env ...string) (*config.Config, string) {
	t.Helper()
	data := filepath.Join(t.TempDir(), "data")
	base := []string{
		"HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_DATA_DIR=" + data, "HAVN_ADMIN_PASSWORD=" + password, "HAVN_LOG_FORMAT=json", "HAVN_STORAGE_LOW_DISK=0", "HAVN_MEMORY_LIMIT=0",
	}
	merged := map[string]string{}
	var names []string
	for _, pair := range append(base, env...) {
		name, text, _ := strings.Cut(pair, "=")
		if _, ok := merged[name]; !ok {
			names = append(names, name)
		}
		merged[name] = text
	}
	var all []string
	for _, name := range names {
		all = append(all, name+"="+merged[name])
	}
	c, warnings, err := config.Load(config.Source{Env: all})
	if err != nil || len(warnings) > 0 {
		t.Fatalf("%v, %v", warnings, err)
	}
	return c, c.DataDir
}

// start runs a server with the environment given, until the test ends.
func start(t *testing.T, env ...string) *running {
	t.Helper()
	c, data := configure(t, env...)
	return startWith(t, server.Options{Config: c}, data)
}

func startWith(t *testing.T, o server.Options, data string) *running {
	t.Helper()
	r := &running{log: &journal{}, data: data, reload: make(chan os.Signal, 1), done: make(chan error, 1)}
	o.Stderr, o.Reload, o.Version = r.log, r.reload, "test"
	ctx, cancel := context.WithCancel(context.Background())
	r.stop = cancel
	s, err := server.New(ctx, o)
	if err != nil {
		cancel()
		t.Fatalf("start: %v\n%s", err, r.log)
	}
	r.Server, r.hurry = s, s.Hurry()
	go func() { r.done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if runErr := r.wait(t); runErr != nil && !r.fails {
			t.Errorf("the server ended with %v", runErr)
		}
		if t.Failed() {
			t.Logf("its log:\n%s", r.log)
		}
	})
	return r
}

// wait waits for the end of a server that was told to stop.
func (r *running) wait(t *testing.T) error {
	t.Helper()
	if r.ended {
		return r.err
	}
	select {
	case r.err = <-r.done:
		r.ended = true
	case <-time.After(patience):
		t.Fatalf("the server does not end; its log:\n%s", r.log)
	}
	return r.err
}

// await asks until the condition holds.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("after %s still not: %s", patience, what)
		}
	}
}

// answer is a response whose body was read.
type answer struct {
	*http.Response
	body string
}

func do(t *testing.T, client *http.Client, method, url string, body io.Reader, header ...string) (answer, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(res.Body)
	if closeErr := res.Body.Close(); err == nil {
		err = closeErr
	}
	return answer{res, string(text)}, err
}

func get(t *testing.T, url string, header ...string) answer {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	a, err := do(t, client, http.MethodGet, url, nil, header...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func basic() []string {
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth("admin", password)
	return []string{"Authorization", req.Header.Get("Authorization")}
}

// upload begins an upload and answers its URL.
func (r *running) upload(t *testing.T) string {
	t.Helper()
	a, err := do(t, http.DefaultClient, http.MethodPost, r.URL()+"/v2/library/app/blobs/uploads/", nil, basic()...)
	if err != nil || a.StatusCode != http.StatusAccepted {
		t.Fatalf("%v %v %s", err, a.Response, a.body)
	}
	return r.URL() + a.Header.Get("Location")
}

func notNil(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want one with %q", err, want)
	}
}

func mustWrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func mustBeAbsent(t *testing.T, path string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		t.Errorf("%s is left behind", path)
	}
}

func label(name string, pairs ...string) string {
	var all []string
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, fmt.Sprintf("%s=%q", pairs[i], pairs[i+1]))
	}
	return name + "{" + strings.Join(all, ",") + "}"
}
