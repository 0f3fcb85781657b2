package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
)

// backend looks like a node of Havn to a balancer.
type backend struct {
	*httptest.Server
	ready   atomic.Bool
	breaks  atomic.Bool // it takes requests and breaks off without an answer
	refuses atomic.Bool // it answers 503
	asked   atomic.Int32
	header  atomic.Pointer[http.Header]
}

func newBackend(t *testing.T, name string) *backend {
	t.Helper()
	b := &backend{}
	b.ready.Store(true)
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/readyz" && !b.ready.Load():
			w.WriteHeader(http.StatusServiceUnavailable)
		case r.URL.Path == "/readyz", r.URL.Path == "/healthz":
		case b.breaks.Load():
			b.asked.Add(1)
			panic(http.ErrAbortHandler)
		case b.refuses.Load():
			b.asked.Add(1)
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			b.asked.Add(1)
			header := r.Header.Clone()
			b.header.Store(&header)
			if _, err := io.WriteString(w, name); err != nil {
				t.Logf("answer: %v", err)
			}
		}
	}))
	t.Cleanup(b.Close)
	return b
}

// balanced is a balancer in front of two such nodes.
type balanced struct {
	*lab.HAProxy
	a, b   *backend
	client *http.Client
}

func balance(t *testing.T, o lab.HAProxyOptions) *balanced {
	t.Helper()
	d := &balanced{a: newBackend(t, "a"), b: newBackend(t, "b"), client: &http.Client{Timeout: time.Minute}}
	o.Nodes = map[string]string{"a": d.a.Listener.Addr().String(), "b": d.b.Listener.Addr().String()}
	var err error
	d.HAProxy, err = lab.StartHAProxy(t.Context(), o)
	need(t, err)
	t.Cleanup(func() { need(t, d.Stop()) })
	if d.CAFile != "" {
		pool := x509.NewCertPool()
		text, readErr := os.ReadFile(d.CAFile)
		if need(t, readErr); !pool.AppendCertsFromPEM(text) {
			t.Fatal("the authority's certificate can't be read")
		}
		d.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	}
	t.Cleanup(d.client.CloseIdleConnections)
	d.await(t, map[string]string{"a": "UP", "b": "UP"})
	return d
}

// await waits until the balancer thinks this of its nodes.
func (d *balanced) await(t *testing.T, want map[string]string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got, err := d.Servers(t.Context())
		if err == nil && maps.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nodes are %v (%v), want %v", got, err, want)
		}
	}
}

func (d *balanced) do(t *testing.T, method, path string) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, d.URL+path, strings.NewReader(strings.Repeat("x", 100)))
	need(t, err)
	answer, err := d.client.Do(r)
	if err != nil {
		return 0, "", err
	}
	text, err := io.ReadAll(answer.Body)
	need(t, answer.Body.Close())
	return answer.StatusCode, string(text), err
}

// served asks some times, and answers how often each node answered.
func (d *balanced) served(t *testing.T, method string, times int) map[string]int {
	t.Helper()
	by := map[string]int{}
	for range times {
		status, text, err := d.do(t, method, "/v2/")
		if err != nil {
			text = err.Error()
		} else if status != http.StatusOK {
			text = fmt.Sprint(status)
		}
		by[text]++
	}
	return by
}

func TestTheBalancerSpreadsRequestsAndLeavesOutWhoIsNotReady(t *testing.T) {
	d := balance(t, lab.HAProxyOptions{})
	if by := d.served(t, http.MethodPut, 20); by["a"] != 10 || by["b"] != 10 {
		t.Errorf("served by %v", by)
	}
	if got := d.a.header.Load(); got.Get("X-Forwarded-Proto") != "http" || got.Get("X-Forwarded-Host") != d.Addr || got.Get("X-Forwarded-For") == "" {
		t.Errorf("the node sees %v", *got)
	}
	d.a.ready.Store(false)
	d.await(t, map[string]string{"a": "DOWN", "b": "UP"})
	if by := d.served(t, http.MethodPut, 10); by["b"] != 10 {
		t.Errorf("one is not ready, served by %v", by)
	}
	// None is ready: they still answer for themselves.
	d.b.ready.Store(false)
	d.await(t, map[string]string{"a": "DOWN", "b": "DOWN"})
	if by := d.served(t, http.MethodGet, 10); by["a"]+by["b"] != 10 {
		t.Errorf("none is ready, served by %v", by)
	}
	d.a.ready.Store(true)
	d.await(t, map[string]string{"a": "UP", "b": "DOWN"})
}

func TestTheBalancerTriesAgainWhatMayBeDoneTwiceAndNothingElse(t *testing.T) {
	d := balance(t, lab.HAProxyOptions{})
	d.a.breaks.Store(true)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for range 6 {
			if status, _, err := d.do(t, method, "/v2/"); status != http.StatusOK || err != nil {
				t.Errorf("%s, and one node breaks off: %d %v", method, status, err)
			}
		}
	}
	if d.a.asked.Load() == 0 {
		t.Fatal("the node that breaks off was never asked")
	}
	for _, method := range []string{http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		before := d.a.asked.Load() + d.b.asked.Load()
		by := d.served(t, method, 6)
		if asked := d.a.asked.Load() + d.b.asked.Load() - before; asked != 6 || by["b"] == 6 {
			t.Errorf("%s, and one node breaks off: %d requests became %d, answered %v", method, 6, asked, by)
		}
	}
	d.a.breaks.Store(false)
	d.a.refuses.Store(true)
	if by := d.served(t, http.MethodGet, 6); by["b"] != 6 {
		t.Errorf("GET, and one node answers 503: %v", by)
	}
	if by := d.served(t, http.MethodPut, 6); by["503"] != 3 || by["b"] != 3 {
		t.Errorf("PUT, and one node answers 503: %v", by)
	}
}

func TestTheBalancerHidesAConnectionThatIsRefused(t *testing.T) {
	d := balance(t, lab.HAProxyOptions{})
	d.a.CloseClientConnections()
	need(t, d.a.Listener.Close())
	// Before the balancer finds out: whatever the request, it did not begin.
	if by := d.served(t, http.MethodPost, 6); by["b"] != 6 {
		t.Errorf("served by %v", by)
	}
}

func TestTheBalancerTakesTLS(t *testing.T) {
	d := balance(t, lab.HAProxyOptions{TLS: true})
	if by := d.served(t, http.MethodPut, 4); by["a"] != 2 || by["b"] != 2 {
		t.Errorf("served by %v", by)
	}
	if got := d.a.header.Load().Get("X-Forwarded-Proto"); got != "https" {
		t.Errorf("the node sees %s", got)
	}
	need(t, d.Restart(t.Context()))
	d.await(t, map[string]string{"a": "UP", "b": "UP"})
	if by := d.served(t, http.MethodPut, 4); by["a"]+by["b"] != 4 {
		t.Errorf("after a restart, served by %v", by)
	}
}
