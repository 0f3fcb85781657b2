package index

import (
	"context"

	"github.com/havn-registry/havn/internal/sqldb"
)

// Object is a settled object of a content.
type Object struct {
	Name string
	Size int64 // bytes
}

// InsertContent adds a content; false if it was added before.
func InsertContent(ctx context.Context, tx *sqldb.Tx, id, now int64) (bool, error) {
	return tx.InsertIgnore(ctx, "contents", []string{"id", "created_at"}, id, now)
}

// InsertObject adds an object that is about to be written: its seq is negative and random.
func InsertObject(ctx context.Context, tx *sqldb.Tx, content, seq int64, name string, now int64) error {
	_, err := tx.Exec(ctx, "INSERT INTO objects (content, seq, name, size, created_at) VALUES (?, ?, ?, NULL, ?)", content, seq, name, now)
	return err
}

// SettleObject makes a written object the one number seq of its content. 0 rows: it is not an unsettled object of this content.
func SettleObject(ctx context.Context, tx *sqldb.Tx, content int64, name string, seq int, size int64) (int64, error) {
	return tx.Exec(ctx, "UPDATE objects SET seq = ?, size = ? WHERE name = ? AND content = ? AND size IS NULL", seq, size, name, content)
}

// IsSettled reports whether the object is part of what was received. An absent one is not.
func IsSettled(ctx context.Context, q sqldb.Querier, name string) (bool, error) {
	return exists(ctx, q, "SELECT 1 FROM objects WHERE name = ? AND size IS NOT NULL", name)
}

// UnsettledContent answers the content that an unsettled object belongs to.
func UnsettledContent(ctx context.Context, q sqldb.Querier, name string) (int64, error) {
	var content int64
	err := q.Row(ctx, "SELECT content FROM objects WHERE name = ? AND size IS NULL", name).Scan(&content)
	return content, err
}

// HasUnsettled reports whether a content has objects that are being written, or were when a node died. quota: the project that a repository is in, if that has a quota; else 0.
func HasUnsettled(ctx context.Context, q sqldb.Querier, content, repo int64) (unsettled bool, quota int64, err error) {
	var some int64
	err = q.Row(ctx, `SELECT COALESCE((SELECT 1 FROM objects WHERE content = ? AND seq < 0 LIMIT 1), 0),
		COALESCE((SELECT q.project FROM repositories r JOIN quotas q ON q.project = r.project_id WHERE r.id = ?), 0)`, content, repo).Scan(&some, &quota)
	return some > 0, quota, err
}

// MoveUnsettled hands all unsettled objects of a content to another content.
func MoveUnsettled(ctx context.Context, tx *sqldb.Tx, from, to int64) error {
	_, err := tx.Exec(ctx, "UPDATE objects SET content = ? WHERE content = ? AND seq < 0", to, from)
	return err
}

// MoveObject hands one unsettled object to another content.
func MoveObject(ctx context.Context, tx *sqldb.Tx, name string, to int64) error {
	_, err := tx.Exec(ctx, "UPDATE objects SET content = ? WHERE name = ? AND size IS NULL", to, name)
	return err
}

// Objects lists a content's settled objects in order.
func Objects(ctx context.Context, q sqldb.Querier, content int64) ([]Object, error) {
	var all []Object
	for row, err := range q.Rows(ctx, "SELECT name, size FROM objects WHERE content = ? AND seq >= 0 ORDER BY seq", content) {
		if err != nil {
			return nil, err
		}
		var o Object
		if err = row.Scan(&o.Name, &o.Size); err != nil {
			return nil, err
		}
		all = append(all, o)
	}
	return all, nil
}

// ObjectNames lists up to limit names of a content's objects, settled or not.
func ObjectNames(ctx context.Context, q sqldb.Querier, content int64, limit int) ([]string, error) {
	return names(ctx, q, "SELECT name FROM objects WHERE content = ? ORDER BY seq LIMIT ?", content, limit)
}

// DeleteObjects removes the rows of these names.
func DeleteObjects(ctx context.Context, tx *sqldb.Tx, list []string) error {
	return chunks(list, func(part []string) error {
		args := make([]any, len(part))
		for i, n := range part {
			args[i] = n
		}
		_, err := tx.Exec(ctx, "DELETE FROM objects WHERE name IN ("+marks(len(part))+")", args...)
		return err
	})
}

// KnownNames answers which of these names are objects' names.
func KnownNames(ctx context.Context, q sqldb.Querier, list []string) (map[string]bool, error) {
	known := make(map[string]bool, len(list))
	err := chunks(list, func(part []string) error {
		args := make([]any, len(part))
		for i, n := range part {
			args[i] = n
		}
		found, err := names(ctx, q, "SELECT name FROM objects WHERE name IN ("+marks(len(part))+")", args...)
		for _, n := range found {
			known[n] = true
		}
		return err
	})
	return known, err
}

// Bury puts a content on the list of the dead, unless it is there.
func Bury(ctx context.Context, tx *sqldb.Tx, content, notBefore int64) error {
	_, err := tx.InsertIgnore(ctx, "dead", []string{"content", "not_before"}, content, notBefore)
	return err
}

// Dead is a content whose grace is over, or was at NotBefore.
type Dead struct{ NotBefore, Content int64 }

// DeadContents lists up to limit contents whose grace is over, those that wait longest first, behind after.
//
// The order is that of the index, so that no database has a choice: one that goes by the ids reads through all whose grace is not over.
func DeadContents(ctx context.Context, q sqldb.Querier, now int64, after Dead, limit int) ([]Dead, error) {
	const query = "SELECT not_before, content FROM dead WHERE not_before <= ? AND not_before >= ? AND (not_before > ? OR content > ?) ORDER BY not_before, content LIMIT ?"
	var all []Dead
	for row, err := range q.Rows(ctx, query, now, after.NotBefore, after.NotBefore, after.Content, limit) {
		if err != nil {
			return nil, err
		}
		var d Dead
		if err = row.Scan(&d.NotBefore, &d.Content); err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// IsReferred reports whether a blob or an upload is made of this content.
func IsReferred(ctx context.Context, q sqldb.Querier, content int64) (bool, error) {
	return exists(ctx, q, "SELECT 1 FROM blobs WHERE content = ? UNION ALL SELECT 1 FROM uploads WHERE content = ?", content, content)
}

// DeleteContent removes a content and its row among the dead. Objects must be gone.
func DeleteContent(ctx context.Context, tx *sqldb.Tx, content int64) error {
	if _, err := tx.Exec(ctx, "DELETE FROM dead WHERE content = ?", content); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "DELETE FROM contents WHERE id = ?", content)
	return err
}

// Revive takes a content off the list of the dead.
func Revive(ctx context.Context, tx *sqldb.Tx, content int64) error {
	_, err := tx.Exec(ctx, "DELETE FROM dead WHERE content = ?", content)
	return err
}
