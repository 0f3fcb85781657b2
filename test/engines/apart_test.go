package engines

import (
	"context"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Two servers of MariaDB that know nothing of each other, or are replicas of each other, are not used as if they were a cluster.
func TestTwoServersWithoutGaleraAreNotACluster(t *testing.T) {
	t.Parallel()
	one, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	stopAfter(t, one.Stop)
	other, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	stopAfter(t, other.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cfg := sqldb.Config{Engine: sqldb.MySQL, Hosts: []string{one.Host, other.Host}, User: lab.User, Password: lab.Password, Database: lab.Database}
	db, err := sqldb.Open(ctx, cfg)
	if err == nil {
		need(t, db.Close())
	}
	if !fail.Is(err, fail.Invalid) || !strings.Contains(fail.HintOf(err), "Galera") {
		t.Fatalf("both are used: %v", err)
	}
	need(t, other.Run(ctx, "SET GLOBAL read_only = ON"))
	db, err = sqldb.Open(ctx, cfg)
	need(t, err)
	defer func() { need(t, db.Close()) }()
	need(t, db.Migrate(ctx))
	used(ctx, t, db, one.Host)
	need(t, other.Run(ctx, "SET GLOBAL read_only = OFF"))
	judged(ctx, t, db, other.Host, "without Galera")
	one.Kill()
	judged(ctx, t, db, one.Host, "refuses connections")
	judged(ctx, t, db, other.Host, "without Galera")
	for _, s := range db.Servers() {
		if s.Current {
			t.Errorf("%s is written to", s.Addr)
		}
	}
	need(t, one.Start(ctx))
	used(ctx, t, db, one.Host)
	need(t, db.Ping(ctx)) // not over the connection that broke
}
