package sqldb_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// TestALookAtTheDiskLeavesTheLocks asks, as another process would, whether the database's file may be locked for writing.
func TestALookAtTheDiskLeavesTheLocks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "havn.db")
	open := func() *sqldb.DB {
		db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: path})
		if err != nil {
			t.Fatal(err)
		}
		return db
	}
	db := open()
	err := db.Migrate(t.Context())
	if err == nil {
		err = db.Close() // which moves all pages from the log to the file
	}
	if err != nil {
		t.Fatal(err)
	}
	db = open()
	// Closed after the database, because closing it ends the locks.
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, c := range []func() error{db.Close, f.Close} {
			if closeErr := c(); closeErr != nil {
				t.Log(closeErr)
			}
		}
	})
	locked := func() bool {
		lock := unix.Flock_t{Type: unix.F_WRLCK, Start: 0x40000002, Len: 510} // SQLite's SHARED_FIRST, SHARED_SIZE
		if err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
			t.Fatal(err)
		}
		return lock.Type != unix.F_UNLCK
	}
	if !locked() {
		t.Fatal("an open database has no lock")
	}
	// A page of the schema that is no page makes SQLite look.
	if _, err = f.WriteAt([]byte(strings.Repeat("\xff", 16<<12)), 4096); err != nil {
		t.Fatal(err)
	}
	var v string
	err = db.Row(t.Context(), "SELECT name FROM projects WHERE name = 'x'").Scan(&v)
	for _, table := range []string{"meta", "tags", "uploads", "repositories"} {
		if err == nil || fail.Is(err, fail.NotFound) {
			err = db.Row(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&v)
		}
	}
	if !fail.Is(err, fail.Internal) {
		t.Fatalf("a damaged file answered %v", err)
	}
	if !locked() {
		t.Error("the look at the disk ended the locks of SQLite")
	}
}
