package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/havn-registry/havn/internal/fail"
)

// Bounds of SQLite's memory: the process has 64 MiB for everything. Pages come from the kernel's cache in a microsecond, so a
// connection needs little of its own.
const (
	writerCacheKiB = 4096
	readerCacheKiB = 512
	// busyTime is how long a lock that another process holds (a backup, the sqlite3 shell) is waited for.
	busyTime = 5 * time.Second
	// readerWait bounds the wait for a connection: loops over rows that query inside them would wait for each other for ever.
	readerWait = 10 * time.Second
)

// embedded is SQLite: one connection that writes, some that read, one that checkpoints.
type embedded struct {
	cfg     *Config
	metrics *metrics
	d       *dialect
	pool    *sql.DB
	writer  *writer
	readers chan *session // a nil one is opened when it is first needed
	log     *checkpointer
	probe   *disk
	closing sync.Once
	closed  chan struct{}
}

func openEmbedded(ctx context.Context, cfg *Config, m *metrics) (*embedded, error) {
	path, err := filepath.Abs(cfg.Path)
	if err != nil || cfg.Path == "" {
		return nil, fail.E(fail.Invalid, err, "database file %q", cfg.Path)
	}
	if err = refuseNetwork(filepath.Dir(path)); err != nil {
		return nil, err
	}
	// SQLite gives its -wal and -shm files the mode of this one.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fail.E(fail.Unavailable, err, "database file %s", path).Hint("its directory must exist and be writable")
	}
	if err = f.Close(); err != nil {
		return nil, fail.E(fail.Unavailable, err, "database file %s", path)
	}
	// The size of the file is flushed too, its times are not: half the time of a commit on ext4.
	if _, err = sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return nil, fail.E(fail.Internal, err, "database file %s", path)
	}
	pool, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return nil, fail.E(fail.Internal, err, "database file %s", path)
	}
	n := 2 * runtime.GOMAXPROCS(0)
	pool.SetMaxOpenConns(n + 2)
	pool.SetMaxIdleConns(n + 2)
	probe := &disk{path: path, clock: cfg.Clock}
	e := &embedded{cfg: cfg, metrics: m, d: newDialect(SQLite, probe.classify), pool: pool, probe: probe, readers: make(chan *session, n), closed: make(chan struct{})}
	for range n {
		e.readers <- nil
	}
	if err = e.openWriter(ctx); err != nil {
		return nil, errors.Join(err, pool.Close())
	}
	return e, nil
}

// dsn answers the address of a file with what holds for every connection.
func dsn(path string) string {
	pragmas := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTime.Milliseconds()),
		"foreign_keys(1)", "mmap_size(0)", "temp_store(memory)", "trusted_schema(0)",
	}}
	escaped := strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	return "file:" + escaped + "?_dqs=0&_error_rc=1&" + pragmas.Encode()
}

// session opens a connection and runs pragmas on it.
func (e *embedded) session(ctx context.Context, pragmas ...string) (*session, error) {
	ctx = context.WithoutCancel(ctx)
	conn, err := e.pool.Conn(ctx)
	if err != nil {
		return nil, e.d.translate(err, "open "+e.cfg.Path)
	}
	s := &session{run: conn, d: e.d, conn: conn, kept: make(map[string]*statement)}
	for _, p := range pragmas {
		if _, err = conn.ExecContext(ctx, "PRAGMA "+p); err != nil {
			return nil, errors.Join(e.d.translate(err, p), conn.Close())
		}
	}
	return s, nil
}

func (e *embedded) openWriter(ctx context.Context) error {
	s, err := e.session(ctx, fmt.Sprintf("cache_size(-%d)", writerCacheKiB), "journal_mode(wal)", "synchronous(full)",
		"wal_autocheckpoint(0)", fmt.Sprintf("journal_size_limit(%d)", keepLogBytes))
	if err != nil {
		return err
	}
	var mode string
	if err = s.scanRow(ctx, "PRAGMA journal_mode", nil, []any{&mode}); err == nil && mode != "wal" {
		err = fail.E(fail.Unavailable, nil, "database file %s: journal mode is %s, not wal", e.cfg.Path, mode).
			Hint("its file system must offer shared memory: use a local disk")
	}
	if err != nil {
		return err
	}
	e.log = &checkpointer{e: e}
	e.writer = &writer{s: s, e: e, flushing: true}
	return nil
}

// borrow takes a connection that only reads; give returns it.
func (e *embedded) borrow(ctx context.Context) (*session, error) {
	var s *session
	select {
	case s = <-e.readers:
	default:
		wait, cancel := context.WithTimeout(ctx, readerWait)
		defer cancel()
		select {
		case s = <-e.readers:
		case <-e.closed:
			return nil, fail.E(fail.Unavailable, nil, "the database is closed")
		case <-wait.Done():
			return nil, fail.E(fail.Unavailable, wait.Err(), "wait for a connection that reads").RetryAfter(time.Second)
		}
	}
	if s != nil {
		return s, nil
	}
	s, err := e.session(ctx, fmt.Sprintf("cache_size(-%d)", readerCacheKiB), "query_only(1)")
	if err != nil {
		e.readers <- nil
		return nil, err
	}
	return s, nil
}

