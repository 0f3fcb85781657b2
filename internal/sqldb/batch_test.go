package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

const insertMeta = "INSERT INTO meta (k, v) VALUES (?, ?)"

// patience bounds waits for what must come.
const patience = 60 * time.Second

// commits reads how many commits waited for the disk ("yes") or did not ("no").
func commits(t *testing.T, reg *prometheus.Registry, flushed string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "havn_db_commits_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == flushed {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// still is a clock that stands: a batch would be cut by time on a slow machine.
func still() time.Time { return time.Unix(1_900_000_000, 0) }

func put(ctx context.Context, k string) func(*sqldb.Tx) error {
	return func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, insertMeta, k, "1")
		return err
	}
}

// behind holds the turn to write until n transactions wait for it, and lets go. It answers what the one that held it got.
func behind(t *testing.T, db *sqldb.DB, n int, start func(i int)) error {
	t.Helper()
	entered, release := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	var held error
	var once sync.Once
	wg.Go(func() {
		held = db.Tx(t.Context(), "test.hold", func(tx *sqldb.Tx) error {
			once.Do(func() { close(entered) })
			<-release
			return put(t.Context(), "held")(tx)
		})
	})
	<-entered
	for i := range n {
		wg.Go(func() { start(i) })
	}
	until(t, func() bool { return db.Waiting() == n })
	close(release)
	wg.Wait()
	return held
}

func until(t *testing.T, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come")
		}
	}
}

func TestTransactionsThatWaitShareOneFlush(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	db := sqldbtest.Open(t, sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db"), Metrics: reg, Clock: still})
	before := commits(t, reg, "yes")
	err := behind(t, db, 64, func(i int) {
		if err := db.Tx(t.Context(), "test.put", put(t.Context(), fmt.Sprint(i))); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := commits(t, reg, "yes") - before; n != 1 {
		t.Errorf("65 transactions took %v commits, want 1", n)
	}
	if n := rows(t, db); n != 65 {
		t.Errorf("%d rows, want 65", n)
	}
}

func rows(t *testing.T, db *sqldb.DB) int {
	t.Helper()
	var n int
	if err := db.Row(t.Context(), "SELECT COUNT(*) FROM meta").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestRelaxedTransactionsAloneDoNotFlush(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	db := sqldbtest.Open(t, sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db"), Metrics: reg, Clock: still})
	flushed, not := commits(t, reg, "yes"), commits(t, reg, "no")
	for i := range 5 {
		if err := db.TxRelaxed(t.Context(), "test.relaxed", put(t.Context(), fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	if f, n := commits(t, reg, "yes")-flushed, commits(t, reg, "no")-not; f != 0 || n != 5 {
		t.Errorf("%v commits were flushed and %v not, want 0 and 5", f, n)
	}
	// Beside one that must be durable they are part of its flush.
	err := behind(t, db, 4, func(i int) {
		if err := db.TxRelaxed(t.Context(), "test.relaxed", put(t.Context(), fmt.Sprint("with", i))); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if f, n := commits(t, reg, "yes")-flushed, commits(t, reg, "no")-not; f != 1 || n != 5 {
		t.Errorf("%v commits were flushed and %v not, want 1 and 5", f, n)
	}
}

func TestACommitThatFailsIsRunAgainByEveryMember(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	runs, faults := 0, 0
	db := sqldbtest.Open(t, sqldb.Config{
		Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db"), Clock: still,
		Fault: func(_ context.Context, p sqldb.FaultPoint, tx string) error {
			mu.Lock()
			defer mu.Unlock()
			if p == sqldb.BeforeCommit && tx == "test.put" && faults == 0 {
				faults++
				return errors.New("injected")
			}
			return nil
		},
	})
	err := behind(t, db, 8, func(i int) {
		err := db.Tx(t.Context(), "test.put", func(tx *sqldb.Tx) error {
			mu.Lock()
			runs++
			mu.Unlock()
			return put(t.Context(), fmt.Sprint(i))(tx)
		})
		if err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if faults != 1 || runs != 16 || rows(t, db) != 9 {
		t.Errorf("%d faults, %d runs, %d rows; want 1, 16 and 9", faults, runs, rows(t, db))
	}
}

func TestAContextThatEndsInTheQueueLeavesIt(t *testing.T) {
	t.Parallel()
	db := sqldbtest.Open(t, sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db"), Clock: still})
	entered, release := make(chan struct{}), make(chan struct{})
	held := make(chan error, 1)
	go func() {
		held <- db.Tx(t.Context(), "test.hold", func(*sqldb.Tx) error {
			close(entered)
			<-release
			return nil
		})
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() { left <- db.Tx(ctx, "test.leave", put(ctx, "left")) }()
	until(t, func() bool { return db.Waiting() == 1 })
	cancel()
	// It answers while the other still has the turn.
	if err := <-left; !errors.Is(err, context.Canceled) || !fail.Is(err, fail.Unavailable) {
		t.Errorf("answered %v", err)
	}
	if n := db.Waiting(); n != 0 {
		t.Errorf("%d still wait", n)
	}
	close(release)
	if err := <-held; err != nil {
		t.Error(err)
	}
	if n := rows(t, db); n != 0 {
		t.Errorf("%d rows, want none", n)
	}
}

func TestAFullDiskFailsTheOneThatFilledIt(t *testing.T) {
	t.Parallel()
	db := sqldbtest.Open(t, sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db"), Clock: still})
	ctx := t.Context()
	if err := db.LimitPages(ctx, 20); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 50_000)
	err := behind(t, db, 6, func(i int) {
		if i%2 == 0 {
			if err := db.Tx(ctx, "test.put", put(ctx, fmt.Sprint(i))); err != nil {
				t.Errorf("a small transaction: %v", err)
			}
			return
		}
		err := db.Tx(ctx, "test.big", func(tx *sqldb.Tx) error {
			for n := range 4 {
				if _, err := tx.Exec(ctx, insertMeta, fmt.Sprint("big", i, n), string(big)); err != nil {
					return err
				}
			}
			return nil
		})
		if !fail.Is(err, fail.Exhausted) {
			t.Errorf("a transaction beyond the disk answered %v, want exhausted", err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := rows(t, db); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
	if err = db.LimitPages(ctx, 1000); err != nil {
		t.Fatal(err)
	}
	if err = db.Tx(ctx, "test.put", put(ctx, "later")); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestTheLogStaysShort(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	path := filepath.Join(t.TempDir(), "havn.db")
	db := sqldbtest.Open(t, sqldb.Config{Engine: sqldb.SQLite, Path: path, Metrics: reg})
	ctx := t.Context()
	value := string(make([]byte, 60_000))
	// 100 MB in all: the log's file would hold them if it was never begun anew; writers wait for that from 32 MiB on.
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 400 {
				err := db.TxRelaxed(ctx, "test.fill", func(tx *sqldb.Tx) error {
					_, err := tx.Exec(ctx, insertMeta, fmt.Sprint(w, ".", i), value)
					return err
				})
				if err != nil {
					t.Error(err)
				}
				var n int
				if err = db.Row(ctx, "SELECT COUNT(*) FROM projects").Scan(&n); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 48<<20 {
		t.Errorf("the log has %d MiB", info.Size()>>20)
	}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if info, err = os.Stat(path + suffix); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("mode of %s%s: %v, %v", path, suffix, info, err)
		}
	}
}
