package sqldb_test

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// SQLite says the same of both.
func TestADiskThatCannotBeReadIsNoDamagedDatabase(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "havn.db")
	now := time.Now()
	open := func() *sqldb.DB {
		db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: path, Clock: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if closeErr := db.Close(); closeErr != nil {
				t.Log(closeErr)
			}
		})
		return db
	}
	db := open()
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := db.Tx(t.Context(), "fill", func(tx *sqldb.Tx) error {
		_, txErr := tx.Exec(t.Context(), "INSERT INTO meta (k, v) VALUES ('long', ?)", strings.Repeat("x", 60_000))
		return txErr
	})
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The chain of pages that hold the long value is cut: each begins with the number of the next.
	for at := 4096; at < len(text); at += 4096 {
		if bytes.HasPrefix(text[at+4:], []byte("xxxx")) {
			copy(text[at:], "\xff\xff\xff\xff")
		}
	}
	if err = os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}

	db = open()
	var v string
	read := func() error { return db.Row(t.Context(), "SELECT v FROM meta WHERE k = 'long'").Scan(&v) }
	for range 2 * runtime.GOMAXPROCS(0) { // each connection: none is to be opened later
		if err = read(); !fail.Is(err, fail.Internal) || !strings.Contains(fail.HintOf(err), "backup") {
			t.Errorf("a damaged file answered %v, hint %q", err, fail.HintOf(err))
		}
	}
	// From now on what is at the path can be opened and not read, as on a disk that answers EIO.
	if err = os.Rename(path, path+".moved"); err == nil {
		err = os.Mkdir(path, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if err = read(); !fail.Is(err, fail.Unavailable) || !strings.Contains(fail.HintOf(err), "answers with errors") {
		t.Errorf("a disk that can't be read answered %v, hint %q", err, fail.HintOf(err))
	}
}
