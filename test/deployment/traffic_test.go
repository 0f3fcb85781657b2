package deployment

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/request"
)

const (
	// pushers is how many clients push at once.
	pushers = 3
	// pushPause is between two pushes of a client: all that was pushed is read through every server at the end.
	pushPause = 200 * time.Millisecond
	// retryPause is between two attempts of the same, and clientPatience for how long it is tried: longer than any fault lasts here.
	retryPause     = 100 * time.Millisecond
	clientPatience = 2 * time.Minute
)

// pushed is an image that was acknowledged.
type pushed struct{ repo, tag, manifest, config, layer string }

// traffic is clients that push through the balancer until it ends, and ask again where they get no answer or are told to.
type traffic struct {
	d      *deployed
	client *http.Client
	stop   func()
	wg     sync.WaitGroup

	mu    sync.Mutex
	all   []pushed
	last  time.Time // that one was acknowledged
	gap   time.Duration
	again int // attempts that were not the first
	wrong []string
}

func (d *deployed) load(t *testing.T) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &traffic{d: d, client: d.client(), last: time.Now()}
	l.stop = func() {
		cancel()
		l.wg.Wait()
		l.client.CloseIdleConnections()
	}
	for n := range pushers {
		l.wg.Go(func() {
			for number := 0; ctx.Err() == nil; number++ {
				l.push(ctx, fmt.Sprintf("load/app%d", n), fmt.Sprintf("t%d", number))
				pause(ctx, pushPause)
			}
		})
	}
	return l
}

func (l *traffic) push(ctx context.Context, repo, tag string) {
	config, layer := fmt.Appendf(nil, `{"n":%d}`, rand.Uint64()), make([]byte, 1+rand.IntN(64<<10))
	for i := range layer {
		layer[i] = byte(rand.Uint32())
	}
	manifest := request.Image(tag, config, layer)
	for _, data := range [][]byte{config, layer} {
		if !l.try(ctx, func() error {
			return request.PushBlob(rand.IntN(3), repo, data, func(method, path, kind string, body []byte, want int) (request.Answer, error) {
				return request.Do(ctx, l.client, method, l.d.URL+path, kind, body, want)
			})
		}) {
			return
		}
	}
	if l.try(ctx, func() error {
		_, err := request.Do(ctx, l.client, http.MethodPut, l.d.URL+"/v2/"+repo+"/manifests/"+tag, request.Manifest, manifest, http.StatusCreated)
		return err
	}) {
		l.acknowledged(pushed{repo, tag, request.Digest(manifest), request.Digest(config), request.Digest(layer)})
	}
}

// passes reports whether an error may pass if the same is asked again: what Havn says so of, no answer, and what the balancer says in place of a node.
func passes(err error) bool {
	var r *request.Refused
	if request.Passes(err) || !errors.As(err, &r) {
		return true
	}
	return r.Status >= http.StatusBadGateway && r.Status <= http.StatusGatewayTimeout && strings.HasPrefix(string(r.Text), "<html>")
}

// try does something until it succeeds, the traffic ends, or an answer comes that no retry hides.
func (l *traffic) try(ctx context.Context, do func() error) bool {
	for begun := time.Now(); ; {
		err := do()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		l.mu.Lock()
		l.again++
		if hopeless := time.Since(begun) > clientPatience; hopeless || !passes(err) {
			l.wrong = append(l.wrong, err.Error())
			l.mu.Unlock()
			return false
		}
		l.mu.Unlock()
		pause(ctx, retryPause)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (l *traffic) acknowledged(p pushed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.gap = max(l.gap, now.Sub(l.last))
	l.last = now
	l.all = append(l.all, p)
}

// more waits until some more pushes are acknowledged.
func (l *traffic) more(t *testing.T, n int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.all)
	}
	for want, deadline := count()+n, time.Now().Add(patience); count() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no more pushes are acknowledged for %s; refused: %v", patience, l.wrong)
		}
	}
}

// reset answers the longest gap between two acknowledged pushes and the number of retries since it was called last.
func (l *traffic) reset() (time.Duration, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gap, again := max(l.gap, time.Since(l.last)), l.again
	l.gap, l.again, l.last = 0, 0, time.Now()
	return gap, again
}

// audit reads everything that was acknowledged: each image's manifest through every server, its blobs through one of them each.
func (l *traffic) audit(t *testing.T) {
	t.Helper()
	for i, p := range l.all {
		for _, url := range l.d.urls {
			got, err := request.Do(t.Context(), l.client, http.MethodGet, url+"/v2/"+p.repo+"/manifests/"+p.tag, "", nil, http.StatusOK)
			if err != nil || request.Digest(got.Text) != p.manifest {
				t.Errorf("%s:%s through %s: %v", p.repo, p.tag, url, err)
			}
		}
		url := l.d.urls[i%len(l.d.urls)]
		l.d.blob(t.Context(), t, l.client, url, p.repo, p.config)
		l.d.blob(t.Context(), t, l.client, url, p.repo, p.layer)
	}
	for _, wrong := range l.wrong {
		t.Errorf("a client saw an error that no retry hides: %s", wrong)
	}
	t.Logf("%d images were acknowledged, and are there", len(l.all))
}
