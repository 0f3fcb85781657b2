package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// codeClaim is the code of the Conflict that a Hold answers.
const codeClaim = "claim"

// Hold says, inside a write transaction, whether the caller still has the duty for which it writes: see cluster.Claim. It fails the transaction, with Conflict and the code claim, if not.
type Hold func(context.Context, *sqldb.Tx) error

// ExpireUploads ends up to limit uploads that made no progress since a time: their contents are dead. If done, it forgets up to limit uploads that were
// finished before that time instead. It answers how many went; fewer than limit means that no more are due. An upload that goes on at this moment is left alone.
func (r *Registry) ExpireUploads(ctx context.Context, done bool, since time.Time, limit int) (int, error) {
	if done {
		return r.forgetUploads(ctx, since, limit)
	}
	idle, err := index.IdleUploads(ctx, r.db, micros(since), limit)
	if err != nil {
		return 0, fmt.Errorf("find idle uploads: %w", err)
	}
	n := 0
	for _, u := range idle {
		gone, endErr := r.endUpload(ctx, "upload.expire", u)
		if endErr != nil {
			return n, fmt.Errorf("expire upload %s: %w", u.ID, endErr)
		}
		if gone {
			n++
		}
	}
	return n, nil
}

func (r *Registry) forgetUploads(ctx context.Context, since time.Time, limit int) (int, error) {
	done, err := index.DoneUploads(ctx, r.db, micros(since), limit)
	if err != nil || len(done) == 0 {
		return 0, err
	}
	if err = r.relaxed(ctx, "upload.forget", func(tx *sqldb.Tx) error { return index.ForgetUploads(ctx, tx, done) }); err != nil {
		return 0, fmt.Errorf("forget done uploads: %w", err)
	}
	return len(done), nil
}

// buryAtOnce bounds the objects that are deleted between two transactions, and the rows that one deletes.
const buryAtOnce = 500

// DeadMark is how far the dead were gone through. The zero value is the beginning, and the end.
type DeadMark struct{ last index.Dead }

// BuryDead deletes the objects, then the rows, of up to limit dead contents whose grace is over now, those that wait longest first, behind after. It answers how
// many went, and where to go on.
//
//  1. Objects. A crash leaves rows that name absent objects: the next run deletes them again, which is no error.
//  2. Rows. Only then is the content gone.
//
// A content that is among the dead is never referred to again: what buries it takes it out of its upload or blob in the same transaction.
//
// One that fails by itself, because the store refuses to delete one of its objects, holds nobody else back: the first such error comes with the answer. An error that may hit all others too (Unavailable) ends the
// batch, and where to go on is behind the one that it hit: stores say the same of a single object that they do not let go.
func (r *Registry) BuryDead(ctx context.Context, hold Hold, now time.Time, after DeadMark, limit int) (buried int, last DeadMark, err error) {
	var dead []index.Dead
	// What deletes objects must not be lost with a primary that alone has it: what was given up would be there again, without its bytes.
	err = r.db.Durable(ctx, "dead.find", func(q sqldb.Querier) (err error) {
		dead, err = index.DeadContents(ctx, q, micros(now), after.last, limit)
		return err
	})
	if err != nil {
		return 0, after, fmt.Errorf("find the dead: %w", err)
	}
	var first error
	for _, d := range dead {
		err = r.buryContent(ctx, hold, d.Content)
		if last.last = d; endsBatch(ctx, err) {
			return buried, last, fmt.Errorf("bury content %d: %w", d.Content, err)
		}
		if err == nil {
			buried++
		} else if first == nil {
			first = fmt.Errorf("bury content %d: %w", d.Content, err)
		}
	}
	if len(dead) < limit {
		last = DeadMark{}
	}
	return buried, last, first
}

// endsBatch reports whether an error may hit all that is left of a batch too: a store or a database that is away, a duty that is lost.
func endsBatch(ctx context.Context, err error) bool {
	return err != nil && (ctx.Err() != nil || fail.Is(err, fail.Unavailable) || fail.CodeOf(err) == codeClaim)
}

func (r *Registry) buryContent(ctx context.Context, hold Hold, content int64) error {
	used, err := index.IsReferred(ctx, r.db, content)
	if err != nil {
		return err
	}
	if used {
		// It must not be; if it is, bytes are worth more than room.
		r.cfg.Log.ErrorContext(ctx, "a dead content is in use and stays", "content", content)
		return r.held(ctx, hold, "dead.revive", func(tx *sqldb.Tx) error { return index.Revive(ctx, tx, content) })
	}
	for forbidden := 0; ; {
		names, listErr := index.ObjectNames(ctx, r.db, content, buryAtOnce)
		if listErr != nil {
			return listErr
		}
		for _, name := range names {
			if err = r.step("object.delete", func() error { return r.blobs.Delete(ctx, name) }); err != nil {
				return err
			}
		}
		last := len(names) < buryAtOnce
		err = r.held(ctx, hold, "dead.bury", func(tx *sqldb.Tx) error {
			if delErr := index.DeleteObjects(ctx, tx, names); delErr != nil || !last {
				return delErr
			}
			return index.DeleteContent(ctx, tx, content)
		})
		if last && fail.CodeOf(err) == sqldb.CodeFK {
			if forbidden++; forbidden < keyTries {
				continue // an object was handed to this content meanwhile
			}
		}
		if err != nil || last {
			return err
		}
	}
}

