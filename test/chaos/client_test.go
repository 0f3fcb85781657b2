package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/havn-registry/havn/test/request"
)

const (
	// attemptTime is how long a client waits for one answer: more than a failover takes. Without a balancer that looks at the nodes, it is what a node that hangs costs its clients.
	attemptTime = 15 * time.Second
	// avoidTime is for how long a client keeps away from a node that did not answer it.
	avoidTime = 20 * time.Second
	// retryPause is between two attempts of the same.
	retryPause = 100 * time.Millisecond
	// clientPatience is how long a client tries the same again before it calls that an error: longer than any fault lasts, and the making good of it.
	clientPatience = 5 * time.Minute
)

// client speaks to all nodes, to another one with each request, and asks again where it gets no answer or is told to: what a client behind a balancer does. Like the balancer it keeps away
// for a while from a node that did not answer; it finds out by itself, request by request.
type client struct {
	http    *http.Client
	urls    []string
	avoided []time.Time // until when, by node
	seen    *tally
}

func newClient(d *deployment, seen *tally) *client {
	return &client{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: attemptTime}, d.urls, make([]time.Time, len(d.urls)), seen}
}

// once sends a request to one node, or if that is empty to any, once.
func (c *client) once(ctx context.Context, method, node, path, kind string, body []byte, want ...int) (request.Answer, error) {
	if node != "" {
		return request.Do(ctx, c.http, method, node+path, kind, body, want...)
	}
	n := c.choose()
	got, err := request.Do(ctx, c.http, method, c.urls[n]+path, kind, body, want...)
	if err != nil && got.Status == 0 && ctx.Err() == nil {
		c.avoided[n] = time.Now().Add(avoidTime)
	}
	return got, err
}

// choose answers a node by chance, among those that are not avoided, if there are any.
func (c *client) choose() int {
	order, now := rand.Perm(len(c.urls)), time.Now()
	for _, n := range order {
		if now.After(c.avoided[n]) {
			return n
		}
	}
	return order[0]
}

// again does something until it succeeds, the context ends, or an answer comes that no retry hides, which is written down.
func (c *client) again(ctx context.Context, do func() error) error {
	for begun := time.Now(); ; {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if request.Passes(err) && time.Since(begun) > clientPatience {
			err = fmt.Errorf("tried for %s: %w", clientPatience, err)
			c.seen.wrong(err)
			return err
		}
		if !request.Passes(err) {
			c.seen.wrong(err)
			return err
		}
		c.seen.retried(err)
		pause(ctx, retryPause)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// pushBlob sends a blob in pieces, each to another node; whatever fails is begun again from the first piece, as clients do.
func (c *client) pushBlob(ctx context.Context, repo string, data []byte) error {
	return c.again(ctx, func() error {
		return request.PushBlob(rand.IntN(4), repo, data, func(method, path, kind string, body []byte, want int) (request.Answer, error) {
			return c.once(ctx, method, "", path, kind, body, want)
		})
	})
}

func (c *client) pushManifest(ctx context.Context, repo, ref string, text []byte) error {
	return c.again(ctx, func() error {
		_, err := c.once(ctx, http.MethodPut, "", "/v2/"+repo+"/manifests/"+ref, request.Manifest, text, http.StatusCreated)
		return err
	})
}

// read answers what a path holds, from one node or, if that is empty, from any.
func (c *client) read(ctx context.Context, node, path string) (text []byte, err error) {
	err = c.again(ctx, func() error {
		got, onceErr := c.once(ctx, http.MethodGet, node, path, "", nil, http.StatusOK)
		text = got.Text
		return onceErr
	})
	return text, err
}
