package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// PutManifest is a manifest that is pushed.
type PutManifest struct {
	Pusher
	MediaType string // the Content-Type that it was sent with
	Body      []byte
	Digest    oci.Digest // that the client asked for; zero: sha256 of the body
	Tags      []oci.Tag  // that shall point to it
}

// Pushed is what a push of a manifest brought.
type Pushed struct {
	Descriptor oci.Descriptor
	Subject    *oci.Digest // that it is a referrer of
}

// named bounds how many digests an error names.
const named = 10

// PutManifest checks a manifest and stores it byte for byte, with what it refers to, and points the tags to it, in one transaction: durable on return. Errors: those of
// oci.ParseManifest; DIGEST_INVALID; MANIFEST_BLOB_UNKNOWN naming the blobs or children that are not in the repository; MANIFEST_INVALID where a size is not the true one.
func (r *Registry) PutManifest(ctx context.Context, repo oci.Name, p PutManifest) (Pushed, error) {
	m, err := oci.ParseManifest(p.MediaType, p.Body)
	if err != nil {
		return Pushed{}, err
	}
	if p.Digest.IsZero() {
		p.Digest = oci.Sum(oci.SHA256, p.Body)
	}
	if got := oci.Sum(p.Digest.Algorithm(), p.Body); got != p.Digest {
		return Pushed{}, fail.E(fail.Invalid, nil, "manifest has digest %s, not %s", got, p.Digest).Code(oci.CodeDigestInvalid)
	}
	if err = r.room(ctx); err != nil {
		return Pushed{}, err
	}
	id, err := r.repository(ctx, repo, p.Pusher)
	if err != nil {
		return Pushed{}, err
	}
	row, err := manifestRow(m, p)
	if err != nil {
		return Pushed{}, err
	}
	op := sqldb.NewToken()
	err = r.recent.write(repo, func() error {
		return r.DB.Tx(ctx, "manifest.put", func(tx *sqldb.Tx) error { return r.putManifest(ctx, tx, id, repo, m, row, p.Tags, op) })
	})
	if fail.Is(err, fail.Conflict) {
		return Pushed{}, fail.E(fail.NotFound, err, "something that manifest %s refers to was deleted at this moment", p.Digest).Code(oci.CodeManifestBlobUnknown).Hint("push the image again")
	}
	if err != nil {
		return Pushed{}, fmt.Errorf("put manifest %s in %s: %w", p.Digest, repo, err)
	}
	r.metrics.pushed.WithLabelValues("manifest").Inc()
	done := Pushed{Descriptor: oci.Descriptor{MediaType: m.MediaType, Digest: p.Digest, Size: int64(len(p.Body))}}
	if m.Subject != nil {
		done.Subject = &m.Subject.Digest
	}
	return done, nil
}

func manifestRow(m *oci.Manifest, p PutManifest) (index.Manifest, error) {
	row := index.Manifest{Digest: p.Digest, MediaType: m.MediaType, ArtifactType: m.ArtifactType, Size: int64(len(p.Body)), Body: p.Body}
	if len(m.ArtifactType) > maxTypeBytes || len(m.MediaType) > maxTypeBytes {
		return row, fail.E(fail.Invalid, nil, "media or artifact type of more than %d bytes", maxTypeBytes).Code(oci.CodeManifestInvalid)
	}
	if m.Subject != nil {
		row.Subject = m.Subject.Digest
	}
	if len(m.Annotations) > 0 {
		text, err := json.Marshal(m.Annotations)
		if err != nil {
			return row, fail.E(fail.Invalid, err, "annotations of manifest %s", p.Digest).Code(oci.CodeManifestInvalid)
		}
		row.Annotations = string(text)
	}
	return row, nil
}

// maxTypeBytes is the longest media type that the schema holds (RFC 6838 allows 127 bytes for each half).
const maxTypeBytes = 255

