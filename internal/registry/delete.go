package registry

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// maxNamed bounds how many users of a thing an error names.
const maxNamed = 10

// deletion runs a transaction that deletes. A second run of one that was applied must not delete what was pushed meanwhile.
func (r *Registry) deletion(ctx context.Context, name oci.Name, title string, fn func(tx *sqldb.Tx, repo int64) error) error {
	op := sqldb.NewToken()
	return r.change(ctx, name, nil, title, func(tx *sqldb.Tx) error {
		if mine, err := index.ClaimOp(ctx, tx, op, micros(tx.Now())); err != nil || !mine {
			return err
		}
		repo, err := index.RepositoryByName(ctx, tx, name)
		if fail.Is(err, fail.NotFound) {
			return nameUnknown(name)
		}
		if err != nil {
			return err
		}
		return fn(tx, repo.ID)
	})
}

func (r *Registry) review(ctx context.Context, tx *sqldb.Tx, kind int, repo int64, d oci.Digest) error {
	return index.Review(ctx, tx, kind, repo, d, micros(tx.Now().Add(r.cfg.SafeTime)))
}

// DeleteTag removes a tag, not what it points to.
func (r *Registry) DeleteTag(ctx context.Context, name oci.Name, tag oci.Tag) error {
	err := r.deletion(ctx, name, "tag.delete", func(tx *sqldb.Tx, repo int64) error {
		d, err := index.TagDigest(ctx, tx, repo, tag)
		if fail.Is(err, fail.NotFound) {
			return manifestUnknown(name, tag.String())
		}
		if err != nil {
			return err
		}
		if _, err = index.DeleteTag(ctx, tx, repo, tag); err != nil {
			return err
		}
		return r.review(ctx, tx, index.ReviewManifest, repo, d)
	})
	if err != nil {
		return fmt.Errorf("delete tag %s of %s: %w", tag, name, err)
	}
	return nil
}

// DeleteManifest removes a manifest and its tags. While an index has it as a child it is a Conflict, with the indexes' digests as the detail.
func (r *Registry) DeleteManifest(ctx context.Context, name oci.Name, d oci.Digest) error {
	err := r.deletion(ctx, name, "manifest.delete", func(tx *sqldb.Tx, repo int64) error {
		there, err := index.HasManifest(ctx, tx, repo, d)
		if err != nil {
			return err
		}
		if !there {
			return manifestUnknown(name, d.String())
		}
		parents, err := index.Parents(ctx, tx, repo, d, maxNamed)
		if err != nil {
			return err
		}
		if len(parents) > 0 {
			return fail.E(fail.Conflict, nil, "manifest %s is part of index %s", d, listed(parents)).Code(oci.CodeDenied).Detail(texts(parents)).
				Hint("delete the index first")
		}
		if err = r.reviewReferences(ctx, tx, repo, d); err != nil {
			return err
		}
		if err = index.DeleteTagsOf(ctx, tx, repo, d); err != nil {
			return err
		}
		if _, err = index.DeleteManifest(ctx, tx, repo, d); err != nil {
			return err
		}
		return index.DropReview(ctx, tx, index.ReviewManifest, repo, d)
	})
	if err != nil {
		return fmt.Errorf("delete manifest %s of %s: %w", d, name, err)
	}
	return nil
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
	err := r.deletion(ctx, name, "blob.delete", func(tx *sqldb.Tx, repo int64) error {
		users, err := index.Users(ctx, tx, repo, d, maxNamed)
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return fail.E(fail.Conflict, nil, "blob %s is part of manifest %s", d, listed(users)).Code(oci.CodeDenied).Detail(texts(users)).
				Hint("delete the manifest first")
		}
		n, err := index.Unlink(ctx, tx, repo, d)
		if err != nil {
			return err
		}
		if n == 0 {
			return blobUnknown(name, d)
		}
		if err = index.DropReview(ctx, tx, index.ReviewLink, repo, d); err != nil {
			return err
		}
		return r.review(ctx, tx, index.ReviewBlob, 0, d)
	})
	if err != nil {
		return fmt.Errorf("delete blob %s of %s: %w", d, name, err)
	}
	return nil
}
