package registry

import (
	"context"
	"fmt"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Unlimited is the limit of a project without a quota.
const Unlimited = index.Unlimited

const (
	// forgetAtOnce bounds what one transaction forgets of a quota that is taken away; forgetFew is that bound where others push to the project all the time.
	forgetAtOnce = 500
	forgetFew    = 10
	// forgetTries bounds the tries that a push at the same moment undid.
	forgetTries = 100
)

// CheckLimit checks the limit of a quota, in bytes. Invalid if it can't be one.
func CheckLimit(limit int64) error {
	if limit < Unlimited {
		return fail.E(fail.Invalid, nil, "quota of %d bytes", limit).Hint("use a number of bytes, or -1 for as many as there are")
	}
	return nil
}

// newProject makes a project unless there is one of its name, with the quota that new projects get.
func (r *Registry) newProject(ctx context.Context, tx *sqldb.Tx, p index.Project) (id int64, err error) {
	id, fresh, err := index.InsertProject(ctx, tx, p)
	if err != nil {
		return 0, err
	}
	if !fresh {
		found, findErr := index.FindProject(ctx, tx, p.Name)
		return found.ID, findErr
	}
	return id, LimitNew(ctx, tx, id, r.DefaultQuota())
}

// DefaultQuota answers what new projects may have, in bytes, or Unlimited.
func (r *Registry) DefaultQuota() int64 {
	if r.cfg.DefaultQuota == nil {
		return Unlimited
	}
	return max(Unlimited, r.cfg.DefaultQuota())
}

// LimitNew gives a project a quota, in the transaction that makes it.
func LimitNew(ctx context.Context, tx *sqldb.Tx, project, limit int64) error {
	if limit < 0 {
		return nil
	}
	_, err := index.InsertQuota(ctx, tx, project, limit, countTimes)
	return err
}

// SetQuota gives a project a limit in bytes, which may be below what it has: then nothing can be pushed to it until enough is deleted. Unlimited takes its quota away. NotFound if there is no such project.
//
//  1. The quota. Where the project had none, nothing is counted yet: a crash leaves it so, and the sweep counts.
//  2. What the project has is counted if it never was: see CountQuota. Otherwise, if more is held than there may be, the slices are given back that nodes took before. A crash leaves these to nodes, which
//     may use them.
func (r *Registry) SetQuota(ctx context.Context, project, limit int64) error {
	if err := CheckLimit(limit); err != nil {
		return err
	}
	if limit == Unlimited {
		return r.removeQuota(ctx, project)
	}
	op := sqldb.NewToken()
	err := r.keyed(ctx, "quota.set", func(tx *sqldb.Tx) error {
		mine, txErr := index.ClaimOp(ctx, tx, op, micros(tx.Now()))
		if txErr != nil || !mine {
			return txErr // an earlier run was committed, and knows what it did
		}
		if _, txErr = index.ProjectByID(ctx, tx, project); txErr != nil {
			return txErr
		}
		n, txErr := index.SetLimit(ctx, tx, project, limit)
		if txErr == nil && n == 0 {
			_, txErr = index.InsertQuota(ctx, tx, project, limit, 0)
		}
		return txErr
	})
	var set index.Quota
	if err == nil {
		set, err = index.FindQuota(ctx, r.db, project)
	}
	if fail.Is(err, fail.NotFound) || fail.CodeOf(err) == sqldb.CodeFK {
		return fail.E(fail.NotFound, nil, "project %d", project)
	}
	switch {
	case err != nil:
	case set.Counts == 0:
		err = r.CountQuota(ctx, project)
	case set.Held > set.Limit:
		err = r.recall(ctx, project)
	}
	if err != nil {
		return fmt.Errorf("set the quota of project %d: %w", project, err)
	}
	return nil
}

// mostRecalled bounds the slices that are given back when a limit falls: each node has one.
const mostRecalled = 1000

// recall gives back the slices of a quota, whoever has them: a push that was promised some of one takes anew. What can't be given back now is by the node, a moment later.
func (r *Registry) recall(ctx context.Context, project int64) error {
	all, err := index.SlicesOf(ctx, r.db, project, mostRecalled)
	for _, slice := range all {
		if foldErr := r.fold(ctx, slice, rest{end: true}); foldErr != nil {
			r.grants.stray(slice, time.Time{})
			r.cfg.Log.WarnContext(ctx, "a slice of a quota is given back later", "error", foldErr)
		}
	}
	return err
}

// removeQuota takes a project's quota away, with all that was counted, in transactions of bounded size: a crash leaves a quota of which less is counted, and a count puts that right. Unavailable if so much is
// pushed at the same moment that the last of them never comes through.
func (r *Registry) removeQuota(ctx context.Context, project int64) error {
	atOnce, tries := forgetAtOnce, 0
	for more := true; more; {
		once := index.NewOnce[bool]()
		err := r.tx(ctx, "quota.remove", func(tx *sqldb.Tx) (err error) {
			more, err = once.Run(ctx, tx, func() (bool, error) {
				if _, projectErr := index.ProjectByID(ctx, tx, project); projectErr != nil {
					return false, projectErr
				}
				return index.ForgetQuota(ctx, tx, project, atOnce)
			})
			return err
		})
		switch {
		case err == nil:
		case fail.Is(err, fail.NotFound):
			return fail.E(fail.NotFound, nil, "project %d", project)
		case fail.CodeOf(err) == sqldb.CodeFK && tries < forgetTries:
			// Something was pushed meanwhile. A shorter transaction gets ahead of those who push, until the last one has next to nothing to do.
			more, tries, atOnce = true, tries+1, max(forgetFew, atOnce/2)
		case fail.CodeOf(err) == sqldb.CodeFK:
			return fail.E(fail.Unavailable, err, "take the quota of project %d away, tried %d times: it is pushed to all the time", project, tries).RetryAfter(busyRetry)
		default:
			return fmt.Errorf("take the quota of project %d away: %w", project, err)
		}
	}
	return nil
}
