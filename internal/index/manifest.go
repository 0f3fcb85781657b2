package index

import (
	"context"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Manifest is a manifest's row.
type Manifest struct {
	Digest       oci.Digest
	MediaType    string
	ArtifactType string
	Subject      oci.Digest // zero: none
	Size         int64
	Body         []byte
	Annotations  string // JSON, "" for none
}

const manifestColumns = "m.digest, m.media_type, m.size, m.body"

func scanManifest(row sqldb.Scanner) (Manifest, error) {
	var m Manifest
	var digest []byte
	if err := row.Scan(&digest, &m.MediaType, &m.Size, &m.Body); err != nil {
		return m, err
	}
	var err error
	m.Digest, err = oci.DigestFromBytes(digest)
	return m, err
}

// ManifestByTag answers what a tag points to, in one query. NotFound if the repository or the tag is absent.
func ManifestByTag(ctx context.Context, q sqldb.Querier, repo oci.Name, tag oci.Tag) (Manifest, error) {
	return scanManifest(q.Row(ctx, "SELECT "+manifestColumns+" FROM repositories r JOIN tags t ON t.repo = r.id AND t.name = ? "+
		"JOIN manifests m ON m.repo = r.id AND m.digest = t.digest WHERE r.name = ?", tag.String(), repo.String()))
}

// ManifestByDigest answers a manifest of a repository, in one query. NotFound if either is absent.
func ManifestByDigest(ctx context.Context, q sqldb.Querier, repo oci.Name, digest oci.Digest) (Manifest, error) {
	return scanManifest(q.Row(ctx, "SELECT "+manifestColumns+" FROM repositories r JOIN manifests m ON m.repo = r.id AND m.digest = ? WHERE r.name = ?",
		digest.Bytes(), repo.String()))
}

// HasManifest reports whether a repository has a manifest.
func HasManifest(ctx context.Context, q sqldb.Querier, repo int64, digest oci.Digest) (bool, error) {
	return exists(ctx, q, "SELECT COUNT(*) FROM manifests WHERE repo = ? AND digest = ?", repo, digest.Bytes())
}

func exists(ctx context.Context, q sqldb.Querier, query string, args ...any) (bool, error) {
	var n int
	err := q.Row(ctx, query, args...).Scan(&n)
	return n > 0, err
}

// sizesAtOnce bounds the digests of one query.
const sizesAtOnce = 100

// ManifestSizes answers the sizes of those of the manifests that a repository has.
func ManifestSizes(ctx context.Context, q sqldb.Querier, repo int64, of []oci.Digest) (map[oci.Digest]int64, error) {
	return sizes(ctx, q, "SELECT digest, size FROM manifests WHERE repo = ? AND digest IN ", repo, of)
}

// BlobSizes answers the sizes of those of the blobs that are linked to a repository.
func BlobSizes(ctx context.Context, q sqldb.Querier, repo int64, of []oci.Digest) (map[oci.Digest]int64, error) {
	return sizes(ctx, q, "SELECT b.digest, b.size FROM repo_blobs l JOIN blobs b ON b.digest = l.digest WHERE l.repo = ? AND l.digest IN ", repo, of)
}

func sizes(ctx context.Context, q sqldb.Querier, query string, repo int64, of []oci.Digest) (map[oci.Digest]int64, error) {
	found := make(map[oci.Digest]int64, len(of))
	for len(of) > 0 {
		part := of[:min(len(of), sizesAtOnce)]
		of = of[len(part):]
		args := []any{repo}
		for _, d := range part {
			args = append(args, d.Bytes())
		}
		for row, err := range q.Rows(ctx, query+"("+marks(len(part))+")", args...) {
			if err != nil {
				return nil, err
			}
			var b []byte
			var size int64
			if err = row.Scan(&b, &size); err != nil {
				return nil, err
			}
			d, err := oci.DigestFromBytes(b)
			if err != nil {
				return nil, err
			}
			found[d] = size
		}
	}
	return found, nil
}

// AddManifest inserts a manifest with its references: the links of the blobs and the manifests that it refers to. Keys (RESTRICT) refuse it with
// Conflict if one of these is gone.
func AddManifest(ctx context.Context, tx *sqldb.Tx, repo int64, m Manifest, blobs, children []oci.Digest) error {
	var subject, annotations any
	if !m.Subject.IsZero() {
		subject = m.Subject.Bytes()
	}
	if m.Annotations != "" {
		annotations = m.Annotations
	}
	_, err := tx.Exec(ctx, "INSERT INTO manifests (repo, digest, media_type, artifact_type, subject, size, body, annotations, pushed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		repo, m.Digest.Bytes(), m.MediaType, m.ArtifactType, subject, m.Size, m.Body, annotations, micros(tx.Now()))
	if err != nil {
		return err
	}
	for _, d := range blobs {
		if _, err = tx.Exec(ctx, "INSERT INTO manifest_blobs (repo, manifest, digest) VALUES (?, ?, ?)", repo, m.Digest.Bytes(), d.Bytes()); err != nil {
			return err
		}
	}
	return AddChildren(ctx, tx, repo, m.Digest, children)
}

// AddChildren makes a manifest the parent of others, where it is not yet.
func AddChildren(ctx context.Context, tx *sqldb.Tx, repo int64, parent oci.Digest, children []oci.Digest) error {
	for _, d := range children {
		if _, err := tx.InsertIgnore(ctx, "manifest_children", []string{"repo", "parent", "child"}, repo, parent.Bytes(), d.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// RaiseManifest records that a manifest was pushed again: its value grows by at least one.
func RaiseManifest(ctx context.Context, tx *sqldb.Tx, repo int64, digest oci.Digest) error {
	_, err := tx.Exec(ctx, "UPDATE manifests SET pushed_at = "+tx.Engine().Greatest("pushed_at + 1", "?")+" WHERE repo = ? AND digest = ?", micros(tx.Now()), repo, digest.Bytes())
	return err
}

// ParentsOf answers up to limit manifests that have this one as a child.
func ParentsOf(ctx context.Context, q sqldb.Querier, repo int64, child oci.Digest, limit int) ([]oci.Digest, error) {
	return digests(ctx, q, "SELECT parent FROM manifest_children WHERE repo = ? AND child = ? ORDER BY parent LIMIT ?", repo, child.Bytes(), limit)
}

// ManifestsWithBlob answers up to limit manifests that refer to a blob.
func ManifestsWithBlob(ctx context.Context, q sqldb.Querier, repo int64, blob oci.Digest, limit int) ([]oci.Digest, error) {
	return digests(ctx, q, "SELECT manifest FROM manifest_blobs WHERE repo = ? AND digest = ? ORDER BY manifest LIMIT ?", repo, blob.Bytes(), limit)
}

// BlobsOf answers the blobs that a manifest refers to.
func BlobsOf(ctx context.Context, q sqldb.Querier, repo int64, manifest oci.Digest) ([]oci.Digest, error) {
	return digests(ctx, q, "SELECT digest FROM manifest_blobs WHERE repo = ? AND manifest = ? ORDER BY digest", repo, manifest.Bytes())
}

// DropManifest deletes a manifest and its references. A tag or a parent that still holds it is a Conflict; false if it is absent.
func DropManifest(ctx context.Context, tx *sqldb.Tx, repo int64, digest oci.Digest) (bool, error) {
	if _, err := tx.Exec(ctx, "DELETE FROM manifest_children WHERE repo = ? AND parent = ?", repo, digest.Bytes()); err != nil {
		return false, err
	}
	if _, err := tx.Exec(ctx, "DELETE FROM manifest_blobs WHERE repo = ? AND manifest = ?", repo, digest.Bytes()); err != nil {
		return false, err
	}
	n, err := tx.Exec(ctx, "DELETE FROM manifests WHERE repo = ? AND digest = ?", repo, digest.Bytes())
	return n > 0, err
}

// Referrer is a manifest that names another as its subject.
type Referrer struct {
	Digest       oci.Digest
	MediaType    string
	ArtifactType string
	Size         int64
	Annotations  string // JSON, "" for none
}

// ListReferrers answers up to limit referrers whose digests are greater than after (zero: from the start), of one artifact type if that is not "".
func ListReferrers(ctx context.Context, q sqldb.Querier, repo int64, subject oci.Digest, artifactType string, after oci.Digest, limit int) ([]Referrer, error) {
	query := "SELECT digest, media_type, artifact_type, size, COALESCE(annotations, '') FROM manifests WHERE repo = ? AND subject = ? AND digest > ?"
	args := []any{repo, subject.Bytes(), after.Bytes()}
	if artifactType != "" {
		query += " AND artifact_type = ?"
		args = append(args, artifactType)
	}
	var all []Referrer
	for row, err := range q.Rows(ctx, query+" ORDER BY digest LIMIT ?", append(args, limit)...) {
		if err != nil {
			return nil, err
		}
		var r Referrer
		var digest []byte
		if err = row.Scan(&digest, &r.MediaType, &r.ArtifactType, &r.Size, &r.Annotations); err != nil {
			return nil, err
		}
		if r.Digest, err = oci.DigestFromBytes(digest); err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}
