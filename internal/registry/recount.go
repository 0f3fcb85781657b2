package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// countTimes is how often the sweep makes sure that what a project had before it got its quota is counted: a push whose transaction read that there is none, and that was committed behind the first count of
	// its repository, is found by the second.
	countTimes = 2
	// countPause lies between the two: no transaction lives so long.
	countPause = 10 * time.Minute
	// listAtOnce bounds what is read at a time to be counted, countAtOnce what one transaction counts.
	listAtOnce  = 500
	countAtOnce = 20
)

// CountQuota counts what a project has, if it has a quota, and puts right what is counted otherwise. Pushes and deletions go on meanwhile.
//
// It goes through all links, then all manifests, then all that is counted, a few at a time. Each transaction changes the row of what it counts before it looks how many repositories have that; whoever pushes or
// deletes the same changes that row too. So what it finds is so at its commit, and stays so: whatever comes later changes the row by what it does. A crash leaves the rest uncounted. It ends where the quota is
// taken away.
func (r *Registry) CountQuota(ctx context.Context, project int64) error {
	err := r.countQuota(ctx, project)
	if err == nil {
		err = r.tx(ctx, "quota.counted", func(tx *sqldb.Tx) error { return index.NoteCount(ctx, tx, project, micros(tx.Now().Add(-countPause))) })
	}
	if err != nil && !errors.Is(err, errNoQuota) {
		return fmt.Errorf("count what project %d has: %w", project, err)
	}
	return nil
}

func (r *Registry) countQuota(ctx context.Context, project int64) error {
	c := recount{r: r, project: project}
	for after := ""; ; {
		repos, err := index.RepositoriesOf(ctx, r.db, project, after, listAtOnce)
		if err != nil {
			return err
		}
		for _, repo := range repos {
			if err = c.repository(ctx, repo.ID); err != nil {
				return err
			}
			after = repo.Name
		}
		if len(repos) < listAtOnce {
			break
		}
	}
	return c.each(ctx, func(after []byte) ([]index.Charge, error) {
		return index.Charges(ctx, r.db, project, after, listAtOnce)
	})
}

// CountNewQuotas counts what the projects have whose quota is new, up to limit of them, and answers how many.
func (r *Registry) CountNewQuotas(ctx context.Context, now time.Time, limit int) (int, error) {
	due, err := index.DueQuotas(ctx, r.db, countTimes, micros(now.Add(-countPause)), limit)
	if err != nil {
		return 0, fmt.Errorf("find quotas that are to be counted: %w", err)
	}
	for n, project := range due {
		if err = r.CountQuota(ctx, project); err != nil {
			return n, err
		}
	}
	return len(due), nil
}

// errNoQuota ends the count of a project that has no quota, or none any more.
var errNoQuota = errors.New("the project has no quota")

// recount is a count under way.
type recount struct {
	r       *Registry
	project int64
}

// repository counts what one repository has.
func (c *recount) repository(ctx context.Context, repo int64) error {
	for _, list := range []func(context.Context, sqldb.Querier, int64, []byte, int) ([]index.Charge, error){index.LinkedSizes, index.ManifestList} {
		if err := c.each(ctx, func(after []byte) ([]index.Charge, error) { return list(ctx, c.r.db, repo, after, listAtOnce) }); err != nil {
			return err
		}
	}
	return nil
}

// each counts all of a list, which is read a page at a time.
func (c *recount) each(ctx context.Context, page func(after []byte) ([]index.Charge, error)) error {
	for after := []byte{}; ; {
		list, err := page(after)
		if err != nil {
			return err
		}
		for rest := list; len(rest) > 0; {
			part := rest[:min(len(rest), countAtOnce)]
			rest = rest[len(part):]
			if err = c.count(ctx, part); err != nil {
				return err
			}
			after = part[len(part)-1].Digest.Bytes()
		}
		if len(list) < listAtOnce {
			return nil
		}
	}
}

// count is one transaction that counts some things, in the order of their digests' bytes.
func (c *recount) count(ctx context.Context, list []index.Charge) error {
	return c.r.keyed(ctx, "quota.count", func(tx *sqldb.Tx) error {
		_, err := index.FindQuota(ctx, tx, c.project)
		if fail.Is(err, fail.NotFound) {
			return errNoQuota
		}
		if err != nil {
			return err
		}
		change := int64(0)
		for _, one := range list {
			n, oneErr := c.one(ctx, tx, one.Digest, one.Size)
			if oneErr != nil {
				return oneErr
			}
			change += n
		}
		n, err := index.CountHeld(ctx, tx, c.project, change)
		if err == nil && n == 0 {
			err = errNoQuota // it was taken away meanwhile
		}
		return err
	})
}

// one counts one thing, and answers by how much more is counted by itself.
func (c *recount) one(ctx context.Context, tx *sqldb.Tx, d oci.Digest, size int64) (change int64, err error) {
	for there := false; !there; {
		n, lockErr := index.LockCharge(ctx, tx, c.project, d)
		if lockErr != nil {
			return 0, lockErr
		}
		if there = n > 0; !there {
			if there, err = index.InsertCharge(ctx, tx, c.project, index.Charge{Digest: d, Size: size}); err != nil {
				return 0, err
			}
			if there {
				change = size
			}
		}
	}
	have, err := index.CountHaving(ctx, tx, c.project, d)
	if err != nil {
		return 0, err
	}
	counted, err := index.FindCharge(ctx, tx, c.project, d)
	switch {
	case err != nil:
		return 0, err
	case have > 0:
		return change, index.SetRepositories(ctx, tx, c.project, d, have)
	case counted.Slice == 0:
		change -= counted.Size
	}
	return change, index.DeleteCharge(ctx, tx, c.project, d)
}
