package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// rowsAtOnce bounds the object rows that one transaction deletes.
const rowsAtOnce = 500

// Hold says, inside a write transaction, whether the caller still has the duty for which it writes: see cluster.Claim. It fails the transaction if not.
type Hold func(context.Context, *sqldb.Tx) error

// ExpireUploads ends up to limit uploads that made no progress since a time, or, if done, forgets those that were finished before it. It answers how many.
func (r *Registry) ExpireUploads(ctx context.Context, done bool, since time.Time, limit int) (int, error) {
	stale, err := index.StaleUploads(ctx, r.DB, done, since, limit)
	if err != nil {
		return 0, fmt.Errorf("find stale uploads: %w", err)
	}
	count := 0
	for _, u := range stale {
		// The row is deleted only if it is as it was seen: an upload that moves at this moment stays.
		dropped, err := r.dropUpload(ctx, u)
		if err != nil {
			return count, fmt.Errorf("expire upload %s: %w", u.ID, err)
		}
		if dropped {
			count++
		}
	}
	return count, nil
}

// BuryDead deletes up to limit dead contents, in the order of their ids behind after: 1. their objects in the store, 2. the objects' rows, 3. the content. A crash
// after any step leaves the dead row, and the next run does the rest. It answers how many are gone and the last id that it looked at, 0 when there are no more.
func (r *Registry) BuryDead(ctx context.Context, hold Hold, after int64, limit int) (buried int, last int64, err error) {
	ids, err := index.ListDead(ctx, r.DB, r.Clock(), after, limit)
	if err != nil {
		return 0, 0, fmt.Errorf("list the dead: %w", err)
	}
	for _, id := range ids {
		ok, err := r.bury(ctx, hold, id)
		if err != nil {
			return buried, last, fmt.Errorf("delete dead content %d: %w", id, err)
		}
		if ok {
			buried++
		}
		last = id
	}
	if len(ids) < limit {
		last = 0
	}
	return buried, last, nil
}

func (r *Registry) bury(ctx context.Context, hold Hold, content int64) (bool, error) {
	for {
		objects, err := index.AllObjectsOf(ctx, r.DB, content, rowsAtOnce)
		if err != nil {
			return false, err
		}
		for _, o := range objects {
			if err = r.Blobs.Delete(ctx, o.Name); err != nil {
				return false, err
			}
		}
		last := len(objects) < rowsAtOnce
		err = r.DB.Tx(ctx, "dead.bury", func(tx *sqldb.Tx) error {
			if err := hold(ctx, tx); err != nil {
				return err
			}
			if err := index.DropObjects(ctx, tx, objects); err != nil || !last {
				return err
			}
			return index.DropDead(ctx, tx, content)
		})
		if fail.Is(err, fail.Conflict) && fail.CodeOf(err) == codeFK {
			return false, nil // its upload is still remembered
		}
		if err != nil || last {
			return err == nil, err
		}
	}
}

// Orphans is what a walk over the store's objects found.
type Orphans struct {
	Seen, Deleted int
	Last          string // where to go on; "" at the end
}

// SweepOrphans looks at up to limit objects behind a name and deletes those of Havn's own form that are older than a time and that no row names. Such are left where a power cut took
// the row, or by a store that was restored. The caller has made sure that the store belongs to this database.
func (r *Registry) SweepOrphans(ctx context.Context, after string, before time.Time, limit int) (Orphans, error) {
	var found Orphans
	var names []string
	flush := func() error {
		n, err := r.dropOrphans(ctx, names)
		found.Deleted += n
		names = names[:0]
		return err
	}
	for info, err := range r.Blobs.List(ctx, after) {
		if err != nil {
			return found, fmt.Errorf("list objects: %w", err)
		}
		if found.Seen++; blob.IsOwnName(info.Name) && info.ModTime.Before(before) {
			names = append(names, info.Name)
		}
		found.Last = info.Name
		if len(names) == rowsAtOnce {
			if err = flush(); err != nil {
				return found, err
			}
		}
		if found.Seen == limit {
			return found, flush()
		}
	}
	found.Last = ""
	return found, flush()
}

func (r *Registry) dropOrphans(ctx context.Context, names []string) (int, error) {
	known, err := index.KnownObjects(ctx, r.DB, names)
	if err != nil {
		return 0, fmt.Errorf("look for objects' rows: %w", err)
	}
	count := 0
	for _, name := range names {
		if known[name] {
			continue
		}
		if err = r.Blobs.Delete(ctx, name); err != nil {
			return count, err
		}
		r.Log.InfoContext(ctx, "deleted an object that no row names", "object", name)
		count++
	}
	return count, nil
}

// FoldPulls adds up to limit appended pull counts to the totals.
func (r *Registry) FoldPulls(ctx context.Context, hold Hold, limit int) (int, error) {
	return r.tidy(ctx, hold, "pulls.fold", func(tx *sqldb.Tx) (int, error) { return index.FoldPulls(ctx, tx, limit) })
}

// ForgetOps deletes up to limit operation ids that are older than a time: no transaction runs again that late.
func (r *Registry) ForgetOps(ctx context.Context, hold Hold, before time.Time, limit int) (int, error) {
	return r.tidy(ctx, hold, "ops.forget", func(tx *sqldb.Tx) (int, error) {
		n, err := index.DropOps(ctx, tx, before, limit)
		return int(n), err
	})
}

func (r *Registry) tidy(ctx context.Context, hold Hold, name string, do func(*sqldb.Tx) (int, error)) (int, error) {
	var n int
	err := r.DB.TxRelaxed(ctx, name, func(tx *sqldb.Tx) error {
		err := hold(ctx, tx)
		if err == nil {
			n, err = do(tx)
		}
		return err
	})
	return n, err
}

// MarkDamaged says that a blob's bytes are not what its digest says. The next push of the digest replaces them, in every repository.
func (r *Registry) MarkDamaged(ctx context.Context, digest oci.Digest) error {
	var marked bool
	err := r.DB.Tx(ctx, "blob.damaged", func(tx *sqldb.Tx) (err error) {
		marked, err = index.MarkDamaged(ctx, tx, digest)
		return err
	})
	r.recent.clear()
	if err == nil && !marked {
		err = fail.E(fail.NotFound, nil, "blob %s", digest).Code(oci.CodeBlobUnknown)
	}
	return err
}
