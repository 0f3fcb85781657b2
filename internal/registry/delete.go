package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// maxNamed bounds how many users of a thing an error names.
const maxNamed = 10

// deletion runs a transaction that deletes. A second run of one that was applied must not delete what was pushed meanwhile.
func (r *Registry) deletion(ctx context.Context, name oci.Name, title string, fn func(tx *sqldb.Tx, repo index.Repository) error) error {
	_, err := deleting(ctx, r, name, title, func(tx *sqldb.Tx, repo index.Repository) (struct{}, error) { return struct{}{}, fn(tx, repo) })
	return err
}

// deleting is deletion for what answers something: it is the answer of the run that was applied.
func deleting[A any](ctx context.Context, r *Registry, name oci.Name, title string, fn func(tx *sqldb.Tx, repo index.Repository) (A, error)) (answer A, err error) {
	once := index.NewOnce[A]()
	err = r.change(ctx, name, nil, title, func(tx *sqldb.Tx) (err error) {
		answer, err = once.Run(ctx, tx, func() (none A, err error) {
			repo, err := index.RepositoryByName(ctx, tx, name)
			if fail.Is(err, fail.NotFound) {
				return none, nameUnknown(name)
			}
			if err != nil {
				return none, err
			}
			return fn(tx, repo)
		})
		return err
	})
	return answer, err
}

func (r *Registry) review(ctx context.Context, tx *sqldb.Tx, kind int, repo int64, d oci.Digest) error {
	return index.Review(ctx, tx, kind, repo, d, micros(tx.Now().Add(r.cfg.SafeTime)))
}

// DeleteTag removes a tag, not what it points to.
func (r *Registry) DeleteTag(ctx context.Context, name oci.Name, tag oci.Tag) error {
	return r.deleteTag(ctx, name, tag, oci.Digest{})
}

// DeleteTagOf is DeleteTag for a tag of a manifest: MANIFEST_UNKNOWN, and nothing is removed, if it points to another, to which somebody may have moved it at this moment.
func (r *Registry) DeleteTagOf(ctx context.Context, name oci.Name, tag oci.Tag, of oci.Digest) error {
	return r.deleteTag(ctx, name, tag, of)
}

// deleteTag removes a tag; of: what it must point to, zero for whatever it is.
func (r *Registry) deleteTag(ctx context.Context, name oci.Name, tag oci.Tag, of oci.Digest) error {
	err := r.deletion(ctx, name, "tag.delete", func(tx *sqldb.Tx, repo index.Repository) error {
		// What is put up for review is what the tag pointed to when it was removed: somebody may move it between the look and the removal, on an engine that lets this one see it.
		for range tagLooks {
			d, err := index.TagDigest(ctx, tx, repo.ID, tag)
			if fail.Is(err, fail.NotFound) || err == nil && !of.IsZero() && d != of {
				return manifestUnknown(name, tag.String())
			}
			if err != nil {
				return err
			}
			n, err := index.DeleteTagOf(ctx, tx, repo.ID, tag, d)
			if err != nil {
				return err
			}
			if n > 0 {
				return r.review(ctx, tx, index.ReviewManifest, repo.ID, d)
			}
		}
		return tagBusy(tag)
	})
	if err != nil {
		return fmt.Errorf("delete tag %s of %s: %w", tag, name, err)
	}
	return nil
}

// tagsAtOnce bounds the tags that one transaction removes.
const tagsAtOnce = 500

// DeleteManifest removes a manifest and its tags. While an index has it as a child it is a Conflict, with the indexes' digests as the detail.
//
//  1. While there are more tags than one transaction takes, some of them. A crash leaves a manifest with fewer tags, up for review.
//  2. The other tags together with the manifest.
//
// A tag that was removed and is pushed again meanwhile is not removed a second time: whoever pushed it was told that it is there, behind its removal. That is a Conflict.
func (r *Registry) DeleteManifest(ctx context.Context, name oci.Name, d oci.Digest) error {
	u := untagging{r: r, name: name, d: d, gone: map[string]bool{}}
	for more := true; more; {
		removed, err := deleting(ctx, r, name, "manifest.delete", func(tx *sqldb.Tx, repo index.Repository) (untagged, error) {
			tags, left, err := u.some(ctx, tx, repo)
			return untagged{tags, left}, err
		})
		if err != nil && len(u.gone) > 0 {
			return fmt.Errorf("delete manifest %s of %s, %d of whose tags are removed: %w", d, name, len(u.gone), err)
		}
		if err != nil {
			return fmt.Errorf("delete manifest %s of %s: %w", d, name, err)
		}
		for _, tag := range removed.tags {
			u.gone[tag] = true
		}
		more = removed.more
	}
	return nil
}

// untagged are the tags that one transaction removed; more: those were not all.
type untagged struct {
	tags []string
	more bool
}

// untagging is the removal of a manifest under way.
type untagging struct {
	r    *Registry
	name oci.Name
	d    oci.Digest
	gone map[string]bool // the tags that were removed: those of one manifest, at most 128 bytes each
}

