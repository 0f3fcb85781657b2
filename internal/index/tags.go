package index

import (
	"context"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// TagDigest answers where a tag points.
func TagDigest(ctx context.Context, q sqldb.Querier, repo int64, tag oci.Tag) (oci.Digest, error) {
	var raw []byte
	if err := q.Row(ctx, "SELECT digest FROM tags WHERE repo = ? AND name = ?", repo, tag.String()).Scan(&raw); err != nil {
		return oci.Digest{}, err
	}
	return oci.DigestFromBytes(raw)
}

// MoveTag points a tag to a manifest of its repository if it still points to before, or, if that is zero, does not exist; false: it is not so. A tag that is there gets a later time, so that its row changes.
func MoveTag(ctx context.Context, tx *sqldb.Tx, repo int64, tag oci.Tag, before, d oci.Digest, now int64) (bool, error) {
	if before.IsZero() {
		return tx.InsertIgnore(ctx, "tags", []string{"repo", "name", "digest", "moved_at"}, repo, tag.String(), d.Bytes(), now)
	}
	n, err := tx.Exec(ctx, "UPDATE tags SET digest = ?, moved_at = "+tx.Engine().Greatest("moved_at + 1", "?")+" WHERE repo = ? AND name = ? AND digest = ?",
		d.Bytes(), now, repo, tag.String(), before.Bytes())
	return n > 0, err
}

// DeleteTagOf removes a tag if it points to a manifest. 0 rows: it does not.
func DeleteTagOf(ctx context.Context, tx *sqldb.Tx, repo int64, tag oci.Tag, d oci.Digest) (int64, error) {
	return tx.Exec(ctx, "DELETE FROM tags WHERE repo = ? AND name = ? AND digest = ?", repo, tag.String(), d.Bytes())
}

// TagsOf lists up to limit tags of a manifest, in no order: PostgreSQL would read all tags of the repository for one.
func TagsOf(ctx context.Context, q sqldb.Querier, repo int64, d oci.Digest, limit int) ([]string, error) {
	return names(ctx, q, "SELECT name FROM tags WHERE repo = ? AND digest = ? LIMIT ?", repo, d.Bytes(), limit)
}

// DeleteTags removes those of the tags that point to a manifest.
func DeleteTags(ctx context.Context, tx *sqldb.Tx, repo int64, d oci.Digest, list []string) error {
	return chunks(list, func(part []string) error {
		args := []any{repo, d.Bytes()}
		for _, name := range part {
			args = append(args, name)
		}
		_, err := tx.Exec(ctx, "DELETE FROM tags WHERE repo = ? AND digest = ? AND name IN ("+marks(len(part))+")", args...)
		return err
	})
}

// TagNames lists up to limit tags of a repository behind last, in the order of their bytes. A repository that is not there has none.
func TagNames(ctx context.Context, q sqldb.Querier, name oci.Name, last string, limit int) ([]string, error) {
	return names(ctx, q, "SELECT t.name FROM tags t WHERE t.repo = (SELECT id FROM repositories WHERE name = ?) AND t.name > ? ORDER BY t.name LIMIT ?",
		name.String(), last, limit)
}
