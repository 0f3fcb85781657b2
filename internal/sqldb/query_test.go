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

// late is a database whose answer to every query is one row of one value, and then that the transaction was refused.
type late struct {
	refused error
	value   driver.Value
	goodbye error // of closing a connection
}

func (l late) Connect(context.Context) (driver.Conn, error) { return l, nil }
func (l late) Driver() driver.Driver                        { return nil }
func (l late) Prepare(string) (driver.Stmt, error)          { return nil, driver.ErrSkip }
func (l late) Begin() (driver.Tx, error)                    { return nil, driver.ErrSkip }
func (l late) QueryContext(context.Context, string, []driver.NamedValue) (driver.Rows, error) {
	return &lateRows{late: l}, nil
}
func (l late) Close() error { return l.goodbye }

type lateRows struct {
	late
	given bool
}

func (r *lateRows) Columns() []string { return []string{"one"} }
func (r *lateRows) Close() error      { return r.refused }
func (r *lateRows) Next(dest []driver.Value) error {
	if r.given {
		return r.refused
	}
	r.given, dest[0] = true, r.value
	return nil
}

// What the server says behind the rows counts: behind the first row, at which a loop ended, and behind one that can't be read, because its count was given up in the middle. On Galera and PostgreSQL the COMMIT of a
// transaction that was refused is answered as if it had succeeded; and one that is not seen to be refused is not run again.
func TestARefusalBehindTheRowsIsSeen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		value driver.Value
		read  func(tx *Tx) error
	}{
		{"a loop that ends early", int64(1), func(tx *Tx) error {
			for _, err := range tx.Rows(t.Context(), "SELECT 1 FROM claims") {
				return err
			}
			return errors.New("no row")
		}},
		{"one row", int64(1), func(tx *Tx) error {
			var n int64
			return tx.Row(t.Context(), "SELECT 1 FROM claims").Scan(&n)
		}},
		{"a row that can't be read", nil, func(tx *Tx) error {
			var n int64
			return tx.Row(t.Context(), "SELECT (SELECT COUNT(*) FROM claims)").Scan(&n)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			pool := sql.OpenDB(late{refused: &mysql.MySQLError{Number: 1213, Message: "Deadlock found when trying to get lock"}, value: c.value})
			defer func() {
				if err := pool.Close(); err != nil {
					t.Error(err)
				}
			}()
			w := &work{name: "test", fn: c.read}
			err := w.call(&session{run: pool, d: newDialect(MySQL, (&mysqlProduct{cfg: &Config{}}).classify)}, time.Unix(1, 0))
			if !isRefusal(err) {
				t.Errorf("the transaction goes on to its COMMIT, or is not run again: %v", err)
			}
		})
	}
}

// A connection whose server is gone can't be closed well. That is no error of who closes the database: nothing is lost or left open by it.
func TestClosingAConnectionWhoseServerIsGoneIsNoError(t *testing.T) {
	t.Parallel()
	for goodbye, want := range map[error]bool{nil: false, driver.ErrBadConn: false, errors.New("something else"): true} {
		pool := sql.OpenDB(late{goodbye: goodbye, value: int64(1)})
		conn, err := pool.Conn(t.Context())
		if err == nil {
			err = conn.Close() // it is idle now
		}
		if err != nil {
			t.Fatal(err)
		}
		if err = (&server{pool: pool, watch: newWatch(&Config{Clock: time.Now}, nil, nil)}).close(); (err != nil) != want {
			t.Errorf("%v: closed with %v", goodbye, err)
		}
	}
}
