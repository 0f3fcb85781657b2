package access_test

import (
	"path/filepath"
	"testing"

	"github.com/havn-registry/havn/internal/access/accesstest"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

func TestAccessOnSQLite(t *testing.T) {
	t.Parallel()
	accesstest.Run(t, func(t *testing.T) sqldbtest.Opener {
		t.Helper()
		path := filepath.Join(t.TempDir(), "havn.db")
		return func() sqldb.Config { return sqldb.Config{Engine: sqldb.SQLite, Path: path} }
	})
}