func (e *embedded) give(s *session) { e.readers <- s }

func (e *embedded) read(ctx context.Context, fn func(*session) error) error {
	s, err := e.borrow(ctx)
	if err != nil {
		return err
	}
	defer e.give(s)
	return fn(s)
}

func (e *embedded) view(ctx context.Context, fn func(*session) error) error {
	s, err := e.borrow(ctx)
	if err != nil {
		return err
	}
	defer func() {
		// Also when fn panics. A connection that stays in its snapshot would show old rows for ever.
		if _, endErr := s.exec(context.WithoutCancel(ctx), "COMMIT", nil); endErr != nil {
			e.cfg.Log.DebugContext(ctx, "end of a read-only transaction", "error", endErr)
			e.replace(s)
			return
		}
		e.give(s)
	}()
	if _, err = s.exec(ctx, "BEGIN", nil); err != nil {
		return err
	}
	return fn(s)
}

// replace closes a connection whose state is not known; another is opened when one is needed.
func (e *embedded) replace(s *session) {
	if err := errors.Join(s.forget(), s.conn.Close()); err != nil {
		e.cfg.Log.Warn("close a database connection", "error", err)
	}
	e.readers <- nil
}

func (e *embedded) write(ctx context.Context, w *work) error { return e.writer.run(ctx, w) }

// migrate runs all steps in one transaction, under the writer's lock.
func (e *embedded) migrate(ctx context.Context, steps []migration, now time.Time) error {
	return e.writer.run(ctx, &work{name: "migrate", fn: func(tx *Tx) error {
		return apply(ctx, tx.s, steps, now.UnixMicro())
	}})
}

// close waits for all that is under way. A second call does nothing.
func (e *embedded) close() (err error) {
	e.closing.Do(func() {
		errs := []error{e.writer.close(), e.log.close()}
		close(e.closed)
		for range cap(e.readers) {
			if s := <-e.readers; s != nil {
				errs = append(errs, s.forget(), s.conn.Close())
			}
		}
		err = errors.Join(append(errs, e.pool.Close(), e.probe.close())...)
	})
	return err
}

// hopeless answers nil: what keeps SQLite is of this machine, and over soon or not at all.
func (e *embedded) hopeless() error { return nil }

// ahead answers false: nothing is seen before it is flushed.
func (e *embedded) ahead() bool { return false }

func (e *embedded) servers() []Server { return nil }

func (e *embedded) seen(context.Context) {}

func (e *embedded) check(ctx context.Context) []Finding {
	var found []Finding
	var verdict string
	err := e.read(ctx, func(s *session) error {
		return s.scanRow(ctx, "PRAGMA quick_check(1)", nil, []any{&verdict})
	})
	switch {
	case err != nil:
		found = append(found, Finding{What: "check of " + e.cfg.Path + ": " + err.Error(), Hint: "restore the last backup"})
	case verdict != "ok":
		found = append(found, Finding{What: e.cfg.Path + " is damaged: " + verdict, Hint: "restore the last backup"})
	default:
		found = append(found, Finding{OK: true, What: e.cfg.Path + " is whole"})
	}
	return found
}

// classifySQLite says what an error of SQLite means.
func classifySQLite(err error) meaning {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return unclassified(err)
	}
	switch se.Code() {
	case sqlitelib.SQLITE_CONSTRAINT_UNIQUE, sqlitelib.SQLITE_CONSTRAINT_PRIMARYKEY, sqlitelib.SQLITE_CONSTRAINT_ROWID:
		return meaning{kind: fail.Exists}
	case sqlitelib.SQLITE_CONSTRAINT_FOREIGNKEY, sqlitelib.SQLITE_CONSTRAINT_TRIGGER:
		return meaning{kind: fail.Conflict, code: CodeFK}
	case sqlitelib.SQLITE_CONSTRAINT_CHECK:
		return meaning{kind: fail.Invalid}
	}
	switch se.Code() & 0xff {
	case sqlitelib.SQLITE_BUSY, sqlitelib.SQLITE_LOCKED:
		return meaning{reason: reasonConflict}
	case sqlitelib.SQLITE_FULL:
		return meaning{kind: fail.Exhausted, hint: "the disk of the data directory is full: make room"}
	case sqlitelib.SQLITE_IOERR, sqlitelib.SQLITE_READONLY, sqlitelib.SQLITE_CANTOPEN, sqlitelib.SQLITE_PERM:
		return meaning{kind: fail.Unavailable, hint: "look at the disk and the permissions of the data directory"}
	case sqlitelib.SQLITE_CORRUPT, sqlitelib.SQLITE_NOTADB:
		return meaning{kind: fail.Internal, hint: "the database file is damaged: restore the last backup"}
	}
	return meaning{kind: fail.Internal}
}
