package index

import (
	"context"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// PointTag makes a tag point to a manifest of its repository, and raises its value even if it points there already.
func PointTag(ctx context.Context, tx *sqldb.Tx, repo int64, tag oci.Tag, digest oci.Digest, op string) error {
	e := tx.Engine()
	query := e.Upsert("tags", []string{"repo", "name", "digest", "moved_at", "op"}, []string{"repo", "name"},
		"digest = "+e.New("digest"), "moved_at = "+e.Greatest("tags.moved_at + 1", e.New("moved_at")), "op = "+e.New("op"))
	_, err := tx.Exec(ctx, query, repo, tag.String(), digest.Bytes(), micros(tx.Now()), op)
	return err
}

// DropTag deletes a tag; false if it is absent.
func DropTag(ctx context.Context, tx *sqldb.Tx, repo int64, tag string) (bool, error) {
	n, err := tx.Exec(ctx, "DELETE FROM tags WHERE repo = ? AND name = ?", repo, tag)
	return n > 0, err
}

// TagsOf answers up to limit tags that point to a manifest.
func TagsOf(ctx context.Context, q sqldb.Querier, repo int64, digest oci.Digest, limit int) ([]string, error) {
	return texts(ctx, q, "SELECT name FROM tags WHERE repo = ? AND digest = ? ORDER BY name LIMIT ?", repo, digest.Bytes(), limit)
}

// DropTagOf deletes a tag if it still points to this manifest.
func DropTagOf(ctx context.Context, tx *sqldb.Tx, repo int64, tag string, digest oci.Digest) error {
	_, err := tx.Exec(ctx, "DELETE FROM tags WHERE repo = ? AND name = ? AND digest = ?", repo, tag, digest.Bytes())
	return err
}

// ListTags answers up to limit tags greater than after, in binary order.
func ListTags(ctx context.Context, q sqldb.Querier, repo oci.Name, after string, limit int) ([]string, error) {
	return texts(ctx, q, "SELECT t.name FROM tags t WHERE t.repo = (SELECT id FROM repositories WHERE name = ?) AND t.name > ? ORDER BY t.name LIMIT ?", repo.String(), after, limit)
}
