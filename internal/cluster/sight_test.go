package cluster_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
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
		DB: db, Version: "1.2", Addr: "one.example.com:5000", Every: ticks, Sight: func(context.Context) string { return *now.Load() },
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
