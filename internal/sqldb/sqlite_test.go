package sqldb_test

import (
	"path/filepath"
	"testing"

	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

func TestSuiteOnSQLite(t *testing.T) {
	t.Parallel()
	sqldbtest.Run(t, func(t *testing.T) sqldbtest.Opener {
		t.Helper()
		path := filepath.Join(t.TempDir(), "havn.db")
		return func() sqldb.Config { return sqldb.Config{Engine: sqldb.SQLite, Path: path} }
	})
}
