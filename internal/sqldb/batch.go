package sqldb

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// Bounds of a batch: what waits for one flush. The first keeps the wait of its first member short when functions are slow, the
// second keeps what one failed commit throws away small.
const (
	batchTime  = 50 * time.Millisecond
	batchTurns = 128
)

// writer is SQLite's one connection that writes, and the turn on it, handed from caller to caller in the order they came.
//
// Each caller runs its function itself when its turn comes, inside the transaction that is open, behind a savepoint, and then
// hands the turn on. Who finds nobody waiting (or the batch full) commits for all, with one flush; whoever comes during the
// flush waits for the turn, and so makes the next batch. So nothing ever waits for company, and many share a flush only when
// the disk is what they would wait for anyway. There is no goroutine and no idle cost. Readers see a batch when it is durable.
//
// A function that fails or panics undoes its savepoint only. If the commit fails, every member is run again by its own caller.
type writer struct {
	e *embedded

	mu     sync.Mutex
	queue  []*turn
	busy   bool // somebody has the turn
	closed bool

	// What follows belongs to who has the turn.
	s        *session
	open     bool      // a transaction is
	begun    time.Time // since when
	members  []*turn
	lost     error // why the open transaction can't be committed
	unsure   bool  // a BEGIN or COMMIT failed: a transaction may still be there
	broken   bool  // a COMMIT failed, with its flush perhaps: see checkpointer.mend
	flushing bool  // synchronous is FULL
}

// turn is one caller's place in the queue and then in the batch.
type turn struct {
	ctx     context.Context
	w       *work
	granted chan struct{}
	done    chan error // the outcome of the commit; one slot, so that telling never waits
}

// run is one attempt at a transaction.
func (w *writer) run(ctx context.Context, wk *work) error {
	t := &turn{ctx: ctx, w: wk, granted: make(chan struct{}), done: make(chan error, 1)}
	if err := w.wait(ctx, t); err != nil {
		return err
	}
	joined, err := w.take(t)
	if !joined {
		return err
	}
	if commitErr := <-t.done; commitErr != nil {
		// Also where err is set: what the function saw may have been undone.
		wk.unsure()
		return commitErr
	}
	if fault := w.e.cfg.fault(ctx, AfterCommit, wk.name); fault != nil {
		wk.unsure()
		return fault
	}
	return err
}

// wait answers nil when t has the turn.
func (w *writer) wait(ctx context.Context, t *turn) error {
	w.mu.Lock()
	if !w.busy {
		w.busy = true
		w.mu.Unlock()
		return nil
	}
	w.queue = append(w.queue, t)
	w.mu.Unlock()
	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
	}
	w.mu.Lock()
	for i, q := range w.queue {
		if q == t {
			w.queue = append(w.queue[:i], w.queue[i+1:]...)
			w.mu.Unlock()
			return fail.E(fail.Unavailable, ctx.Err(), "database transaction %s", t.w.name)
		}
	}
	w.mu.Unlock()
	// The turn came at the same moment: take it, find the context ended, and hand it on.
	<-t.granted
	return nil
}

// take runs the function in the turn and hands the turn on, whatever the function does.
func (w *writer) take(t *turn) (joined bool, err error) {
	defer w.handOver()
	return w.join(t)
}

// join runs the function inside the batch. If joined, the outcome comes through t.done.
func (w *writer) join(t *turn) (joined bool, err error) {
	if err = w.begin(t); err != nil {
		return false, err
	}
	ctx := context.WithoutCancel(t.ctx)
	first := len(w.members) == 0
	if !first {
		if _, err = w.s.exec(ctx, "SAVEPOINT one", nil); err != nil {
			w.lost = err
			return w.enter(t), nil
		}
	}
	whole := false
	defer func() {
		if whole {
			return
		}
		if first {
			w.rollback(ctx)
			return
		}
		w.undo(ctx)
		joined = w.enter(t)
	}()
	if err = t.w.call(w.s, w.e.cfg.Clock()); err == nil {
		err = t.w.late(w.e.cfg.Clock())
	}
	if err != nil {
		return false, err
	}
	whole = true
	if !first {
		if _, err = w.s.exec(ctx, "RELEASE one", nil); err != nil {
			w.lost = err
		}
	}
	return w.enter(t), nil
}

func (w *writer) enter(t *turn) bool {
	w.members = append(w.members, t)
	return true
}

