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

// mostParts bounds the manifests that one call copies or deletes together: indexes of indexes with signatures have some dozens.
const mostParts = 1000

// errTagged ends a transaction that found the tag in use: after fail.Exists one is run again.
var errTagged = errors.New("the tag is in use")

// AddTag gives a manifest one more tag. NotFound without the manifest; Exists if the repository has the tag, wherever it points.
func (r *Registry) AddTag(ctx context.Context, name oci.Name, d oci.Digest, tag oci.Tag) error {
	op := sqldb.NewToken()
	err := r.change(ctx, name, []oci.Tag{tag}, "tag.add", func(tx *sqldb.Tx) error {
		now := micros(tx.Now())
		if mine, err := index.ClaimOp(ctx, tx, op, now); err != nil || !mine {
			return err
		}
		repo, err := index.RepositoryByName(ctx, tx, name)
		if fail.Is(err, fail.NotFound) {
			return nameUnknown(name)
		}
		if err != nil {
			return err
		}
		there, err := index.HasManifest(ctx, tx, repo.ID, d)
		if err != nil {
			return err
		}
		if !there {
			return manifestUnknown(name, d.String())
		}
		fresh, err := index.MoveTag(ctx, tx, repo.ID, tag, oci.Digest{}, d, now)
		if err == nil && !fresh {
			err = errTagged
		}
		return err
	})
	if errors.Is(err, errTagged) {
		return fail.E(fail.Exists, nil, "tag %s of %s is there already", tag, name).Hint("delete it first, or push to it")
	}
	if err != nil {
		return fmt.Errorf("tag %s of %s as %s: %w", d, name, tag, err)
	}
	return nil
}

// DeleteArtifact removes a manifest with its tags, what is attached to it, and those parts of an index that nothing else has and that have no tag. While an index has the manifest as a part it
// is a Conflict, and nothing is removed.
//
//  1. What is attached, the outermost first. A crash leaves a manifest with fewer attachments; the same call again goes on.
//  2. The manifest and its tags.
//  3. Its parts. A crash leaves them, up for review.
func (r *Registry) DeleteArtifact(ctx context.Context, name oci.Name, d oci.Digest) error {
	repo, err := r.RepositoryID(ctx, name)
	if err != nil {
		return err
	}
	parents, err := index.Parents(ctx, r.db, repo, d, maxNamed)
	if err != nil {
		return fmt.Errorf("delete artifact %s of %s: %w", d, name, err)
	}
	if len(parents) > 0 {
		return fail.E(fail.Conflict, nil, "artifact %s is part of index %s", d, listed(parents)).Code(oci.CodeDenied).Detail(texts(parents)).Hint("delete the index first")
	}
	all, err := r.attachedBelow(ctx, repo, d)
	if err != nil {
		return err
	}
	for i := len(all) - 1; i > 0; i-- {
		if err = r.DeleteManifest(ctx, name, all[i]); err != nil && !fail.Is(err, fail.NotFound) {
			return err
		}
	}
	parts, err := index.Children(ctx, r.db, repo, d)
	if err != nil {
		return fmt.Errorf("delete artifact %s of %s: %w", d, name, err)
	}
	if err = r.DeleteManifest(ctx, name, d); err != nil {
		return err
	}
	for n := 0; n < len(parts) && n < mostParts; n++ {
		more, partErr := r.deletePart(ctx, name, parts[n])
		if partErr != nil {
			return partErr
		}
		parts = append(parts, more...)
	}
	return nil
}

// attachedBelow answers a manifest, what is attached to it, what is attached to that, and so on.
func (r *Registry) attachedBelow(ctx context.Context, repo int64, d oci.Digest) ([]oci.Digest, error) {
	all := []oci.Digest{d}
	for begin := 0; begin < len(all) && len(all) < mostParts; {
		level := all[begin:]
		begin = len(all)
		found, err := index.AttachedToAll(ctx, r.db, repo, level, mostParts)
		if err != nil {
			return nil, fmt.Errorf("find what is attached to %s: %w", d, err)
		}
		for _, a := range found {
			all = append(all, a.Digest)
		}
	}
	return all, nil
}

