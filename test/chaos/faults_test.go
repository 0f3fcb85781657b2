package chaos

import (
	"errors"
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
)

// fault is something that happens to the deployment: begin lets it happen, and answers how to make it good.
type fault struct {
	name string
	// hold is how long it lasts; hang: as long as a process hangs in this run.
	hold time.Duration
	hang bool
	// served: pushes go on while it lasts.
	served bool
	begin  func(t *testing.T, d *deployment) (end func() error)
}

// ofStore reports whether nothing but the store of blobs fails.
func (f fault) ofStore() bool {
	return slices.ContainsFunc(ofCeph, func(other fault) bool { return other.name == f.name })
}

// faults are the kinds that are tried, each once before any comes again.
var faults = slices.Concat(ofNodes, ofGalera, ofTransfers, ofQuorum, ofRedis, ofCeph)

var ofNodes = []fault{
	{name: "a node of Havn is killed", hold: 2 * time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := d.chance.IntN(nodes)
		d.nodes[n].Kill(t)
		return d.again(t, n)
	}},
	{name: "a node of Havn hangs", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := d.nodes[d.chance.IntN(nodes)]
		n.Signal(t, syscall.SIGSTOP)
		return func() error { n.Signal(t, syscall.SIGCONT); return nil }
	}},
	{name: "a node of Havn is restarted", served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := d.chance.IntN(nodes)
		d.nodes[n].Finish(t)
		return d.again(t, n)
	}},
	{name: "a node of Havn is cut off from the database", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		return cut(t, from(d.chance.IntN(nodes), d.galera.Hosts(0)...))
	}},
	{name: "a node of Havn is cut off from Redis", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		return cut(t, from(d.chance.IntN(nodes), d.redis.Addrs()...))
	}},
	{name: "a node of Havn is cut off from the store", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		return cut(t, from(d.chance.IntN(nodes), d.ceph.GatewayHost))
	}},
	{name: "a node of Havn is cut off from everything", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		return cut(t, from(d.chance.IntN(nodes), slices.Concat(d.galera.Hosts(0), d.redis.Addrs(), []string{d.ceph.GatewayHost})...))
	}},
	{name: "the database is 200 ms away from a node of Havn", hold: 5 * time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		return d.far(t, d.chance.IntN(nodes))
	}},
	{name: "the clock of a node of Havn is an hour ahead", hold: 5 * time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		return shift(t, d.nodes[d.chance.IntN(nodes)].PID(), time.Hour)
	}},
	{name: "the clock of a node of Havn is an hour behind", hold: 5 * time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		return shift(t, d.nodes[d.chance.IntN(nodes)].PID(), -time.Hour)
	}},
}

// again starts a node that a fault ended.
func (d *deployment) again(t *testing.T, n int) func() error {
	return func() error {
		d.look(n)
		d.nodes[n].Again(t)
		return nil
	}
}

var ofRedis = []fault{
	{name: "a Redis master is killed", hold: 5 * time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := d.master(t)
		n.Kill()
		return func() error { return n.Start(t.Context()) }
	}},
	{name: "a Redis master hangs", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := d.master(t)
		need(t, n.Pause())
		return n.Resume
	}},
	{name: "a Redis master is cut off", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		return cut(t, alone(d.master(t).Host)...)
	}},
	{name: "a Redis master is restarted", served: true, begin: func(t *testing.T, d *deployment) func() error {
		n := d.master(t)
		need(t, n.Finish())
		return func() error { return n.Start(t.Context()) }
	}},
	{name: "all of Redis hangs", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		for _, n := range d.redis.Nodes {
			need(t, n.Pause())
		}
		return func() error {
			var errs []error
			for _, n := range d.redis.Nodes {
				errs = append(errs, n.Resume())
			}
			return errors.Join(errs...)
		}
	}},
	{name: "all of Redis is cut off, also from each other", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		return cut(t, alone(d.redis.Addrs()...)...)
	}},
	{name: "all of Redis is killed", hold: 5 * time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		for _, n := range d.redis.Nodes {
			n.Kill()
		}
		return func() error {
			for _, n := range d.redis.Nodes {
				if err := n.Start(t.Context()); err != nil {
					return err
				}
			}
			return nil
		}
	}},
	{name: "Redis moves slots", served: true, begin: func(t *testing.T, d *deployment) func() error {
		masters := d.redis.Masters(t.Context())
		if len(masters) < 2 {
			t.Fatalf("%d masters", len(masters))
		}
		return func() error { return d.redis.Reshard(t.Context(), masters[0], masters[1], 50) }
	}},
}

