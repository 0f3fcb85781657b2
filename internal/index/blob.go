package index

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Object is a piece of a content, in the blob store.
type Object struct {
	Name string
	Size int64
}

// Blob is a blob with what it is made of.
type Blob struct {
	Size    int64
	Objects []Object
}

// optional scans a column that may be NULL into a zero value.
type optional[T any] struct{ to *T }

// Scan takes NULL for the zero value.
func (o optional[T]) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		return nil
	case []byte:
		switch to := any(o.to).(type) {
		case *string:
			*to = string(v)
			return nil
		case *[]byte:
			*to = append([]byte(nil), v...)
			return nil
		}
	case T:
		*o.to = v
		return nil
	}
	return fail.E(fail.Internal, nil, "column of type %T", v)
}

// FindBlob answers a blob that is linked to a repository, in one query. NotFound if either is absent.
func FindBlob(ctx context.Context, q sqldb.Querier, repo oci.Name, digest oci.Digest) (Blob, error) {
	var b Blob
	found := false
	for row, err := range q.Rows(ctx, "SELECT b.size, o.name, o.size FROM repositories r JOIN repo_blobs l ON l.repo = r.id AND l.digest = ? "+
		"JOIN blobs b ON b.digest = l.digest LEFT JOIN objects o ON o.content = b.content AND o.size IS NOT NULL WHERE r.name = ? ORDER BY o.seq", digest.Bytes(), repo.String()) {
		if err != nil {
			return b, err
		}
		var o Object
		if err = row.Scan(&b.Size, optional[string]{&o.Name}, optional[int64]{&o.Size}); err != nil {
			return b, err
		}
		found = true
		if o.Size > 0 {
			b.Objects = append(b.Objects, o)
		}
	}
	if !found {
		return b, fail.E(fail.NotFound, nil, "blob %s in %s", digest, repo)
	}
	return b, nil
}

// Present is what is known of a digest in the whole registry.
type Present struct {
	Content int64
	Size    int64
	Damaged bool
}

// FindContent answers the content of a digest, or NotFound.
func FindContent(ctx context.Context, q sqldb.Querier, digest oci.Digest) (Present, error) {
	var p Present
	var damaged int64
	err := q.Row(ctx, "SELECT content, size, COALESCE(damaged_at, 0) FROM blobs WHERE digest = ?", digest.Bytes()).Scan(&p.Content, &p.Size, &damaged)
	p.Damaged = damaged > 0
	return p, err
}

// AddBlob says that a digest is this content.
func AddBlob(ctx context.Context, tx *sqldb.Tx, digest oci.Digest, content, size int64) error {
	_, err := tx.Exec(ctx, "INSERT INTO blobs (digest, content, size, created_at) VALUES (?, ?, ?, ?)", digest.Bytes(), content, size, micros(tx.Now()))
	return err
}

// SwapContent replaces the content of a damaged blob if it is still the one that was seen.
func SwapContent(ctx context.Context, tx *sqldb.Tx, digest oci.Digest, seen, content int64) (bool, error) {
	n, err := tx.Exec(ctx, "UPDATE blobs SET content = ?, damaged_at = NULL WHERE digest = ? AND content = ? AND damaged_at IS NOT NULL", content, digest.Bytes(), seen)
	return n > 0, err
}

// MarkDamaged says that the bytes of a blob are not what its digest says: the next push of it replaces them.
func MarkDamaged(ctx context.Context, tx *sqldb.Tx, digest oci.Digest) (bool, error) {
	n, err := tx.Exec(ctx, "UPDATE blobs SET damaged_at = ? WHERE digest = ?", micros(tx.Now()), digest.Bytes())
	return n > 0, err
}

// LinkBlob makes a blob present in a repository. A blob that is gone is a Conflict.
func LinkBlob(ctx context.Context, tx *sqldb.Tx, repo int64, digest oci.Digest) error {
	_, err := tx.InsertIgnore(ctx, "repo_blobs", []string{"repo", "digest", "linked_at"}, repo, digest.Bytes(), micros(tx.Now()))
	if err != nil {
		return err
	}
	// On Galera, an insert that found its row is not certified: raise a value of the row, so that a deletion elsewhere collides with it.
	n, err := tx.Exec(ctx, "UPDATE repo_blobs SET linked_at = "+tx.Engine().Greatest("linked_at + 1", "?")+" WHERE repo = ? AND digest = ?", micros(tx.Now()), repo, digest.Bytes())
	if err == nil && n == 0 {
		err = fail.E(fail.Conflict, nil, "link of blob %s", digest).Code("fk")
	}
	return err
}

// UnlinkBlob deletes a link; false if it is absent. A manifest that refers to it is a Conflict.
func UnlinkBlob(ctx context.Context, tx *sqldb.Tx, repo int64, digest oci.Digest) (bool, error) {
	n, err := tx.Exec(ctx, "DELETE FROM repo_blobs WHERE repo = ? AND digest = ?", repo, digest.Bytes())
	return n > 0, err
}

// RepositoriesWithBlob answers up to limit repositories that a blob is linked to.
func RepositoriesWithBlob(ctx context.Context, q sqldb.Querier, digest oci.Digest, limit int) ([]string, error) {
	return texts(ctx, q, "SELECT r.name FROM repo_blobs l JOIN repositories r ON r.id = l.repo WHERE l.digest = ? LIMIT ?", digest.Bytes(), limit)
}

// Kinds of rows that are up for review: what may have become garbage.
const (
	ReviewLink = 1 // a blob in a repository
	ReviewBlob = 2 // a blob that may be linked nowhere; its repo is 0
)

// RaiseReview puts something up for review not before a time; one that is up already is only put off.
func RaiseReview(ctx context.Context, tx *sqldb.Tx, kind int, repo int64, digest oci.Digest, due time.Time) error {
	e := tx.Engine()
	query := e.Upsert("review", []string{"kind", "repo", "digest", "due"}, []string{"kind", "repo", "digest"}, "due = "+e.Greatest("review.due + 1", e.New("due")))
	_, err := tx.Exec(ctx, query, kind, repo, digest.Bytes(), micros(due))
	return err
}

// ReviewDue answers when a link is reviewed, the zero time if it is not up for it, and the id of its repository.
func ReviewDue(ctx context.Context, q sqldb.Querier, repo oci.Name, digest oci.Digest) (id int64, due time.Time, err error) {
	var at int64
	err = q.Row(ctx, "SELECT r.id, COALESCE(v.due, 0) FROM repositories r LEFT JOIN review v ON v.kind = ? AND v.repo = r.id AND v.digest = ? WHERE r.name = ?",
		ReviewLink, digest.Bytes(), repo.String()).Scan(&id, &at)
	if at > 0 {
		due = sqldb.FromMicros(at)
	}
	return id, due, err
}
