package registry

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// foldAtOnce bounds what one transaction counts by itself that was counted against a slice.
	foldAtOnce = 250
	// foldTries bounds the tries of one such transaction, which a push or a deletion at the same moment ends.
	foldTries = 5
)

// keepSlices folds the slices of this node, and gives back those that nobody uses, until the context ends, and then all of them.
func (r *Registry) keepSlices(ctx context.Context) {
	tick := time.NewTicker(r.cfg.QuotaIdle)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastFlushTime)
			defer cancel()
			r.returnSlices(last, true)
			return
		case <-tick.C:
			r.returnSlices(ctx, false)
		}
	}
}

// returnSlices gives back what is not used, or all. What can't be given back now is tried again, and, if the node ends before that, done by another.
func (r *Registry) returnSlices(ctx context.Context, all bool) {
	over, now := r.grants.takeStrays(), r.cfg.Clock()
	for _, g := range r.grants.list() {
		if slice := g.end(now.Add(-r.cfg.QuotaIdle), all); slice != 0 {
			over[slice] = time.Time{}
		} else if err := r.trim(ctx, g); err != nil {
			r.cfg.Log.WarnContext(ctx, "what was pushed is still counted against a slice of its quota", "project", g.project, "error", err)
		}
	}
	for slice, until := range over {
		err := r.fold(ctx, slice, rest{end: true})
		if err != nil {
			r.cfg.Log.WarnContext(ctx, "a slice of a quota is given back later", "error", err)
		}
		if err != nil || now.Before(until) {
			r.grants.stray(slice, until)
		}
	}
}

// trim folds a slice that is in use, and gives back what is not likely to be used soon: what a large push that broke off was promised, what was deleted again, or was there already. A node that is always busy would
// keep it from the others for ever.
func (r *Registry) trim(ctx context.Context, g *grant) error {
	if !g.growing.TryLock() {
		return nil // more is being taken
	}
	defer g.growing.Unlock()
	slice, keep := g.trim(r.cfg.QuotaSlice)
	if slice == 0 {
		return nil
	}
	return r.fold(ctx, slice, rest{keep: keep})
}

// takeStrays answers the slices that are to be given back, and forgets them.
func (g *grants) takeStrays() map[int64]time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := map[int64]time.Time{}
	maps.Copy(all, g.strays)
	clear(g.strays)
	return all
}

// ReturnSlices gives back up to limit slices of quotas that incarnations had which live no more, and answers how many. A push of one that lives all the same takes another slice.
func (r *Registry) ReturnSlices(ctx context.Context, hold Hold, limit int) (int, error) {
	lost, err := index.LostSlices(ctx, r.db, limit)
	if err != nil {
		return 0, fmt.Errorf("find slices of quotas of dead nodes: %w", err)
	}
	for n, slice := range lost {
		if err = r.held(ctx, hold, "quota.hold", func(*sqldb.Tx) error { return nil }); err == nil {
			err = r.fold(ctx, slice, rest{end: true})
		}
		if err != nil {
			return n, fmt.Errorf("give back a slice of a quota: %w", err)
		}
	}
	return len(lost), nil
}

// errMoved says that something that was to be folded is not counted against the slice any more.
var errMoved = errors.New("it was folded, or deleted, meanwhile")

// rest is what becomes of the bytes of a slice that nothing is counted against, once it is folded.
type rest struct {
	keep int64 // so many stay, at most; the others are the quota's again
	end  bool  // the slice too: whatever is promised of it
}

// fold counts what is counted against a slice by itself, and gives the quota what is not to be kept of the rest. A slice that is not there is given back already.
//
// Transactions of bounded size, each of which leaves held as it should be: what leaves the slice's bytes is in the sum of what is counted by itself, and at the end the rest leaves held. So a crash leaves a
// slice, which is folded further by the next who does so, whoever that is. They may be relaxed, because what they say again holds without them.
func (r *Registry) fold(ctx context.Context, slice int64, then rest) error {
	for more, tries := true, 0; more; {
		err := r.relaxed(ctx, "quota.fold", func(tx *sqldb.Tx) (err error) {
			more, err = foldSome(ctx, tx, slice, then)
			return err
		})
		if fail.CodeOf(err) == sqldb.CodeFK || errors.Is(err, errMoved) {
			if tries++; tries < foldTries {
				more = true
				continue
			}
			err = fail.E(fail.Unavailable, err, "slice of a quota, tried %d times", tries).RetryAfter(busyRetry)
		}
		if err != nil {
			return err
		}
		tries = 0
	}
	return nil
}

func foldSome(ctx context.Context, tx *sqldb.Tx, id int64, then rest) (more bool, err error) {
	s, err := index.LockSlice(ctx, tx, id)
	if fail.Is(err, fail.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	folded, more, err := foldRows(ctx, tx, s)
	if err != nil {
		return false, err
	}
	if more || !then.end {
		back := int64(0)
		if !more {
			back = max(0, s.Bytes-folded-then.keep)
		}
		n, growErr := index.GrowSlice(ctx, tx, id, -folded-back)
		if growErr == nil && n == 0 {
			growErr = errMoved
		}
		if growErr != nil {
			return more, growErr
		}
		return more, index.AddHeld(ctx, tx, s.Project, -back)
	}
	n, err := index.DeleteSlice(ctx, tx, s)
	if err == nil && n == 0 {
		err = errMoved
	}
	if err != nil {
		return false, err
	}
	return false, index.AddHeld(ctx, tx, s.Project, folded-s.Bytes)
}

// foldRows counts some of what is counted against a slice by itself, and answers how many bytes that are; more: there may be more.
func foldRows(ctx context.Context, tx *sqldb.Tx, s index.Slice) (folded int64, more bool, err error) {
	list, err := index.SliceCharges(ctx, tx, s.ID, foldAtOnce)
	if err != nil {
		return 0, false, err
	}
	holds, err := index.SliceHolds(ctx, tx, s.ID, foldAtOnce)
	if err != nil {
		return 0, false, err
	}
	for _, c := range list {
		folded += c.Size
	}
	n, err := index.FoldCharges(ctx, tx, s.Project, s.ID, list)
	if err == nil && n != int64(len(list)) {
		err = errMoved
	}
	if err != nil {
		return 0, false, err
	}
	for _, h := range holds {
		alone := h
		alone.Slice = 0
		folded += h.Bytes
		if n, err = index.ChangeHold(ctx, tx, h, alone); err == nil && n == 0 {
			err = errMoved
		}
		if err != nil {
			return 0, false, err
		}
	}
	return folded, len(list) == foldAtOnce || len(holds) == foldAtOnce, nil
}