// some removes tags, and if those were all, the manifest; more: they were not.
func (u *untagging) some(ctx context.Context, tx *sqldb.Tx, in index.Repository) (tags []string, more bool, err error) {
	repo := in.ID
	there, err := index.HasManifest(ctx, tx, repo, u.d)
	switch {
	case err != nil:
		return nil, false, err
	case !there && len(u.gone) > 0: // somebody else came to the end first
		return nil, false, nil
	case !there:
		return nil, false, manifestUnknown(u.name, u.d.String())
	}
	parents, err := index.Parents(ctx, tx, repo, u.d, maxNamed)
	if err != nil {
		return nil, false, err
	}
	if len(parents) > 0 {
		return nil, false, fail.E(fail.Conflict, nil, "manifest %s is part of index %s", u.d, listed(parents)).Code(oci.CodeDenied).Detail(texts(parents)).
			Hint("delete the index first")
	}
	if tags, err = index.TagsOf(ctx, tx, repo, u.d, tagsAtOnce+1); err != nil {
		return nil, false, err
	}
	for _, tag := range tags {
		if u.gone[tag] {
			return nil, false, fail.E(fail.Conflict, nil, "tag %s was pushed again while the manifest's tags were removed", tag).Code(oci.CodeDenied).
				Hint("delete the manifest again if that tag is to go too")
		}
	}
	if len(tags) <= tagsAtOnce {
		gone, lastErr := u.last(ctx, tx, in, tags)
		switch {
		case lastErr != nil:
			return nil, false, lastErr
		case !gone && len(u.gone) == 0: // somebody else was faster, on an engine that lets this one see it
			return nil, false, manifestUnknown(u.name, u.d.String())
		case !gone:
			return nil, false, nil
		}
		return tags, false, discharge(ctx, tx, in, 0, u.d)
	}
	tags = tags[:tagsAtOnce]
	slices.Sort(tags)
	if err = index.DeleteTags(ctx, tx, repo, u.d, tags); err != nil {
		return nil, false, err
	}
	return tags, true, u.r.review(ctx, tx, index.ReviewManifest, repo, u.d)
}

// last removes the last tags and the manifest, which is to be discharged then; false: it is not there any more, though it was when this transaction looked.
func (u *untagging) last(ctx context.Context, tx *sqldb.Tx, in index.Repository, tags []string) (gone bool, err error) {
	repo := in.ID
	if err = u.r.reviewReferences(ctx, tx, repo, u.d); err != nil {
		return false, err
	}
	slices.Sort(tags)
	if err = index.DeleteTags(ctx, tx, repo, u.d, tags); err != nil {
		return false, err
	}
	n, err := index.DeleteManifest(ctx, tx, repo, u.d)
	if err != nil {
		return false, err
	}
	return n > 0, index.DropReview(ctx, tx, index.ReviewManifest, repo, u.d)
}

// reviewReferences puts up for review what a manifest refers to.
func (r *Registry) reviewReferences(ctx context.Context, tx *sqldb.Tx, repo int64, d oci.Digest) error {
	children, err := index.Children(ctx, tx, repo, d)
	if err != nil {
		return err
	}
	blobs, err := index.ManifestBlobs(ctx, tx, repo, d)
	if err != nil {
		return err
	}
	for _, c := range children {
		if err = r.review(ctx, tx, index.ReviewManifest, repo, c); err != nil {
			return err
		}
	}
	for _, b := range blobs {
		if err = r.review(ctx, tx, index.ReviewLink, repo, b); err != nil {
			return err
		}
	}
	return nil
}

// DeleteBlob takes a blob from a repository. While a manifest there refers to it it is a Conflict, with the manifests' digests as the detail.
func (r *Registry) DeleteBlob(ctx context.Context, name oci.Name, d oci.Digest) error {
	err := r.deletion(ctx, name, "blob.delete", func(tx *sqldb.Tx, repo index.Repository) error {
		users, err := index.Users(ctx, tx, repo.ID, d, maxNamed)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return fail.E(fail.Conflict, nil, "blob %s is part of manifest %s", d, listed(users)).Code(oci.CodeDenied).Detail(texts(users)).
				Hint("delete the manifest first")
		}
		n, err := r.unlink(ctx, tx, repo, d)
		switch {
		case err != nil:
			return err
		case n == 0:
			return blobUnknown(name, d)
		}
		return discharge(ctx, tx, repo, 0, d)
	})
	if err != nil {
		return fmt.Errorf("delete blob %s of %s: %w", d, name, err)
	}
	return nil
}

// unlink takes a blob from a repository, which is to be discharged then. 0 rows: it does not have it.
func (r *Registry) unlink(ctx context.Context, tx *sqldb.Tx, repo index.Repository, d oci.Digest) (int64, error) {
	n, err := index.Unlink(ctx, tx, repo.ID, d)
	if err != nil || n == 0 {
		return n, err
	}
	if err = index.DropReview(ctx, tx, index.ReviewLink, repo.ID, d); err != nil {
		return n, err
	}
	return n, r.review(ctx, tx, index.ReviewBlob, 0, d)
}
