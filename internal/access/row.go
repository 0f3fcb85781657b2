package access

import (
	"context"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Changed is what a change changed.
type Changed[T any] struct{ Before, After T }

// raised raises a row's changed_at by at least one, whatever the clock says. Its two parameters are the time.
const raised = "CASE WHEN changed_at < ? THEN ? ELSE changed_at + 1 END"

// rowsAtOnce bounds what one statement or one transaction deletes, and inserts.
const rowsAtOnce = 200

// made looks for the row that an operation is to insert. id: an earlier run of the operation inserted it. taken: somebody else has the name, and id is his. Neither: the caller inserts it, now or never.
func made(ctx context.Context, tx *sqldb.Tx, op, query string, args ...any) (id int64, taken bool, err error) {
	err = tx.Row(ctx, query, args...).Scan(&id)
	if fail.Is(err, fail.NotFound) {
		first, claimErr := index.ClaimOp(ctx, tx, op, sqldb.Micros(tx.Now()))
		if claimErr == nil && !first {
			claimErr = fail.E(fail.Conflict, nil, "it was made, and deleted again by somebody else")
		}
		return 0, false, claimErr
	}
	if err != nil {
		return 0, false, err
	}
	own, err := index.OpApplied(ctx, tx, op)
	if err != nil || own {
		return id, false, err
	}
	return id, true, nil
}

// keyIsNotFound answers that something is not there, if the database refused to refer to it: it was deleted while it was being referred to.
func keyIsNotFound(err error, what string) error {
	if fail.CodeOf(err) == sqldb.CodeFK {
		return fail.E(fail.NotFound, err, "%s was deleted just now", what)
	}
	return err
}

func orNull(id int64) any {
	if id == 0 {
		return nil
	}
	return id
}

func timeOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return sqldb.Micros(t)
}

func orZero(micros *int64) time.Time {
	if micros == nil {
		return time.Time{}
	}
	return sqldb.FromMicros(*micros)
}

// absentIsFine drops NotFound.
func absentIsFine(err error) error {
	if fail.Is(err, fail.NotFound) {
		return nil
	}
	return err
}

// strand is a table whose rows refer to one that is to be deleted: a query for keys of some of them, with the number of that one and a limit, and a statement that deletes, or unties, one
// by its key and, where it has a second parameter, that number.
type strand struct{ find, untie string }

// stripTries bounds how often a row is stripped that others go on to refer to.
const stripTries = 5

// strip deletes a row after all that refers to it, in transactions of some rows each. What comes meanwhile keeps the row, and is taken away in the next try.
func (a *Access) strip(ctx context.Context, name string, last func(*sqldb.Tx) error, strands []strand, id int64) error {
	for try := 1; ; try++ {
		for _, s := range strands {
			for more := true; more; {
				n := 0
				err := a.DB.Tx(ctx, name+".part", func(tx *sqldb.Tx) (err error) {
					n, err = s.cut(ctx, tx, id, rowsAtOnce)
					return err
				})
				if err != nil {
					return err
				}
				more = n == rowsAtOnce
			}
		}
		err := a.DB.Tx(ctx, name, last)
		if fail.CodeOf(err) != sqldb.CodeFK || try == stripTries {
			return err
		}
	}
}

// cut unties up to limit rows, and answers how many.
func (s strand) cut(ctx context.Context, tx *sqldb.Tx, id int64, limit int) (int, error) {
	var keys []any
	for row, err := range tx.Rows(ctx, s.find, id, limit) {
		if err != nil {
			return 0, err
		}
		var key any
		if err = row.Scan(&key); err != nil {
			return 0, err
		}
		keys = append(keys, key)
	}
	for _, key := range keys {
		args := []any{key, id}[:strings.Count(s.untie, "?")]
		if _, err := tx.Exec(ctx, s.untie, args...); err != nil {
			return 0, err
		}
	}
	return len(keys), nil
}
