package sqldb

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// Retries of one transaction end when both bounds are passed (on SQLite, where no other node could help: one of them), or when
// the caller's context ends. Galera's slowest honest refusal, a node that died, lasts about 3 s, and a failover costs one read
// time-out of 2 s: 15 s hold several of each.
const (
	retryTime  = 15 * time.Second
	retryTimes = 8
	firstPause = 2 * time.Millisecond
	longPause  = 400 * time.Millisecond
	retryAfter = time.Second
	// doubtTime is how long after a run whose commit has an unknown outcome another run may still commit. What tells a run that it is the second one, as an operation's id, is removed when it is
	// an hour old by the clocks of all nodes that live, and whoever removes it has seen it for a minute by its own clock, whatever others' said when it was written: 15 s, and 10 s in which a
	// server ends a transaction that stands still between the look and its COMMIT, are less.
	doubtTime = 15 * time.Second
)

// work is one write transaction that a caller wants done.
type work struct {
	name    string
	relaxed bool
	fn      func(*Tx) error

	begun time.Time // the run under way
	doubt time.Time // the begin of the first run that nobody knows the outcome of; zero: none
}

// unsure notes that nobody knows whether the run under way was committed.
func (w *work) unsure() {
	if w.doubt.IsZero() {
		w.doubt = w.begun
	}
}

// late refuses a run that is about to be committed too long after one that may have been, by the clock that went on for longer: the machine's own stands still while the machine does, the wall's may be set.
func (w *work) late(now time.Time) error {
	if w.doubt.IsZero() {
		return nil
	}
	since := max(now.Sub(w.doubt), now.Round(0).Sub(w.doubt.Round(0)).Abs())
	if since <= doubtTime {
		return nil
	}
	return fail.E(fail.Unavailable, nil, "database transaction %s: a run of it %s ago may have been committed, and none may be so late", w.name, since.Round(time.Second)).
		Hint("the database did not answer in time, or this machine stood still: look whether it happened before doing it again").RetryAfter(retryAfter)
}

// Tx is a write transaction under way, for the function that it was handed to, and only until that returns. It is a Querier
// that also sees its own writes.
//
// After a statement failed, the transaction can only fail: every later statement answers the same error, and so does DB.Tx, even
// if the function returns nil. (PostgreSQL has it so; here the engines agree.) What may be absent is asked for with Row; what
// may be there already is written with InsertIgnore.
type Tx struct {
	s    *session
	now  time.Time
	over bool
	bad  error
}

// Engine answers which engine this is.
func (tx *Tx) Engine() Engine { return tx.s.d.engine }

// Now answers a time that is fixed for this attempt.
func (tx *Tx) Now() time.Time { return tx.now }

// Row reads one row: the query runs when Scan is called.
func (tx *Tx) Row(ctx context.Context, query string, args ...any) Row {
	return Row{ctx: ctx, from: tx, query: query, args: args}
}

// Rows reads rows. Nothing else may be read or written inside the loop.
func (tx *Tx) Rows(ctx context.Context, query string, args ...any) iter.Seq2[Scanner, error] {
	return func(yield func(Scanner, error) bool) {
		if err := tx.open(); err != nil {
			yield(nil, err)
			return
		}
		if stopped, err := tx.s.each(ctx, query, args, yield); tx.note(err) != nil && !stopped {
			yield(nil, err)
		}
	}
}

func (tx *Tx) scanRow(ctx context.Context, query string, args, dest []any) error {
	if err := tx.open(); err != nil {
		return err
	}
	err := tx.s.scanRow(ctx, query, args, dest)
	if fail.Is(err, fail.NotFound) {
		return err
	}
	return tx.note(err)
}

// Exec runs a statement and answers how many rows its condition matched, changed or not. A unique key that is taken is
// fail.Exists; a foreign key that forbids it is fail.Conflict with CodeFK.
func (tx *Tx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := tx.open(); err != nil {
		return 0, err
	}
	n, err := tx.s.exec(ctx, query, args)
	return n, tx.note(err)
}

// InsertIgnore inserts one row unless a unique key of it is taken; other violations are errors. On Galera the answer false is
// not certified at commit: to hold the row against a deletion, change a value of it or insert a child.
func (tx *Tx) InsertIgnore(ctx context.Context, table string, cols []string, args ...any) (bool, error) {
	if err := tx.open(); err != nil {
		return false, err
	}
	n, err := tx.s.exec(ctx, tx.s.d.insertIgnore(table, cols), args)
	if err != nil && tx.s.d.engine == MySQL && fail.Is(err, fail.Exists) {
		// MySQL's own INSERT IGNORE would hide violated foreign keys and cut values too; a taken key undoes only the statement.
		return false, nil
	}
	return n > 0, tx.note(err)
}

func (tx *Tx) open() error {
	if tx.over {
		return fail.E(fail.Internal, nil, "a statement after its transaction ended")
	}
	return tx.bad
}

