package registry

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
)

// Manifest is a manifest as it was pushed. It is shared: its bytes are not to be changed.
type Manifest struct {
	Descriptor oci.Descriptor // media type, digest, size
	Body       []byte
}

// Manifest answers what a tag or a digest stands for in a repository. NotFound with NAME_UNKNOWN or MANIFEST_UNKNOWN.
func (r *Registry) Manifest(ctx context.Context, repo oci.Name, ref oci.Reference) (*Manifest, error) {
	get := func(a *answers) (*Manifest, bool) {
		if ref.IsDigest() {
			m, ok := a.manifests[ref.Digest]
			return m, ok
		}
		m, ok := a.tags[ref.Tag]
		return m, ok
	}
	put := func(a *answers, m *Manifest) int {
		if ref.IsDigest() {
			a.manifests[ref.Digest] = m
		} else {
			a.tags[ref.Tag] = m
		}
		return entryBytes + len(m.Body)
	}
	return look(r.recent, repo, get, func() (*Manifest, error) { return r.findManifest(ctx, repo, ref) }, put)
}

func (r *Registry) findManifest(ctx context.Context, repo oci.Name, ref oci.Reference) (*Manifest, error) {
	var row index.Manifest
	var err error
	if ref.IsDigest() {
		row, err = index.ManifestByDigest(ctx, r.DB, repo, ref.Digest)
	} else {
		row, err = index.ManifestByTag(ctx, r.DB, repo, ref.Tag)
	}
	if fail.Is(err, fail.NotFound) {
		return nil, r.absent(ctx, repo, fail.E(fail.NotFound, nil, "manifest %s in %s", ref, repo).Code(oci.CodeManifestUnknown).Hint("push it first, or check the tag"))
	}
	if err != nil {
		return nil, fmt.Errorf("find manifest %s in %s: %w", ref, repo, err)
	}
	return &Manifest{Descriptor: oci.Descriptor{MediaType: row.MediaType, Digest: row.Digest, Size: row.Size}, Body: row.Body}, nil
}

// absent answers NAME_UNKNOWN if the repository does not exist, else the error that was given.
func (r *Registry) absent(ctx context.Context, repo oci.Name, otherwise error) error {
	found, err := index.FindRepository(ctx, r.DB, repo)
	if fail.Is(err, fail.NotFound) || err == nil && !found.Pushed && fail.CodeOf(otherwise) == oci.CodeManifestUnknown {
		return nameUnknown(repo)
	}
	if err != nil {
		return fmt.Errorf("find repository %s: %w", repo, err)
	}
	return otherwise
}

func nameUnknown(repo oci.Name) error {
	return fail.E(fail.NotFound, nil, "repository %s", repo).Code(oci.CodeNameUnknown).Hint("nothing was pushed there yet; check the name")
}

// held is a blob that a repository has.
type held struct {
	size    int64
	objects []blob.Object
}

func (r *Registry) findBlob(ctx context.Context, repo oci.Name, digest oci.Digest) (*held, error) {
	return look(r.recent, repo,
		func(a *answers) (*held, bool) { h, ok := a.blobs[digest]; return h, ok },
		func() (*held, error) {
			b, err := index.FindBlob(ctx, r.DB, repo, digest)
			if fail.Is(err, fail.NotFound) {
				return nil, r.absent(ctx, repo, blobUnknown(repo, digest))
			}
			if err != nil {
				return nil, fmt.Errorf("find blob %s in %s: %w", digest, repo, err)
			}
			h := &held{size: b.Size}
			for _, o := range b.Objects {
				h.objects = append(h.objects, blob.Object(o))
			}
			return h, nil
		},
		func(a *answers, h *held) int { a.blobs[digest] = h; return entryBytes * (1 + len(h.objects)) })
}

func blobUnknown(repo oci.Name, digest oci.Digest) error {
	return fail.E(fail.NotFound, nil, "blob %s in %s", digest, repo).Code(oci.CodeBlobUnknown).Hint("push or mount it into this repository first")
}

// StatBlob answers the descriptor of a blob that is linked to this repository; BLOB_UNKNOWN or NAME_UNKNOWN. With forPush the answer is kept true for the safe
// time: a push may skip the upload because of it. If that can't be promised, the answer is an error.
func (r *Registry) StatBlob(ctx context.Context, repo oci.Name, digest oci.Digest, forPush bool) (oci.Descriptor, error) {
	if forPush {
		if err := r.promise(ctx, repo, digest); err != nil {
			return oci.Descriptor{}, err
		}
	}
	h, err := r.findBlob(ctx, repo, digest)
	if err != nil {
		return oci.Descriptor{}, err
	}
	return oci.Descriptor{MediaType: "application/octet-stream", Digest: digest, Size: h.size}, nil
}

// OpenBlob opens a blob that is linked to this repository; BLOB_UNKNOWN or NAME_UNKNOWN. The context bounds the reader's life.
func (r *Registry) OpenBlob(ctx context.Context, repo oci.Name, digest oci.Digest) (*blob.Reader, error) {
	h, err := r.findBlob(ctx, repo, digest)
	if err != nil {
		return nil, err
	}
	reader, err := r.Blobs.Open(ctx, h.objects)
	if err != nil {
		return nil, fmt.Errorf("open blob %s in %s: %w", digest, repo, err)
	}
	return reader, nil
}
