package engines

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/dbcheck"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// Only a standby's address is configured: the primary is discovered. The primary hangs, then dies; the standby is promoted; the old primary comes back, believes to be one, and is not written to.
func TestThePrimaryIsFollowedWhereverItIs(t *testing.T) {
	first, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, first.Stop)
	second, err := first.StartStandby(t.Context(), "")
	need(t, err)
	stopAfter(t, second.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cfg := sqldb.Config{
		Engine: sqldb.Postgres, Hosts: []string{second.Host}, Discover: true, Members: filepath.Join(t.TempDir(), "hosts.json"),
		User: lab.User, Password: lab.Password, Database: lab.Database,
	}
	// The standby names its primary as soon as it follows.
	var db *sqldb.DB
	for db == nil {
		if db, err = sqldb.Open(ctx, cfg); err != nil && ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	defer func() { need(t, db.Close()) }()
	need(t, db.Migrate(ctx))
	used(ctx, t, db, first.Host)
	need(t, first.Run(ctx, "ALTER SYSTEM SET synchronous_standby_names = '*'"))
	need(t, first.Run(ctx, "SELECT pg_reload_conf()"))

	c := &counter{db: db, name: "primary"}
	insertClaim(t, db, c.name, 0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if countErr := c.one(ctx); countErr != nil {
					t.Error(countErr)
					return
				}
			}
		})
	}
	more := func() {
		t.Helper()
		for want := c.done.Load() + 30; c.done.Load() < want; time.Sleep(5 * time.Millisecond) {
			if ctx.Err() != nil {
				t.Fatalf("%d were counted, and no more; %+v", c.done.Load(), db.Servers())
			}
		}
	}
	more()
	need(t, first.Pause())
	need(t, second.Promote(ctx))
	used(ctx, t, db, second.Host)
	more()
	need(t, first.Resume())
	judged(ctx, t, db, first.Host, "was promoted since")
	more()
	first.Kill()
	judged(ctx, t, db, first.Host, "refuses connections")
	more()
	close(stop)
	wg.Wait()
	var n int64
	need(t, db.Row(ctx, "SELECT epoch FROM claims WHERE name = ?", c.name).Scan(&n))
	if n != c.done.Load() {
		t.Errorf("%d were acknowledged and %d applied", c.done.Load(), n)
	}
	// All of Havn and the new primary stop, and somebody starts the old one.
	need(t, db.Close())
	second.Kill()
	need(t, first.Start(ctx))
	again, err := sqldb.Open(ctx, cfg)
	if err == nil {
		t.Errorf("a primary that was replaced is used after a restart: %+v", again.Servers())
		need(t, again.Close())
	} else if !strings.Contains(err.Error(), "it was replaced") {
		t.Error(err)
	}
	need(t, second.Start(ctx))
	again, err = sqldb.Open(ctx, cfg)
	need(t, err)
	used(ctx, t, again, second.Host)
	need(t, again.Close())
	t.Logf("%d counted, %d times not known in time", c.done.Load(), c.late.Load())
}

// TestAStandbyIsFoundThroughItsPrimary by a user with the rights that the documentation grants. PostgreSQL shows the others to no user without them, and that is told.
func TestAStandbyIsFoundThroughItsPrimary(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	primary, err := lab.StartPostgres(ctx, "")
	need(t, err)
	stopAfter(t, primary.Stop)
	standby, err := primary.StartKnownStandby(ctx, "")
	for err != nil && ctx.Err() == nil { // a connection that goes out from this port is in the way
		standby, err = primary.StartKnownStandby(ctx, "")
	}
	need(t, err)
	stopAfter(t, standby.Stop)
	open := func(hosts ...string) *sqldb.DB {
		t.Helper()
		db, openErr := sqldb.Open(ctx, sqldb.Config{Engine: sqldb.Postgres, Hosts: hosts, Discover: true, User: lab.User, Password: lab.Password, Database: lab.Database})
		need(t, openErr)
		stopAfter(t, db.Close)
		return db
	}
	db := open(primary.Host)
	judged(ctx, t, db, standby.Host, "is a standby")
	hidden := func(db *sqldb.DB) bool {
		said := fmt.Sprint(db.Check(ctx))
		return strings.Contains(said, "whose addresses are not shown to "+lab.User) && strings.Contains(said, "GRANT pg_read_all_stats TO "+lab.User)
	}
	if hidden(db) {
		t.Error("a user who sees the standby is told that it does not")
	}
	need(t, primary.Run(ctx, "REVOKE pg_read_all_stats FROM "+lab.User))
	if !hidden(open(primary.Host)) {
		t.Error("a user who does not see the standby is not told")
	}
	if hidden(open(primary.Host, standby.Host)) {
		t.Error("where all servers are named, it is told that they are not found")
	}
}

