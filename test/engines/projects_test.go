package engines

import (
	"testing"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/project/projecttest"
	"github.com/havn-registry/havn/internal/sqldb"
)

func TestProjectsOnMariaDB(t *testing.T) {
	t.Parallel()
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	stopAfter(t, m.Stop)
	projecttest.Run(t, fresh(m, sqldb.MySQL, func(int) []string { return []string{m.Host} }))
}

func TestProjectsOnPostgreSQL(t *testing.T) {
	t.Parallel()
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	projecttest.Run(t, fresh(p, sqldb.Postgres, func(int) []string { return []string{p.Host} }))
}

func TestProjectsThroughThreeGaleraNodes(t *testing.T) {
	t.Parallel()
	g, err := lab.StartGalera(t.Context(), "", 3)
	need(t, err)
	stopAfter(t, g.Stop)
	projecttest.Run(t, fresh(g.Nodes[0], sqldb.MySQL, g.Hosts))
}