// deletePart removes a manifest that was a part of an index, if nothing holds it now, and answers its own parts.
func (r *Registry) deletePart(ctx context.Context, name oci.Name, d oci.Digest) (parts []oci.Digest, err error) {
	parts, err = deleting(ctx, r, name, "part.delete", func(tx *sqldb.Tx, in index.Repository) ([]oci.Digest, error) {
		repo := in.ID
		for _, held := range []func() (int, error){
			func() (int, error) { all, e := index.TagsOf(ctx, tx, repo, d, 1); return len(all), e },
			func() (int, error) { all, e := index.Parents(ctx, tx, repo, d, 1); return len(all), e },
			func() (int, error) {
				all, e := index.AttachedToAll(ctx, tx, repo, []oci.Digest{d}, 1)
				return len(all), e
			},
		} {
			if n, txErr := held(); txErr != nil || n > 0 {
				return nil, txErr
			}
		}
		there, txErr := index.HasManifest(ctx, tx, repo, d)
		if txErr != nil || !there {
			return nil, txErr
		}
		children, txErr := index.Children(ctx, tx, repo, d)
		if txErr != nil {
			return nil, txErr
		}
		u := untagging{r: r, name: name, d: d}
		gone, txErr := u.last(ctx, tx, in, nil)
		if txErr != nil || !gone {
			return children, txErr
		}
		return children, discharge(ctx, tx, in, 0, d)
	})
	if err != nil {
		return nil, fmt.Errorf("delete part %s of %s: %w", d, name, err)
	}
	return parts, nil
}

// Copy is a manifest that is to be copied to another repository.
type Copy struct {
	Pusher
	From   oci.Name
	Digest oci.Digest
}

// CopyArtifact copies a manifest with its parts, its tags and what is attached to it, with the tags that say so; blobs are linked, and no byte moves. NotFound if something is missing at the source.
//
// Everything is pushed as clients push it: first what is referred to. A crash leaves manifests without tags, up for review, or an artifact with fewer attachments; the same call again goes on.
func (r *Registry) CopyArtifact(ctx context.Context, to oci.Name, c Copy) error {
	source, err := r.RepositoryID(ctx, c.From)
	if err != nil {
		return err
	}
	tags, err := r.tagsOf(ctx, source, c.Digest)
	if err != nil {
		return err
	}
	left := mostParts
	if err = r.copyManifest(ctx, to, c, tags, &left); err != nil {
		return err
	}
	attached, err := r.attachedBelow(ctx, source, c.Digest)
	if err != nil {
		return err
	}
	for _, d := range attached[1:] {
		if tags, err = r.tagsOf(ctx, source, d); err != nil {
			return err
		}
		tags = slices.DeleteFunc(tags, func(t oci.Tag) bool { return t.Signs().IsZero() })
		if err = r.copyManifest(ctx, to, Copy{c.Pusher, c.From, d}, tags, &left); err != nil {
			return err
		}
	}
	return nil
}

// tagsOf answers the tags of a manifest.
func (r *Registry) tagsOf(ctx context.Context, repo int64, d oci.Digest) ([]oci.Tag, error) {
	names, err := index.TagsOf(ctx, r.db, repo, d, tagsAtOnce)
	if err != nil {
		return nil, fmt.Errorf("list tags of %s: %w", d, err)
	}
	var tags []oci.Tag
	for _, text := range names {
		tag, tagErr := oci.ParseTag(text)
		if tagErr != nil {
			return nil, fail.E(fail.Internal, tagErr, "tag %q of %s, as it is stored", text, d)
		}
		tags = append(tags, tag)
	}
	return tags, nil
}

// copyManifest copies a manifest and its parts.
func (r *Registry) copyManifest(ctx context.Context, to oci.Name, c Copy, tags []oci.Tag, left *int) error {
	if *left--; *left < 0 {
		return fail.E(fail.TooLarge, nil, "an artifact of more than %d manifests", mostParts).Hint("copy it with a client, part by part")
	}
	m, err := r.Manifest(ctx, c.From, oci.Reference{Digest: c.Digest})
	if err != nil {
		return err
	}
	parsed, err := oci.ParseManifest(m.Descriptor.MediaType, m.Body)
	if err != nil {
		return fail.E(fail.Internal, err, "manifest %s of %s, as it is stored", c.Digest, c.From)
	}
	for _, child := range parsed.Children {
		err = r.copyManifest(ctx, to, Copy{c.Pusher, c.From, child.Digest}, nil, left)
		if fail.Is(err, fail.NotFound) {
			err = r.copyBlob(ctx, to, c, child.Digest, true) // BuildKit's cache lists blobs; and an index may be sparse
		}
		if err != nil {
			return err
		}
	}
	for _, needed := range parsed.RequiredBlobs() {
		if err = r.copyBlob(ctx, to, c, needed.Digest, false); err != nil {
			return err
		}
	}
	_, err = r.PutManifest(ctx, to, PutManifest{Pusher: c.Pusher, MediaType: m.Descriptor.MediaType, Body: m.Body, Digest: c.Digest, Tags: tags})
	return err
}

func (r *Registry) copyBlob(ctx context.Context, to oci.Name, c Copy, d oci.Digest, mayMiss bool) error {
	ok, err := r.Mount(ctx, to, Mount{Pusher: c.Pusher, Digest: d, From: c.From, MayPull: func(oci.Name) bool { return true }})
	if err == nil && !ok && !mayMiss {
		err = fail.E(fail.NotFound, nil, "blob %s in %s", d, c.From).Hint("push it there again")
	}
	return err
}