// A primary waits for a synchronous standby that does not answer. What it committed alone is acknowledged to nobody until a standby has it, or is no longer waited for.
func TestACommitThatNoStandbyHasIsNotAcknowledged(t *testing.T) {
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	db := sqldbtest.Open(t, sqldb.Config{Engine: sqldb.Postgres, Hosts: []string{p.Host}, User: lab.User, Password: lab.Password, Database: lab.Database})
	setting := func(text string) {
		t.Helper()
		need(t, p.Run(ctx, "ALTER SYSTEM "+text))
		need(t, p.Run(ctx, "SELECT pg_reload_conf()"))
	}
	put := func(op string) error {
		short, done := context.WithTimeout(ctx, 3*waited) // the second run is what counts
		defer done()
		return db.Tx(short, "test.put", func(tx *sqldb.Tx) error {
			_, putErr := tx.InsertIgnore(short, "ops", []string{"op", "at"}, op, sqldb.Micros(tx.Now()))
			return putErr
		})
	}
	setting("SET synchronous_standby_names = 'absent'")
	var op string
	for err == nil { // the setting takes a moment
		op = sqldb.NewToken()
		begun := time.Now()
		if err = put(op); err == nil && time.Since(begun) > waited {
			t.Fatalf("acknowledged after %s, and no standby has it", time.Since(begun))
		}
	}
	if !fail.Is(err, fail.Unavailable) {
		t.Fatal(err)
	}
	setting("RESET synchronous_standby_names")
	need(t, put(op))
	var n int64
	if need(t, db.Row(ctx, "SELECT COUNT(*) FROM ops WHERE op = ?", op).Scan(&n)); n != 1 {
		t.Errorf("once acknowledged, it is there %d times", n)
	}
}

// waited is longer than a commit takes that waits for nobody, and shorter than the time after which its answer is no longer waited for.
const waited = 4 * time.Second

// used waits until a server is the one that is written to.
func used(ctx context.Context, t *testing.T, db *sqldb.DB, addr string) {
	t.Helper()
	await(ctx, t, db, func(s sqldb.Server) bool { return s.Addr == addr && s.Current })
}

// judged waits until a server is said to be something.
func judged(ctx context.Context, t *testing.T, db *sqldb.DB, addr, why string) {
	t.Helper()
	await(ctx, t, db, func(s sqldb.Server) bool { return s.Addr == addr && strings.Contains(s.Why, why) })
}

func await(ctx context.Context, t *testing.T, db *sqldb.DB, so func(sqldb.Server) bool) {
	t.Helper()
	for ; ; time.Sleep(5 * time.Millisecond) {
		for _, s := range db.Servers() {
			if so(s) {
				return
			}
		}
		if ctx.Err() != nil {
			t.Fatalf("the servers are %+v", db.Servers())
		}
	}
}

// TestTheCheckOfAPrimaryAndItsStandby says whether commits wait for the standby, calls that one well, and sees a clock that is off.
func TestTheCheckOfAPrimaryAndItsStandby(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	primary, err := lab.StartPostgres(ctx, "")
	need(t, err)
	stopAfter(t, primary.Stop)
	standby, err := primary.StartStandby(ctx, "")
	need(t, err)
	stopAfter(t, standby.Stop)
	cfg := sqldb.Config{Engine: sqldb.Postgres, Hosts: []string{primary.Host, standby.Host}, User: lab.User, Password: lab.Password, Database: lab.Database}
	check := func() []dbcheck.Finding { return dbcheck.Run(ctx, dbcheck.Config{Database: cfg, Rounds: 2}) }
	// The lab's servers flush nothing, and that is told.
	sound := func(found []dbcheck.Finding) {
		t.Helper()
		for _, f := range found {
			if !f.OK && !f.Minor && !strings.Contains(f.What, "fsync is off") {
				t.Errorf("of a sound pair is told %+v", f)
			}
		}
		if !says(found, true, standby.Host, "is a standby") || !says(found, true, "", "names are compared byte by byte") || !says(found, true, "", "two take one claim: exactly one") {
			t.Errorf("of a sound pair is told %+v", found)
		}
	}
	found := check()
	sound(found)
	if !says(found, false, primary.Host, "1 standbys follow, none of them synchronously") || !says(found, true, primary.Host, "its clock is this machine's") {
		t.Errorf("without a synchronous standby is told %+v", found)
	}
	cfg.Clock = func() time.Time { return time.Now().Add(90 * time.Minute) }
	if found = check(); !says(found, false, primary.Host, "its clock is -1h") {
		t.Errorf("of a clock that is an hour and a half off is told %+v", found)
	}
	cfg.Clock = nil
	need(t, primary.Run(ctx, "ALTER SYSTEM SET synchronous_standby_names = '*'"))
	need(t, primary.Run(ctx, "SELECT pg_reload_conf()"))
	for found = check(); !says(found, true, primary.Host, "commits wait for a standby") && ctx.Err() == nil; found = check() { // the setting takes a moment
		t.Log("not yet")
	}
	need(t, ctx.Err())
	sound(found)
}

// says reports whether a check said something of a server.
func says(found []dbcheck.Finding, ok bool, server, text string) bool {
	for _, f := range found {
		if f.OK == ok && f.Server == server && strings.Contains(f.What, text) {
			return true
		}
	}
	return false
}
