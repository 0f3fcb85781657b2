package registry

import (
	"hash/maphash"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/oci"
)

const (
	// generationBytes bounds each of two generations of entries: 16 MiB in all, a quarter of what the process may use.
	generationBytes = 8 << 20
	// entryBytes is what an entry costs besides a manifest's bytes, with its places in maps.
	entryBytes  = 600
	objectBytes = 120
	stripes     = 256
)

// recent keeps what was read lately: where tags point, manifests' bytes, the objects of blobs.
//
// Where this process is the only one that writes (sqldb's Sole), it is exact: an entry answers as the database would. Every write of a repository is between
// beginWrite and endWrite. From the first on the repository has no hits, its entries are dropped, and nothing read meanwhile is kept; a read that began before
// the write and ends after it brings a ticket with an old generation, and is not kept either. A read that begins after endWrite sees the write in the database.
// So each hit answers what the database held at some moment of the request.
//
// On other engines entries are guesses, which save the transfer of a manifest's bytes if the database says the same digest, and answer pulls by digest while the database is out of reach; pulls by
// tag too, where Config.StaleTags allows it. So a tag is kept with the moment at which the database was asked for it, and this process's own writes end what it knows of tags: it never answers
// what it has itself seen replaced.
//
// Entries are in two generations: when the young one is full it becomes the old one, and the old one is forgotten. What is used moves to the young one.
type recent struct {
	exact bool
	clock func() time.Time
	seed  maphash.Seed

	mu         sync.RWMutex
	writers    map[oci.Name]int
	gens       [stripes]uint64 // counts the writes of repositories whose names fall together
	young, old map[oci.Name]*shelf
	size       int // bytes of young
}

// shelf is what is known of one repository.
type shelf struct {
	tags    map[oci.Tag]pointed
	digests map[oci.Digest]*Manifest
	blobs   map[oci.Digest]*held
}

// pointed is what a tag pointed to when the database was asked, at a moment or later.
type pointed struct {
	to *Manifest
	at time.Time
}

// held is a blob that a repository has.
type held struct {
	size    int64
	objects []blob.Object
}

// ticket says when a read began. The zero ticket keeps nothing.
type ticket struct {
	valid bool
	gen   uint64
	at    time.Time
}

func newRecent(exact bool, clock func() time.Time) *recent {
	return &recent{exact: exact, clock: clock, seed: maphash.MakeSeed(), writers: map[oci.Name]int{}, young: map[oci.Name]*shelf{}, old: map[oci.Name]*shelf{}}
}

func (c *recent) stripe(repo oci.Name) uint64 { return maphash.String(c.seed, repo.String()) % stripes }

// beginWrite says that a repository is about to be written to, and which of its tags; nil: any of them.
func (c *recent) beginWrite(repo oci.Name, tags []oci.Tag) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writers[repo]++
	c.gens[c.stripe(repo)]++
	if c.exact {
		delete(c.young, repo)
		delete(c.old, repo)
		return
	}
	for _, s := range []*shelf{c.young[repo], c.old[repo]} {
		if s == nil {
			continue
		}
		if tags == nil {
			clear(s.tags)
		}
		for _, t := range tags {
			delete(s.tags, t)
		}
	}
}

func (c *recent) endWrite(repo oci.Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.writers[repo]--; c.writers[repo] == 0 {
		delete(c.writers, repo)
	}
}

// forget drops everything, after a change that concerns many repositories; what is being read now is not kept.
func (c *recent) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.gens {
		c.gens[i]++
	}
	clear(c.young)
	clear(c.old)
	c.size = 0
}

// drop forgets what is known of a repository, because some of it was seen to be wrong.
func (c *recent) drop(repo oci.Name) {
	c.mu.RLock()
	known := c.young[repo] != nil || c.old[repo] != nil
	c.mu.RUnlock()
	if !known {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.young, repo)
	delete(c.old, repo)
}

// begin answers a ticket for a read that begins now.
func (c *recent) begin(repo oci.Name) ticket {
	at := c.clock()
	c.mu.RLock()
	defer c.mu.RUnlock()
	return ticket{valid: c.writers[repo] == 0, gen: c.gens[c.stripe(repo)], at: at}
}

// manifest answers what is known, nil if nothing is, and of a tag since when.
func (c *recent) manifest(repo oci.Name, ref oci.Reference) (*Manifest, time.Time) {
	c.mu.RLock()
	m := c.young[repo].manifest(ref)
	stale := false
	if m.to == nil {
		m = c.old[repo].manifest(ref)
		stale = m.to != nil
	}
	t := ticket{valid: true, gen: c.gens[c.stripe(repo)], at: m.at}
	c.mu.RUnlock()
	if stale {
		c.keepManifest(repo, ref, t, m.to)
	}
	return m.to, m.at
}

// blob answers what is known of a blob, nil if nothing is.
func (c *recent) blob(repo oci.Name, d oci.Digest) *held {
	c.mu.RLock()
	b := c.young[repo].blob(d)
	stale := false
	if b == nil {
		b = c.old[repo].blob(d)
		stale = b != nil
	}
	t := ticket{valid: true, gen: c.gens[c.stripe(repo)]}
	c.mu.RUnlock()
	if stale {
		c.keepBlob(repo, d, t, b)
	}
	return b
}

func (c *recent) keepManifest(repo oci.Name, ref oci.Reference, t ticket, m *Manifest) {
	c.keep(repo, t, entryBytes+len(m.Body), func(s *shelf, fresh bool) {
		s.digests[m.Descriptor.Digest] = m
		// Of two reads that overtook each other the one that began later knows better.
		if !ref.IsDigest() && fresh && !s.tags[ref.Tag].at.After(t.at) {
			s.tags[ref.Tag] = pointed{m, t.at}
		}
	})
}

func (c *recent) keepBlob(repo oci.Name, d oci.Digest, t ticket, b *held) {
	c.keep(repo, t, entryBytes+objectBytes*len(b.objects), func(s *shelf, _ bool) { s.blobs[d] = b })
}

// keep puts an entry on the shelf of a repository. fresh: nothing was written to it since the read began.
func (c *recent) keep(repo oci.Name, t ticket, size int, put func(s *shelf, fresh bool)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := t.valid && c.writers[repo] == 0 && c.gens[c.stripe(repo)] == t.gen
	if c.exact && !fresh {
		return
	}
	if c.size+size > generationBytes {
		c.old, c.young, c.size = c.young, map[oci.Name]*shelf{}, 0
	}
	s := c.young[repo]
	if s == nil {
		s = &shelf{tags: map[oci.Tag]pointed{}, digests: map[oci.Digest]*Manifest{}, blobs: map[oci.Digest]*held{}}
		c.young[repo] = s
	}
	put(s, fresh)
	c.size += size
}

func (s *shelf) manifest(ref oci.Reference) pointed {
	switch {
	case s == nil:
		return pointed{}
	case ref.IsDigest():
		return pointed{to: s.digests[ref.Digest]}
	}
	return s.tags[ref.Tag]
}

func (s *shelf) blob(d oci.Digest) *held {
	if s == nil {
		return nil
	}
	return s.blobs[d]
}
