package sqldb

import (
	"context"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	pageBytes = 4096
	// checkpointPages is from where on pages of the log are copied into the database: 4 MiB, SQLite's own default.
	checkpointPages = 1000
	// keepLogBytes is what the log's file keeps of its size when it is begun anew: overwriting needs no change of the file's
	// size to be flushed, which halves the time of a commit. Beyond, it is cut.
	keepLogBytes = 16 << 20
	// resetWait is how long the reset of the log waits for readers, in milliseconds; all writers wait with it.
	resetWait = 20
	// stallPages, 32 MiB, is where writers begin to wait for the copying.
	stallPages = 8192
	// retryPages is how much the log grows between two tries to reset it, if readers were in the way.
	retryPages = 250
	// optimizeEvery is after how many resets (4 MiB of changes each) the planner's statistics are renewed.
	optimizeEvery = 64
)

// checkpointer keeps the log of SQLite short. The copying, which flushes twice, is done beside the writers, on a connection of
// its own; who has the turn then copies the little that came meanwhile, and resets the log.
type checkpointer struct {
	e       *embedded
	running atomic.Bool
	copied  atomic.Bool // since the last reset
	work    sync.WaitGroup
	s       *session // of the one copy that runs
	next    int64    // pages of the log at which to act; belongs to who has the turn, as resets
	resets  int
}

// tend looks at the log after a commit. The caller has the turn, and no transaction is open.
func (c *checkpointer) tend(ctx context.Context, s *session) {
	var busy, pages, copied int64
	if err := s.scanRow(ctx, "PRAGMA wal_checkpoint(NOOP)", nil, []any{&busy, &pages, &copied}); err != nil {
		c.e.cfg.Log.WarnContext(ctx, "look at the log of the database", "error", err)
		return
	}
	c.e.metrics.log.Set(float64(pages * pageBytes))
	if pages < max(checkpointPages, c.next) {
		return
	}
	if c.running.Load() {
		if pages < stallPages {
			return
		}
		// Writers outrun the copying: they wait for it here, or the log would grow with the backlog.
		c.work.Wait()
	}
	if !c.copied.Load() {
		c.running.Store(true)
		c.work.Add(1)
		go c.copy(context.WithoutCancel(ctx))
		return
	}
	c.copied.Store(false)
	c.reset(ctx, s, pages)
}

// reset copies what is left and lets the next commit begin the log anew.
func (c *checkpointer) reset(ctx context.Context, s *session, pages int64) {
	var busy, left, copied int64
	err := c.waiting(ctx, s, resetWait, func() error {
		return s.scanRow(ctx, "PRAGMA wal_checkpoint(RESTART)", nil, []any{&busy, &left, &copied})
	})
	if err != nil || busy != 0 {
		c.next = pages + retryPages
		c.e.cfg.Log.DebugContext(ctx, "the log of the database was not reset", "pages", pages, "readers", busy, "error", err)
		return
	}
	c.next = 0
	if c.resets++; c.resets%optimizeEvery == 0 {
		optimize(ctx, s, c.e.cfg.Log)
	}
}

// mend makes durable what is in the log after a flush of it failed, by copying all of it into the database and beginning it anew. The kernel takes what it could not write for written: the next
// flush would succeed without it, and what is missing under later commits takes these with it at a power cut. Programs read it until then, and so does the copying.
func (c *checkpointer) mend(ctx context.Context, s *session) error {
	c.work.Wait()
	var busy, pages, copied int64
	if err := s.scanRow(ctx, "PRAGMA wal_checkpoint(TRUNCATE)", nil, []any{&busy, &pages, &copied}); err != nil {
		return err
	}
	if busy != 0 {
		return &refusal{cause: fail.E(fail.Unavailable, nil, "copy the log of the database: readers are in the way"), reason: reasonConflict}
	}
	c.copied.Store(false)
	c.next = 0
	return nil
}

// waiting runs fn with another busy time-out.
func (c *checkpointer) waiting(ctx context.Context, s *session, ms int, fn func() error) error {
	var was int
	if err := s.scanRow(ctx, busyPragma(ms), nil, []any{&was}); err != nil {
		return err
	}
	err := fn()
	if backErr := s.scanRow(ctx, busyPragma(int(busyTime.Milliseconds())), nil, []any{&was}); err == nil {
		err = backErr
	}
	return err
}

// copy copies the log into the database as far as readers allow, while writers go on.
func (c *checkpointer) copy(ctx context.Context) {
	defer c.work.Done()
	defer c.running.Store(false)
	var err error
	if c.s == nil {
		c.s, err = c.e.session(ctx, "cache_size(-64)", "wal_autocheckpoint(0)")
	}
	if err == nil {
		var busy, pages, copied int64
		err = c.s.scanRow(ctx, "PRAGMA wal_checkpoint(PASSIVE)", nil, []any{&busy, &pages, &copied})
	}
	if err != nil {
		c.e.cfg.Log.WarnContext(ctx, "copy the log of the database", "error", err)
		return
	}
	c.copied.Store(true)
}

// close waits for the copy that runs. The last connection to close copies the rest and removes the log.
func (c *checkpointer) close() error {
	c.work.Wait()
	if c.s == nil {
		return nil
	}
	if err := c.s.forget(); err != nil {
		return err
	}
	return c.s.conn.Close()
}

// optimize renews the planner's statistics where tables changed much: it reads at most some hundred rows of an index.
func optimize(ctx context.Context, s *session, log *slog.Logger) {
	for _, p := range []string{"PRAGMA analysis_limit = 400", "PRAGMA optimize"} {
		if _, err := s.exec(ctx, p, nil); err != nil {
			log.WarnContext(ctx, "renew the statistics of the database", "error", err)
			return
		}
	}
}

func busyPragma(ms int) string { return "PRAGMA busy_timeout = " + strconv.Itoa(ms) }
