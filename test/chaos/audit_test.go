package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/request"
)

const (
	// readers of the audit for each node.
	readers = 6
	// auditPatience is how long one reading is tried: nothing fails any more.
	auditPatience = time.Minute
	// auditTime bounds the audit of a run without faults; auditShare of the run's length is added.
	auditTime  = 5 * time.Minute
	auditShare = 0.5
	// auditPulse is between two words on how far it is.
	auditPulse = 10 * time.Second
)

// audit is the reading, by digest and by tag and through every node, of everything that was acknowledged.
type audit struct {
	images, blobs, gone int
	took                time.Duration
	reads               atomic.Int64
	left                int // readings that there was no time for

	mu    sync.Mutex
	lost  []string // what is absent, or has other bytes
	back  []string // what was deleted, and is there
	stale []string // tags that do not point to what was pushed last
	wrong []string // what could not be read
}

// faults answers all that must not be.
func (a *audit) faults() []string {
	all := slices.Concat(a.lost, a.stale, a.wrong)
	for _, path := range a.back {
		all = append(all, path+": was deleted, and is back")
	}
	return all
}

// reading is one thing to read through one node. Without a digest it must be absent.
type reading struct{ node, path, digest, tag string }

// readings answers all there is to do, in chunks.
func (d *deployment) readings(images []image, blobs []blob, gone []string) []reading {
	var all []reading
	for _, node := range d.urls {
		for _, m := range images {
			if m.tag != "" {
				all = append(all, reading{node, m.tagged(), m.manifest, m.tag})
			}
			all = append(all, reading{node, "/v2/" + m.repo + "/manifests/" + m.manifest, m.manifest, ""})
		}
		for _, b := range blobs {
			all = append(all, reading{node, "/v2/" + b.repo + "/blobs/" + b.digest, b.digest, ""})
		}
		for _, path := range gone {
			all = append(all, reading{node, path, "", ""})
		}
	}
	return all
}

// audit reads everything, with some readers for each node, until there is no time left.
func (l *traffic) audit(t *testing.T, limit time.Duration) *audit {
	t.Helper()
	images, blobs, gone := l.seen.all()
	a := &audit{images: len(images), blobs: len(blobs), gone: len(gone)}
	all, begun := l.d.readings(images, blobs, gone), time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	// In the order of a step that passes from node to node, so that all nodes work at the same time.
	step, next := max(1, len(all)/len(l.d.urls)), atomic.Int64{}
	var wg sync.WaitGroup
	for range readers * len(l.d.urls) {
		wg.Go(func() {
			c := newClient(l.d, l.seen)
			defer c.http.CloseIdleConnections()
			for ctx.Err() == nil {
				n := int(next.Add(1) - 1)
				if n >= len(all) {
					return
				}
				a.read(ctx, c, all[n%len(l.d.urls)*step+n/len(l.d.urls)])
			}
		})
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	for going := true; going; {
		select {
		case <-ended:
			going = false
		case <-time.After(auditPulse):
			l.d.supervise(t)
			t.Logf("audit: %d of %d readings after %s", a.reads.Load(), len(all), time.Since(begun).Round(time.Second))
		}
	}
	a.left, a.took = len(all)-int(a.reads.Load()), time.Since(begun)
	return a
}

// read reads one thing, and compares.
func (a *audit) read(ctx context.Context, c *client, r reading) {
	bounded, cancel := context.WithTimeout(ctx, auditPatience)
	defer cancel()
	want := http.StatusOK
	if r.digest == "" {
		want = http.StatusNotFound
	}
	var digest string
	var size int64
	var err error
	for {
		_, digest, size, err = c.sum(bounded, r.node, r.path, want)
		if err == nil || bounded.Err() != nil || !request.Passes(err) {
			break
		}
		c.seen.retried(err)
		pause(bounded, retryPause)
	}
	if err != nil && ctx.Err() != nil {
		return // the audit is over
	}
	a.reads.Add(1)
	a.mu.Lock()
	defer a.mu.Unlock()
	var refused *request.Refused
	switch {
	case err == nil && (r.digest == "" || digest == r.digest):
	case err == nil && r.tag != "":
		a.stale = append(a.stale, fmt.Sprintf("%s%s is %s, pushed was %s", r.node, r.path, digest, r.digest))
	case err == nil:
		a.lost = append(a.lost, fmt.Sprintf("%s%s has %d other bytes", r.node, r.path, size))
	case errors.As(err, &refused) && r.digest == "" && refused.Status == http.StatusOK:
		a.back = append(a.back, r.node+r.path)
	case errors.As(err, &refused) && refused.Status == http.StatusNotFound:
		a.lost = append(a.lost, r.node+": "+err.Error())
	default:
		a.wrong = append(a.wrong, r.node+": "+err.Error())
	}
}
