package registry

import (
	"context"
	"fmt"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// tagsAtOnce bounds the tags that one transaction deletes with their manifest.
	tagsAtOnce = 500
	// deleteRounds bounds how often a deletion begins again because somebody tags the manifest meanwhile.
	deleteRounds = 1000
)

// DeleteTag removes a tag and nothing else. MANIFEST_UNKNOWN or NAME_UNKNOWN.
func (r *Registry) DeleteTag(ctx context.Context, repo oci.Name, tag oci.Tag) error {
	found, err := r.mustFind(ctx, repo)
	if err != nil {
		return err
	}
	var dropped bool
	err = r.deleting(ctx, repo, "tag.delete", func(tx *sqldb.Tx) error {
		dropped, err = index.DropTag(ctx, tx, found.ID, tag.String())
		return err
	})
	if err != nil {
		return fmt.Errorf("delete tag %s of %s: %w", tag, repo, err)
	}
	if !dropped {
		return fail.E(fail.NotFound, nil, "tag %s in %s", tag, repo).Code(oci.CodeManifestUnknown)
	}
	return nil
}

func (r *Registry) mustFind(ctx context.Context, repo oci.Name) (index.Repository, error) {
	found, err := index.FindRepository(ctx, r.DB, repo)
	if fail.Is(err, fail.NotFound) {
		return found, nameUnknown(repo)
	}
	if err != nil {
		return found, fmt.Errorf("find repository %s: %w", repo, err)
	}
	return found, nil
}

// deleting runs a transaction that deletes, once: if it has to be run again although it was committed, the second run does nothing and its results stand.
func (r *Registry) deleting(ctx context.Context, repo oci.Name, name string, do func(*sqldb.Tx) error) error {
	op := sqldb.NewToken()
	return r.recent.write(repo, func() error {
		return r.DB.Tx(ctx, name, func(tx *sqldb.Tx) error {
			fresh, err := index.ClaimOp(ctx, tx, op)
			if err != nil || !fresh {
				return err
			}
			return do(tx)
		})
	})
}

// DeleteManifest removes a manifest and the tags that point to it. Conflict, naming them, while an index in the repository has it as a child; MANIFEST_UNKNOWN or NAME_UNKNOWN. Its
// blobs are put up for review. Many tags go in several transactions: a crash in between leaves the manifest with the rest of them.
func (r *Registry) DeleteManifest(ctx context.Context, repo oci.Name, digest oci.Digest) error {
	found, err := r.mustFind(ctx, repo)
	if err != nil {
		return err
	}
	for range deleteRounds {
		var more, dropped bool
		err = r.deleting(ctx, repo, "manifest.delete", func(tx *sqldb.Tx) error {
			more, dropped, err = r.deleteManifest(ctx, tx, found.ID, digest)
			return err
		})
		switch {
		case fail.Is(err, fail.Conflict) && fail.CodeOf(err) == codeFK:
			continue // tagged, or taken into an index, since we looked
		case err != nil:
			return fmt.Errorf("delete manifest %s of %s: %w", digest, repo, err)
		case more:
			continue
		case !dropped:
			return r.absent(ctx, repo, fail.E(fail.NotFound, nil, "manifest %s in %s", digest, repo).Code(oci.CodeManifestUnknown))
		}
		return nil
	}
	return fail.E(fail.Conflict, nil, "manifest %s in %s is tagged faster than it can be deleted", digest, repo).Code(oci.CodeDenied).Hint("try again later")
}

// codeFK marks what a key forbids: see sqldb.
const codeFK = "fk"

func (r *Registry) deleteManifest(ctx context.Context, tx *sqldb.Tx, id int64, digest oci.Digest) (more, dropped bool, err error) {
	parents, err := index.ParentsOf(ctx, tx, id, digest, named)
	if err != nil {
		return false, false, err
	}
	if len(parents) > 0 {
		return false, false, inUse("manifest", digest, "child of", parents)
	}
	tags, err := index.TagsOf(ctx, tx, id, digest, tagsAtOnce)
	if err != nil {
		return false, false, err
	}
	for _, t := range tags {
		if err = index.DropTagOf(ctx, tx, id, t, digest); err != nil {
			return false, false, err
		}
	}
	if len(tags) == tagsAtOnce {
		return true, false, nil
	}
	blobs, err := index.BlobsOf(ctx, tx, id, digest)
	if err != nil {
		return false, false, err
	}
	if dropped, err = index.DropManifest(ctx, tx, id, digest); err != nil {
		return false, false, err
	}
	due := r.Clock().Add(r.SafeTime)
	for _, b := range blobs {
		if err = index.RaiseReview(ctx, tx, index.ReviewLink, id, b, due); err != nil {
			return false, false, err
		}
	}
	return false, dropped, nil
}

func inUse(what string, digest oci.Digest, how string, by []oci.Digest) error {
	names := make([]string, len(by))
	for i, d := range by {
		names[i] = d.String()
	}
	return fail.E(fail.Conflict, nil, "%s %s is %s %s", what, digest, how, strings.Join(names, ", ")).Code(oci.CodeDenied).Detail(names).Hint("delete those first")
}

// DeleteBlob removes a blob from a repository. Conflict, naming them, while manifests there refer to it; BLOB_UNKNOWN or NAME_UNKNOWN. Other repositories keep it.
func (r *Registry) DeleteBlob(ctx context.Context, repo oci.Name, digest oci.Digest) error {
	found, err := r.mustFind(ctx, repo)
	if err != nil {
		return err
	}
	var dropped bool
	err = r.deleting(ctx, repo, "blob.unlink", func(tx *sqldb.Tx) error {
		by, err := index.ManifestsWithBlob(ctx, tx, found.ID, digest, named)
		if err != nil {
			return err
		}
		if len(by) > 0 {
			return inUse("blob", digest, "referred to by", by)
		}
		if dropped, err = index.UnlinkBlob(ctx, tx, found.ID, digest); err != nil || !dropped {
			return err
		}
		return index.RaiseReview(ctx, tx, index.ReviewBlob, 0, digest, r.Clock().Add(r.SafeTime))
	})
	if fail.CodeOf(err) == codeFK {
		return fail.E(fail.Conflict, err, "blob %s in %s is referred to since this moment", digest, repo).Code(oci.CodeDenied).Hint("delete the manifests that refer to it first")
	}
	if err != nil {
		return fmt.Errorf("delete blob %s of %s: %w", digest, repo, err)
	}
	if !dropped {
		return blobUnknown(repo, digest)
	}
	return nil
}
