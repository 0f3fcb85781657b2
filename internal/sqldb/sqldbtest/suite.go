package sqldbtest

import (
	"context"
	"testing"

	"github.com/havn-registry/havn/internal/sqldb"
)

// Opener answers how to open the database of one test once more: on a cluster each time through another node.
type Opener func() sqldb.Config

// Run runs the suite. fresh makes an empty database for a test.
func Run(t *testing.T, fresh func(t *testing.T) Opener) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, open Opener)
	}{
		{"a commit is seen and a rollback is not", commitAndRollback},
		{"a panic rolls back and leaves the database usable", panics},
		{"a transaction that failed stays failed", staysFailed},
		{"a unique key that is taken is Exists", uniqueKeys},
		{"a foreign key that forbids it is Conflict", foreignKeys},
		{"insert or ignore ignores nothing but the key", insertIgnore},
		{"an update that changes nothing counts its rows", matchedRows},
		{"names are compared byte by byte", binaryNames},
		{"the longest names and bodies fit and longer ones are refused", lengths},
		{"values come back as they were", values},
		{"expressions of the dialect mean the same", expressions},
		{"loops over rows end early and refuse statements inside", loops},
		{"a view is one snapshot", snapshot},
		{"what was acknowledged is seen through every other connection", causal},
		{"concurrent increments lose nothing", increments},
		{"concurrent inserts of one key succeed once", races},
		{"an unknown outcome is run again and applied once", unknownOutcome},
		{"a run that comes too late is not committed", tooLate},
		{"a context that ended changes nothing", endedContexts},
		{"failures hurt nobody else", companions},
		{"a relaxed transaction is seen and kept", relaxed},
		{"rows survive closing and opening", reopen},
		{"many may migrate at once", migrateAtOnce},
		{"a newer schema is refused, unless it leaves older programs alone", newerSchema},
		{"a database with another application's tables is refused", otherTables},
		{"what a check left behind is no other application's", leftBehind},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, fresh(t)) })
	}
}

// Open opens and migrates a database for the length of a test.
func Open(t *testing.T, cfg sqldb.Config) *sqldb.DB {
	t.Helper()
	db := connect(t, cfg)
	if err := db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func connect(t *testing.T, cfg sqldb.Config) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := db.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	return db
}

// exec runs one statement in a transaction of its own.
func exec(ctx context.Context, db *sqldb.DB, query string, args ...any) (int64, error) {
	var n int64
	err := db.Tx(ctx, "test.exec", func(tx *sqldb.Tx) error {
		var err error
		n, err = tx.Exec(ctx, query, args...)
		return err
	})
	return n, err
}

func must(t *testing.T, db *sqldb.DB, query string, args ...any) {
	t.Helper()
	if _, err := exec(t.Context(), db, query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

// number reads one integer.
func number(t *testing.T, q sqldb.Querier, query string, args ...any) int64 {
	t.Helper()
	var n int64
	if err := q.Row(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

const (
	insertMeta   = "INSERT INTO meta (k, v) VALUES (?, ?)"
	countMeta    = "SELECT COUNT(*) FROM meta"
	countMetaOf  = "SELECT COUNT(*) FROM meta WHERE k = ?"
	insertClaim  = "INSERT INTO claims (name, owner, epoch, note) VALUES (?, ?, ?, '')"
	readEpoch    = "SELECT epoch FROM claims WHERE name = ?"
	insertParent = "INSERT INTO contents (id, created_at) VALUES (?, ?)"
	insertChild  = "INSERT INTO objects (content, seq, name, size, created_at) VALUES (?, ?, ?, NULL, ?)"
	insertRepo   = "INSERT INTO repositories (id, project_id, name, created_at, pushed_at) VALUES (?, ?, ?, ?, ?)"
	insertProj   = "INSERT INTO projects (id, name, public, created_at) VALUES (?, ?, ?, ?)"
)
