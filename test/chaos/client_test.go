package chaos

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
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
	unknown int // attempts of which it does not know what became of them: they may take effect at any time
}

func newClient(d *deployment, seen *tally) *client {
	return &client{http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}}, urls: d.urls, avoided: make([]time.Time, len(d.urls)), seen: seen}
}

// once sends a request to one node, or if that is empty to any, once, and waits some time for all of the answer.
func (c *client) once(ctx context.Context, method, node, path, kind string, body []byte, want ...int) (got request.Answer, err error) {
	bounded, cancel := context.WithTimeout(ctx, attemptTime)
	defer cancel()
	err = c.at(ctx, node, func(node string) (answered bool, doErr error) {
		got, doErr = request.Do(bounded, c.http, method, node+path, kind, body, want...)
		return got.Status != 0, doErr
	})
	return got, err
}

// at does something at one node, or if that is empty at any, which is kept away from if it does not answer.
func (c *client) at(ctx context.Context, node string, do func(node string) (answered bool, err error)) error {
	if node != "" {
		_, err := do(node)
		return err
	}
	n := c.choose()
	answered, err := do(c.urls[n])
	if err != nil && !answered && ctx.Err() == nil {
		c.avoided[n] = time.Now().Add(avoidTime)
	}
	return err
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
		c.unknown++
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

// sum reads what a path holds, from one node or, if that is empty, from any, and answers its digest and size.
func (c *client) sum(ctx context.Context, node, path string, want ...int) (got request.Answer, digest string, size int64, err error) {
	err = c.at(ctx, node, func(node string) (answered bool, doErr error) {
		var stream io.ReadCloser
		if got, stream, doErr = request.Send(ctx, c.http, http.MethodGet, node+path, "", nil, 0, want...); doErr != nil {
			return got.Status != 0, doErr
		}
		hash := sha256.New()
		size, doErr = io.Copy(hash, stream)
		digest = fmt.Sprintf("sha256:%x", hash.Sum(nil))
		return true, errors.Join(doErr, stream.Close())
	})
	return got, digest, size, err
}

// remove deletes what a path names, which was acknowledged.
func (c *client) remove(ctx context.Context, path string) error {
	before := c.unknown
	return c.again(ctx, func() error {
		want := []int{http.StatusAccepted}
		if c.unknown > before {
			want = append(want, http.StatusNotFound) // an attempt before this one did it
		}
		_, err := c.once(ctx, http.MethodDelete, "", path, "", nil, want...)
		return err
	})
}

// absent makes sure that no node, whichever is asked, has what a path names.
func (c *client) absent(ctx context.Context, path string) error {
	return c.again(ctx, func() error {
		_, err := c.once(ctx, http.MethodGet, "", path, "", nil, http.StatusNotFound)
		return err
	})
}
