package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"syscall"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
)

// fault is something that happens to the deployment: begin lets it happen, end makes it good.
type fault struct {
	name string
	// hold is how long it lasts; hang: as long as a process hangs in this run.
	hold time.Duration
	hang bool
	// begin answers what to do to make it good again.
	begin func(t *testing.T, d *deployment) (end func() error)
	// served: pushes go on while it lasts.
	served bool
}

// faults are the kinds that are tried, each once before any comes again.
var faults = []fault{
	{name: "a node of Havn is killed", hold: 2 * time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := rand.IntN(len(d.nodes))
		d.nodes[n].Kill(t)
		return func() error { d.nodes[n].Again(t); return nil }
	}},
	{name: "a node of Havn hangs", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := d.nodes[rand.IntN(len(d.nodes))]
		n.Signal(t, syscall.SIGSTOP)
		return func() error { n.Signal(t, syscall.SIGCONT); return nil }
	}},
	{name: "a node of Havn is restarted", served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := d.nodes[rand.IntN(len(d.nodes))]
		n.Finish(t)
		return func() error { n.Again(t); return nil }
	}},
	{name: "the Galera node that is written to is killed", hold: 5 * time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		m := d.written(t)
		m.Kill()
		return func() error { return m.Start(t.Context()) }
	}},
	{name: "the Galera node that is written to hangs", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		m := d.written(t)
		need(t, m.Pause())
		return m.Resume
	}},
	{name: "a Galera node is killed", hold: time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		m := d.galera.Nodes[rand.IntN(len(d.galera.Nodes))]
		m.Kill()
		return func() error { return m.Start(t.Context()) }
	}},
	{name: "two of three Galera nodes are killed", hold: 5 * time.Second, begin: func(t *testing.T, d *deployment) func() error {
		spared := rand.IntN(len(d.galera.Nodes))
		var down []*lab.MariaDB
		for i, m := range d.galera.Nodes {
			if i != spared {
				m.Kill()
				down = append(down, m)
			}
		}
		return startAll(t.Context(), down)
	}},
	{name: "all Galera nodes are killed", hold: 2 * time.Second, begin: func(t *testing.T, d *deployment) func() error {
		for _, m := range d.galera.Nodes {
			m.Kill()
		}
		return func() error { return d.galera.Recover(t.Context()) }
	}},
	{name: "a Redis master is killed", hold: 5 * time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := d.master(t)
		n.Kill()
		return func() error { return d.healRedis(t.Context(), n) }
	}},
	{name: "a Redis master hangs", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := d.master(t)
		need(t, n.Pause())
		return n.Resume
	}},
	{name: "all of Redis is killed", hold: 5 * time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		for _, n := range d.redis.Nodes {
			n.Kill()
		}
		return func() error { return d.healRedis(t.Context(), d.redis.Nodes...) }
	}},
	{name: "Redis moves slots", served: true, begin: func(t *testing.T, d *deployment) func() error {
		masters := d.redis.Masters(t.Context())
		if len(masters) < 2 {
			t.Fatalf("%d masters", len(masters))
		}
		return func() error { return d.redis.Reshard(t.Context(), masters[0], masters[1], 50) }
	}},
	{name: "radosgw is killed", hold: 2 * time.Second, begin: func(t *testing.T, d *deployment) func() error {
		d.ceph.Gateway.Kill()
		return func() error { return d.ceph.Gateway.Start(t.Context()) }
	}},
	{name: "radosgw hangs", hang: true, begin: daemonHangs(func(c *lab.Ceph) *lab.CephDaemon { return c.Gateway })},
	{name: "an OSD is killed", hold: 2 * time.Second, begin: func(t *testing.T, d *deployment) func() error {
		o := d.ceph.OSDs[rand.IntN(len(d.ceph.OSDs))]
		o.Kill()
		return func() error { return o.Start(t.Context()) }
	}},
	{name: "an OSD hangs", hang: true, begin: daemonHangs(func(c *lab.Ceph) *lab.CephDaemon { return c.OSDs[rand.IntN(len(c.OSDs))] })},
	{name: "the monitor is killed", hold: 5 * time.Second, begin: func(t *testing.T, d *deployment) func() error {
		d.ceph.Monitor.Kill()
		return func() error { return d.ceph.Monitor.Start(t.Context()) }
	}},
	{name: "the monitor hangs", hang: true, begin: daemonHangs(func(c *lab.Ceph) *lab.CephDaemon { return c.Monitor })},
}

func daemonHangs(which func(*lab.Ceph) *lab.CephDaemon) func(*testing.T, *deployment) func() error {
	return func(t *testing.T, d *deployment) func() error {
		daemon := which(d.ceph)
		need(t, daemon.Pause())
		return daemon.Resume
	}
}

// startAll starts servers at once: one that the others saw die before they died themselves can't make a quorum without them.
func startAll(ctx context.Context, down []*lab.MariaDB) func() error {
	return func() error {
		errs := make(chan error)
		for _, m := range down {
			go func() { errs <- m.Start(ctx) }()
		}
		var all error
		for range down {
			all = errors.Join(all, <-errs)
		}
		return all
	}
}

func (d *deployment) healRedis(ctx context.Context, down ...*lab.RedisNode) error {
	for _, n := range down {
		if err := n.Start(ctx); err != nil {
			return err
		}
	}
	return d.redis.Settle(ctx)
}

// master answers a master of Redis, by chance.
func (d *deployment) master(t *testing.T) *lab.RedisNode {
	t.Helper()
	masters := d.redis.Masters(t.Context())
	if len(masters) == 0 {
		t.Fatal("no server of Redis is a master")
	}
	return masters[rand.IntN(len(masters))]
}

var writes = regexp.MustCompile(`msg="the database is written to[^"]*" server=(\S+)`)

// written answers the server of the database that a node, taken by chance, writes to, as its log says.
func (d *deployment) written(t *testing.T) *lab.MariaDB {
	t.Helper()
	log := d.nodes[rand.IntN(len(d.nodes))].Log()
	all := writes.FindAllStringSubmatch(log, -1)
	if len(all) > 0 {
		for _, m := range d.galera.Nodes {
			if m.Host == all[len(all)-1][1] {
				return m
			}
		}
	}
	t.Fatal("the log does not say which server is written to")
	return nil
}

// outcome is what happened while a fault was tried.
type outcome struct {
	fault   string
	at      time.Time
	gap     time.Duration // the longest between two acknowledged pushes
	pushes  int
	retries int
	tags    verdict
	wrong   []string
}

func (o outcome) String() string {
	return fmt.Sprintf("%s: longest gap %s, %d pushes, %d retries, %d operations on tags", o.fault, o.gap.Round(time.Millisecond), o.pushes, o.retries, o.tags.operations)
}
