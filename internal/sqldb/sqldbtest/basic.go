package sqldbtest

import (
	"errors"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

func commitAndRollback(t *testing.T, cfg sqldb.Config) {
	db := Open(t, cfg)
	ctx := t.Context()
	put := func(k, v string, end error) error {
		return db.Tx(ctx, "test.put", func(tx *sqldb.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO meta (k, v) VALUES (?, ?)", k, v); err != nil {
				return err
			}
			var seen string
			if err := tx.Row(ctx, "SELECT v FROM meta WHERE k = ?", k).Scan(&seen); err != nil || seen != v {
				t.Errorf("own write reads %q, %v", seen, err)
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
}
