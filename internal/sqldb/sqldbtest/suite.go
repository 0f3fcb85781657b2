package sqldbtest

import (
	"testing"

	"github.com/havn-registry/havn/internal/sqldb"
)

// Run runs the suite. fresh answers the address of an empty database; it is opened several times in one test.
func Run(t *testing.T, fresh func(t *testing.T) sqldb.Config) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, cfg sqldb.Config)
	}{
		{"A commit is seen and a rollback is not", commitAndRollback},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, fresh(t)) })
	}
}

// Open opens and migrates a database for the length of a test.
func Open(t *testing.T, cfg sqldb.Config) *sqldb.DB {
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
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}
