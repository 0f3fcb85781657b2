package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/request"
	"github.com/havn-registry/havn/test/tags"
)

const (
	// pushers and pullers are how many clients there are of each kind.
	pushers = 4
	pullers = 2
	// pushPause is between two pushes of a client: all that an hour brings is read through every node at its end.
	pushPause = 300 * time.Millisecond
	pullPause = 100 * time.Millisecond
	// largeEvery: one of so many layers is larger than a part of the store, so that it is sent in several.
	largeEvery = 64
)

// content is what an image is made of.
type content struct{ config, layer, manifest []byte }

// newImage makes one of up to 64 KiB, or sometimes a large one.
func newImage(repo, tag string) (image, content) {
	size := 1 + rand.IntN(64<<10)
	if rand.IntN(largeEvery) == 0 {
		size += 6 << 20
	}
	c := content{config: fmt.Appendf(nil, `{"n":%d}`, rand.Uint64()), layer: make([]byte, size)}
	source := rand.NewChaCha8([32]byte([]byte(fmt.Sprintf("%-32.32s", fmt.Sprint(rand.Uint64(), rand.Uint64())))))
	if _, err := source.Read(c.layer); err != nil {
		panic(err)
	}
	c.manifest = request.Image(tag, c.config, c.layer)
	return image{repo, tag, request.Digest(c.config), request.Digest(c.layer), request.Digest(c.manifest)}, c
}

// traffic is clients that push, pull and move tags until it ends.
type traffic struct {
	d    *deployment
	seen *tally
	end  func()
	wg   sync.WaitGroup

	mu   sync.Mutex
	tags *tags.Group // what is moved now
}

func (d *deployment) load(ctx context.Context) *traffic {
	ctx, cancel := context.WithCancel(ctx)
	l := &traffic{d: d, seen: &tally{kinds: map[string]int{}}, tags: newTagged()}
	l.end = func() {
		cancel()
		l.wg.Wait()
	}
	for n := range pushers {
		l.client(func(c *client) {
			for number := 0; ctx.Err() == nil; number++ {
				m, of := newImage(fmt.Sprintf("chaos/app%d", n%2), fmt.Sprintf("t%d-%d", n, number))
				l.push(ctx, c, m, of)
				pause(ctx, pushPause)
			}
		})
	}
	for range pullers {
		l.client(func(c *client) {
			for ctx.Err() == nil {
				if m, found := l.seen.one(); found {
					l.pull(ctx, c, m)
				}
				pause(ctx, pullPause)
			}
		})
	}
	for n := range movers {
		l.client(func(c *client) { l.move(ctx, c, n) })
	}
	return l
}

// client runs one until it returns.
func (l *traffic) client(run func(c *client)) {
	l.wg.Go(func() {
		c := newClient(l.d, l.seen)
		defer c.http.CloseIdleConnections()
		run(c)
	})
}

func (l *traffic) push(ctx context.Context, c *client, m image, of content) {
	for _, data := range [][]byte{of.config, of.layer} {
		if c.pushBlob(ctx, m.repo, data) != nil {
			return
		}
		l.seen.blob(m.repo, data)
	}
	if c.pushManifest(ctx, m.repo, m.tag, of.manifest) == nil {
		l.seen.pushed(m)
	}
}

// pull reads an image whole, and compares.
func (l *traffic) pull(ctx context.Context, c *client, m image) {
	for _, part := range [][2]string{{"/manifests/" + m.tag, m.manifest}, {"/manifests/" + m.manifest, m.manifest}, {"/blobs/" + m.config, m.config}, {"/blobs/" + m.layer, m.layer}} {
		at := "/v2/" + m.repo + part[0]
		got, err := c.read(ctx, "", at)
		if err != nil {
			return // written down, or the traffic ends
		}
		if digest := request.Digest(got); digest != part[1] {
			l.seen.wrong(fmt.Errorf("%s: %d bytes with digest %s, pushed was %s", at, len(got), digest, part[1]))
		}
	}
	l.seen.pulled()
}

// more waits until some more pushes are acknowledged.
func (l *traffic) more(t *testing.T, n int) {
	t.Helper()
	want, deadline := l.seen.pushes()+n, time.Now().Add(patience)
	for l.seen.pushes() < want {
		if time.Now().After(deadline) {
			t.Fatalf("%d pushes are acknowledged, and no more come for %s; the last: %v", l.seen.pushes(), patience, l.seen.recent())
		}
		time.Sleep(5 * time.Millisecond)
	}
}
