package registry

import (
	"context"
	"fmt"
	"io"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// PushBlob receives a whole blob and commits it: an upload in one request.
func (r *Registry) PushBlob(ctx context.Context, repo oci.Name, p PushBlob) (oci.Descriptor, error) {
	row, err := r.startUpload(ctx, repo, StartUpload{Pusher: p.Pusher, Algorithm: p.Digest.Algorithm()})
	if err != nil {
		return oci.Descriptor{}, err
	}
	return r.finish(ctx, repo, row, Finish{Digest: p.Digest, Size: p.Size, Body: p.Body})
}

// Finish receives the last bytes of an upload, compares the digest and commits the blob: durable on return, and linked to the repository. The same again within an
// hour is the same answer, another digest is DIGEST_INVALID. A wrong offset is RangeInvalid with the Upload as detail. A digest that does not match leaves the upload
// as it was before the call.
func (r *Registry) Finish(ctx context.Context, repo oci.Name, id string, f Finish) (oci.Descriptor, error) {
	row, err := r.findUpload(ctx, repo, id)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if !row.Done.IsZero() {
		return finished(row, f.Digest)
	}
	return r.finish(ctx, repo, row, f)
}

// finished answers a repeated request to a done upload.
func finished(row index.Upload, digest oci.Digest) (oci.Descriptor, error) {
	if row.Done != digest {
		return oci.Descriptor{}, fail.E(fail.Invalid, nil, "upload %s was finished as %s, not %s", row.ID, row.Done, digest).Code(oci.CodeDigestInvalid).Hint("start a new upload")
	}
	return oci.Descriptor{MediaType: "application/octet-stream", Digest: digest, Size: row.Off}, nil
}

func (r *Registry) finish(ctx context.Context, repo oci.Name, row index.Upload, f Finish) (oci.Descriptor, error) {
	if f.At != row.Off {
		return oci.Descriptor{}, outOfPlace(repo, row, f.At)
	}
	s, err := r.openSession(repo, row)
	if err != nil {
		return oci.Descriptor{}, err
	}
	last, err := s.receive(ctx, f.Body, f.Size)
	if err != nil {
		if last != nil {
			if settleErr := s.settle(ctx, last); settleErr != nil {
				return oci.Descriptor{}, settleErr
			}
		}
		return oci.Descriptor{}, err
	}
	if err = s.compare(ctx, f.Digest, &last); err != nil {
		return oci.Descriptor{}, err
	}
	return s.commit(ctx, f.Digest, last)
}

// compare checks the digest. If it is of another algorithm than the one that was hashed, the last piece is settled and the objects are read back.
func (s *session) compare(ctx context.Context, digest oci.Digest, last **piece) error {
	got := oci.FromHash(s.row.Algorithm, s.hash)
	if digest.Algorithm() != s.row.Algorithm {
		if *last != nil {
			if err := s.settle(ctx, *last); err != nil {
				return err
			}
			*last = nil
		}
		var err error
		if got, err = s.readBack(ctx, digest.Algorithm()); err != nil {
			return fmt.Errorf("read upload %s back: %w", s.row.ID, err)
		}
	}
	if got != digest {
		return fail.E(fail.Invalid, nil, "upload %s has digest %s, not %s", s.row.ID, got, digest).Code(oci.CodeDigestInvalid).
			Hint("the bytes were changed on the way, or the digest is another's: push again")
	}
	return nil
}

func (s *session) readBack(ctx context.Context, a oci.Algorithm) (oci.Digest, error) {
	rows, err := index.ObjectsOf(ctx, s.r.DB, s.row.Content)
	if err != nil {
		return oci.Digest{}, err
	}
	objects := make([]blob.Object, len(rows))
	for i, o := range rows {
		objects[i] = blob.Object(o)
	}
	in, err := s.r.Blobs.Open(ctx, objects)
	if err != nil {
		return oci.Digest{}, err
	}
	h := a.New()
	_, err = io.Copy(h, in)
	if closeErr := in.Close(); err == nil {
		err = closeErr
	}
	return oci.FromHash(a, h), err
}

// commit makes the upload a blob of the repository, in one transaction of constant size: the upload is done, the last piece is counted, the digest has a content (ours, or
// the one that is there, and then ours is dead), and the repository a link to it. Before, nothing is visible; after, all of it is durable.
func (s *session) commit(ctx context.Context, digest oci.Digest, last *piece) (oci.Descriptor, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	op, off := sqldb.NewToken(), s.row.Off
	if last != nil {
		off += last.size
	}
	var before index.Upload // what is there if the upload is not as we saw it
	var lost, swapped bool
	err := s.r.recent.write(s.repo, func() error {
		return s.r.DB.Tx(ctx, "upload.commit", func(tx *sqldb.Tx) error {
			lost, swapped = false, false
			ended, err := index.End(ctx, tx, s.row, off, digest, op)
			if err != nil {
				return err
			}
			if !ended {
				if before, err = index.UploadByID(ctx, tx, s.row.ID); fail.Is(err, fail.NotFound) {
					return uploadUnknown(s.repo, s.row.ID)
				}
				lost = err == nil && before.Op != op // else an earlier run of this transaction did it
				return err
			}
			if last != nil {
				if _, err = index.SizeObject(ctx, tx, s.row.Content, last.seq, last.size); err != nil {
					return err
				}
			}
			if swapped, err = s.place(ctx, tx, digest, off); err != nil {
				return err
			}
			return s.r.link(ctx, tx, s.row.Repo, digest)
		})
	})
	switch {
	case err != nil:
		return oci.Descriptor{}, fmt.Errorf("commit upload %s: %w", s.row.ID, err)
	case lost && !before.Done.IsZero():
		return finished(before, digest)
	case lost:
		return oci.Descriptor{}, outOfPlace(s.repo, before, s.row.Off)
	}
	if swapped {
		s.r.recent.clear()
	}
	s.r.metrics.pushed.WithLabelValues("blob").Inc()
	return oci.Descriptor{MediaType: "application/octet-stream", Digest: digest, Size: off}, nil
}

// place gives the digest a content. The one that lost is dead; it stays readable for the grace, because a pull may be reading it.
func (s *session) place(ctx context.Context, tx *sqldb.Tx, digest oci.Digest, size int64) (swapped bool, err error) {
	present, err := index.FindContent(ctx, tx, digest)
	if fail.Is(err, fail.NotFound) {
		return false, index.AddBlob(ctx, tx, digest, s.row.Content, size)
	}
	if err != nil {
		return false, err
	}
	now := s.r.Clock()
	if present.Damaged {
		if swapped, err = index.SwapContent(ctx, tx, digest, present.Content, s.row.Content); err != nil {
			return false, err
		}
	}
	if swapped {
		return true, index.AddDead(ctx, tx, present.Content, now.Add(s.r.DeadGrace))
	}
	return false, index.AddDead(ctx, tx, s.row.Content, now)
}

// link makes a blob present in a repository and puts the link up for review: nothing refers to it yet.
func (r *Registry) link(ctx context.Context, tx *sqldb.Tx, repo int64, digest oci.Digest) error {
	if err := index.LinkBlob(ctx, tx, repo, digest); err != nil {
		return err
	}
	return index.RaiseReview(ctx, tx, index.ReviewLink, repo, digest, r.Clock().Add(r.SafeTime))
}

// Mount is a blob of another repository that a push wants here.
type Mount struct {
	Pusher
	Digest  oci.Digest
	From    oci.Name            // zero: any repository that the pusher may pull
	MayPull func(oci.Name) bool // may the pusher pull from there?
}

// mountCandidates bounds the repositories that are asked for when none is named.
const mountCandidates = 64

// Mount links a blob that is in another repository to this one, if the pusher may pull it there. False, with no sign of why, if there is none.
func (r *Registry) Mount(ctx context.Context, repo oci.Name, m Mount) (bool, error) {
	found, err := r.mountable(ctx, m)
	if err != nil || !found {
		return false, err
	}
	id, err := r.repository(ctx, repo, m.Pusher)
	if err != nil {
		return false, err
	}
	err = r.recent.write(repo, func() error {
		return r.DB.Tx(ctx, "blob.mount", func(tx *sqldb.Tx) error { return r.link(ctx, tx, id, m.Digest) })
	})
	if fail.Is(err, fail.Conflict) {
		return false, nil // it was deleted at this moment
	}
	if err != nil {
		return false, fmt.Errorf("mount blob %s into %s: %w", m.Digest, repo, err)
	}
	return true, nil
}

func (r *Registry) mountable(ctx context.Context, m Mount) (bool, error) {
	if !m.From.IsZero() {
		if !m.MayPull(m.From) {
			return false, nil
		}
		_, err := r.findBlob(ctx, m.From, m.Digest)
		if fail.Is(err, fail.NotFound) {
			return false, nil
		}
		return err == nil, err
	}
	names, err := index.RepositoriesWithBlob(ctx, r.DB, m.Digest, mountCandidates)
	if err != nil {
		return false, fmt.Errorf("find repositories with blob %s: %w", m.Digest, err)
	}
	for _, s := range names {
		name, err := oci.ParseName(s)
		if err != nil {
			return false, fail.E(fail.Internal, err, "stored name %q", s)
		}
		if m.MayPull(name) {
			return true, nil
		}
	}
	return false, nil
}