func (r *Registry) putManifest(ctx context.Context, tx *sqldb.Tx, id int64, repo oci.Name, m *oci.Manifest, row index.Manifest, tags []oci.Tag, op string) error {
	fresh, err := index.ClaimOp(ctx, tx, op)
	if err != nil || !fresh {
		return err // not fresh: an earlier run of this transaction did it
	}
	raised, err := index.RaisePushed(ctx, tx, id)
	if err != nil {
		return err
	}
	if !raised {
		return nameUnknown(repo)
	}
	blobs, err := r.requireBlobs(ctx, tx, id, m)
	if err != nil {
		return err
	}
	children, err := r.requireChildren(ctx, tx, id, m)
	if err != nil {
		return err
	}
	present, err := index.HasManifest(ctx, tx, id, row.Digest)
	if err != nil {
		return err
	}
	if present {
		if err = index.RaiseManifest(ctx, tx, id, row.Digest); err == nil {
			err = index.AddChildren(ctx, tx, id, row.Digest, children)
		}
	} else {
		err = index.AddManifest(ctx, tx, id, row, blobs, children)
	}
	if err != nil {
		return err
	}
	for _, t := range tags {
		if err = index.PointTag(ctx, tx, id, t, row.Digest, op); err != nil {
			return err
		}
	}
	return nil
}

// requireBlobs answers the digests of the blobs that must be there, all of which are.
func (r *Registry) requireBlobs(ctx context.Context, tx *sqldb.Tx, id int64, m *oci.Manifest) ([]oci.Digest, error) {
	required := m.RequiredBlobs()
	digests := make([]oci.Digest, len(required))
	for i, d := range required {
		digests[i] = d.Digest
	}
	sizes, err := index.BlobSizes(ctx, tx, id, digests)
	if err != nil {
		return nil, err
	}
	if err = complete(required, sizes, "blob"); err != nil {
		return nil, err
	}
	// A foreign layer need not be there; one that is there is kept.
	foreign := m.Foreign()
	found, err := index.BlobSizes(ctx, tx, id, foreign)
	if err != nil {
		return nil, err
	}
	for _, d := range foreign {
		if _, ok := found[d]; ok && !slices.Contains(digests, d) {
			digests = append(digests, d)
		}
	}
	return digests, nil
}

// requireChildren answers the digests of the children that are there: all, unless sparse indexes are allowed.
func (r *Registry) requireChildren(ctx context.Context, tx *sqldb.Tx, id int64, m *oci.Manifest) ([]oci.Digest, error) {
	var required []oci.Descriptor
	var digests []oci.Digest
	seen := map[oci.Digest]bool{}
	for _, d := range m.Children {
		if !seen[d.Digest] {
			seen[d.Digest] = true
			required, digests = append(required, d), append(digests, d.Digest)
		}
	}
	sizes, err := index.ManifestSizes(ctx, tx, id, digests)
	if err != nil {
		return nil, err
	}
	if r.SparseIndex {
		present := required[:0]
		for _, d := range required {
			if _, ok := sizes[d.Digest]; ok {
				present = append(present, d)
			}
		}
		required = present
	}
	if err = complete(required, sizes, "manifest"); err != nil {
		return nil, err
	}
	digests = digests[:0]
	for _, d := range required {
		digests = append(digests, d.Digest)
	}
	return digests, nil
}

// complete compares what must be there with what is.
func complete(required []oci.Descriptor, sizes map[oci.Digest]int64, what string) error {
	var missing []string
	for _, d := range required {
		size, ok := sizes[d.Digest]
		if !ok {
			missing = append(missing, d.Digest.String())
		} else if size != d.Size {
			return fail.E(fail.Invalid, nil, "%s %s has %d bytes, the manifest says %d", what, d.Digest, size, d.Size).Code(oci.CodeManifestInvalid)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	shown := strings.Join(missing[:min(len(missing), named)], ", ")
	if len(missing) > named {
		shown += fmt.Sprintf(" and %d more", len(missing)-named)
	}
	return fail.E(fail.NotFound, nil, "%s %s not in the repository", what, shown).Code(oci.CodeManifestBlobUnknown).Detail(missing).
		Hint("push what the manifest refers to before the manifest")
}
