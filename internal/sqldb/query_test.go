package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

// late is a database whose answer to every query is one row, and then that the transaction was refused.
type late struct{ refused error }

func (l late) Connect(context.Context) (driver.Conn, error) { return l, nil }
func (l late) Driver() driver.Driver                        { return nil }
func (l late) Prepare(string) (driver.Stmt, error)          { return nil, driver.ErrSkip }
func (l late) Begin() (driver.Tx, error)                    { return nil, driver.ErrSkip }
func (l late) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return &lateRows{refused: l.refused}, nil
}
func (l late) Close() error { return nil }

type lateRows struct {
	refused error
	given   bool
}

func (r *lateRows) Columns() []string { return []string{"one"} }
func (r *lateRows) Close() error      { return r.refused }
func (r *lateRows) Next(dest []driver.Value) error {
	if r.given {
		return r.refused
	}
	r.given, dest[0] = true, int64(1)
	return nil
}

// TestARefusalBehindTheRowsIsSeen ends a loop after the first row. What the server says after it still counts: on Galera and PostgreSQL the COMMIT of a
// transaction that was refused is answered as if it had succeeded.
func TestARefusalBehindTheRowsIsSeen(t *testing.T) {
	t.Parallel()
	pool := sql.OpenDB(late{&mysql.MySQLError{Number: 1213, Message: "Deadlock found when trying to get lock"}})
	defer func() {
		if err := pool.Close(); err != nil {
			t.Error(err)
		}
	}()
	w := &work{name: "test", fn: func(tx *Tx) error {
		for _, err := range tx.Rows(t.Context(), "SELECT 1 FROM claims") {
			return err
		}
		return errors.New("no row")
	}}
	err := w.call(&session{run: pool, d: newDialect(MySQL, (&mysqlProduct{cfg: &Config{}}).classify)}, time.Unix(1, 0))
	if !isRefusal(err) {
		t.Errorf("the transaction goes on to its COMMIT: %v", err)
	}
}
