package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// image is one layer, a configuration and the manifest of both. Once it is pushed, digests are kept of it and no contents.
type image struct {
	repo, tag               string
	config, layer, manifest string // digests
}

// content is what an image is made of.
type content struct{ config, layer, manifest []byte }

func manifestOf(config, layer []byte, note string) []byte {
	part := func(kind string, b []byte) map[string]any {
		return map[string]any{"mediaType": "application/vnd.oci.image." + kind, "digest": digestOf(b), "size": len(b)}
	}
	text, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": part("config.v1+json", config), "layers": []any{part("layer.v1.tar", layer)},
		"annotations": map[string]string{"note": note},
	})
	if err != nil {
		panic(err)
	}
	return text
}

// newImage makes one of up to 64 KiB; one in 32 is larger than a part of the store, so that it is sent in several.
func newImage(repo, tag string) (image, content) {
	size := 1 + rand.IntN(64<<10)
	if rand.IntN(32) == 0 {
		size += 6 << 20
	}
	c := content{config: fmt.Appendf(nil, `{"n":%d}`, rand.Uint64()), layer: make([]byte, size)}
	source := rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32.32s", fmt.Sprint(rand.Uint64(), rand.Uint64())))))
	if _, err := source.Read(c.layer); err != nil {
		panic(err)
	}
	c.manifest = manifestOf(c.config, c.layer, tag)
	return image{repo, tag, digestOf(c.config), digestOf(c.layer), digestOf(c.manifest)}, c
}

// tally is what clients saw since the last fault, and what they were told altogether.
type tally struct {
	mu      sync.Mutex
	images  []image // acknowledged
	pulls   int
	retries int
	errs    []string // that no retry hides, or contents that are not what was pushed
	last    time.Time
	gap     time.Duration  // the longest between two acknowledged pushes
	kinds   map[string]int // of what was retried
	latest  error
}

func (s *tally) wrong(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, time.Now().UTC().Format(time.RFC3339Nano)+" "+err.Error())
}

func (s *tally) retried(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retries++
	kind := "no answer"
	var r *refused
	if errors.As(err, &r) {
		kind = fmt.Sprint(r.status)
	}
	s.kinds[kind]++
	s.latest = err
}

// faulty answers what was wrong since it was last asked.
func (s *tally) faulty() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	wrong := s.errs
	s.errs = nil
	return wrong
}

// recent answers the last error that a client tried again after.
func (s *tally) recent() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

func (s *tally) pushed(m image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images = append(s.images, m)
	now := time.Now()
	if !s.last.IsZero() {
		s.gap = max(s.gap, now.Sub(s.last))
	}
	s.last = now
}

// pushes answers how many were acknowledged.
func (s *tally) pushes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.images)
}

// reset begins a new account of gaps and retries, and answers the old one.
func (s *tally) reset() (gap time.Duration, retries int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gap, retries = s.gap, s.retries
	s.gap, s.retries = 0, 0
	return gap, retries
}

// one answers an image that was acknowledged, by chance.
func (s *tally) one() (image, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.images) == 0 {
		return image{}, false
	}
	return s.images[rand.IntN(len(s.images))], true
}

// traffic is clients that push, pull and move tags until it ends.
type traffic struct {
	d    *deployment
	seen *tally
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu   sync.Mutex
	tags *tagged // what is moved now
}

// pushers, pullers and movers are how many clients there are of each kind.
const (
	pushers = 4
	pullers = 2
	movers  = 4 * movedTags
)

func (d *deployment) load(ctx context.Context) *traffic {
	ctx, cancel := context.WithCancel(ctx)
	l := &traffic{d: d, seen: &tally{kinds: map[string]int{}}, stop: cancel, tags: newTagged()}
	for n := range pushers {
		c := newClient(d, l.seen)
		l.wg.Go(func() {
			defer c.http.CloseIdleConnections()
			for number := 0; ctx.Err() == nil; number++ {
				m, of := newImage(fmt.Sprintf("chaos/app%d", n%2), fmt.Sprintf("t%d-%d", n, number))
				l.push(ctx, c, m, of)
				pause(ctx, 50*time.Millisecond)
			}
		})
	}
	for range pullers {
		c := newClient(d, l.seen)
		l.wg.Go(func() {
			defer c.http.CloseIdleConnections()
			for ctx.Err() == nil {
				if m, found := l.seen.one(); found {
					l.pull(ctx, c, m, "")
				}
				pause(ctx, 20*time.Millisecond)
			}
		})
	}
	for n := range movers {
		c := newClient(d, l.seen)
		l.wg.Go(func() {
			defer c.http.CloseIdleConnections()
			l.move(ctx, c, n)
		})
	}
	return l
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (l *traffic) push(ctx context.Context, c *client, m image, of content) {
	for _, blob := range [][]byte{of.config, of.layer} {
		if c.pushBlob(ctx, m.repo, blob) != nil {
			return
		}
	}
	if c.pushManifest(ctx, m.repo, m.tag, of.manifest) == nil {
		l.seen.pushed(m)
	}
}

// pull reads an image whole, from one node or from any, and compares.
func (l *traffic) pull(ctx context.Context, c *client, m image, node string) {
	for _, part := range [][2]string{
		{"/manifests/" + m.tag, m.manifest}, {"/manifests/" + m.manifest, m.manifest}, {"/blobs/" + m.config, m.config}, {"/blobs/" + m.layer, m.layer},
	} {
		at := "/v2/" + m.repo + part[0]
		got, err := c.read(ctx, node, at)
		if err != nil {
			return // written down, or the traffic ends
		}
		if digestOf(got) != part[1] {
			l.seen.wrong(fmt.Errorf("%s%s: %d bytes with digest %s, pushed was %s", node, at, len(got), digestOf(got), part[1]))
		}
	}
	l.seen.mu.Lock()
	l.seen.pulls++
	l.seen.mu.Unlock()
}

// audit reads everything that was acknowledged through every node.
func (l *traffic) audit(ctx context.Context, images []image) {
	var wg sync.WaitGroup
	for _, node := range l.d.urls {
		wg.Go(func() {
			c := newClient(l.d, l.seen)
			defer c.http.CloseIdleConnections()
			for _, m := range images {
				l.pull(ctx, c, m, node)
			}
		})
	}
	wg.Wait()
}
