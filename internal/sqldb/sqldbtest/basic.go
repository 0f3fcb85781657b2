package sqldbtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

func commitAndRollback(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx := t.Context()
	put := func(k, v string, end error) error {
		return db.Tx(ctx, "test.put", func(tx *sqldb.Tx) error {
			if _, err := tx.Exec(ctx, insertMeta, k, v); err != nil {
				return err
			}
			var seen string
			if err := tx.Row(ctx, "SELECT v FROM meta WHERE k = ?", k).Scan(&seen); err != nil || seen != v {
				return fmt.Errorf("own write reads %q: %w", seen, err)
			}
			if tx.Now().IsZero() || tx.Engine() != db.Engine() {
				return errors.New("no clock, or another engine")
			}
			return end
		})
	}
	if err := put("kept", "1", nil); err != nil {
		t.Fatal(err)
	}
	mine := errors.New("mine")
	if err := put("undone", "1", mine); !errors.Is(err, mine) {
		t.Fatalf("answered %v, want the function's own error", err)
	}
	var v string
	if err := db.Row(ctx, "SELECT v FROM meta WHERE k = ?", "kept").Scan(&v); err != nil || v != "1" {
		t.Errorf("committed row reads %q, %v", v, err)
	}
	if err := db.Row(ctx, "SELECT v FROM meta WHERE k = ?", "undone").Scan(&v); !fail.Is(err, fail.NotFound) {
		t.Errorf("row of a rolled back transaction: %q, %v", v, err)
	}
	if err := db.Ping(ctx); err != nil {
		t.Error(err)
	}
	for _, f := range db.Check(ctx) {
		if f.What == "" || !f.OK && f.Hint == "" {
			t.Errorf("finding %+v says too little", f)
		}
	}
}

func panics(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx := t.Context()
	caught := func(fn func()) (v any) {
		defer func() { v = recover() }()
		fn()
		return nil
	}
	v := caught(func() {
		err := db.Tx(ctx, "test.panic", func(tx *sqldb.Tx) error {
			if _, err := tx.Exec(ctx, insertMeta, "panic", "1"); err != nil {
				return err
			}
			panic("mine")
		})
		t.Errorf("answered %v, want the panic", err)
	})
	if v != "mine" {
		t.Errorf("recovered %v", v)
	}
	v = caught(func() {
		err := db.View(ctx, "test.panic", func(q sqldb.Querier) error {
			number(t, q, countMeta)
			panic("mine")
		})
		t.Errorf("answered %v, want the panic", err)
	})
	if v != "mine" {
		t.Errorf("recovered %v", v)
	}
	must(t, db, insertMeta, "after", "1")
	if n := number(t, db, countMeta); n != 1 {
		t.Errorf("%d rows, want that after the panic", n)
	}
}

func staysFailed(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx := t.Context()
	must(t, db, insertMeta, "taken", "1")
	var later error
	var leaked *sqldb.Tx
	err := db.Tx(ctx, "test.swallow", func(tx *sqldb.Tx) error {
		leaked = tx
		if _, err := tx.Exec(ctx, insertMeta, "before", "1"); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, insertMeta, "taken", "2"); err == nil {
			return errors.New("a taken key was inserted")
		}
		_, later = tx.Exec(ctx, insertMeta, "after", "1")
		return nil
	})
	if !fail.Is(err, fail.Exists) {
		t.Errorf("answered %v, want what the function swallowed", err)
	}
	if later == nil {
		t.Error("a statement after a failed one succeeded")
	}
	if n := number(t, db, countMeta); n != 1 {
		t.Errorf("%d rows, want only the first", n)
	}
	if _, err = leaked.Exec(ctx, insertMeta, "leaked", "1"); !fail.Is(err, fail.Internal) {
		t.Errorf("a statement after the end answered %v", err)
	}
}

func uniqueKeys(t *testing.T, open Opener) {
	db := Open(t, open())
	must(t, db, insertProj, 1, "app", true, 5)
	for _, args := range [][]any{{1, "other", true, 5}, {2, "app", true, 5}} {
		if _, err := exec(t.Context(), db, insertProj, args...); !fail.Is(err, fail.Exists) {
			t.Errorf("insert of %v answered %v, want exists", args, err)
		}
	}
}

