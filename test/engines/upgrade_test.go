package engines

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// upgrade brings the tables of the first version up to date through three nodes that start at once, while a node that knows nothing of the new ones lives on.
func upgrade(t *testing.T, open sqldbtest.Opener) {
	old := sqldbtest.Open(t, open())
	run(t, old, "DROP TABLE sights")
	run(t, old, "DELETE FROM schema_migrations WHERE version > 1")
	beats := make(chan time.Time)
	node, err := cluster.Start(t.Context(), cluster.Config{DB: old, Version: "older", Every: beats})
	need(t, err)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- node.Run(ctx) }()
	var migrations sync.WaitGroup
	for range 3 {
		db, openErr := sqldb.Open(t.Context(), open())
		need(t, openErr)
		stopAfter(t, db.Close)
		migrations.Go(func() {
			if migrateErr := db.Migrate(t.Context()); migrateErr != nil {
				t.Error(migrateErr)
			}
		})
	}
	done := make(chan struct{})
	go func() {
		migrations.Wait()
		close(done)
	}()
	for migrating := true; migrating; {
		select {
		case beats <- time.Now():
		case <-done:
			migrating = false
		}
	}
	seen := make(chan struct{}, 1)
	newer, err := cluster.Start(t.Context(), cluster.Config{DB: old, Version: "newer", Every: make(chan time.Time), Sight: func(context.Context) string {
		seen <- struct{}{}
		return "all is well"
	}})
	need(t, err)
	newerEnded := make(chan error, 1)
	go func() { newerEnded <- newer.Run(ctx) }()
	<-seen
	beats <- time.Now()
	beats <- time.Now() // the beat before is done with
	for deadline := time.Now().Add(time.Minute); ; {
		all, listErr := cluster.Members(t.Context(), old, 10)
		need(t, listErr)
		if len(all) == 2 && all[0].Version == "newer" && all[0].Sight == "all is well" && all[1].State == "alive" && all[1].Sight == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the nodes are %+v", all)
		}
	}
	stop()
	need(t, <-ended)
	need(t, <-newerEnded)
}