func (tx *Tx) note(err error) error {
	if err != nil && tx.bad == nil {
		tx.bad = err
	}
	return err
}

// call runs the function, and answers the error that counts.
func (w *work) call(s *session, now time.Time) (err error) {
	tx := &Tx{s: s, now: now}
	defer func() {
		tx.over = true
	}()
	err = w.fn(tx)
	if tx.bad != nil && (err == nil || isRefusal(tx.bad)) {
		return tx.bad
	}
	return err
}

// Tx runs fn in a write transaction and commits it: durable on return. fn may run many times: the engine may refuse it, or the
// outcome of a commit may be unknown. It touches nothing but tx. The name is for metrics: a constant like "tag.move".
//
// If ctx ends before fn began, nothing happens. From then on it makes the statements of fn fail; a commit under way is waited for.
// What could not be settled in time is fail.Unavailable: then it may have happened or not.
func (db *DB) Tx(ctx context.Context, name string, fn func(tx *Tx) error) error {
	return db.write(ctx, &work{name: name, fn: fn})
}

// TxRelaxed is Tx, but on SQLite not flushed by itself: a power cut may lose it, a crash of the process does not, and a later
// Tx makes it durable. For rows whose loss is harmless.
func (db *DB) TxRelaxed(ctx context.Context, name string, fn func(tx *Tx) error) error {
	return db.write(ctx, &work{name: name, relaxed: true, fn: fn})
}

// looks bounds how often a function is run again because a unique key was taken.
const looks = 5

func (db *DB) write(ctx context.Context, w *work) error {
	begun := db.cfg.Clock()
	taken := 0
	err := db.again(ctx, w.name, func() error {
		w.begun = db.cfg.Clock()
		err := db.store.write(ctx, w)
		if taken < looks && db.engine != SQLite && fail.Is(err, fail.Exists) {
			// The row came between the function's look and its insert: one more look decides. Where others insert and delete that row all the time, it may have
			// gone before that look and come again behind it.
			taken++
			return &refusal{cause: err, reason: reasonUnique, final: err}
		}
		return err
	})
	db.metrics.tx(w.name, db.cfg.Clock().Sub(begun), err)
	return err
}

// View runs fn on one read-only snapshot that holds every write acknowledged before. fn may run many times.
func (db *DB) View(ctx context.Context, name string, fn func(q Querier) error) error {
	begun := db.cfg.Clock()
	err := db.again(ctx, name, func() error {
		return db.store.view(ctx, func(s *session) error {
			r := &reader{s: s}
			defer func() {
				r.over = true
			}()
			err := fn(r)
			if r.bad != nil {
				return r.bad
			}
			return err
		})
	})
	db.metrics.view(name, db.cfg.Clock().Sub(begun), err)
	return err
}

// Durable runs fn, which only reads, such that what it saw is as durable on return as what Tx commits: for answers by which a client takes something for done. fn may run many times.
//
// It matters on PostgreSQL with synchronous standbys: a commit that waits for them is there for all to see when that wait is given up, and is lost when a standby takes over. Elsewhere it is a plain read.
func (db *DB) Durable(ctx context.Context, name string, fn func(q Querier) error) error {
	if !db.store.ahead() {
		return fn(db)
	}
	return db.Tx(ctx, name, func(tx *Tx) error { return fn(tx) })
}

// again runs once until it is not refused, or time is up.
func (db *DB) again(ctx context.Context, name string, once func() error) error {
	err := once()
	var r *refusal
	if err == nil || !errors.As(err, &r) {
		return err
	}
	begun := db.cfg.Clock()
	pause := firstPause
	for n := 1; ; n++ {
		db.metrics.retried(r.reason)
		if r.reason != reasonConflict {
			db.cfg.Log.DebugContext(ctx, "database refused, run again", "tx", name, "times", n, "reason", r.reason, "cause", r.cause)
		}
		if lost := db.store.hopeless(); lost != nil {
			return fail.E(fail.Unavailable, settled(lost), "database transaction %s", name).RetryAfter(retryAfter)
		}
		tired, late := n >= retryTimes, db.cfg.Clock().Sub(begun) > retryTime
		if tired && late || db.engine == SQLite && (tired || late) {
			if r.final != nil {
				return r.final
			}
			return fail.E(fail.Unavailable, r.cause, "database transaction %s, tried %d times", name, n).RetryAfter(retryAfter)
		}
		if sleepErr := sleep(ctx, jitter(pause)); sleepErr != nil {
			return fail.E(fail.Unavailable, errors.Join(sleepErr, r.cause), "database transaction %s", name)
		}
		pause = min(2*pause, longPause)
		r = nil
		if err = once(); err == nil || !errors.As(err, &r) {
			return err
		}
	}
}

// jitter spreads the pauses of nodes that refused each other.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d) //nolint:forbidigo // not a secret, and no result depends on it
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to try again: %w", ctx.Err())
	}
}
