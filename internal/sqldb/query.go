package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"iter"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// Querier reads. Placeholders are ? on every engine.
type Querier interface {
	// Row reads one row: the query runs when Scan is called. No row is fail.NotFound.
	Row(ctx context.Context, query string, args ...any) Row
	// Rows reads rows, one after the other; the loop ends after an error. Nothing else may be read or written through the same
	// Querier inside the loop.
	Rows(ctx context.Context, query string, args ...any) iter.Seq2[Scanner, error]
	// Engine answers which engine this is, for its expressions.
	Engine() Engine
}

// Scanner copies the columns of a row.
type Scanner interface {
	Scan(dest ...any) error
}

// rowReader is what a Row is read from.
type rowReader interface {
	scanRow(ctx context.Context, query string, args, dest []any) error
}

// Row is one row that is yet to be read.
type Row struct {
	ctx   context.Context
	from  rowReader
	query string
	args  []any
}

// Scan runs the query and copies the columns of its first row. No row is fail.NotFound.
func (r Row) Scan(dest ...any) error {
	return r.from.scanRow(r.ctx, r.query, r.args, dest)
}

// runner is a *sql.DB, *sql.Conn or *sql.Tx.
type runner interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// maxStatements bounds the prepared statements of one SQLite connection: the registry has about a hundred queries of a few KiB.
const maxStatements = 256

// session is a connection, or a transaction on one, on which one caller at a time runs statements.
//
// The caller's context is looked at between statements only, and does not reach the driver: SQLite's interrupt rolls the whole
// transaction back, with the other functions of the batch; the other drivers close the connection. A statement is short, and
// bounded by time-outs of the engine.
type session struct {
	run     runner
	d       *dialect
	conn    *sql.Conn             // where statements are prepared; nil: the engine's driver caches them by itself
	kept    map[string]*statement // by the caller's text
	reading bool                  // a loop over rows is open
}

// statement is prepared, and kept for the life of its connection.
type statement struct {
	*sql.Stmt
}

func (s *session) ready(ctx context.Context) error {
	if s.reading {
		return fail.E(fail.Internal, nil, "a statement inside a loop over rows")
	}
	return s.alive(ctx)
}

func (s *session) alive(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fail.E(fail.Unavailable, err, "database")
	}
	return nil
}

// prepared answers a statement kept for the text, or nil where the driver does that.
func (s *session) prepared(ctx context.Context, query string) (*statement, error) {
	if s.conn == nil {
		return nil, nil
	}
	if st := s.kept[query]; st != nil {
		return st, nil
	}
	if len(s.kept) >= maxStatements {
		if err := s.forget(); err != nil {
			return nil, err
		}
	}
	st, err := s.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	s.kept[query] = &statement{st}
	return s.kept[query], nil
}

// forget closes the statements that are kept.
func (s *session) forget() error {
	var errs []error
	for _, st := range s.kept {
		errs = append(errs, st.Close())
	}
	clear(s.kept)
	return errors.Join(errs...)
}

func (s *session) query(ctx context.Context, query string, args []any) (*sql.Rows, error) {
	st, err := s.prepared(ctx, query)
	if err != nil {
		return nil, err
	}
	if st != nil {
		return st.QueryContext(ctx, args...)
	}
	return s.run.QueryContext(ctx, s.d.rewrite(query), args...)
}

// bounded detaches ctx from its cancellation, and bounds the statement where only a context can.
func (s *session) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx = context.WithoutCancel(ctx)
	if s.d.statementTime > 0 {
		return context.WithTimeout(ctx, s.d.statementTime)
	}
	return ctx, func() {}
}