// master answers a master of Redis, by chance.
func (d *deployment) master(t *testing.T) *lab.RedisNode {
	t.Helper()
	masters := d.redis.Masters(t.Context())
	if len(masters) == 0 {
		t.Fatal("no server of Redis is a master")
	}
	return masters[d.chance.IntN(len(masters))]
}

// alone matches all packets to and from servers that have addresses of their own.
func alone(hosts ...string) []string { return lab.Alone(hosts...) }

var ofCeph = []fault{
	{name: "radosgw is killed", hold: 2 * time.Second, begin: daemonDies(gateway)},
	{name: "radosgw is restarted", begin: func(t *testing.T, d *deployment) func() error {
		need(t, d.ceph.Gateway.Finish())
		return func() error { return d.ceph.Gateway.Start(t.Context()) }
	}},
	{name: "radosgw hangs", hang: true, begin: daemonHangs(gateway)},
	{name: "radosgw is cut off from Havn", hang: true, begin: func(t *testing.T, d *deployment) func() error {
		var rules []string
		for n := range nodes {
			rules = append(rules, from(n, d.ceph.GatewayHost))
		}
		return cut(t, rules...)
	}},
	{name: "an OSD is killed", hold: 2 * time.Second, begin: daemonDies(osd)},
	{name: "an OSD hangs", hang: true, begin: daemonHangs(osd)},
	{name: "an OSD is cut off", hang: true, begin: func(t *testing.T, d *deployment) func() error {
		return cut(t, of(nodes+d.chance.IntN(osds)))
	}},
	{name: "the monitor is killed", hold: 5 * time.Second, begin: daemonDies(monitor)},
	{name: "the monitor hangs", hang: true, begin: daemonHangs(monitor)},
	{name: "the monitor is cut off", hang: true, begin: func(t *testing.T, d *deployment) func() error {
		return cut(t, of(nodes+osds))
	}},
	{name: "the disks of the store are full", hang: true, begin: func(t *testing.T, d *deployment) func() error {
		need(t, d.ceph.SetFull(t.Context(), true))
		return func() error { return d.ceph.SetFull(t.Context(), false) }
	}},
}

func gateway(d *deployment) *lab.CephDaemon { return d.ceph.Gateway }
func osd(d *deployment) *lab.CephDaemon     { return d.ceph.OSDs[d.chance.IntN(len(d.ceph.OSDs))] }
func monitor(d *deployment) *lab.CephDaemon { return d.ceph.Monitor }

func daemonDies(which func(*deployment) *lab.CephDaemon) func(*testing.T, *deployment) func() error {
	return func(t *testing.T, d *deployment) func() error {
		daemon := which(d)
		daemon.Kill()
		return func() error { return daemon.Start(t.Context()) }
	}
}

func daemonHangs(which func(*deployment) *lab.CephDaemon) func(*testing.T, *deployment) func() error {
	return func(t *testing.T, d *deployment) func() error {
		daemon := which(d)
		need(t, daemon.Pause())
		return daemon.Resume
	}
}

// outcome is what happened while a fault was tried.
type outcome struct {
	fault   string
	at      time.Time
	took    time.Duration
	gap     time.Duration // the longest between two acknowledged pushes
	pushes  int
	retries int
	tags    verdict
	wrong   []string
}

func (o outcome) String() string {
	return fmt.Sprintf("%s: %s, longest gap %s, %d pushes, %d retries, %d operations on tags", o.fault, o.took.Round(100*time.Millisecond), o.gap.Round(time.Millisecond), o.pushes, o.retries, o.tags.operations)
}
