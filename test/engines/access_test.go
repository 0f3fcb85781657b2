package engines

import (
	"testing"

	"github.com/havn-registry/havn/internal/access/accesstest"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/sqldb"
)

func TestAccessOnMariaDB(t *testing.T) {
	t.Parallel()
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	stopAfter(t, m.Stop)
	accesstest.Run(t, fresh(m, sqldb.MySQL, func(int) []string { return []string{m.Host} }))
}

func TestAccessOnPostgreSQL(t *testing.T) {
	t.Parallel()
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	accesstest.Run(t, fresh(p, sqldb.Postgres, func(int) []string { return []string{p.Host} }))
}

// Each node of the suite writes through another server.
func TestAccessThroughThreeGaleraNodes(t *testing.T) {
	t.Parallel()
	g, err := lab.StartGalera(t.Context(), "", 3)
	need(t, err)
	stopAfter(t, g.Stop)
	accesstest.Run(t, fresh(g.Nodes[0], sqldb.MySQL, g.Hosts))
}
