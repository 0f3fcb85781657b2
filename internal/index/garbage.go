package index

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/sqldb"
)

// AddDead puts a content on the list of the dead: its objects may go when the time has come.
func AddDead(ctx context.Context, tx *sqldb.Tx, content int64, notBefore time.Time) error {
	_, err := tx.InsertIgnore(ctx, "dead", []string{"content", "not_before"}, content, micros(notBefore))
	return err
}

// ListDead answers up to limit dead contents whose time has come, greater than after.
func ListDead(ctx context.Context, q sqldb.Querier, now time.Time, after int64, limit int) ([]int64, error) {
	var all []int64
	for row, err := range q.Rows(ctx, "SELECT content FROM dead WHERE not_before <= ? AND content > ? ORDER BY content LIMIT ?", micros(now), after, limit) {
		if err != nil {
			return nil, err
		}
		var id int64
		if err = row.Scan(&id); err != nil {
			return nil, err
		}
		all = append(all, id)
	}
	return all, nil
}

// AllObjectsOf answers up to limit objects of a content, written or not.
func AllObjectsOf(ctx context.Context, q sqldb.Querier, content int64, limit int) ([]Object, error) {
	return objects(ctx, q, "SELECT name, COALESCE(size, 0) FROM objects WHERE content = ? ORDER BY seq LIMIT ?", content, limit)
}

// DropObjects deletes the rows of objects by their names.
func DropObjects(ctx context.Context, tx *sqldb.Tx, all []Object) error {
	for _, o := range all {
		if _, err := tx.Exec(ctx, "DELETE FROM objects WHERE name = ?", o.Name); err != nil {
			return err
		}
	}
	return nil
}

// DropDead takes a content off the list of the dead and deletes it. One that is still referred to is a Conflict.
func DropDead(ctx context.Context, tx *sqldb.Tx, content int64) error {
	if _, err := tx.Exec(ctx, "DELETE FROM dead WHERE content = ?", content); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "DELETE FROM contents WHERE id = ?", content)
	return err
}

// KnownObjects answers which of the names have a row. At most sizesAtOnce names.
func KnownObjects(ctx context.Context, q sqldb.Querier, names []string) (map[string]bool, error) {
	known := make(map[string]bool, len(names))
	for len(names) > 0 {
		part := names[:min(len(names), sizesAtOnce)]
		names = names[len(part):]
		args := make([]any, len(part))
		for i, name := range part {
			args[i] = name
		}
		found, err := texts(ctx, q, "SELECT name FROM objects WHERE name IN ("+marks(len(part))+")", args...)
		if err != nil {
			return nil, err
		}
		for _, name := range found {
			known[name] = true
		}
	}
	return known, nil
}

// ClaimOp takes an operation's id: false if an earlier run of this transaction was committed.
func ClaimOp(ctx context.Context, tx *sqldb.Tx, op string) (bool, error) {
	return tx.InsertIgnore(ctx, "ops", []string{"op", "at"}, op, micros(tx.Now()))
}

// DropOps deletes up to limit operation ids that are older than a time, and answers how many.
func DropOps(ctx context.Context, tx *sqldb.Tx, before time.Time, limit int) (int64, error) {
	old, err := texts(ctx, tx, "SELECT op FROM ops WHERE at < ? ORDER BY at LIMIT ?", micros(before), limit)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, op := range old {
		n, err := tx.Exec(ctx, "DELETE FROM ops WHERE op = ?", op)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

// DatabaseID answers the id of the database, which it makes at the first call.
func DatabaseID(ctx context.Context, db *sqldb.DB) (string, error) {
	const query = "SELECT v FROM meta WHERE k = 'database_id'"
	var id string
	err := db.Row(ctx, query).Scan(&id)
	if !isAbsent(err) {
		return id, err
	}
	fresh := sqldb.NewToken()
	err = db.Tx(ctx, "database.name", func(tx *sqldb.Tx) error {
		if _, err := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, "database_id", fresh); err != nil {
			return err
		}
		return tx.Row(ctx, query).Scan(&id)
	})
	return id, err
}

// StoreBound reports whether the blob store has been given the database's id.
func StoreBound(ctx context.Context, q sqldb.Querier) (bool, error) {
	var id string
	err := q.Row(ctx, "SELECT v FROM meta WHERE k = 'store_bound'").Scan(&id)
	if isAbsent(err) {
		return false, nil
	}
	return err == nil, err
}

// BindStore records that the blob store has been given the database's id.
func BindStore(ctx context.Context, tx *sqldb.Tx, id string) error {
	_, err := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, "store_bound", id)
	return err
}