func foreignKeys(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx := t.Context()
	must(t, db, insertParent, 1, 5)
	must(t, db, insertChild, 1, 0, "object", 5)
	for _, c := range []struct {
		query string
		args  []any
	}{
		{insertChild, []any{2, 0, "other", 5}},
		{"DELETE FROM contents WHERE id = ?", []any{1}},
		{"UPDATE objects SET content = ? WHERE content = ?", []any{3, 1}},
	} {
		if _, err := exec(ctx, db, c.query, c.args...); !fail.Is(err, fail.Conflict) || fail.CodeOf(err) != sqldb.CodeFK {
			t.Errorf("%s answered %v (code %q), want a conflict of code fk", c.query, err, fail.CodeOf(err))
		}
	}
	// In the order child, parent both go.
	err := db.Tx(ctx, "test.delete", func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM objects WHERE content = ?", 1); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM contents WHERE id = ?", 1)
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func insertIgnore(t *testing.T, open Opener) {
	db := Open(t, open())
	ctx := t.Context()
	cols := []string{"id", "name", "public", "created_at"}
	insert := func(args ...any) (inserted bool, err error) {
		err = db.Tx(ctx, "test.ignore", func(tx *sqldb.Tx) error {
			var txErr error
			if inserted, txErr = tx.InsertIgnore(ctx, "projects", cols, args...); txErr != nil {
				return txErr
			}
			// The transaction goes on after a row was ignored.
			_, txErr = tx.Exec(ctx, insertMeta, sqldb.NewToken(), "1")
			return txErr
		})
		return inserted, err
	}
	if ok, err := insert(1, "app", false, 5); err != nil || !ok {
		t.Errorf("first insert: %v, %v", ok, err)
	}
	if ok, err := insert(1, "app", false, 5); err != nil || ok {
		t.Errorf("the same again: %v, %v", ok, err)
	}
	if ok, err := insert(2, "app", false, 5); err != nil || ok {
		t.Errorf("its other key: %v, %v", ok, err)
	}
	if n := number(t, db, countMeta); n != 3 {
		t.Errorf("%d transactions committed, want 3", n)
	}
	if _, err := insert(3, nil, false, 5); err == nil {
		t.Error("a NULL where none may be was ignored")
	}
	err := db.Tx(ctx, "test.ignore", func(tx *sqldb.Tx) error {
		_, err := tx.InsertIgnore(ctx, "objects", []string{"content", "seq", "name", "created_at"}, 77, 0, "orphan", 5)
		return err
	})
	if !fail.Is(err, fail.Conflict) {
		t.Errorf("a child without its parent answered %v, want a conflict", err)
	}
}

func matchedRows(t *testing.T, open Opener) {
	db := Open(t, open())
	must(t, db, insertMeta, "k", "same")
	for want, key := range map[int64]string{1: "k", 0: "absent"} {
		if n, err := exec(t.Context(), db, "UPDATE meta SET v = ? WHERE k = ?", "same", key); err != nil || n != want {
			t.Errorf("update of %s matched %d, %v; want %d", key, n, err, want)
		}
	}
}

func reopen(t *testing.T, open Opener) {
	db := connect(t, open())
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	must(t, db, insertMeta, "k", "v")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	again := Open(t, open())
	if n := number(t, again, countMetaOf, "k"); n != 1 {
		t.Errorf("%d rows after reopening", n)
	}
	if err := db.Tx(t.Context(), "test.closed", func(*sqldb.Tx) error { return nil }); err == nil {
		t.Error("a closed database took a transaction")
	}
}

func newerSchema(t *testing.T, open Opener) {
	db := Open(t, open())
	var known int
	if err := db.Row(t.Context(), "SELECT MAX(version) FROM schema_migrations").Scan(&known); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		names []string
		fits  bool
	}{
		{[]string{"future"}, false},
		{[]string{fmt.Sprintf("future_beside_%d", known)}, true},
		{[]string{"future_beside_1", fmt.Sprintf("more_beside_%d", known)}, true},
		{[]string{fmt.Sprintf("future_beside_%d", known), "future"}, false},
		{[]string{fmt.Sprintf("future_beside_%d", known+1)}, false},
		{[]string{"future_beside_99999999999999999999"}, false},
	} {
		must(t, db, "DELETE FROM schema_migrations WHERE version > ?", known)
		for i, name := range c.names {
			must(t, db, "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)", known+1+i, name, 1)
		}
		if err := db.Migrate(t.Context()); c.fits && err != nil || !c.fits && !fail.Is(err, fail.Unsupported) {
			t.Errorf("%q: answered %v, want it to fit: %v", c.names, err, c.fits)
		}
	}
}

func otherTables(t *testing.T, open Opener) {
	db := connect(t, open())
	if db.Engine() == sqldb.SQLite {
		return // its file is Havn's by its place
	}
	must(t, db, "CREATE TABLE users (id BIGINT NOT NULL PRIMARY KEY)")
	if err := db.Migrate(t.Context()); !fail.Is(err, fail.Conflict) || !strings.Contains(fail.HintOf(err), "database.name") {
		t.Errorf("answered %v, want a conflict that says what to do", err)
	}
	// As golang-migrate has it.
	must(t, db, "CREATE TABLE schema_migrations (version BIGINT NOT NULL PRIMARY KEY, dirty BOOLEAN NOT NULL)")
	must(t, db, "INSERT INTO schema_migrations (version, dirty) VALUES (150, FALSE)")
	if err := db.Migrate(t.Context()); !fail.Is(err, fail.Conflict) {
		t.Errorf("with another's list of migrations it answered %v, want a conflict", err)
	}
}

func leftBehind(t *testing.T, open Opener) {
	db := connect(t, open())
	must(t, db, "CREATE TABLE "+sqldb.CheckTables+"abcd_parent (id BIGINT NOT NULL PRIMARY KEY)")
	if err := db.Migrate(t.Context()); err != nil {
		t.Errorf("beside a table of a check that was broken off: %v", err)
	}
}
