package index

import (
	"context"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// ClaimOp notes that an operation was applied; false: it was before, and this is a second run of it.
func ClaimOp(ctx context.Context, tx *sqldb.Tx, op string, now int64) (bool, error) {
	return tx.InsertIgnore(ctx, "ops", []string{"op", "at"}, op, now)
}

// Once is an operation that is applied once, however often its transaction runs, with what it answers. Not every run that comes to its end is committed, and the last of them need not be the one that was: a server that
// hung in the COMMIT of a run may wake, and be ahead of the next run, which found other rows.
type Once[A any] struct {
	op      string
	answers map[int64]A // of each run, by the time that its row of ops has
}

// NewOnce makes an operation that was not applied yet.
func NewOnce[A any]() *Once[A] { return &Once[A]{op: sqldb.NewToken(), answers: map[int64]A{}} }

// Run runs fn unless the operation was applied before, and answers what fn answered, this time or when it was applied. It is all of its transaction.
func (o *Once[A]) Run(ctx context.Context, tx *sqldb.Tx, fn func() (A, error)) (answer A, err error) {
	at := sqldb.Micros(tx.Now())
	for _, used := o.answers[at]; used; _, used = o.answers[at] {
		at++
	}
	mine, err := ClaimOp(ctx, tx, o.op, at)
	switch {
	case err != nil:
		return answer, err
	case !mine:
		err = tx.Row(ctx, "SELECT at FROM ops WHERE op = ?", o.op).Scan(&at)
		return o.answers[at], err
	}
	if answer, err = fn(); err == nil {
		o.answers[at] = answer
	}
	return answer, err
}

// OpApplied reports whether an operation was applied, by this transaction or an earlier one.
func OpApplied(ctx context.Context, q sqldb.Querier, op string) (bool, error) {
	return exists(ctx, q, "SELECT 1 FROM ops WHERE op = ?", op)
}

// OldOps lists up to limit operations from before a time.
func OldOps(ctx context.Context, q sqldb.Querier, before int64, limit int) ([]string, error) {
	return names(ctx, q, "SELECT op FROM ops WHERE at < ? ORDER BY at LIMIT ?", before, limit)
}

// DeleteOps removes operations.
func DeleteOps(ctx context.Context, tx *sqldb.Tx, list []string) error {
	return chunks(list, func(part []string) error {
		args := make([]any, len(part))
		for i, op := range part {
			args[i] = op
		}
		_, err := tx.Exec(ctx, "DELETE FROM ops WHERE op IN ("+marks(len(part))+")", args...)
		return err
	})
}

// DatabaseID answers the id of the database, which is made when it is first asked for.
func DatabaseID(ctx context.Context, db *sqldb.DB) (string, error) {
	const query = "SELECT v FROM meta WHERE k = ?"
	const key = "database_id"
	var id string
	err := db.Row(ctx, query, key).Scan(&id)
	if !fail.Is(err, fail.NotFound) {
		return id, err
	}
	fresh := sqldb.NewToken()
	err = db.Tx(ctx, "database.name", func(tx *sqldb.Tx) error {
		if _, insertErr := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, key, fresh); insertErr != nil {
			return insertErr
		}
		return tx.Row(ctx, query, key).Scan(&id)
	})
	return id, err
}

// StoreBound reports whether the blob store has been given the database's id.
func StoreBound(ctx context.Context, q sqldb.Querier) (bool, error) {
	return exists(ctx, q, "SELECT 1 FROM meta WHERE k = ?", "store_bound")
}

// BindStore records that the blob store has been given the database's id.
func BindStore(ctx context.Context, tx *sqldb.Tx, id string) error {
	_, err := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, "store_bound", id)
	return err
}

// storeEpochKey is the key of what the database knows of its epoch of the blob store.
const storeEpochKey = "store_epoch"

// StoreEpoch answers what was written down of the epoch of the blob store, "" if nothing was.
func StoreEpoch(ctx context.Context, q sqldb.Querier) (string, error) {
	var text string
	err := q.Row(ctx, "SELECT v FROM meta WHERE k = ?", storeEpochKey).Scan(&text)
	if fail.Is(err, fail.NotFound) {
		return "", nil
	}
	return text, err
}

// SwapStoreEpoch writes another text in the place of the one that was seen. False if another one is there; true also if the new one is there already, as after an earlier run.
func SwapStoreEpoch(ctx context.Context, tx *sqldb.Tx, seen, text string) (bool, error) {
	if seen == "" {
		if fresh, err := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, storeEpochKey, text); err != nil || fresh {
			return fresh, err
		}
	}
	hit, err := tx.Exec(ctx, "UPDATE meta SET v = ? WHERE k = ? AND v = ?", text, storeEpochKey, seen)
	if err != nil || hit > 0 {
		return hit > 0, err
	}
	now, err := StoreEpoch(ctx, tx)
	return now == text, err
}
