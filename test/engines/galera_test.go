package engines

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// patience bounds waits for what must come, on a loaded machine.
const patience = 3 * time.Minute

// The tests of one cluster share it: it takes seconds to start.
func TestGalera(t *testing.T) {
	g, err := lab.StartGalera(t.Context(), "", 3)
	need(t, err)
	stopAfter(t, g.Stop)
	t.Run("two transactions that must not both succeed don't", func(t *testing.T) { anomalies(t, g) })
	t.Run("a node that dies or hangs loses nothing and applies nothing twice", func(t *testing.T) { failover(t, g) })
}

func open(t *testing.T, hosts []string) *sqldb.DB {
	t.Helper()
	return sqldbtest.Open(t, sqldb.Config{
		Engine: sqldb.MySQL, Hosts: hosts, User: lab.User, Password: lab.Password, Database: lab.Database,
	})
}

// counter counts on one row, each time under an operation id, so that a count whose outcome is not known is tried again.
type counter struct {
	db   *sqldb.DB
	name string
	done atomic.Int64
	late atomic.Int64 // how often an outcome was not known in time
}

func (c *counter) one(ctx context.Context) error {
	op := sqldb.NewToken()
	for {
		err := c.db.Tx(ctx, "test.count", func(tx *sqldb.Tx) error {
			isNew, err := tx.InsertIgnore(ctx, "ops", []string{"op", "at"}, op, sqldb.Micros(tx.Now()))
			if err != nil || !isNew {
				return err
			}
			_, err = tx.Exec(ctx, "UPDATE claims SET epoch = epoch + 1 WHERE name = ?", c.name)
			return err
		})
		switch {
		case err == nil:
			c.done.Add(1)
			return nil
		case !fail.Is(err, fail.Unavailable) || ctx.Err() != nil:
			return err
		}
		c.late.Add(1)
	}
}

func failover(t *testing.T, g *lab.Galera) {
	db := open(t, g.Hosts(0))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := &counter{db: db, name: "failover"}
	insertClaim(t, db, c.name, 0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if err := c.one(ctx); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	more := func() {
		t.Helper()
		for want := c.done.Load() + 50; c.done.Load() < want; time.Sleep(5 * time.Millisecond) {
			if ctx.Err() != nil {
				t.Errorf("%d were counted, and no more", c.done.Load())
				return
			}
		}
	}
	more()
	g.Nodes[0].Kill()
	more()
	// The cluster is whole again before the next node fails: two of three are a quorum, one is not.
	need(t, g.Nodes[0].Start(ctx))
	more()
	need(t, g.Nodes[1].Pause())
	more()
	need(t, g.Nodes[1].Resume())
	more()
	close(stop)
	wg.Wait()
	var n int64
	for i := range g.Nodes {
		// Also through the node that slept: it waits for what it missed, or another answers.
		if err := open(t, g.Hosts(i)).Row(ctx, "SELECT epoch FROM claims WHERE name = ?", c.name).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n != c.done.Load() {
			t.Errorf("through node %d: %d were acknowledged and %d applied", i+1, c.done.Load(), n)
		}
	}
	t.Logf("%d counted, %d times not known in time", c.done.Load(), c.late.Load())
}

func insertClaim(t *testing.T, db *sqldb.DB, name string, owner int64) {
	t.Helper()
	run(t, db, "INSERT INTO claims (name, owner, epoch, note) VALUES (?, ?, 0, '')", name, owner)
}

// run runs one statement that must succeed.
func run(t *testing.T, db *sqldb.DB, query string, args ...any) {
	t.Helper()
	err := db.Tx(t.Context(), "test.run", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), query, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func TestPostgreSQLThatIsKilledLosesNothing(t *testing.T) {
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	db := sqldbtest.Open(t, sqldb.Config{
		Engine: sqldb.Postgres, Hosts: []string{p.Host}, User: lab.User, Password: lab.Password, Database: lab.Database,
	})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := &counter{db: db, name: "restart"}
	insertClaim(t, db, c.name, 0)
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 100 {
				if countErr := c.one(ctx); countErr != nil {
					t.Error(countErr)
					return
				}
			}
		})
	}
	for want := int64(50); want <= 250; want += 100 {
		for c.done.Load() < want && ctx.Err() == nil {
			time.Sleep(5 * time.Millisecond)
		}
		need(t, p.Restart(ctx))
	}
	wg.Wait()
	var n int64
	if err = db.Row(ctx, "SELECT epoch FROM claims WHERE name = ?", c.name).Scan(&n); err != nil || n != 300 {
		t.Errorf("300 were acknowledged and %d applied: %v", n, err)
	}
	t.Logf("%d times not known in time", c.late.Load())
}
