package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// commit checks the digest and makes the upload a blob of its repository, together with its last object if that is not settled. An upload that is known to
// nobody but this request (once) leaves no row.
func (in *intake) commit(ctx context.Context, last *object, d oci.Digest, once bool) (oci.Descriptor, error) {
	total := in.up.Off
	if last != nil {
		total += last.size
	}
	if in.algorithm != d.Algorithm() {
		// The client said only now which algorithm it means: read back once. The last object is not settled before: the same PUT must find the upload where it was, if this one fails.
		if err := in.readBack(ctx, last, total, d); err != nil {
			if last != nil {
				in.abandon(last.name)
			}
			return oci.Descriptor{}, in.unlessLost(err)
		}
	} else if got := oci.FromHash(in.algorithm, in.sum); got != d {
		if last != nil {
			in.abandon(last.name)
		}
		return oci.Descriptor{}, digestWrong(d, got)
	}
	c := &commit{in: in, last: last, digest: d, total: total, once: once, op: sqldb.NewToken(), junk: sqldb.NewID(), stray: sqldb.NewID()}
	err := c.settle()
	if c.swapped {
		in.r.recent.forget()
	}
	if err != nil {
		return oci.Descriptor{}, fmt.Errorf("commit blob %s: %w", d, err)
	}
	if last != nil && c.outcome != applied {
		in.forget(last.name, c.gone)
	}
	switch c.outcome {
	case lost:
		return oci.Descriptor{}, in.lost()
	case other:
		return again(c.done, d)
	case applied:
	}
	in.r.metrics.pushes.WithLabelValues("blob").Inc()
	return oci.Descriptor{MediaType: blobMediaType, Digest: d, Size: total}, nil
}

func digestWrong(want, got oci.Digest) error {
	return fail.E(fail.Invalid, nil, "the content is %s, not %s", got, want).Code(oci.CodeDigestInvalid).Hint("compute the digest of the bytes that are sent")
}

// readBack hashes what is settled, and the last object, which is not, if there is one. It ends with the request, and takes as long as the store does: the time that is left when the body ended does not run meanwhile.
func (in *intake) readBack(ctx context.Context, last *object, total int64, d oci.Digest) error {
	in.timer.Stop()
	defer in.onEnd()
	defer in.keep()()
	rows, err := index.Objects(ctx, in.r.db, in.up.Content)
	if err != nil {
		return fmt.Errorf("read upload %s back: %w", in.up.ID, err)
	}
	all := objects(rows[:min(len(rows), in.up.Seq)]) // others may have settled more since
	if last != nil {
		all = append(all, blob.Object{Name: last.name, Size: last.size})
	}
	reader, err := in.r.blobs.Open(ctx, all)
	if err != nil {
		return fmt.Errorf("read upload %s back: %w", in.up.ID, err)
	}
	sum := d.Algorithm().New()
	n, err := io.Copy(sum, reader)
	if closeErr := reader.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("read upload %s back: %w", in.up.ID, err)
	}
	if n != total {
		return fail.E(fail.Internal, nil, "upload %s has %d bytes of %d", in.up.ID, n, total)
	}
	if got := oci.FromHash(d.Algorithm(), sum); got != d {
		return digestWrong(d, got)
	}
	return nil
}

// unlessLost answers why an upload could not be read back: another request was faster, and what it made of the objects may be gone by now, or else the error.
func (in *intake) unlessLost(err error) error {
	u, findErr := in.r.findUpload(in.ctx, in.name, in.up.ID)
	switch {
	case fail.Is(findErr, fail.NotFound):
		return findErr
	case findErr != nil:
		return err
	case !u.Done.IsZero():
		return uploadUnknown(in.name, in.up.ID)
	case u.Off != in.up.Off:
		return misplaced(in.name, u, in.up.Off)
	}
	return err
}

// outcome is how a commit ended.
type outcome int

const (
	applied outcome = iota
	lost            // the upload is not where it was, or not any more
	other           // another request committed the upload
)

// commit is one transaction of constant size. A crash leaves all of it or nothing: then the upload stands where it was, and the last object is an unsettled
// row of its content.
type commit struct {
	in     *intake
	last   *object // durable, not settled; or nil
	digest oci.Digest
	total  int64
	once   bool
	op     string
	junk   int64 // content for our last object, should we lose
	stray  int64 // content for what others left unsettled

	whole  int64 // content of the blob that is there already, if it was looked at; 0: none was
	unseen int64 // content that is to be looked at before it counts; 0: none

	used int64 // bytes of the purse that a run counted

	outcome outcome
	done    index.Upload // outcome other
	gone    bool         // our last object has no row any more
	swapped bool         // a damaged blob has new content, or may have: whatever became of the run that gave it that
}

// looksAtOthers bounds how often the blob that is there already may get another content while it is looked at.
const looksAtOthers = 5

// errLookFirst ends a run that found the blob there already: what is there is looked at before what was pushed is thrown away.
var errLookFirst = errors.New("look at the blob that is there first")

// settle runs the transaction.
func (c *commit) settle() error {
	for range looksAtOthers {
		err := c.in.purse.afford(c.in.ctx, func() error { return c.in.r.keyed(c.in.ctx, "blob.commit", c.run) })
		if !errors.Is(err, errLookFirst) {
			c.in.purse.counted(c.used, err)
			return err
		}
		whole, err := c.look()
		if err != nil {
			return err
		}
		if whole {
			c.whole = c.unseen
		}
	}
	return fail.E(fail.Unavailable, nil, "blob %s is written anew all the time", c.digest).RetryAfter(busyRetry)
}

