package registry

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// promise puts the review of a blob's link off, so that a push that is told "it is here" finds it when its manifest comes. A link that is not
// up for review soon needs no write. A link that is not there is no error here.
//
// On SQLite the row is not flushed by itself: if a power cut takes it, the client was cut off too, and pushes again.
func (r *Registry) promise(ctx context.Context, repo oci.Name, digest oci.Digest) error {
	id, due, err := index.ReviewDue(ctx, r.DB, repo, digest)
	if fail.Is(err, fail.NotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep blob %s in %s: %w", digest, repo, err)
	}
	now := r.Clock()
	if due.After(now.Add(r.SafeTime / 2)) {
		return nil
	}
	err = r.DB.TxRelaxed(ctx, "link.keep", func(tx *sqldb.Tx) error {
		return index.RaiseReview(ctx, tx, index.ReviewLink, id, digest, now.Add(r.SafeTime))
	})
	if err != nil {
		return fmt.Errorf("keep blob %s in %s: %w", digest, repo, err)
	}
	return nil
}

// TouchManifest keeps a manifest that a push was told of. Manifests are deleted by people and policies only, so it proves no more than that the manifest is
// there at this moment; MANIFEST_UNKNOWN or NAME_UNKNOWN.
func (r *Registry) TouchManifest(ctx context.Context, repo oci.Name, digest oci.Digest) error {
	_, err := r.Manifest(ctx, repo, oci.Reference{Digest: digest})
	return err
}
