package sqldbtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// patience bounds waits for what must come.
const patience = 60 * time.Second

// several opens the database three times: on a cluster through three nodes.
func several(t *testing.T, open Opener) []*sqldb.DB {
	t.Helper()
	return []*sqldb.DB{Open(t, open()), Open(t, open()), Open(t, open())}
}

func snapshot(t *testing.T, open Opener) {
	dbs := several(t, open)
	ctx := t.Context()
	must(t, dbs[0], insertMeta, "before", "1")
	err := dbs[1].View(ctx, "test.view", func(q sqldb.Querier) error {
		before := number(t, q, countMeta)
		if before < 1 {
			t.Errorf("the view sees %d rows, and misses what was acknowledged", before)
		}
		must(t, dbs[0], insertMeta, sqldb.NewToken(), "1")
		if after := number(t, q, countMeta); after != before {
			t.Errorf("the view sees %d rows, then %d", before, after)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if n := number(t, dbs[2], countMeta); n < 2 {
		t.Errorf("%d rows after the view", n)
	}
}

func causal(t *testing.T, open Opener) {
	dbs := several(t, open)
	ctx := t.Context()
	for i := range 60 {
		k := fmt.Sprintf("k%d", i)
		must(t, dbs[i%3], insertMeta, k, "1")
		other := dbs[(i+1)%3]
		if n := number(t, other, countMetaOf, k); n != 1 {
			t.Errorf("round %d: a read misses the row", i)
		}
		if err := other.View(ctx, "test.causal", func(q sqldb.Querier) error {
			if n := number(t, q, countMetaOf, k); n != 1 {
				t.Errorf("round %d: a view misses the row", i)
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		if n, err := exec(ctx, dbs[(i+2)%3], "UPDATE meta SET v = ? WHERE k = ?", "2", k); err != nil || n != 1 {
			t.Errorf("round %d: an update misses the row: %d, %v", i, n, err)
		}
	}
}

func increments(t *testing.T, open Opener) {
	dbs := several(t, open)
	ctx := t.Context()
	must(t, dbs[0], insertClaim, "blind", 0, 0)
	must(t, dbs[0], insertClaim, "seen", 0, 0)
	const workers, rounds = 9, 8
	var wg sync.WaitGroup
	for w := range workers {
		db := dbs[w%3]
		wg.Go(func() {
			for range rounds {
				if err := increment(ctx, db); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, name := range []string{"blind", "seen"} {
		if n := number(t, dbs[1], readEpoch, name); n != workers*rounds {
			t.Errorf("%s counted %d, want %d", name, n, workers*rounds)
		}
	}
}

// increment counts on one row by what it holds, and on another by what was read: that may lose, and is tried again.
func increment(ctx context.Context, db *sqldb.DB) error {
	if _, err := exec(ctx, db, "UPDATE claims SET epoch = epoch + 1 WHERE name = ?", "blind"); err != nil {
		return err
	}
	for {
		won := false
		err := db.Tx(ctx, "test.increment", func(tx *sqldb.Tx) error {
			var epoch int64
			if err := tx.Row(ctx, readEpoch, "seen").Scan(&epoch); err != nil {
				return err
			}
			n, err := tx.Exec(ctx, "UPDATE claims SET epoch = ? WHERE name = ? AND epoch = ?", epoch+1, "seen", epoch)
			won = n == 1
			return err
		})
		if err != nil || won {
			return err
		}
	}
}

func races(t *testing.T, open Opener) {
	dbs := several(t, open)
	ctx := t.Context()
	for round := range 10 {
		var won, taken atomic.Int64
		var wg sync.WaitGroup
		for i, db := range dbs {
			wg.Go(func() {
				_, err := exec(ctx, db, insertProj, 10*round+i+1, fmt.Sprintf("p%d", round), true, 5)
				switch {
				case err == nil:
					won.Add(1)
				case fail.Is(err, fail.Exists):
					taken.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 || taken.Load() != 2 {
			t.Errorf("round %d: %d won, %d were told that it exists", round, won.Load(), taken.Load())
		}
	}
}

func unknownOutcome(t *testing.T, open Opener) {
	for _, point := range []sqldb.FaultPoint{sqldb.BeforeCommit, sqldb.AfterCommit} {
		cfg := open()
		var faults, runs int
		cfg.Fault = func(_ context.Context, p sqldb.FaultPoint, tx string) error {
			if tx == "test.op" && p == point && faults < 2 {
				faults++
				return errors.New("injected")
			}
			return nil
		}
		db := Open(t, cfg)
		ctx := t.Context()
		name := "counter " + string(point)
		must(t, db, insertClaim, name, 0, 0)
		op := sqldb.NewToken()
		var mine bool
		err := db.Tx(ctx, "test.op", func(tx *sqldb.Tx) error {
			runs++
			var err error
			if mine, err = tx.InsertIgnore(ctx, "ops", []string{"op", "at"}, op, sqldb.Micros(tx.Now())); err != nil || !mine {
				return err
			}
			_, err = tx.Exec(ctx, "UPDATE claims SET epoch = epoch + 1 WHERE name = ?", name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if faults != 2 || runs != 3 {
			t.Errorf("%s: %d faults, %d runs; want 2 and 3", point, faults, runs)
		}
		if wantMine := point == sqldb.BeforeCommit; mine != wantMine {
			t.Errorf("%s: the last run found the operation new: %v", point, mine)
		}
		if n := number(t, db, readEpoch, name); n != 1 {
			t.Errorf("%s: applied %d times", point, n)
		}
	}
}

// tooLate lets the machine stand still after a commit whose answer was lost, at each place at which it may: before the second run, and in the middle of it. Then what tells the
// second run that it is one may be gone, as it is here.
func tooLate(t *testing.T, open Opener) {
	for _, inside := range []bool{false, true} {
		cfg := open()
		var offset atomic.Int64
		cfg.Clock = func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		standStill := func() { offset.Store(int64(time.Minute)) }
		faults := 0
		cfg.Fault = func(_ context.Context, p sqldb.FaultPoint, tx string) error {
			if tx != "test.late" || p != sqldb.AfterCommit || faults > 0 {
				return nil
			}
			faults++
			if !inside {
				standStill()
			}
			return errors.New("injected")
		}
		db := Open(t, cfg)
		name := fmt.Sprint("late ", inside)
		must(t, db, insertClaim, name, 0, 0)
		runs := 0
		err := db.Tx(t.Context(), "test.late", func(tx *sqldb.Tx) error {
			if runs++; runs == 2 && inside {
				standStill()
			}
			_, err := tx.Exec(t.Context(), "UPDATE claims SET epoch = epoch + 1 WHERE name = ?", name)
			return err
		})
		if !fail.Is(err, fail.Unavailable) {
			t.Errorf("inside %v: %v", inside, err)
		}
		if n := number(t, db, readEpoch, name); n != 1 {
			t.Errorf("inside %v: applied %d times", inside, n)
		}
	}
}

func endedContexts(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx := t.Context()
	ended, end := context.WithCancel(ctx)
	end()
	ran := false
	if err := db.Tx(ended, "test.ended", func(*sqldb.Tx) error { ran = true; return nil }); !errors.Is(err, context.Canceled) || ran {
		t.Errorf("an ended context: %v, ran %v", err, ran)
	}
	if err := db.Row(ended, countMeta).Scan(new(int64)); !errors.Is(err, context.Canceled) {
		t.Errorf("a read with an ended context answered %v", err)
	}
	// A context that ends while the function runs makes its next statement fail.
	mid, cancel := context.WithCancel(ctx)
	err := db.Tx(mid, "test.ends", func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(mid, insertMeta, "mid", "1"); err != nil {
			return err
		}
		cancel()
		_, err := tx.Exec(mid, insertMeta, "mid2", "1")
		return err
	})
	if !errors.Is(err, context.Canceled) || !fail.Is(err, fail.Unavailable) {
		t.Errorf("a context that ended inside: %v", err)
	}
	// One that ends after the last statement does not: what was done is told.
	late, cancelLate := context.WithCancel(ctx)
	err = db.Tx(late, "test.late", func(tx *sqldb.Tx) error {
		_, txErr := tx.Exec(late, insertMeta, "late", "1")
		cancelLate()
		return txErr
	})
	if err != nil {
		t.Errorf("a context that ended before the commit: %v", err)
	}
	if n := number(t, db, countMeta); n != 1 {
		t.Errorf("%d rows, want only the late one", n)
	}
}

// companions runs good transactions beside ones that fail in every way.
func companions(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	must(t, db, insertMeta, "taken", "1")
	const workers, rounds = 12, 10
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for r := range rounds {
				k := fmt.Sprintf("%d.%d", w, r)
				if err := companion(ctx, db, w%6, k); err != nil {
					t.Errorf("worker %d: %v", w, err)
				}
			}
		})
	}
	wg.Wait()
	// Kinds 0 and 1 of six are good.
	if n := number(t, db, countMeta); n != 1+workers*rounds/3 {
		t.Errorf("%d rows, want %d", n, 1+workers*rounds/3)
	}
}

func companion(ctx context.Context, db *sqldb.DB, kind int, k string) (err error) {
	defer func() {
		if v := recover(); v != nil && kind != 4 {
			err = fmt.Errorf("panic %v", v)
		}
	}()
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	mine := errors.New("mine")
	err = db.Tx(own, "test.companion", func(tx *sqldb.Tx) error {
		if _, txErr := tx.Exec(own, insertMeta, k, "1"); txErr != nil {
			return txErr
		}
		switch kind {
		case 2:
			return mine
		case 3:
			_, txErr := tx.Exec(own, insertMeta, "taken", "1")
			return txErr
		case 4:
			panic("mine")
		case 5:
			cancel()
			return tx.Row(own, countMeta).Scan(new(int64))
		}
		return nil
	})
	want := map[int]bool{0: err == nil, 1: err == nil, 2: errors.Is(err, mine), 3: fail.Is(err, fail.Exists), 5: errors.Is(err, context.Canceled)}
	if !want[kind] {
		return fmt.Errorf("kind %d answered %w", kind, err)
	}
	return nil
}

func relaxed(t *testing.T, open Opener) {
	db := connect(t, open())
	ctx := t.Context()
	if err := db.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	put := func(k string) func(tx *sqldb.Tx) error {
		return func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, insertMeta, k, "1")
			return err
		}
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			run := db.TxRelaxed
			if i%4 == 0 {
				run = db.Tx
			}
			if err := run(ctx, "test.relaxed", put(fmt.Sprint(i))); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if err := db.TxRelaxed(ctx, "test.relaxed", put("alone")); err != nil {
		t.Error(err)
	}
	if n := number(t, db, countMeta); n != 21 {
		t.Errorf("%d rows, want 21", n)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if n := number(t, Open(t, open()), countMeta); n != 21 {
		t.Errorf("%d rows after reopening, want 21", n)
	}
}

func migrateAtOnce(t *testing.T, open Opener) {
	var dbs []*sqldb.DB
	for range 4 {
		dbs = append(dbs, connect(t, open()))
	}
	ctx := t.Context()
	var wg sync.WaitGroup
	for _, db := range dbs {
		wg.Go(func() {
			if err := db.Migrate(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	must(t, dbs[0], insertMeta, "k", "v")
	if err := dbs[1].Migrate(ctx); err != nil {
		t.Error(err)
	}
	if n := number(t, dbs[2], countMeta); n != 1 {
		t.Errorf("%d rows after migrating again", n)
	}
}
