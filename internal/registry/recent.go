package registry

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/oci"
)

// recent keeps answers about repositories where this process is the only one that writes (sqldb.DB.Sole), and is exact there: linearizable, not merely fresh.
//
// A write of a repository is wrapped in write. While it is under way, its repository has no hits and takes no entries; when it has ended, whatever the outcome,
// the entries of the repository are dropped before hits are allowed again. So a hit answers what a query at that moment would have. An answer is kept only if
// no write of the repository began or ended since before the query (see look): otherwise it may be of the time before the write.
//
// Repositories share counters by a hash: a collision costs a miss.
type recent struct {
	on      bool
	seed    maphash.Seed
	slots   [slots]slot
	hit     prometheus.Counter
	missed  prometheus.Counter
	mu      sync.RWMutex
	entries map[oci.Name]*answers
	bytes   int
}

const (
	slots = 1024
	// recentBytes bounds what is kept, manifests' bytes and an estimate of the rest. Beyond it repositories are dropped, in no order.
	recentBytes = 12 << 20
	// entryBytes is about what an entry costs besides a manifest's bytes.
	entryBytes = 400
)

type slot struct {
	writing atomic.Int64
	changes atomic.Int64
}

// answers is what is known of one repository.
type answers struct {
	tags      map[oci.Tag]*Manifest
	manifests map[oci.Digest]*Manifest
	blobs     map[oci.Digest]*held
	bytes     int
}

func newRecent(on bool, results *prometheus.CounterVec) *recent {
	return &recent{on: on, seed: maphash.MakeSeed(), entries: map[oci.Name]*answers{}, hit: results.WithLabelValues("hit"), missed: results.WithLabelValues("miss")}
}

func (c *recent) slot(repo oci.Name) *slot {
	return &c.slots[maphash.String(c.seed, repo.String())%slots]
}

// write runs a function that may change what is true of a repository.
func (c *recent) write(repo oci.Name, do func() error) error {
	if !c.on {
		return do()
	}
	s := c.slot(repo)
	s.writing.Add(1)
	s.changes.Add(1)
	defer func() {
		s.changes.Add(1)
		c.drop(repo)
		s.writing.Add(-1)
	}()
	return do()
}

func (c *recent) drop(repo oci.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if a := c.entries[repo]; a != nil {
		c.bytes -= a.bytes
		delete(c.entries, repo)
	}
}

// clear forgets everything: for changes that touch more than one repository.
func (c *recent) clear() {
	for i := range c.slots {
		c.slots[i].changes.Add(1)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
	c.bytes = 0
}

// look answers what is kept, by get, or asks and keeps the answer, by put.
func look[T any](c *recent, repo oci.Name, get func(*answers) (*T, bool), ask func() (*T, error), put func(*answers, *T) int) (*T, error) {
	if !c.on {
		return ask()
	}
	s := c.slot(repo)
	if s.writing.Load() == 0 {
		c.mu.RLock()
		a := c.entries[repo]
		var v *T
		ok := false
		if a != nil {
			v, ok = get(a)
		}
		c.mu.RUnlock()
		// A write that began after the first look at the counter may have been acknowledged by now; its entries are dropped before that, so what was found is
		// from before, and this read overlaps it: either answer is right.
		if ok {
			c.hit.Inc()
			return v, nil
		}
	}
	c.missed.Inc()
	before := s.changes.Load()
	if s.writing.Load() != 0 {
		return ask()
	}
	v, err := ask()
	if err == nil {
		c.keep(repo, s, before, func(a *answers) int { return put(a, v) })
	}
	return v, err
}

func (c *recent) keep(repo oci.Name, s *slot, before int64, put func(*answers) int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// Under the lock: a write that begins now drops this entry when it ends.
	if s.writing.Load() != 0 || s.changes.Load() != before {
		return
	}
	a := c.entries[repo]
	if a == nil {
		a = &answers{tags: map[oci.Tag]*Manifest{}, manifests: map[oci.Digest]*Manifest{}, blobs: map[oci.Digest]*held{}}
		c.entries[repo] = a
	}
	n := put(a)
	a.bytes += n
	c.bytes += n
	for name, other := range c.entries {
		if c.bytes <= recentBytes {
			return
		}
		c.bytes -= other.bytes
		delete(c.entries, name)
	}
}
