package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/request"
)

// repositories is how many the clients share.
const repositories = 4

// image is what a push brings, known beforehand.
type image struct {
	repo, tag string
	blobs     map[string][]byte
	manifest  []byte
	digest    string
}

// ledger is what clients were told: all of it must be true for ever after.
type ledger struct {
	mu     sync.Mutex
	images map[string]image // by repo:tag, as acknowledged
	begun  map[string]image // every image that a push was begun of
	blobs  map[string]string
	cut    int      // pushes that ended in an error
	wrong  []string // answers that no fault explains
	next   int

	deleted map[string]bool // tags whose deletion was acknowledged
	uploads []*upload       // of which a piece was acknowledged
	sent    int             // pieces
}

func newLedger() *ledger {
	return &ledger{images: map[string]image{}, begun: map[string]image{}, blobs: map[string]string{}, deleted: map[string]bool{}}
}

func noise(source *rand.Rand, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(source.Uint32())
	}
	return b
}

func newImage(source *rand.Rand, repo, tag string) image {
	m := image{repo: repo, tag: tag, blobs: map[string][]byte{}}
	add := func(data []byte) []byte {
		m.blobs[request.Digest(data)] = data
		return data
	}
	config := add(fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","n":%d}`, source.Uint64()))
	var layers [][]byte
	for range 1 + source.IntN(3) {
		layers = append(layers, add(noise(source, 1+source.IntN(128<<10))))
	}
	m.manifest = request.Image("", config, layers...)
	m.digest = request.Digest(m.manifest)
	return m
}

// client speaks to a server that may die at any moment.
type client struct {
	http *http.Client
	url  string
}

// do answers an error for anything but the status that was wanted.
func (c *client) do(ctx context.Context, method, path, kind string, body []byte, want int) (request.Answer, error) {
	return request.Do(ctx, c.http, method, c.url+path, kind, body, want)
}

// explained reports whether a fault explains that a push ended so: no answer came, or one that says to try again later.
func (l *ledger) explained(err error) bool {
	var r *request.Refused
	return !errors.As(err, &r) || r.Status == http.StatusServiceUnavailable
}

// push sends an image and writes down what is acknowledged.
func (l *ledger) push(ctx context.Context, c *client, source *rand.Rand, m image) error {
	l.mu.Lock()
	l.begun[m.repo+":"+m.tag] = m
	l.mu.Unlock()
	send := func(method, path, kind string, body []byte, want int) (request.Answer, error) {
		return c.do(ctx, method, path, kind, body, want)
	}
	for d, data := range m.blobs {
		if err := request.PushBlob(source.IntN(5), m.repo, data, send); err != nil {
			return err
		}
		l.mu.Lock()
		l.blobs[d] = m.repo
		l.mu.Unlock()
	}
	if _, err := c.do(ctx, http.MethodPut, "/v2/"+m.repo+"/manifests/"+m.tag, request.Manifest, m.manifest, http.StatusCreated); err != nil {
		return err
	}
	l.mu.Lock()
	l.images[m.repo+":"+m.tag] = m
	l.mu.Unlock()
	return nil
}

// traffic lets some clients push images until the context ends or they are cut off. It answers when all of them have stopped.
func (l *ledger) traffic(ctx context.Context, s *harness.Server, n int, seed uint64) {
	l.clients(ctx, s, n, seed, func(ctx context.Context, c *client, source *rand.Rand, number int) error {
		l.mu.Lock()
		l.next++
		tag := fmt.Sprintf("t%d", l.next)
		l.mu.Unlock()
		return l.push(ctx, c, source, newImage(source, fmt.Sprintf("faults/app%d", number%repositories), tag))
	})
}

// check looks at everything that was acknowledged, and that nothing half is visible: each tag that is listed is of an image that a push was begun of, and whole.
func (l *ledger) check(t *testing.T, s *harness.Server) {
	t.Helper()
	c := &client{s.HTTP(), s.URL}
	defer c.http.CloseIdleConnections()
	for name, m := range l.images {
		l.whole(t, c, name, m)
	}
	for d, repo := range l.blobs {
		if a, err := c.do(t.Context(), http.MethodGet, "/v2/"+repo+"/blobs/"+d, "", nil, http.StatusOK); err != nil || request.Digest(a.Text) != d {
			t.Errorf("acknowledged blob %s of %s: %v", d, repo, err)
		}
	}
	l.checkPieces(t, c)
	for _, answer := range l.wrong {
		t.Errorf("while clients pushed: %s", answer)
	}
	for _, m := range l.begun {
		for d, want := range m.blobs {
			a, err := c.do(t.Context(), http.MethodGet, "/v2/"+m.repo+"/blobs/"+d, "", nil, http.StatusOK)
			if a.Status != http.StatusNotFound && (err != nil || !bytes.Equal(a.Text, want)) {
				t.Errorf("blob %s of %s, not acknowledged, is neither absent nor whole: %d bytes, %v", d, m.repo, len(a.Text), err)
			}
		}
	}
	for i := range repositories {
		repo := fmt.Sprintf("faults/app%d", i)
		a, err := c.do(t.Context(), http.MethodGet, "/v2/"+repo+"/tags/list?n=10000", "", nil, http.StatusOK)
		if err != nil && strings.Contains(err.Error(), "NAME_UNKNOWN") {
			continue
		}
		var list struct{ Tags []string }
		if err = errors.Join(err, json.Unmarshal(a.Text, &list)); err != nil {
			t.Fatal(err)
		}
		for _, tag := range list.Tags {
			m, ok := l.begun[repo+":"+tag]
			if !ok {
				t.Errorf("%s:%s is listed and was never pushed", repo, tag)
				continue
			}
			if l.deleted[repo+":"+tag] {
				t.Errorf("%s:%s is listed, and its deletion was acknowledged", repo, tag)
			}
			l.whole(t, c, repo+":"+tag, m)
		}
	}
}

func (l *ledger) whole(t *testing.T, c *client, name string, m image) {
	t.Helper()
	for _, ref := range []string{m.tag, m.digest} {
		if a, err := c.do(t.Context(), http.MethodGet, "/v2/"+m.repo+"/manifests/"+ref, "", nil, http.StatusOK); err != nil || !bytes.Equal(a.Text, m.manifest) {
			t.Errorf("%s by %s: %d bytes, %v", name, ref, len(a.Text), err)
		}
	}
	for d, want := range m.blobs {
		if a, err := c.do(t.Context(), http.MethodGet, "/v2/"+m.repo+"/blobs/"+d, "", nil, http.StatusOK); err != nil || !bytes.Equal(a.Text, want) {
			t.Errorf("%s, its blob %s: %d bytes, %v", name, d, len(a.Text), err)
		}
	}
}

// counts answers how much was acknowledged and cut off so far.
func (l *ledger) counts() (images, cut int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.images), l.cut
}
