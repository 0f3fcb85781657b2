package index

import (
	"context"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Blob is a row of blobs.
type Blob struct {
	Content int64
	Size    int64 // bytes
	Damaged bool
}

// BlobByDigest finds a blob, whoever has it.
func BlobByDigest(ctx context.Context, q sqldb.Querier, d oci.Digest) (Blob, error) {
	var b Blob
	var damaged *int64
	err := q.Row(ctx, "SELECT content, size, damaged_at FROM blobs WHERE digest = ?", d.Bytes()).Scan(&b.Content, &b.Size, &damaged)
	b.Damaged = damaged != nil
	return b, err
}

// InsertBlob adds a blob; false if there is one of this digest.
func InsertBlob(ctx context.Context, tx *sqldb.Tx, d oci.Digest, content, size, now int64) (bool, error) {
	return tx.InsertIgnore(ctx, "blobs", []string{"digest", "content", "size", "created_at"}, d.Bytes(), content, size, now)
}

// SwapContent gives a blob another content, if it still has the one that was seen.
func SwapContent(ctx context.Context, tx *sqldb.Tx, d oci.Digest, seen, content, size int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE blobs SET content = ?, size = ?, damaged_at = NULL WHERE digest = ? AND content = ?", content, size, d.Bytes(), seen)
}

// SetDamaged marks a blob whose objects are not what they should be, if it still has the content that was seen.
func SetDamaged(ctx context.Context, tx *sqldb.Tx, d oci.Digest, seen, now int64) error {
	_, err := tx.Exec(ctx, "UPDATE blobs SET damaged_at = ? WHERE digest = ? AND content = ?", now, d.Bytes(), seen)
	return err
}

// Link lets a repository have a blob. A link that is there gets a later time, so that its row changes.
func Link(ctx context.Context, tx *sqldb.Tx, repo int64, d oci.Digest, now int64) error {
	e := tx.Engine()
	_, err := tx.Exec(ctx, e.Upsert("repo_blobs", []string{"repo", "digest", "linked_at"}, []string{"repo", "digest"},
		"linked_at = "+e.Greatest("repo_blobs.linked_at + 1", e.New("linked_at"))), repo, d.Bytes(), now)
	return err
}

// RaiseLink gives a link that is there a later time, so that its row changes. 0 rows: there is none.
func RaiseLink(ctx context.Context, tx *sqldb.Tx, repo int64, d oci.Digest, now int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE repo_blobs SET linked_at = "+tx.Engine().Greatest("linked_at + 1", "?")+" WHERE repo = ? AND digest = ?", now, repo, d.Bytes())
}

// LinkNew is Link for a repository that may not have the blob; false: it has it, or had a moment ago, and its row was not changed.
func LinkNew(ctx context.Context, tx *sqldb.Tx, repo int64, d oci.Digest, now int64) (bool, error) {
	return tx.InsertIgnore(ctx, "repo_blobs", []string{"repo", "digest", "linked_at"}, repo, d.Bytes(), now)
}

// IsLinked reports whether a repository has a blob.
func IsLinked(ctx context.Context, q sqldb.Querier, repo int64, d oci.Digest) (bool, error) {
	return exists(ctx, q, "SELECT 1 FROM repo_blobs WHERE repo = ? AND digest = ?", repo, d.Bytes())
}

// LinkSize answers the size of a blob that a repository has.
func LinkSize(ctx context.Context, q sqldb.Querier, repo int64, d oci.Digest) (int64, error) {
	var size int64
	err := q.Row(ctx, "SELECT b.size FROM repo_blobs l JOIN blobs b ON b.digest = l.digest WHERE l.repo = ? AND l.digest = ?", repo, d.Bytes()).Scan(&size)
	return size, err
}

// LinkSizes answers the sizes of those of the blobs that a repository has.
func LinkSizes(ctx context.Context, q sqldb.Querier, repo int64, list []oci.Digest) (map[oci.Digest]int64, error) {
	return sizes(ctx, q, "SELECT l.digest, b.size FROM repo_blobs l JOIN blobs b ON b.digest = l.digest WHERE l.repo = ? AND l.digest IN", repo, list)
}

func sizes(ctx context.Context, q sqldb.Querier, query string, repo int64, list []oci.Digest) (map[oci.Digest]int64, error) {
	found := make(map[oci.Digest]int64, len(list))
	err := padded(list, func(marks string, args []any) error {
		for row, err := range q.Rows(ctx, query+" ("+marks+")", append([]any{repo}, args...)...) {
			if err != nil {
				return err
			}
			var raw []byte
			var size int64
			if err = row.Scan(&raw, &size); err != nil {
				return err
			}
			d, digestErr := oci.DigestFromBytes(raw)
			if digestErr != nil {
				return digestErr
			}
			found[d] = size
		}
		return nil
	})
	return found, err
}

// Unlink takes a blob from a repository. A manifest that refers to it makes it a Conflict.
func Unlink(ctx context.Context, tx *sqldb.Tx, repo int64, d oci.Digest) (int64, error) {
	return tx.Exec(ctx, "DELETE FROM repo_blobs WHERE repo = ? AND digest = ?", repo, d.Bytes())
}

// Links lists up to limit blobs that a repository has.
func Links(ctx context.Context, q sqldb.Querier, repo int64, limit int) ([]oci.Digest, error) {
	return digests(ctx, q, "SELECT digest FROM repo_blobs WHERE repo = ? ORDER BY digest LIMIT ?", repo, limit)
}

// LinkedRepositories answers repositories that have a blob: those of the first limit ones that are in projects which a viewer may see.
func LinkedRepositories(ctx context.Context, q sqldb.Querier, d oci.Digest, within Viewer, limit int) ([]string, error) {
	cond, args := within.condition()
	return names(ctx, q, "SELECT r.name FROM (SELECT repo FROM repo_blobs WHERE digest = ? LIMIT ?) linked JOIN repositories r ON r.id = linked.repo JOIN projects p ON p.id = r.project_id WHERE "+cond,
		append([]any{d.Bytes(), limit}, args...)...)
}

// Found is a blob as a repository sees it.
type Found struct {
	Repo    int64
	Size    int64 // bytes
	Damaged bool
	Due     int64 // of its review, 0: none is planned
	Objects []Object
}

// FindBlob finds a blob of a repository with its objects in order, in one query.
func FindBlob(ctx context.Context, q sqldb.Querier, name oci.Name, d oci.Digest) (Found, bool, error) {
	var f Found
	ok := false
	digest := d.Bytes()
	for row, err := range q.Rows(ctx, `SELECT r.id, b.size, b.damaged_at, v.due, o.name, o.size FROM repositories r
		JOIN repo_blobs l ON l.repo = r.id JOIN blobs b ON b.digest = l.digest
		LEFT JOIN review v ON v.kind = 2 AND v.repo = r.id AND v.digest = l.digest
		LEFT JOIN objects o ON o.content = b.content AND o.seq >= 0
		WHERE r.name = ? AND l.digest = ? ORDER BY o.seq`, name.String(), digest) {
		if err != nil {
			return Found{}, false, err
		}
		var damaged, due, size *int64
		var object *string
		if err = row.Scan(&f.Repo, &f.Size, &damaged, &due, &object, &size); err != nil {
			return Found{}, false, err
		}
		ok, f.Damaged = true, damaged != nil
		if due != nil {
			f.Due = *due
		}
		if object != nil && size != nil {
			f.Objects = append(f.Objects, Object{Name: *object, Size: *size})
		}
	}
	return f, ok, nil
}
