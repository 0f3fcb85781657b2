package engines

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// need ends the test with what to do if a service could not be started.
func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fail.HintOf(err))
	}
}

func stopAfter(t *testing.T, stop func() error) {
	t.Helper()
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// config answers how to reach a server.
func config(engine sqldb.Engine, hosts ...string) sqldb.Config {
	return sqldb.Config{Engine: engine, Hosts: hosts, User: lab.User, Password: lab.Password, Database: lab.Database}
}

// fresh answers a function that makes an empty database for each test of a suite.
func fresh(t *testing.T, hosts func() sqldb.Config) func(*testing.T) sqldb.Config {
	t.Helper()
	admin, err := sqldb.Open(t.Context(), hosts())
	need(t, err)
	stopAfter(t, admin.Close)
	var n atomic.Int64
	return func(t *testing.T) sqldb.Config {
		t.Helper()
		cfg := hosts()
		cfg.Database = fmt.Sprintf("suite_%d", n.Add(1))
		sqldbtest.CreateDatabase(t, admin, cfg.Database)
		return cfg
	}
}

func TestSuiteOnMariaDB(t *testing.T) {
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	stopAfter(t, m.Stop)
	sqldbtest.Run(t, fresh(t, func() sqldb.Config { return config(sqldb.MySQL, m.Host) }))
}

func TestSuiteOnPostgreSQL(t *testing.T) {
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	sqldbtest.Run(t, fresh(t, func() sqldb.Config { return config(sqldb.Postgres, p.Host) }))
}

// Each database that the suite opens is reached through another node, so that what one acknowledged is read from another.
func TestSuiteThroughThreeGaleraNodes(t *testing.T) {
	g, err := lab.StartGalera(t.Context(), "", 3)
	need(t, err)
	stopAfter(t, g.Stop)
	sqldbtest.Run(t, fresh(t, func() sqldb.Config { return config(sqldb.MySQL, g.Hosts(0)...) }))
}
