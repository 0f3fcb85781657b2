package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
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
	// deleteEvery: after one of so many pushes the client deletes something.
	deleteEvery = 3
	// remembered is how many of its images a client may still delete.
	remembered = 64
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

	storm storm // what fails

	mu   sync.Mutex
	tags *tags.Group // what is moved now
}

func (d *deployment) load(ctx context.Context) *traffic {
	ctx, cancel := context.WithCancel(ctx)
	l := &traffic{d: d, seen: &tally{kinds: map[string]int{}, doomed: map[string]bool{}}, tags: newTagged()}
	l.end = func() {
		cancel()
		l.wg.Wait()
	}
	for n := range pushers {
		l.client(func(c *client) { l.pushAndDelete(ctx, c, n) })
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
	for n := range slowClients {
		bodies := newBodies()
		l.client(func(c *client) { l.pushSlowly(ctx, c, n, bodies) })
		l.client(func(c *client) { l.pullSlowly(ctx, c, n, bodies) })
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

// pushAndDelete pushes one image after the other, and deletes the tag of one or all of it now and then. Some of what is deleted is pushed again at once.
//
// A request that nobody saw the end of may take effect at any time after it. So what was pushed by such a one is not deleted, and what was deleted by such a one is not pushed again: nobody could say
// what must be there.
func (l *traffic) pushAndDelete(ctx context.Context, c *client, n int) {
	var mine []image
	for number := 0; ctx.Err() == nil; number++ {
		m, of := newImage(fmt.Sprintf("chaos/app%d", n%2), fmt.Sprintf("t%d-%d", n, number))
		known := l.push(ctx, c, m, of)
		switch {
		case !known:
		case rand.IntN(deleteEvery) > 0:
			if mine = append(mine, m); len(mine) > remembered {
				mine = mine[1:]
			}
		case rand.IntN(3) == 0:
			if before := c.unknown; l.remove(ctx, c, m, true) && c.unknown == before {
				l.push(ctx, c, m, of)
			}
		case len(mine) > 0:
			at := rand.IntN(len(mine))
			l.removeForGood(ctx, c, mine[at], rand.IntN(2) == 0)
			mine = slices.Delete(mine, at, at+1)
		}
		pause(ctx, pushPause)
	}
}

// push pushes an image, and reports whether it is known what became of each request.
func (l *traffic) push(ctx context.Context, c *client, m image, of content) bool {
	before := c.unknown
	for _, data := range [][]byte{of.config, of.layer} {
		if c.pushBlob(ctx, m.repo, data) != nil {
			return false
		}
		l.seen.blob(m.repo, request.Digest(data))
	}
	if c.pushManifest(ctx, m.repo, m.tag, of.manifest) != nil {
		return false
	}
	l.seen.pushed(m)
	return c.unknown == before
}

// remove deletes the tag of an image that was acknowledged, or all of it, and reports whether that is done.
func (l *traffic) remove(ctx context.Context, c *client, m image, whole bool) bool {
	l.seen.doom(m, whole)
	if !whole {
		return c.remove(ctx, m.tagged()) == nil
	}
	for _, path := range m.paths() {
		if c.remove(ctx, path[0]) != nil {
			return false
		}
	}
	return true
}

// removeForGood deletes what will not be pushed again. The tag must be gone at once, from every node.
func (l *traffic) removeForGood(ctx context.Context, c *client, m image, whole bool) {
	if !l.remove(ctx, c, m, whole) {
		return // written down, or the traffic ends
	}
	l.seen.deleted(m.tagged())
	if whole {
		for _, path := range m.paths() {
			l.seen.deleted(path[0])
		}
	}
	_ = c.absent(ctx, m.tagged()) //nolint:errcheck // it is written down, or the traffic ends
}

// pull reads an image whole, and compares.
func (l *traffic) pull(ctx context.Context, c *client, m image) {
	parts := m.paths()
	if m.tag != "" {
		parts = append(parts, [2]string{m.tagged(), m.manifest})
	}
	for _, part := range parts {
		var digest string
		var size int64
		var status int
		err := c.again(ctx, func() (err error) {
			bounded, cancel := context.WithTimeout(ctx, attemptTime)
			defer cancel()
			var got request.Answer
			got, digest, size, err = c.sum(bounded, "", part[0], http.StatusOK, http.StatusNotFound)
			status = got.Status
			return err
		})
		switch {
		case err != nil:
			return // written down, or the traffic ends
		case status == http.StatusNotFound && l.seen.mayBeAbsent(part[0]):
		case status == http.StatusNotFound || digest != part[1]:
			l.seen.wrong(fmt.Errorf("%s: %d, %d bytes with digest %s, pushed was %s", part[0], status, size, digest, part[1]))
		}
	}
	l.seen.pulled()
}

// more waits until some more pushes are acknowledged.
func (l *traffic) more(t *testing.T, n int) {
	t.Helper()
	begun := time.Now()
	want, deadline, looked := l.seen.pushes()+n, begun.Add(patience), begun
	for l.seen.pushes() < want {
		if now := time.Now(); now.Sub(looked) > time.Second {
			looked = now
			l.d.superviseCeph(t) // an OSD may end some seconds after it went on
			if now.Sub(begun) > stuckTime && l.d.unstick(t) {
				begun, deadline = now, now.Add(patience)
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d pushes are acknowledged, and no more come for %s; the last: %v", l.seen.pushes(), patience, l.seen.recent())
		}
		time.Sleep(5 * time.Millisecond)
	}
}
