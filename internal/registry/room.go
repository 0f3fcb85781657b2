package registry

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

const (
	// roomAge is how long a reading of the free space counts. What large bodies bring meanwhile is reckoned with.
	roomAge = time.Second
	// roomEvery is after how many bytes of a body is looked again: a blob may be larger than all that was free when it began.
	roomEvery = 16 << 20
	// busyRetry is what a client is told to wait when it sends too much at once.
	busyRetry = time.Second
)

// room remembers how much space the store has, and asks once for all who want to know. A file system that hangs may never answer, so nobody is held up beyond his own context.
type room struct {
	mu    sync.Mutex
	last  reading
	asked *question    // under way; nil: none
	came  atomic.Int64 // bytes of large bodies since the store was asked
}

// reading is what a store said.
type reading struct {
	at   time.Time // when it was asked
	free int64
	ok   bool // it knows
}

// question is one that a store was asked.
type question struct {
	over chan struct{} // closed when it was answered
	said reading
	err  error
}

// read answers a reading that is no older than roomAge, or was asked for before now.
func (m *room) read(ctx context.Context, now time.Time, store *blob.Store) (reading, error) {
	q, last := m.ask(ctx, now, store)
	if q == nil {
		return last, nil
	}
	select {
	case <-q.over:
		return q.said, q.err
	case <-ctx.Done():
		return reading{}, fail.E(fail.Unavailable, ctx.Err(), "the blob store does not answer").Hint("look at the file system of the blob store, or the server that it is on")
	}
}

// ask answers what is known, or the question that is under way.
func (m *room) ask(ctx context.Context, now time.Time, store *blob.Store) (*question, reading) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if age := now.Sub(m.last.at); !m.last.at.IsZero() && age >= 0 && age < roomAge {
		return nil, m.last
	}
	if m.asked != nil {
		return m.asked, reading{}
	}
	q := &question{over: make(chan struct{}), said: reading{at: now}}
	m.asked = q
	m.came.Store(0)
	ctx = context.WithoutCancel(ctx) // others wait for it too
	go func() {
		q.said.free, _, q.said.ok, q.err = store.Space(ctx)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.asked = nil; q.err == nil {
			m.last = q.said
		}
		close(q.over)
	}()
	return q, reading{}
}

// checkRoom refuses a push when the store is nearly full, or would be with so many bytes more (below 0: nobody knows): Exhausted without a time to wait, as waiting does not help. A store that does not
// know its space has room.
func (r *Registry) checkRoom(ctx context.Context, more int64) error {
	if r.cfg.LowDiskBytes <= 0 {
		return nil
	}
	room, err := r.room.read(ctx, r.cfg.Clock(), r.blobs)
	if err != nil {
		return fmt.Errorf("look for room in the blob store: %w", err)
	}
	free := room.free - r.room.came.Load()
	if room.ok && free-max(more, 0) < r.cfg.LowDiskBytes {
		what := fmt.Sprintf("the blob store has %s left", bytesText(max(free, 0)))
		if free >= r.cfg.LowDiskBytes {
			what += fmt.Sprintf(", too few for %s more", bytesText(more))
		}
		return fail.E(fail.Exhausted, nil, "%s", what).Code(oci.CodeDenied).
			Hint("pushes go on as long as %d MiB stay free; pulls and deletes do now", r.cfg.LowDiskBytes>>20)
	}
	return nil
}

// stillRoom is checkRoom for a body under way, of which n bytes came since the last time, and which nothing ends but a store that says that it is full.
func (r *Registry) stillRoom(ctx context.Context, n int64) error {
	r.room.came.Add(n)
	ctx, cancel := context.WithTimeout(ctx, roomAge)
	defer cancel()
	if err := r.checkRoom(ctx, 0); fail.Is(err, fail.Exhausted) {
		return err
	}
	return nil
}

// senders counts the bodies that each subject sends to this node.
type senders struct {
	limit int
	mu    sync.Mutex
	now   map[string]int
}

// begin takes a place for a body; the function that it answers gives it back. Exhausted if all are taken.
func (s *senders) begin(subject string) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now[subject] >= s.limit {
		return nil, fail.E(fail.Exhausted, nil, "%d uploads at once", s.limit).Code(oci.CodeTooManyRequests).RetryAfter(busyRetry).
			Hint("wait until one is through, or raise uploads.max_per_subject")
	}
	s.now[subject]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.now[subject]--; s.now[subject] == 0 {
			delete(s.now, subject)
		}
	}, nil
}

const (
	// smallManifest is what a manifest may have without counting in manifestsAll: more than all but those of many hundred layers or platforms have.
	smallManifest = 64 << 10
	// manifestsAll is how much all larger manifests that come to this node at once may have: each is in memory whole, and as rows and text once more.
	manifestsAll = 64 << 20
)

// manifestRoom is what is left of manifestsAll.
type manifestRoom struct{ taken atomic.Int64 }

func (m *manifestRoom) take(size int64) (func(), error) {
	if size <= smallManifest {
		return func() {}, nil
	}
	if m.taken.Add(size) > manifestsAll {
		m.taken.Add(-size)
		return nil, fail.E(fail.Exhausted, nil, "%d MiB of manifests at once", manifestsAll>>20).Code(oci.CodeTooManyRequests).RetryAfter(busyRetry).
			Hint("wait until some are through")
	}
	return func() { m.taken.Add(-size) }, nil
}

// StartManifest takes a place for a manifest that a subject is about to send, of so many bytes, -1 if that is not known; the function that it answers gives it back, once the manifest is stored. Exhausted,
// with a time to wait, if the subject, or all together, send too much at once.
func (r *Registry) StartManifest(subject string, size int64) (done func(), err error) {
	if size < 0 {
		size = oci.MaxManifestBytes
	}
	place, err := r.senders.begin(subject)
	if err != nil {
		return nil, err
	}
	room, err := r.manifests.take(size)
	if err != nil {
		place()
		return nil, err
	}
	return func() {
		room()
		place()
	}, nil
}

const (
	// keepMost is how much of an object is kept in memory until a remote store has it. It is more than most blobs of most images by number have, though not by bytes:
	// a larger one whose store breaks off is sent again by its client.
	keepMost = 1 << 20
	// keepAll is how much all bodies on a node may keep.
	keepAll = 64 << 20
)

// memory lends room to keep what a store has not confirmed.
type memory struct {
	on   bool // the store is remote, and its driver does not keep the bytes itself: writes break off there that succeed a moment later
	left atomic.Int64
}

// lend begins an object of a body. size is that of the object, -1 if it is not known. The function that it answers takes the room back.
func (m *memory) lend(b *body, size int64) func() {
	b.kept = kept{}
	if size < 0 {
		size = keepMost
	}
	if !m.on || size > keepMost {
		return func() {}
	}
	if m.left.Add(-size) < 0 {
		m.left.Add(size)
		return func() {}
	}
	b.kept.room = size
	return func() {
		b.kept = kept{}
		m.left.Add(size)
	}
}