func (s *session) scanRow(ctx context.Context, query string, args, dest []any) (err error) {
	if err = s.ready(ctx); err != nil {
		return err
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	rows, err := s.query(bounded, query, args)
	if err != nil {
		return s.d.translate(err, query)
	}
	defer func() {
		// What comes behind the row counts, whatever is wrong with the row: a count whose transaction another node's threw out in the middle is NULL on Galera, and why is said behind it.
		if closeErr := rows.Close(); closeErr != nil {
			err = s.d.translate(closeErr, query)
		}
	}()
	if !rows.Next() {
		if err = rows.Err(); err != nil {
			return s.d.translate(err, query)
		}
		return fail.E(fail.NotFound, nil, "no such row")
	}
	if err = rows.Scan(dest...); err != nil {
		return s.d.translate(err, query)
	}
	return nil
}

// each hands the rows to yield; stopped if yield ended the loop, and then it must not be called again. The error counts in both cases: what comes behind the row at
// which a loop ended may say that the transaction was refused, and then its COMMIT would be answered well and commit nothing.
func (s *session) each(ctx context.Context, query string, args []any, yield func(Scanner, error) bool) (stopped bool, err error) {
	if err = s.ready(ctx); err != nil {
		return false, err
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	rows, err := s.query(bounded, query, args)
	if err != nil {
		return false, s.d.translate(err, query)
	}
	s.reading = true
	defer func() {
		s.reading = false
		if closeErr := rows.Close(); err == nil && closeErr != nil {
			err = s.d.translate(closeErr, query)
		}
	}()
	for rows.Next() {
		if err = s.alive(ctx); err != nil {
			return false, err
		}
		if !yield(scanner{rows, s.d, query}, nil) {
			return true, nil
		}
	}
	if err = rows.Err(); err != nil {
		return false, s.d.translate(err, query)
	}
	return false, nil
}

func (s *session) exec(ctx context.Context, query string, args []any) (int64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	bounded, cancel := s.bounded(ctx)
	defer cancel()
	st, err := s.prepared(bounded, query)
	if err != nil {
		return 0, s.d.translate(err, query)
	}
	var res sql.Result
	if st != nil {
		res, err = st.ExecContext(bounded, args...)
	} else {
		res, err = s.run.ExecContext(bounded, s.d.rewrite(query), args...)
	}
	if err != nil {
		return 0, s.d.translate(err, query)
	}
	n, err := res.RowsAffected()
	if err != nil {
		return 0, s.d.translate(err, query)
	}
	return n, nil
}

// scanner is the current row of a loop.
type scanner struct {
	rows  *sql.Rows
	d     *dialect
	query string
}

func (r scanner) Scan(dest ...any) error {
	if err := r.rows.Scan(dest...); err != nil {
		return r.d.translate(err, r.query)
	}
	return nil
}

// reader is a session as the Querier of a View.
type reader struct {
	s    *session
	over bool
	bad  error // the first refusal: the view is run again whatever its function made of it
}

func (r *reader) Engine() Engine { return r.s.d.engine }

func (r *reader) Row(ctx context.Context, query string, args ...any) Row {
	return Row{ctx: ctx, from: r, query: query, args: args}
}

func (r *reader) Rows(ctx context.Context, query string, args ...any) iter.Seq2[Scanner, error] {
	return func(yield func(Scanner, error) bool) {
		if err := r.open(); err != nil {
			yield(nil, err)
			return
		}
		if stopped, err := r.s.each(ctx, query, args, yield); r.note(err) != nil && !stopped {
			yield(nil, err)
		}
	}
}

func (r *reader) scanRow(ctx context.Context, query string, args, dest []any) error {
	if err := r.open(); err != nil {
		return err
	}
	return r.note(r.s.scanRow(ctx, query, args, dest))
}

func (r *reader) open() error {
	if r.over {
		return fail.E(fail.Internal, nil, "a statement after its transaction ended")
	}
	return r.bad
}

func (r *reader) note(err error) error {
	if isRefusal(err) && r.bad == nil {
		r.bad = err
	}
	return err
}

// Micros answers a time as the database keeps it: microseconds since 1970, UTC.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// FromMicros answers the time of Micros, in UTC.
func FromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }
