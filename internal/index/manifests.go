package index

import (
	"context"
	"slices"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Manifest is a row of manifests.
type Manifest struct {
	Repo         int64
	Digest       oci.Digest
	MediaType    string
	ArtifactType string
	Subject      oci.Digest // that the manifest names, or its tag if it is a signature; zero: none
	Size         int64      // of Body, also where that is not read
	Body         []byte
	PushedAt     int64
}

const findManifest = "SELECT r.id, m.digest, m.media_type, m.size, CASE WHEN m.digest = ? OR m.size > ? THEN NULL ELSE m.body END FROM repositories r "

// FindManifest finds a manifest of a repository by tag or digest, in one query. If it is the one whose bytes the caller has, or has more of them than the caller wants
// at once, its body is not read and nil.
func FindManifest(ctx context.Context, q sqldb.Querier, name oci.Name, ref oci.Reference, have oci.Digest, most int64) (Manifest, error) {
	known := []byte{}
	if !have.IsZero() {
		known = have.Bytes()
	}
	var row sqldb.Row
	if ref.IsDigest() {
		row = q.Row(ctx, findManifest+"JOIN manifests m ON m.repo = r.id WHERE r.name = ? AND m.digest = ?", known, most, name.String(), ref.Digest.Bytes())
	} else {
		row = q.Row(ctx, findManifest+"JOIN tags t ON t.repo = r.id JOIN manifests m ON m.repo = t.repo AND m.digest = t.digest WHERE r.name = ? AND t.name = ?",
			known, most, name.String(), ref.Tag.String())
	}
	var m Manifest
	var raw []byte
	if err := row.Scan(&m.Repo, &raw, &m.MediaType, &m.Size, &m.Body); err != nil {
		return m, err
	}
	var err error
	m.Digest, err = oci.DigestFromBytes(raw)
	return m, err
}

// HasManifest reports whether a repository has a manifest.
func HasManifest(ctx context.Context, q sqldb.Querier, repo int64, d oci.Digest) (bool, error) {
	return exists(ctx, q, "SELECT 1 FROM manifests WHERE repo = ? AND digest = ?", repo, d.Bytes())
}

// TouchManifest raises when a manifest was pushed: its row changes. 0 rows: there is none.
func TouchManifest(ctx context.Context, tx *sqldb.Tx, repo int64, d oci.Digest, now int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE manifests SET pushed_at = "+tx.Engine().Greatest("pushed_at + 1", "?")+" WHERE repo = ? AND digest = ?", now, repo, d.Bytes())
}

// InsertManifest adds a manifest.
func InsertManifest(ctx context.Context, tx *sqldb.Tx, m *Manifest) error {
	var subject any
	if !m.Subject.IsZero() {
		subject = m.Subject.Bytes()
	}
	_, err := tx.Exec(ctx, "INSERT INTO manifests (repo, digest, media_type, artifact_type, subject, size, body, pushed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
		m.Repo, m.Digest.Bytes(), m.MediaType, m.ArtifactType, subject, int64(len(m.Body)), m.Body, m.PushedAt)
	return err
}

// SetSubject lets a manifest that was attached to none be attached to another.
func SetSubject(ctx context.Context, tx *sqldb.Tx, repo int64, d, subject oci.Digest) error {
	_, err := tx.Exec(ctx, "UPDATE manifests SET subject = ? WHERE repo = ? AND digest = ? AND subject IS NULL", subject.Bytes(), repo, d.Bytes())
	return err
}

// ManifestSizes answers the sizes of those of the manifests that a repository has.
func ManifestSizes(ctx context.Context, q sqldb.Querier, repo int64, list []oci.Digest) (map[oci.Digest]int64, error) {
	return sizes(ctx, q, "SELECT digest, size FROM manifests WHERE repo = ? AND digest IN", repo, list)
}

// DeleteManifest removes a manifest, its labels and what it refers to by. A tag or an index that has it makes it a Conflict.
func DeleteManifest(ctx context.Context, tx *sqldb.Tx, repo int64, d oci.Digest) (int64, error) {
	digest := d.Bytes()
	for _, from := range []string{
		"manifest_children WHERE repo = ? AND parent = ?", "manifest_absent WHERE repo = ? AND parent = ?", "manifest_blobs WHERE repo = ? AND manifest = ?",
		"manifest_labels WHERE repo = ? AND digest = ?",
	} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+from, repo, digest); err != nil {
			return 0, err
		}
	}
	return tx.Exec(ctx, "DELETE FROM manifests WHERE repo = ? AND digest = ?", repo, digest)
}

// Manifests lists up to limit manifests of a repository.
func Manifests(ctx context.Context, q sqldb.Querier, repo int64, limit int) ([]oci.Digest, error) {
	return digests(ctx, q, "SELECT digest FROM manifests WHERE repo = ? ORDER BY digest LIMIT ?", repo, limit)
}

// Indexes lists up to limit manifests of a repository that have children there.
func Indexes(ctx context.Context, q sqldb.Querier, repo int64, limit int) ([]oci.Digest, error) {
	return digests(ctx, q, "SELECT DISTINCT parent FROM manifest_children WHERE repo = ? ORDER BY parent LIMIT ?", repo, limit)
}

// InsertManifestBlobs lets a manifest refer to blobs of its repository.
func InsertManifestBlobs(ctx context.Context, tx *sqldb.Tx, repo int64, manifest oci.Digest, list []oci.Digest) error {
	return insertPairs(ctx, tx, "manifest_blobs (repo, manifest, digest)", repo, manifest, list)
}

// InsertChildren lets an index refer to manifests of its repository.
func InsertChildren(ctx context.Context, tx *sqldb.Tx, repo int64, parent oci.Digest, list []oci.Digest) error {
	return insertPairs(ctx, tx, "manifest_children (repo, parent, child)", repo, parent, list)
}

// InsertAbsent notes children of an index that are not there yet.
func InsertAbsent(ctx context.Context, tx *sqldb.Tx, repo int64, parent oci.Digest, list []oci.Digest) error {
	return insertPairs(ctx, tx, "manifest_absent (repo, parent, child)", repo, parent, list)
}

// Awaited answers one of the manifests that are not there for which so many indexes wait already, the zero digest if there is none.
func Awaited(ctx context.Context, q sqldb.Querier, repo int64, list []oci.Digest, most int) (oci.Digest, error) {
	var raw []byte
	err := padded(list, func(marks string, args []any) error {
		if raw != nil {
			return nil
		}
		err := q.Row(ctx, "SELECT child FROM manifest_absent WHERE repo = ? AND child IN ("+marks+") GROUP BY child HAVING COUNT(*) >= ? LIMIT 1",
			append(append([]any{repo}, args...), most)...).Scan(&raw)
		if fail.Is(err, fail.NotFound) {
			return nil
		}
		return err
	})
	if err != nil || raw == nil {
		return oci.Digest{}, err
	}
	return oci.DigestFromBytes(raw)
}

// Adopt lets the indexes that wait for a manifest refer to it.
func Adopt(ctx context.Context, tx *sqldb.Tx, repo int64, child oci.Digest) error {
	digest := child.Bytes()
	waits, err := exists(ctx, tx, "SELECT 1 FROM manifest_absent WHERE repo = ? AND child = ? LIMIT 1", repo, digest)
	if err != nil || !waits {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO manifest_children (repo, parent, child) SELECT repo, parent, child FROM manifest_absent WHERE repo = ? AND child = ?", repo, digest)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "DELETE FROM manifest_absent WHERE repo = ? AND child = ?", repo, digest)
	return err
}

// ManifestBlobs lists the blobs that a manifest refers to.
func ManifestBlobs(ctx context.Context, q sqldb.Querier, repo int64, manifest oci.Digest) ([]oci.Digest, error) {
	return digests(ctx, q, "SELECT digest FROM manifest_blobs WHERE repo = ? AND manifest = ? ORDER BY digest", repo, manifest.Bytes())
}

// Children lists the manifests that an index refers to.
func Children(ctx context.Context, q sqldb.Querier, repo int64, parent oci.Digest) ([]oci.Digest, error) {
	return digests(ctx, q, "SELECT child FROM manifest_children WHERE repo = ? AND parent = ? ORDER BY child", repo, parent.Bytes())
}

// Parents lists up to limit indexes that refer to a manifest.
func Parents(ctx context.Context, q sqldb.Querier, repo int64, child oci.Digest, limit int) ([]oci.Digest, error) {
	return digests(ctx, q, "SELECT parent FROM manifest_children WHERE repo = ? AND child = ? ORDER BY parent LIMIT ?", repo, child.Bytes(), limit)
}

// Users lists up to limit manifests of a repository that refer to a blob.
func Users(ctx context.Context, q sqldb.Querier, repo int64, blob oci.Digest, limit int) ([]oci.Digest, error) {
	return digests(ctx, q, "SELECT manifest FROM manifest_blobs WHERE repo = ? AND digest = ? ORDER BY manifest LIMIT ?", repo, blob.Bytes(), limit)
}

// Referrer is a manifest with a subject, as the referrers list shows it.
type Referrer struct {
	Digest       oci.Digest
	MediaType    string
	ArtifactType string
	Body         []byte
}

// fewReferrers are asked for first: as a rule that is all. How large they are tells how many more fit, so that a subject of many large referrers does not cost the bytes of all of them.
const fewReferrers = 8

// Referrers lists up to limit manifests with this subject behind a digest, in the order of the digests' bytes; of one artifact type if it is not "". It stops
// early, but never before the second, where the manifests' bytes would be beyond maxBytes; cut: it did.
func Referrers(ctx context.Context, q sqldb.Querier, name oci.Name, subject oci.Digest, artifactType string, after []byte, limit, maxBytes int) (all []Referrer, cut bool, err error) {
	// Not a join: PostgreSQL would not see that the index has the order, and would sort all referrers for each page.
	query := "SELECT m.digest, m.media_type, m.artifact_type, m.body FROM manifests m WHERE m.repo = (SELECT id FROM repositories WHERE name = ?) AND m.subject = ? AND m.digest > ?"
	args := []any{name.String(), subject.Bytes(), after}
	if artifactType != "" {
		query += " AND m.artifact_type = ?"
		args = append(args, artifactType)
	}
	query += " ORDER BY m.digest LIMIT ?"
	for total, ask := 0, min(limit, fewReferrers); ask > 0; {
		some, rowsErr := referrers(ctx, q, query, append(slices.Clone(args), ask))
		if rowsErr != nil {
			return nil, false, rowsErr
		}
		for _, m := range some {
			if total += len(m.Body); total > maxBytes && len(all) > 0 {
				return all, true, nil
			}
			all = append(all, m)
		}
		if len(some) < ask {
			break
		}
		args[2] = all[len(all)-1].Digest.Bytes()
		ask = min(limit-len(all), max(fewReferrers, (maxBytes-total)/(total/len(all)+1)))
	}
	return all, false, nil
}

func referrers(ctx context.Context, q sqldb.Querier, query string, args []any) ([]Referrer, error) {
	var all []Referrer
	for row, err := range q.Rows(ctx, query, args...) {
		var m Referrer
		var raw []byte
		if err == nil {
			err = row.Scan(&raw, &m.MediaType, &m.ArtifactType, &m.Body)
		}
		if err == nil {
			m.Digest, err = oci.DigestFromBytes(raw)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	return all, nil
}
