package registry

import (
	"context"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// pullKinds bounds what is counted between two flushes; what comes beyond is not counted.
	pullKinds = 20_000
	// flushEvery is how old a count gets before it is written: what a kill loses.
	flushEvery = 5 * time.Second
	// flushAtOnce bounds the rows of one transaction.
	flushAtOnce = 500
	flushTime   = 20 * time.Second
)

// pulls counts pulls until they are written.
type pulls struct {
	mu  sync.Mutex
	now map[pullKey]index.Pulls
}

type pullKey struct {
	repo   oci.Name
	digest oci.Digest
	tag    oci.Tag
}

func newPulls() *pulls { return &pulls{now: map[pullKey]index.Pulls{}} }

// CountPull counts a pull of a manifest, by a tag or its digest. It never waits for the database.
func (r *Registry) CountPull(repo oci.Name, ref oci.Reference, digest oci.Digest) {
	key := pullKey{repo, digest, ref.Tag}
	at := r.Clock()
	r.pulls.mu.Lock()
	defer r.pulls.mu.Unlock()
	p, ok := r.pulls.now[key]
	if !ok && len(r.pulls.now) >= pullKinds {
		return
	}
	p.Repo, p.Digest, p.Tag, p.Last = repo, digest, ref.Tag.String(), at
	p.Count++
	r.pulls.now[key] = p
}

func (p *pulls) take() []index.Pulls {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]index.Pulls, 0, len(p.now))
	for _, one := range p.now {
		all = append(all, one)
	}
	clear(p.now)
	return all
}

func (r *Registry) flushPulls(ctx context.Context) error {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			r.FlushPulls(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
			defer cancel()
			r.FlushPulls(last)
			return nil
		}
	}
}

// FlushPulls writes what was counted. Counts that can't be written are logged and lost: they are not worth holding anything up for.
func (r *Registry) FlushPulls(ctx context.Context) {
	all := r.pulls.take()
	for len(all) > 0 {
		batch := all[:min(len(all), flushAtOnce)]
		all = all[len(batch):]
		ids := make([]int64, len(batch))
		for i := range ids {
			ids[i] = sqldb.NewID()
		}
		err := r.DB.TxRelaxed(ctx, "pulls.append", func(tx *sqldb.Tx) error { return index.AppendPulls(ctx, tx, r.NodeID, ids, batch) })
		if err != nil {
			r.Log.WarnContext(ctx, "pull counts lost", "rows", len(batch), "error", err)
		}
	}
}
