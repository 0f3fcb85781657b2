package engines

import (
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
)

// stores answers an empty database and an empty store for each part of the registry's suite.
func stores(server databases, engine sqldb.Engine, hosts func(n int) []string) func(*testing.T) registrytest.Stores {
	open := fresh(server, engine, hosts)
	return func(t *testing.T) registrytest.Stores {
		t.Helper()
		return registrytest.Stores{Database: open(t), Driver: memory.New(time.Now)}
	}
}

func TestRegistryOnMariaDB(t *testing.T) {
	t.Parallel()
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	stopAfter(t, m.Stop)
	registrytest.Run(t, stores(m, sqldb.MySQL, func(int) []string { return []string{m.Host} }))
}

func TestRegistryOnPostgreSQL(t *testing.T) {
	t.Parallel()
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	registrytest.Run(t, stores(p, sqldb.Postgres, func(int) []string { return []string{p.Host} }))
}

// Each registry of the suite writes through another node.
func TestRegistryThroughThreeGaleraNodes(t *testing.T) {
	t.Parallel()
	g, err := lab.StartGalera(t.Context(), "", 3)
	need(t, err)
	stopAfter(t, g.Stop)
	registrytest.Run(t, stores(g.Nodes[0], sqldb.MySQL, g.Hosts))
}
