package ha

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql" // the bare client that the stall of the cluster itself is measured with

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

const (
	// allowance is what a failover may cost beyond the stall of the cluster itself, on a quiet machine. On a busy one it may cost lateness times more than the machine is late to wake who sleeps:
	// a push waits for many who are woken, at the node, the database and the disk.
	allowance = time.Second
	lateness  = 20
	// promotionAllowance is that of PostgreSQL, where nobody tells a node of Havn that a standby was promoted: it looks twice a second, and who waits asks again within another.
	promotionAllowance = 2 * time.Second
)

// faulty is the database of these tests: blobs belong to one database.
const faulty = "faults"

// failUnderLoad lets servers of the database fail while two nodes of Havn are pushed to.
func failUnderLoad(t *testing.T, g *lab.Galera) {
	need(t, g.Nodes[0].CreateDatabase(t.Context(), faulty))
	blobs := filepath.Join(t.TempDir(), "blobs")
	var all []*harness.Server
	for range 2 {
		all = append(all, harness.Start(t, harness.Options{Env: database("mysql", faulty, g.Hosts(0), blobs)}))
	}
	isolated := func(m *lab.MariaDB, is int) error {
		return m.Run(t.Context(), fmt.Sprintf("SET GLOBAL wsrep_provider_options='gmcast.isolate=%d'", is))
	}
	for _, f := range []struct {
		name       string
		begin, end func(m *lab.MariaDB) error
	}{
		{"is killed", func(m *lab.MariaDB) error { m.Kill(); return nil }, func(m *lab.MariaDB) error { return m.Start(t.Context()) }},
		{"hangs", (*lab.MariaDB).Pause, (*lab.MariaDB).Resume},
		{"is restarted", (*lab.MariaDB).Finish, func(m *lab.MariaDB) error { return m.Start(t.Context()) }},
		{
			"is cut off from the others",
			func(m *lab.MariaDB) error { return isolated(m, 1) },
			func(m *lab.MariaDB) error { return isolated(m, 0) },
		},
	} {
		t.Run("the one that is written to "+f.name, func(t *testing.T) {
			written := writtenTo(t, g, all[0])
			l := begin(t, g.Nodes[(written+1)%3], all)
			need(t, f.begin(g.Nodes[written]))
			l.more(t, 20)
			need(t, f.end(g.Nodes[written]))
			l.more(t, 20)
			whole(t, g)
			l.more(t, 20)
			l.end(t, allowance)
		})
	}
	t.Run("two of three are gone", func(t *testing.T) {
		noQuorum(t, g, all, harness.Start(t, harness.Options{Env: append(database("mysql", faulty, g.Hosts(0), blobs), "HAVN_HA_STALE_TAGS=10m")}))
	})
}

// whole waits until all servers are one cluster again.
func whole(t *testing.T, g *lab.Galera) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		missing := 0
		for _, m := range g.Nodes {
			state, err := m.Ask(t.Context(), "SHOW STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'wsrep_local_state_comment')")
			if err != nil || !strings.Contains(state, fmt.Sprintf("wsrep_cluster_size\t%d", len(g.Nodes))) || !strings.Contains(state, "Synced") {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d servers are no part of the cluster", missing)
		}
	}
}

// writtenTo finds the server that a node writes to, in its log.
func writtenTo(t *testing.T, g *lab.Galera, s *harness.Server) int {
	t.Helper()
	at := regexp.MustCompile(`msg="the database is written to[^"]*" server=(\S+)`).FindAllStringSubmatch(s.Log(), -1)
	if len(at) > 0 {
		for i, m := range g.Nodes {
			if m.Host == at[len(at)-1][1] {
				return i
			}
		}
	}
	t.Fatal("the log does not say which server is written to")
	return 0
}

// load pushes images through all nodes until it is ended, and notes when pushes were acknowledged.
type load struct {
	nodes []*harness.Server
	stop  chan struct{}
	wg    sync.WaitGroup

	mu     sync.Mutex
	images []image
	last   time.Time
	gap    time.Duration
	wrong  []string // answers that were not the wanted: nobody should have to try again
	bare   stall
	drift  *harness.Drift
}

// stall is the longest time in which a bare client of the database, at a server that is not touched, could not write.
type stall struct {
	last time.Time
	gap  time.Duration
}