// look looks at the blob that is there. It takes as long as the store does to answer for each of its objects, of which there may be thousands: the time that is left when the body ended does not run meanwhile.
func (c *commit) look() (whole bool, err error) {
	in := c.in
	in.timer.Stop()
	defer in.onEnd()
	defer in.keep()()
	return in.r.wholeContent(in.ctx, c.digest, c.unseen)
}

func (c *commit) run(tx *sqldb.Tx) error {
	c.outcome, c.done, c.gone = applied, index.Upload{}, false
	in, ctx, now := c.in, c.in.ctx, micros(tx.Now())
	mine, err := c.end(tx, now)
	if err != nil || !mine {
		return err
	}
	content := in.up.Content
	if c.last != nil {
		if err = in.number(tx, *c.last); err != nil {
			return err
		}
	}
	quota, err := c.clean(tx, now)
	if err != nil {
		return err
	}
	fresh, err := index.InsertBlob(ctx, tx, c.digest, content, c.total, now)
	if err == nil && !fresh {
		err = c.duplicate(tx, now)
	}
	if err != nil {
		return err
	}
	if err = c.link(tx, quota, now); err != nil {
		return err
	}
	return index.Review(ctx, tx, index.ReviewLink, in.up.Repo, c.digest, micros(tx.Now().Add(in.r.cfg.SafeTime)))
}

// link lets the repository have the blob, and counts it against the quota of its project, if that has one, and what the upload held no longer.
func (c *commit) link(tx *sqldb.Tx, quota, now int64) error {
	in, ctx := c.in, c.in.ctx
	if quota == 0 {
		return index.Link(ctx, tx, in.up.Repo, c.digest, now)
	}
	held, err := index.FindHold(ctx, tx, in.up.ID)
	if err != nil {
		return err
	}
	used, err := in.purse.link(ctx, tx, quota, in.up.Repo, c.digest, c.total, held, now)
	c.used = max(c.used, used)
	return err
}

// end marks the upload done. If it is not ours to end, it finds out why, and buries our last object.
func (c *commit) end(tx *sqldb.Tx, now int64) (mine bool, err error) {
	in, ctx := c.in, c.in.ctx
	var n int64
	if c.once {
		n, err = index.DeleteUpload(ctx, tx, in.up.ID, in.up.Off)
	} else {
		n, err = index.EndUpload(ctx, tx, in.up.ID, in.up.Off, c.total, c.digest, c.op, now)
	}
	if err != nil || n > 0 {
		return err == nil, err
	}
	if c.once {
		// Nobody else knows this upload. It expired, or an earlier run was committed; then the link is there.
		linked, findErr := index.IsLinked(ctx, tx, in.up.Repo, c.digest)
		if findErr != nil || linked {
			return false, findErr
		}
		c.outcome = lost
	} else {
		row, findErr := index.UploadByID(ctx, tx, in.up.ID)
		switch {
		case findErr != nil && !fail.Is(findErr, fail.NotFound):
			return false, findErr
		case findErr == nil && row.Op == c.op:
			return false, nil // an earlier run was committed
		case findErr == nil && !row.Done.IsZero():
			c.outcome, c.done = other, row
		default:
			c.outcome = lost
		}
	}
	if c.last == nil {
		return false, nil
	}
	if c.outcome == lost {
		// A row that says so may be gone since. Only an earlier run of this commit can have settled its object.
		settled, findErr := index.IsSettled(ctx, tx, c.last.name)
		if findErr != nil || settled {
			c.outcome = applied
			return false, findErr
		}
	}
	c.gone, err = in.bury(tx, c.last.name, c.junk)
	return false, err
}

// clean moves what others left unsettled in our content to the dead: of requests that lost or are about to, and of nodes that died. It answers the project too, if that has a quota, else 0.
func (c *commit) clean(tx *sqldb.Tx, now int64) (quota int64, err error) {
	ctx, content := c.in.ctx, c.in.up.Content
	left, quota, err := index.HasUnsettled(ctx, tx, content, c.in.up.Repo)
	if err != nil || !left {
		return quota, err
	}
	if _, err = index.InsertContent(ctx, tx, c.stray, now); err != nil {
		return 0, err
	}
	if err = index.MoveUnsettled(ctx, tx, content, c.stray); err != nil {
		return 0, err
	}
	return quota, index.Bury(ctx, tx, c.stray, now)
}

// duplicate ends our content because the blob is there already; or, if that one is damaged, the other way round.
func (c *commit) duplicate(tx *sqldb.Tx, now int64) error {
	ctx, content := c.in.ctx, c.in.up.Content
	there, err := index.BlobByDigest(ctx, tx, c.digest)
	if err != nil {
		if fail.Is(err, fail.NotFound) {
			err = fail.E(fail.Unavailable, err, "blob %s is being deleted", c.digest).RetryAfter(busyRetry)
		}
		return err
	}
	if !there.Damaged && there.Content != c.whole {
		c.unseen = there.Content
		return errLookFirst
	}
	if there.Damaged {
		n, swapErr := index.SwapContent(ctx, tx, c.digest, there.Content, content, c.total)
		if swapErr != nil {
			return swapErr
		}
		if n > 0 {
			c.swapped = true
			return index.Bury(ctx, tx, there.Content, micros(tx.Now().Add(c.in.r.cfg.DeadGrace)))
		}
	}
	return index.Bury(ctx, tx, content, now)
}
