package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// lack ends a run of a transaction that counts something against a quota, when what it needs for that is not there. It is run again with a fuller purse.
type lack struct {
	project int64 // whose quota it is
	bytes   int64 // that the purse must have
	slice   int64 // is not there any more; 0: it is, or was not looked for
}

func (l *lack) Error() string {
	return fmt.Sprintf("%d bytes of the quota of project %d", l.bytes, l.project)
}

// affordTries bounds how often a transaction is run again because its purse lacked something: each needs that a quota was set, or a slice taken away, or folded, at the same moment.
const affordTries = 10

// afford runs a transaction that counts against a quota, and gives it what it lacks.
func (p *purse) afford(ctx context.Context, run func() error) error {
	for range affordTries {
		err := run()
		var l *lack
		if !errors.As(err, &l) {
			return err
		}
		if p.project != l.project {
			p.empty()
			p.project, p.slice, p.n = l.project, 0, 0
		}
		if p.name != "" {
			p.r.grants.know(p.name, p.project)
		}
		if l.slice != 0 {
			p.r.grants.of(p.project).lost(l.slice)
			if p.slice == l.slice {
				p.slice, p.n = 0, 0
			}
		}
		if err = p.fill(ctx, l.bytes); err != nil {
			return err
		}
	}
	return fail.E(fail.Unavailable, nil, "the quota of project %d changes all the time", p.project).RetryAfter(busyRetry)
}

// ending runs a transaction that ends uploads. What these held of a quota may be folded at the same moment: then it is run again.
func (r *Registry) ending(ctx context.Context, run func() error) error {
	p := r.purse(0)
	return p.afford(ctx, run)
}

// present makes sure, inside a transaction, that the purse may use n bytes of a slice that is there. The slice's key, or its row, sees to it that it still is at the commit.
func (p *purse) present(ctx context.Context, tx *sqldb.Tx, project, n int64) error {
	if p.project != project || p.n < n {
		return &lack{project: project, bytes: n}
	}
	if n == 0 {
		return nil
	}
	_, err := index.FindSlice(ctx, tx, p.slice)
	if fail.Is(err, fail.NotFound) {
		err = &lack{project: project, bytes: n, slice: p.slice}
	}
	return err
}

// charge counts a blob or a manifest that a repository of a project has from now on, and did not have. What an upload received (held) counts towards it, the rest is taken from the purse: it answers how much
// that is, which the caller spends when the transaction was committed, or may have been.
//
// What is there in another repository of the project is counted already. Two transactions that count the same touch one row: that of the charge.
func (p *purse) charge(ctx context.Context, tx *sqldb.Tx, project int64, d oci.Digest, size int64, held index.Hold) (int64, error) {
	n, err := index.AddRepository(ctx, tx, project, d, 1)
	if err != nil {
		return 0, err
	}
	if n > 0 {
		return 0, dropHold(ctx, tx, project, held)
	}
	rest := max(0, size-held.Bytes)
	if err = p.present(ctx, tx, project, rest); err != nil {
		return 0, err
	}
	if size == 0 { // it takes nothing of the quota, which may be taken away at this moment
		n, err = index.CountHeld(ctx, tx, project, 0)
		if err == nil && n == 0 {
			err = &lack{project: project}
		}
		if err != nil {
			return 0, err
		}
	}
	c := index.Charge{Digest: d, Size: size, Repos: 1}
	switch {
	case held.Bytes == 0 && rest > 0:
		c.Slice = p.slice
	case rest == 0 || held.Slice == p.slice:
		c.Slice = held.Slice
	default:
		if err = p.merge(ctx, tx, held, rest); err != nil {
			return 0, err
		}
	}
	fresh, err := index.InsertCharge(ctx, tx, project, c)
	if err != nil {
		return 0, err
	}
	if !fresh { // another transaction was faster, on an engine that lets this one see it
		return 0, &lack{project: project, bytes: rest}
	}
	if held.Upload != "" {
		gone, delErr := index.DeleteHold(ctx, tx, held)
		if delErr != nil {
			return 0, delErr
		}
		if gone == 0 {
			return 0, &lack{project: project, bytes: rest}
		}
	}
	return rest, nil
}

// linkLooks bounds how often a link may be there, and be gone before it was raised: then it is another one's that is to be counted.
const linkLooks = 100

// link lets a repository of a project with a quota have a blob, and counts it if it did not. It answers what the caller spends, as charge does.
func (p *purse) link(ctx context.Context, tx *sqldb.Tx, project, repo int64, d oci.Digest, size int64, held index.Hold, now int64) (int64, error) {
	for range linkLooks {
		fresh, err := index.LinkNew(ctx, tx, repo, d, now)
		if err != nil {
			return 0, err
		}
		if fresh {
			return p.charge(ctx, tx, project, d, size, held)
		}
		n, err := index.RaiseLink(ctx, tx, repo, d, now)
		if err != nil {
			return 0, err
		}
		if n > 0 {
			return 0, dropHold(ctx, tx, project, held)
		}
	}
	return 0, fail.E(fail.Unavailable, nil, "blob %s is linked and deleted all the time", d).RetryAfter(busyRetry)
}