// held is a transaction of a duty.
func (r *Registry) held(ctx context.Context, hold Hold, name string, fn func(tx *sqldb.Tx) error) error {
	return r.relaxed(ctx, name, func(tx *sqldb.Tx) error {
		if err := hold(ctx, tx); err != nil {
			return err
		}
		return fn(tx)
	})
}

// Orphans is what a walk over the store's objects found.
type Orphans struct {
	Seen, Deleted int
	Last          string // where to go on; "" at the end
	Done          bool   // the end of the list was reached
}

// SweepOrphans looks at up to limit objects behind a name, and deletes those of Havn's own form that are older than a time and that no row names. A power cut
// leaves such, where it took a row that was not flushed. The caller has made sure that the store is this database's: see Identify.
//
// An object that can't be deleted holds no other back: the first such error comes with the answer, and Last stands behind it; so it does behind one for which the store is said to be Unavailable, where it ends.
//
// An object's row is committed before its bytes are written, and rows are looked for after the listing: an object without a row has no use, however old it is.
func (r *Registry) SweepOrphans(ctx context.Context, after string, before time.Time, limit int) (Orphans, error) {
	found := Orphans{Last: after}
	var names []string
	var first error
	flush := func(last string) error {
		n, stop, err := r.deleteOrphans(ctx, names)
		found.Deleted += n
		names = names[:0]
		if endsBatch(ctx, err) {
			found.Last = max(found.Last, stop)
			return err
		}
		if found.Last = last; first == nil {
			first = err
		}
		return nil
	}
	for info, err := range r.blobs.List(ctx, after) {
		if err != nil {
			return found, fmt.Errorf("list objects: %w", err)
		}
		found.Seen++
		if blob.IsOwnName(info.Name) && info.ModTime.Before(before) {
			names = append(names, info.Name)
		}
		if len(names) == buryAtOnce || found.Seen == limit {
			if err = flush(info.Name); err != nil {
				return found, err
			}
		}
		if found.Seen == limit {
			return found, first
		}
	}
	if err := flush(""); err != nil {
		return found, err
	}
	// A writer that died may have left more than the list shows. What has a row is left alone: it is being written, or it goes when its row does.
	n, err := r.blobs.Tidy(ctx, before, r.known)
	if n > 0 {
		r.cfg.Log.InfoContext(ctx, "removed unfinished uploads from the blob store", "uploads", n)
	}
	if err != nil {
		r.cfg.Log.WarnContext(ctx, "unfinished uploads stay in the blob store until the next walk", "error", err, "hint", fail.HintOf(err))
	}
	found.Done = true
	return found, first
}

// deleteOrphans deletes those of some objects that have no row. stop: the one at which it ended, if it did.
func (r *Registry) deleteOrphans(ctx context.Context, names []string) (n int, stop string, first error) {
	known, err := r.known(ctx, names)
	if err != nil {
		return 0, "", err
	}
	for _, name := range names {
		if known[name] {
			continue
		}
		if err = r.blobs.Delete(ctx, name); endsBatch(ctx, err) {
			return n, name, err
		}
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		r.cfg.Log.InfoContext(ctx, "deleted an object that no row names", "object", name)
		n++
	}
	return n, "", first
}

// known answers which of some objects have a row.
func (r *Registry) known(ctx context.Context, names []string) (map[string]bool, error) {
	known, err := index.KnownNames(ctx, r.db, names)
	if err != nil {
		return nil, fmt.Errorf("look for objects' rows: %w", err)
	}
	return known, nil
}

// FoldPulls adds up to limit appended pull counts to the totals, and answers how many. Several nodes may do so at once.
func (r *Registry) FoldPulls(ctx context.Context, hold Hold, limit int) (int, error) {
	list, err := index.Pulls(ctx, r.db, limit)
	if err != nil || len(list) == 0 {
		return 0, err
	}
	err = r.held(ctx, hold, "pulls.fold", func(tx *sqldb.Tx) error {
		for _, p := range list {
			n, delErr := index.DeletePull(ctx, tx, p.ID)
			if delErr != nil {
				return delErr
			}
			if n == 0 {
				continue // folded by another node, or by an earlier run
			}
			if addErr := addPull(ctx, tx, p); addErr != nil {
				return addErr
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("fold pull counts: %w", err)
	}
	return len(list), nil
}

func addPull(ctx context.Context, tx *sqldb.Tx, p index.Pull) error {
	all := p
	all.Tag = ""
	if err := index.AddPulls(ctx, tx, all); err != nil || p.Tag == "" {
		return err
	}
	return index.AddPulls(ctx, tx, p)
}

// OldOps answers up to limit ids of operations that say that they are from before a time, which is that of the clock of whoever wrote them.
func (r *Registry) OldOps(ctx context.Context, before time.Time, limit int) ([]string, error) {
	old, err := index.OldOps(ctx, r.db, micros(before), limit)
	if err != nil {
		return nil, fmt.Errorf("find old operations: %w", err)
	}
	return old, nil
}

// ForgetOps removes ids of operations, in one transaction. The caller knows that nobody can run them again.
func (r *Registry) ForgetOps(ctx context.Context, hold Hold, ids []string) error {
	if err := r.held(ctx, hold, "ops.forget", func(tx *sqldb.Tx) error { return index.DeleteOps(ctx, tx, ids) }); err != nil {
		return fmt.Errorf("forget operations: %w", err)
	}
	return nil
}