// begin opens a transaction if none is. Whether commits flush can be set only outside of one.
func (w *writer) begin(t *turn) error {
	if err := t.ctx.Err(); err != nil {
		return fail.E(fail.Unavailable, err, "database transaction %s", t.w.name)
	}
	if w.closed {
		return fail.E(fail.Unavailable, nil, "database transaction %s: the database is closed", t.w.name)
	}
	if w.open {
		return nil
	}
	ctx := context.WithoutCancel(t.ctx)
	if w.unsure {
		w.rollback(ctx)
	}
	if w.broken {
		if err := w.e.log.mend(ctx, w.s); err != nil {
			return failedCommit(err)
		}
		w.broken = false
	}
	if flush := !t.w.relaxed; flush != w.flushing {
		level := "PRAGMA synchronous = NORMAL"
		if flush {
			level = "PRAGMA synchronous = FULL"
		}
		if _, err := w.s.exec(ctx, level, nil); err != nil {
			return err
		}
		w.flushing = flush
	}
	if _, err := w.s.exec(ctx, "BEGIN IMMEDIATE", nil); err != nil {
		w.unsure = true
		return err
	}
	w.open, w.lost, w.begun = true, nil, w.e.cfg.Clock()
	return nil
}

// undo takes back what the last function did. Some errors (a full disk) made SQLite roll back everything: then the batch is lost.
func (w *writer) undo(ctx context.Context) {
	if w.lost != nil {
		return
	}
	_, err := w.s.exec(ctx, "ROLLBACK TO one", nil)
	if err == nil {
		_, err = w.s.exec(ctx, "RELEASE one", nil)
	}
	if err != nil {
		w.lost = err
	}
}

func (w *writer) rollback(ctx context.Context) {
	w.open, w.unsure = false, false
	if _, err := w.s.exec(ctx, "ROLLBACK", nil); err != nil {
		// Nothing to roll back is the usual reason: SQLite did it already. Otherwise BEGIN would fail for ever after.
		w.e.cfg.Log.DebugContext(ctx, "roll back", "error", err)
	}
}

// handOver gives the turn to the next, after a commit if nobody may join any more.
func (w *writer) handOver() {
	w.mu.Lock()
	next := w.first()
	if w.open && (next == nil || w.full() || !w.flushing && !next.w.relaxed) {
		w.mu.Unlock()
		w.commit()
		w.mu.Lock()
		next = w.first()
	}
	if next == nil {
		w.busy = false
		w.mu.Unlock()
		return
	}
	w.queue[0] = nil
	w.queue = w.queue[1:]
	w.mu.Unlock()
	close(next.granted)
}

func (w *writer) first() *turn {
	if len(w.queue) == 0 {
		return nil
	}
	return w.queue[0]
}

func (w *writer) full() bool {
	return len(w.members) >= batchTurns || w.lost != nil || w.e.cfg.Clock().Sub(w.begun) > batchTime
}

// commit ends the open transaction and tells its members.
func (w *writer) commit() {
	members := w.members
	w.members = nil
	if len(members) == 0 {
		w.rollback(context.Background())
		return
	}
	ctx := context.WithoutCancel(members[0].ctx)
	err := w.lost
	if err == nil {
		err = w.fault(members)
	}
	if err == nil {
		_, err = w.s.exec(ctx, "COMMIT", nil)
		w.broken = err != nil && !isRefusal(err) && !fail.Is(err, fail.Exhausted)
	}
	if err != nil {
		w.rollback(ctx)
		w.unsure = true
		for _, m := range members {
			m.done <- failedCommit(err)
		}
		return
	}
	w.open = false
	w.e.metrics.committed(len(members), w.flushing)
	for _, m := range members {
		m.done <- nil
	}
	w.e.log.tend(ctx, w.s)
}

func (w *writer) fault(members []*turn) error {
	for _, m := range members {
		if err := w.e.cfg.fault(m.ctx, BeforeCommit, m.w.name); err != nil {
			return err
		}
	}
	return nil
}

// failedCommit answers what is told where a commit, or the mending after one, failed: run it again, unless the disk is full.
func failedCommit(err error) error {
	if fail.Is(err, fail.Exhausted) {
		return err
	}
	var r *refusal
	if errors.As(err, &r) {
		return err
	}
	return &refusal{cause: err, reason: reasonCommit, final: err}
}

// fault asks the test's fault function; an error is an outcome that is unknown.
func (c *Config) fault(ctx context.Context, p FaultPoint, tx string) error {
	if c.Fault == nil {
		return nil
	}
	if err := c.Fault(ctx, p, tx); err != nil {
		return &refusal{cause: err, reason: reasonCommit}
	}
	return nil
}

// close waits for the turn, and refuses all that come after.
func (w *writer) close() error {
	ctx := context.Background()
	t := &turn{ctx: ctx, w: &work{name: "close"}, granted: make(chan struct{}), done: make(chan error, 1)}
	if err := w.wait(ctx, t); err != nil {
		return err
	}
	defer w.handOver()
	if w.closed {
		return nil
	}
	if w.open {
		w.commit()
	}
	w.closed = true
	optimize(ctx, w.s, w.e.cfg.Log)
	return errors.Join(w.s.forget(), w.s.conn.Close())
}
