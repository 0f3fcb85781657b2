package registry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// maxPulls bounds the different pulls that wait to be written: about 2 MiB.
	maxPulls = 4096
	// pullsAtOnce bounds the rows of one statement: 7 values each, far below what the engines take.
	pullsAtOnce = 512
	// pullRhythm is how often counts are written: a crash loses no more than that.
	pullRhythm = 10 * time.Second
	// lastFlushTime bounds the flush at the end of Run.
	lastFlushTime = 10 * time.Second
)

// pulls counts in memory what this node served.
type pulls struct {
	mu    sync.Mutex
	waits map[pullKey]pullCount
	full  chan struct{} // has a value when many wait
}

type pullKey struct {
	repo   oci.Name
	tag    oci.Tag
	digest oci.Digest
}

type pullCount struct{ n, at int64 }

func newPulls() *pulls {
	return &pulls{waits: map[pullKey]pullCount{}, full: make(chan struct{}, 1)}
}

// Notes say what is noted of pulls.
type Notes struct{ Count, Time bool }

// CountPull counts a pull of a manifest. It never blocks on a store; a count may be lost.
func (r *Registry) CountPull(name oci.Name, ref oci.Reference, d oci.Digest) {
	var n, now int64
	note := r.cfg.NotePulls()
	if !note.Count && !note.Time {
		return
	}
	if note.Count {
		n = 1
	}
	if note.Time {
		now = micros(r.cfg.Clock())
	}
	key := pullKey{repo: name, tag: ref.Tag, digest: d}
	p := r.pulls
	p.mu.Lock()
	defer p.mu.Unlock()
	c, ok := p.waits[key]
	if !ok && len(p.waits) >= maxPulls {
		r.metrics.dropped.Inc()
		return
	}
	p.waits[key] = pullCount{n: c.n + n, at: max(c.at, now)}
	if len(p.waits) > maxPulls/2 {
		select {
		case p.full <- struct{}{}:
		default:
		}
	}
}

// Run writes pull counts, and gives back what this node has of quotas and does not use, until the context ends, and once more then.
func (r *Registry) Run(ctx context.Context) error {
	var slices sync.WaitGroup
	slices.Go(func() { r.keepSlices(ctx) })
	defer slices.Wait()
	tick := time.NewTicker(pullRhythm)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlushTime)
			defer cancel()
			r.FlushPulls(last)
			return nil
		case <-tick.C:
		case <-r.pulls.full:
		}
		r.FlushPulls(ctx)
	}
}

// FlushPulls appends the counts that wait to the database. After an error, which is logged, they are lost: they are statistics.
func (r *Registry) FlushPulls(ctx context.Context) {
	if err := r.flush(ctx); err != nil {
		r.cfg.Log.WarnContext(ctx, "pull counts are lost", "error", err)
	}
}

func (r *Registry) flush(ctx context.Context) error {
	p := r.pulls
	p.mu.Lock()
	waits := p.waits
	if len(waits) > 0 {
		p.waits = map[pullKey]pullCount{}
	}
	p.mu.Unlock()
	repos := map[oci.Name]int64{}
	batch := make([]index.Pull, 0, pullsAtOnce)
	for key, c := range waits {
		id, ok := repos[key.repo]
		if !ok {
			repo, err := index.RepositoryByName(ctx, r.db, key.repo)
			if err != nil && !fail.Is(err, fail.NotFound) {
				return fmt.Errorf("write pull counts: %w", err)
			}
			id = repo.ID
			repos[key.repo] = id
		}
		if id == 0 {
			continue
		}
		batch = append(batch, index.Pull{ID: sqldb.NewID(), Repo: id, Digest: key.digest, Tag: key.tag.String(), At: c.at, N: c.n})
		if len(batch) == pullsAtOnce {
			if err := r.appendPulls(ctx, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	return r.appendPulls(ctx, batch)
}

func (r *Registry) appendPulls(ctx context.Context, batch []index.Pull) error {
	if len(batch) == 0 {
		return nil
	}
	err := r.relaxed(ctx, "pulls.append", func(tx *sqldb.Tx) error { return index.InsertPulls(ctx, tx, r.cfg.NodeID, batch) })
	if err != nil && !fail.Is(err, fail.Exists) {
		return fmt.Errorf("write pull counts: %w", err)
	}
	// Exists: the ids are random, so it is a second run of a commit that was applied.
	return nil
}