// merge takes what is held, and n bytes of the purse, out of their slices: it is counted by itself from now on, because no single slice has it.
func (p *purse) merge(ctx context.Context, tx *sqldb.Tx, held index.Hold, n int64) error {
	for _, part := range []struct{ slice, bytes int64 }{{held.Slice, held.Bytes}, {p.slice, n}} {
		if part.slice == 0 || part.bytes == 0 {
			continue
		}
		found, err := index.GrowSlice(ctx, tx, part.slice, -part.bytes)
		if err != nil {
			return err
		}
		if found == 0 {
			return &lack{project: p.project, bytes: n} // the next run sees which slice is not there, or that what is held was folded
		}
	}
	return nil
}

// hold counts n bytes more that an upload under way has received, of which a blob may become through another node.
func (p *purse) hold(ctx context.Context, tx *sqldb.Tx, upload string, n int64) error {
	if p.project == 0 {
		return nil
	}
	if err := p.present(ctx, tx, p.project, n); err != nil {
		return err
	}
	held, err := index.FindHold(ctx, tx, upload)
	if err != nil {
		return err
	}
	if held.Upload == "" {
		return index.InsertHold(ctx, tx, p.project, index.Hold{Upload: upload, Bytes: n, Slice: p.slice})
	}
	more := held
	more.Bytes += n
	if held.Slice != p.slice {
		more.Slice = 0
		if err = p.merge(ctx, tx, held, n); err != nil {
			return err
		}
	}
	changed, err := index.ChangeHold(ctx, tx, held, more)
	if err == nil && changed == 0 { // folded meanwhile
		err = &lack{project: p.project, bytes: n}
	}
	return err
}

// dropHold counts an upload no longer. What it held is the quota's again, or, if it is a slice's, when that is given back.
func dropHold(ctx context.Context, tx *sqldb.Tx, project int64, held index.Hold) error {
	freed, err := deleteHold(ctx, tx, project, held)
	if err != nil {
		return err
	}
	return index.AddHeld(ctx, tx, project, -freed)
}

// deleteHold is dropHold, and leaves it to the caller to give the quota what it answers: once, at the end of the transaction.
func deleteHold(ctx context.Context, tx *sqldb.Tx, project int64, held index.Hold) (freed int64, err error) {
	if held.Upload == "" {
		return 0, nil
	}
	gone, err := index.DeleteHold(ctx, tx, held)
	switch {
	case err != nil:
		return 0, err
	case gone == 0: // folded meanwhile
		return 0, &lack{project: project}
	case held.Slice != 0:
		return 0, nil
	}
	return held.Bytes, nil
}

// forgetHold counts an upload no longer that ends without a blob.
func forgetHold(ctx context.Context, tx *sqldb.Tx, u index.Upload) error {
	held, err := index.FindHold(ctx, tx, u.ID)
	if err != nil || held.Upload == "" {
		return err
	}
	quota, err := index.LimitedProject(ctx, tx, u.Repo)
	if err != nil {
		return err
	}
	return dropHold(ctx, tx, quota, held)
}

// discharge counts what a repository has no longer. What no repository of the project has any more is the quota's again, or, if it is a slice's, when that is given back; and so are the bytes that are freed besides.
//
// It stands at the end of a transaction. The charges come in the order of their digests and the quota last, so that two do not wait for each other; and who takes of the quota does not wait for all that a long
// transaction does, or, coming through another node of Galera, end it.
func discharge(ctx context.Context, tx *sqldb.Tx, repo index.Repository, freed int64, list ...oci.Digest) error {
	if repo.Quota == 0 {
		return nil
	}
	for _, d := range slices.SortedFunc(slices.Values(list), compareDigests) {
		n, err := dischargeOne(ctx, tx, repo.Quota, d)
		if err != nil {
			return err
		}
		freed += n
	}
	return index.AddHeld(ctx, tx, repo.Quota, -freed)
}

func dischargeOne(ctx context.Context, tx *sqldb.Tx, project int64, d oci.Digest) (freed int64, err error) {
	for counted := false; !counted; {
		n, addErr := index.AddRepository(ctx, tx, project, d, -1)
		if addErr != nil {
			return 0, addErr
		}
		if counted = n > 0; !counted {
			// It is not counted yet: the quota is new. A row of no bytes comes and goes, so that this and a count of the same that is under way do not miss each other.
			if counted, err = index.InsertCharge(ctx, tx, project, index.Charge{Digest: d}); err != nil {
				return 0, err
			}
		}
	}
	c, err := index.FindCharge(ctx, tx, project, d)
	if err != nil || c.Repos > 0 {
		return 0, err
	}
	if err = index.DeleteCharge(ctx, tx, project, d); err != nil || c.Slice != 0 {
		return 0, err
	}
	return c.Size, nil
}
