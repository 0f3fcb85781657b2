package project_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/project"
	"github.com/havn-registry/havn/internal/project/projecttest"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

func TestSuiteOnSQLite(t *testing.T) {
	t.Parallel()
	projecttest.Run(t, func(t *testing.T) sqldbtest.Opener {
		t.Helper()
		path := filepath.Join(t.TempDir(), "havn.db")
		return func() sqldb.Config { return sqldb.Config{Engine: sqldb.SQLite, Path: path} }
	})
}

func TestNamesOfProjects(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"a": true, "1": true, "team-a": true, "a.b_c-d": true, "0a": true, strings.Repeat("a", project.MaxNameBytes): true,
		"": false, "A": false, "a/b": false, "a/": false, "/a": false, "-a": false, "a-": false, "a--b": false, "a__b": false, "a..b": false, "a._b": false,
		"a b": false, "ä": false, "a\x00": false, "a%": false, "a'": false, strings.Repeat("a", project.MaxNameBytes+1): false,
	} {
		err := project.CheckName(name)
		if ok != (err == nil) || err != nil && (!fail.Is(err, fail.Invalid) || fail.HintOf(err) == "") {
			t.Errorf("%.40q: %v", name, err)
		}
	}
}
