package cluster_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// member answers the youngest incarnation.
func member(t *testing.T, db *sqldb.DB) cluster.Member {
	t.Helper()
	all, err := cluster.Members(t.Context(), db, 10)
	if err != nil || len(all) == 0 {
		t.Fatalf("%v, %v", all, err)
	}
	return all[0]
}

func TestWhatANodeSeesIsStoredWhenItChanges(t *testing.T) {
	t.Parallel()
	db := open(t)
	ticks := make(chan time.Time)
	var now atomic.Pointer[string]
	sees := func(text string) { now.Store(&text) }
	sees("all is well")
	n, err := cluster.Start(t.Context(), cluster.Config{
		DB: db, Version: "1.2", Addr: "one.example.com:5000", Every: ticks, Sight: func(ctx context.Context) string {
			if _, bounded := ctx.Deadline(); !bounded {
				t.Error("a look at the stores may hold up the heart for ever")
			}
			return *now.Load()
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	tick := func() { ticks <- time.Now() }
	tick()
	tick() // the first one is done with
	m := member(t, db)
	if m.ID != n.ID() || m.Sight != "all is well" || m.State != "alive" || m.Version != "1.2" || m.Addr != "one.example.com:5000" || m.BeatAt.Before(m.Started) {
		t.Errorf("%+v", m)
	}
	sees("the store is away")
	tick()
	tick()
	sees(strings.Repeat("x", cluster.MaxSight+1))
	tick()
	tick()
	if got := member(t, db).Sight; got != "the store is away" {
		t.Errorf("it sees %.100q", got)
	}
	stop()
	if err = <-ended; err != nil {
		t.Error(err)
	}
	if m = member(t, db); m.State != "left" || m.Sight != "the store is away" {
		t.Errorf("after it left: %+v", m)
	}
	last, err := cluster.Start(t.Context(), cluster.Config{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	if forgotten, forgetErr := last.Forget(t.Context(), time.Now().Add(time.Hour), 10); forgetErr != nil || forgotten != 1 {
		t.Errorf("%d forgotten, %v", forgotten, forgetErr)
	}
	all, err := cluster.Members(t.Context(), db, 10)
	if err != nil || len(all) != 1 || all[0].ID != last.ID() {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestThoseThatAreAliveAreAnsweredFirst(t *testing.T) {
	t.Parallel()
	db := open(t)
	ids := map[string]int64{}
	for _, who := range []string{"lives", "crashed", "crashed again"} { // on SQLite each start ends the ones before
		n, err := cluster.Start(t.Context(), cluster.Config{DB: db, Addr: who})
		if err != nil {
			t.Fatal(err)
		}
		ids[who] = n.ID()
	}
	err := db.Tx(t.Context(), "states", func(tx *sqldb.Tx) error {
		_, txErr := tx.Exec(t.Context(), "UPDATE nodes SET state = CASE WHEN id = ? THEN 'alive' ELSE 'dead' END", ids["lives"])
		return txErr
	})
	if err != nil {
		t.Fatal(err)
	}
	if all, listErr := cluster.Members(t.Context(), db, 2); listErr != nil || len(all) != 2 || all[0].ID != ids["lives"] || all[1].ID != ids["crashed again"] {
		t.Errorf("%+v, %v", all, listErr)
	}
}

func TestOnlyAnIncarnationThatEndedAndHoldsNothingIsRemoved(t *testing.T) {
	t.Parallel()
	db := open(t)
	first, err := cluster.Start(t.Context(), cluster.Config{DB: db})
	if err != nil {
		t.Fatal(err)
	}
	if err = cluster.Remove(t.Context(), db, first.ID()); !fail.Is(err, fail.Conflict) || fail.HintOf(err) == "" {
		t.Errorf("one that is alive: %v", err)
	}
	if _, _, err = first.Claim(t.Context(), "duty"); err != nil {
		t.Fatal(err)
	}
	second, err := cluster.Start(t.Context(), cluster.Config{DB: db}) // which ends the first, on SQLite
	if err != nil {
		t.Fatal(err)
	}
	if err = cluster.Remove(t.Context(), db, first.ID()); !fail.Is(err, fail.Conflict) || fail.HintOf(err) == "" {
		t.Errorf("one that holds a duty: %v", err)
	}
	if _, _, err = second.Claim(t.Context(), "duty"); err != nil {
		t.Fatal(err)
	}
	if err = cluster.Remove(t.Context(), db, first.ID()); err != nil {
		t.Errorf("one that ended: %v", err)
	}
	if err = cluster.Remove(t.Context(), db, first.ID()); !fail.Is(err, fail.NotFound) || fail.HintOf(err) == "" {
		t.Errorf("one that is removed: %v", err)
	}
}
