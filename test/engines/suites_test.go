package engines

import (
	"flag"
	"log"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access/accesstest"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/project/projecttest"
	"github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// atOnce tests run beside each other, of those that may: the suites wait for their servers half of the time.
const atOnce = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		log.Fatal(err)
	}
	m.Run()
}

// stores answers an empty database and an empty store for each part of the registry's suite.
func stores(open func(*testing.T) sqldbtest.Opener) func(*testing.T) registrytest.Stores {
	return func(t *testing.T) registrytest.Stores {
		t.Helper()
		return registrytest.Stores{Database: open(t), Driver: memory.New(time.Now)}
	}
}

// runSuites runs what holds on every engine as on SQLite, one suite after the other. They share one server, or cluster, which takes seconds to start; each part has a database of its own.
func runSuites(t *testing.T, open func(*testing.T) sqldbtest.Opener) {
	t.Helper()
	for _, suite := range []struct {
		name string
		run  func(*testing.T, func(*testing.T) sqldbtest.Opener)
	}{
		{"database", sqldbtest.Run},
		{"nodes", runNodes},
		{"access", accesstest.Run},
		{"projects", projecttest.Run},
		{"registry", func(t *testing.T, open func(*testing.T) sqldbtest.Opener) { registrytest.Run(t, stores(open)) }},
		{"odd texts", func(t *testing.T, open func(*testing.T) sqldbtest.Opener) { refusesOddTexts(t, open(t)) }},
	} {
		t.Run(suite.name, func(t *testing.T) { suite.run(t, open) })
	}
}

func TestSuitesOnMariaDB(t *testing.T) {
	t.Parallel()
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	stopAfter(t, m.Stop)
	runSuites(t, fresh(m, sqldb.MySQL, func(int) []string { return []string{m.Host} }))
}

func TestSuitesOnPostgreSQL(t *testing.T) {
	t.Parallel()
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	runSuites(t, fresh(p, sqldb.Postgres, func(int) []string { return []string{p.Host} }))
}

// Each database, node or registry of a suite writes through another node.
func TestSuitesThroughThreeGaleraNodes(t *testing.T) {
	t.Parallel()
	g, err := lab.StartGalera(t.Context(), "", 3)
	need(t, err)
	stopAfter(t, g.Stop)
	runSuites(t, fresh(g.Nodes[0], sqldb.MySQL, g.Hosts))
}
