package chaos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/havn-registry/havn/test/harness"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	octets       = "application/octet-stream"
	// attemptTime is how long a client waits for one answer: more than a failover takes. Without a balancer that looks at the nodes, it is what a node that hangs costs its clients.
	attemptTime = 15 * time.Second
	// retryPause is between two attempts of the same.
	retryPause = 100 * time.Millisecond
)

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// client speaks to all nodes, to another one with each request, and asks again where it gets no answer or is told to: what a client behind a balancer does.
type client struct {
	http *http.Client
	urls []string
	seen *tally
}

func newClient(d *deployment, seen *tally) *client {
	return &client{&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4}, Timeout: attemptTime}, d.urls, seen}
}

// refused is an answer that was not one of the wanted.
type refused struct {
	request string
	status  int
	retry   string // Retry-After
	text    []byte
}

func (r *refused) Error() string { return fmt.Sprintf("%s: %d: %s", r.request, r.status, r.text) }

// passing reports whether the client should try again: no answer came, or one that says so.
func passing(err error) bool {
	var r *refused
	return !errors.As(err, &r) || r.status == http.StatusServiceUnavailable && r.retry != ""
}

// answer is one that was wanted, read to its end.
type answer struct {
	status   int
	location string
	digest   string
	text     []byte
}

// once sends a request to one node, once.
func (c *client) once(ctx context.Context, method, node, path, kind string, body []byte, want ...int) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, node+path, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.SetBasicAuth(harness.User, harness.Password)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err
	}
	text, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return answer{}, err
	}
	if !slices.Contains(want, res.StatusCode) {
		return answer{}, &refused{method + " " + path, res.StatusCode, res.Header.Get("Retry-After"), text}
	}
	return answer{res.StatusCode, res.Header.Get("Location"), res.Header.Get("Docker-Content-Digest"), text}, nil
}

// any answers a node by chance.
func (c *client) any() string { return c.urls[rand.IntN(len(c.urls))] }

// again does something until it succeeds, the context ends, or an answer comes that no retry hides, which is written down.
func (c *client) again(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if !passing(err) {
			c.seen.wrong(err)
			return err
		}
		c.seen.retried(err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryPause):
		}
	}
}

// pushBlob sends a blob in pieces, each to another node; whatever fails is begun again from the first piece, as clients do.
func (c *client) pushBlob(ctx context.Context, repo string, data []byte) error {
	return c.again(ctx, func() error {
		base, digest := "/v2/"+repo+"/blobs/uploads/", digestOf(data)
		pieces := rand.IntN(4)
		if pieces == 0 {
			_, err := c.once(ctx, http.MethodPost, c.any(), base+"?digest="+digest, octets, data, http.StatusCreated)
			return err
		}
		at, err := c.once(ctx, http.MethodPost, c.any(), base, "", nil, http.StatusAccepted)
		rest := data
		for ; err == nil && pieces > 1; pieces-- {
			part := rest[:len(rest)/pieces]
			rest = rest[len(part):]
			at, err = c.once(ctx, http.MethodPatch, c.any(), path(at.location), octets, part, http.StatusAccepted)
		}
		if err == nil {
			_, err = c.once(ctx, http.MethodPut, c.any(), path(at.location)+"?digest="+digest, octets, rest, http.StatusCreated)
		}
		return err
	})
}

// path cuts the node off a Location.
func path(location string) string {
	if _, after, found := strings.Cut(location, "/v2/"); found {
		return "/v2/" + after
	}
	return location
}

func (c *client) pushManifest(ctx context.Context, repo, ref string, text []byte) error {
	return c.again(ctx, func() error {
		_, err := c.once(ctx, http.MethodPut, c.any(), "/v2/"+repo+"/manifests/"+ref, manifestType, text, http.StatusCreated)
		return err
	})
}

// read answers what a path holds, from one node or, if that is empty, from any.
func (c *client) read(ctx context.Context, node, path string) (text []byte, err error) {
	err = c.again(ctx, func() error {
		at := node
		if at == "" {
			at = c.any()
		}
		got, onceErr := c.once(ctx, http.MethodGet, at, path, "", nil, http.StatusOK)
		text = got.text
		return onceErr
	})
	return text, err
}
