package sqldb_test

import (
	"path/filepath"
	"testing"

	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	sqldbtest.Run(t, func(t *testing.T) sqldb.Config {
		t.Helper()
		return sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db")}
	})
}