func (s *stall) tick(now time.Time) {
	if !s.last.IsZero() {
		s.gap = max(s.gap, now.Sub(s.last))
	}
	s.last = now
}

// pushers is how many clients push to each node.
const pushers = 2

// begin pushes, and writes to an untouched server of a cluster, where there is one.
func begin(t *testing.T, untouched *lab.MariaDB, all []*harness.Server) *load {
	t.Helper()
	l := &load{nodes: all, stop: make(chan struct{}), drift: harness.MeasureDrift()}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	if untouched != nil {
		l.wg.Go(func() { l.writeBare(ctx, untouched) })
	}
	for i, s := range all {
		for n := range pushers {
			c := newClient(s)
			l.wg.Go(func() {
				for number := 0; l.goesOn(); number++ {
					l.one(ctx, c, newImage(fmt.Sprintf("ha/load%d", i), fmt.Sprintf("t%d-%d-%d", n, number, time.Now().UnixNano())))
				}
			})
		}
	}
	l.more(t, 10)
	return l
}

func (l *load) goesOn() bool {
	select {
	case <-l.stop:
		return false
	default:
		return true
	}
}

// one pushes an image, again and again where it is told to.
func (l *load) one(ctx context.Context, c *client, m image) {
	for ctx.Err() == nil {
		err := c.push(ctx, m)
		now := time.Now()
		l.mu.Lock()
		if err == nil {
			l.images = append(l.images, m)
			if !l.last.IsZero() {
				l.gap = max(l.gap, now.Sub(l.last))
			}
			l.last = now
			l.mu.Unlock()
			return
		}
		if ctx.Err() == nil {
			l.wrong = append(l.wrong, err.Error())
		}
		l.mu.Unlock()
		time.Sleep(50 * time.Millisecond)
	}
}

// writeBare writes to a server that is not touched by the fault, as fast as it takes it.
func (l *load) writeBare(ctx context.Context, m *lab.MariaDB) {
	db, err := sql.Open("mysql", fmt.Sprintf("%s:%s@tcp(%s)/%s", lab.User, lab.Password, m.Host, faulty))
	if err != nil {
		panic(err)
	}
	defer db.Close() //nolint:errcheck // a measuring tool's
	for l.goesOn() && ctx.Err() == nil {
		if _, err = db.ExecContext(ctx, "REPLACE INTO meta (k, v) VALUES ('bare', ?)", time.Now().UnixNano()); err == nil {
			l.mu.Lock()
			l.bare.tick(time.Now())
			l.mu.Unlock()
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// stalled says for how long no database was there, where no bare client measures it.
func (l *load) stalled(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.bare.gap = d
}

// more waits until some more pushes are acknowledged.
func (l *load) more(t *testing.T, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	l.mu.Lock()
	want := len(l.images) + n
	l.mu.Unlock()
	for {
		l.mu.Lock()
		have := len(l.images)
		l.mu.Unlock()
		if have >= want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d pushes are acknowledged, and no more come", have)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// end stops the pushes, reads everything that was acknowledged through every node, and says how long the longest gap between acknowledged pushes was.
func (l *load) end(t *testing.T, allowed time.Duration) {
	t.Helper()
	close(l.stop)
	l.wg.Wait()
	late := l.drift.End()
	target := l.bare.gap + allowed
	t.Logf("%d pushes, %d not answered as they should be; longest gap %s, the database's own stall %s, target %s; the machine was up to %s late", len(l.images), len(l.wrong),
		l.gap.Round(time.Millisecond), l.bare.gap.Round(time.Millisecond), target.Round(time.Millisecond), late.Round(time.Millisecond))
	for i, s := range l.nodes {
		c := newClient(s)
		for _, m := range l.images {
			if err := c.check(t.Context(), m, m.tag); err != nil {
				t.Fatalf("%s:%s was acknowledged; through node %d: %v", m.repo, m.tag, i, err)
			}
		}
		c.http.CloseIdleConnections()
	}
	for _, w := range l.wrong {
		t.Errorf("a client saw: %s", w)
	}
	if l.gap > target+lateness*late {
		t.Errorf("no push was acknowledged for %s; the database's own stall was %s, want at most %s, and where this machine is late some more", l.gap, l.bare.gap, target)
	}
}
