package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// Galera is a cluster of MariaDB servers.
type Galera struct {
	Nodes []*MariaDB

	place   place
	durable bool
}

// StartGalera starts a cluster of n nodes in dir, or in a temporary directory if dir is "", and waits until all are synced.
func StartGalera(ctx context.Context, dir string, n int) (*Galera, error) {
	return startGalera(ctx, dir, n, false)
}

// StartDurableGalera is StartGalera, and what is committed survives a power cut of all nodes, as it should in production.
func StartDurableGalera(ctx context.Context, dir string, n int) (*Galera, error) {
	return startGalera(ctx, dir, n, true)
}

func startGalera(ctx context.Context, dir string, n int, durable bool) (*Galera, error) {
	a, place, err := mariaPlace(dir)
	if err != nil {
		return nil, err
	}
	g := &Galera{place: place, durable: durable}
	if err = g.start(ctx, a, n); err != nil {
		return nil, errors.Join(err, g.Stop())
	}
	return g, nil
}

func (g *Galera) start(ctx context.Context, a account, n int) error {
	provider, err := program("galera-4", "libgalera_smm.so", "/usr/lib/galera/libgalera_smm.so", "/usr/lib/*/galera/libgalera_smm.so")
	if err != nil {
		return err
	}
	if _, err = program("rsync", "rsync"); err != nil {
		return err
	}
	var members []string
	for i := range n {
		m, nodeErr := newMariaDB(a, g.place, fmt.Sprintf("n%d", i+1))
		if nodeErr != nil {
			return nodeErr
		}
		m.provider, m.durable = provider, g.durable
		members = append(members, fmt.Sprintf("%s:%d", m.ip, m.ports[1]))
		g.Nodes = append(g.Nodes, m)
	}
	for _, m := range g.Nodes {
		m.members = strings.Join(members, ",")
	}
	if err = g.Nodes[0].install(ctx); err != nil {
		return err
	}
	if err = g.seed(ctx, a); err != nil {
		return err
	}
	return g.bootstrap(ctx, 0)
}

// seed lets the first node write its place in the cluster's history, and gives the others copies of its data: so they join
// by what they missed, and not by a transfer of everything.
func (g *Galera) seed(ctx context.Context, a account) error {
	first := g.Nodes[0]
	if err := first.begin(ctx, "--wsrep-new-cluster"); err != nil {
		return err
	}
	if err := first.ready(ctx); err != nil {
		return err
	}
	if err := first.halt(); err != nil {
		return err
	}
	for _, m := range g.Nodes[1:] {
		if err := a.run(ctx, m.dir, "cp", "-a", first.dir+"/data/.", m.dir+"/data/"); err != nil {
			return err
		}
		for _, name := range []string{"gvwstate.dat", "galera.cache", "ib_buffer_pool", "tc.log"} {
			if err := os.Remove(filepath.Join(m.dir, "data", name)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fail.E(fail.Unavailable, err, "seed %s", m.name)
			}
		}
	}
	return nil
}

// bootstrap begins the cluster with one node and lets the others join, one after the other: two that join at the same moment
// can cost seconds of views without a quorum.
func (g *Galera) bootstrap(ctx context.Context, first int) error {
	if err := g.Nodes[first].mayBootstrap(); err != nil {
		return err
	}
	if err := g.Nodes[first].begin(ctx, "--wsrep-new-cluster"); err != nil {
		return err
	}
	if err := g.Nodes[first].ready(ctx); err != nil {
		return err
	}
	for i, m := range g.Nodes {
		if i == first {
			continue
		}
		if err := m.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Recover starts a cluster of which every node was killed, from the node that is furthest in its history: what another one may lack was acknowledged.
func (g *Galera) Recover(ctx context.Context) error {
	first, furthest := 0, int64(-1)
	for i, m := range g.Nodes {
		at, err := m.position(ctx)
		if err != nil {
			return err
		}
		_, number, _ := strings.Cut(at, ":")
		// A node that ended well has no position to recover: it waits for those that did not.
		if seqno, numErr := strconv.ParseInt(number, 10, 64); numErr == nil && seqno > furthest {
			first, furthest = i, seqno
		}
	}
	return g.bootstrap(ctx, first)
}

// BeginAnew makes a node that lost its quorum for good begin a new cluster, as soon as it knows that it is alone, and lets others join it one by one: they must be down. If none is
// named, all do. It is what an operator does when the majority was killed.
func (g *Galera) BeginAnew(ctx context.Context, left *MariaDB, join ...*MariaDB) error {
	bounded, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		state, err := left.ask(bounded, "SHOW STATUS LIKE 'wsrep_cluster_status'")
		if err == nil && strings.Contains(state, "non-Primary") {
			break
		}
		pause := time.NewTimer(pollTime)
		select {
		case <-bounded.Done():
			return fail.E(fail.Unavailable, errors.Join(err, bounded.Err()), "%s does not notice that it is alone: %q", left.name, state)
		case <-pause.C:
		}
	}
	if err := left.Run(ctx, "SET GLOBAL wsrep_provider_options='pc.bootstrap=YES'"); err != nil {
		return err
	}
	if len(join) == 0 {
		join = slices.DeleteFunc(slices.Clone(g.Nodes), func(m *MariaDB) bool { return m == left })
	}
	for _, m := range join {
		if err := m.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Hosts answers the addresses of all nodes, beginning with the i-th.
func (g *Galera) Hosts(i int) []string {
	var hosts []string
	for n := range g.Nodes {
		hosts = append(hosts, g.Nodes[(i+n)%len(g.Nodes)].Host)
	}
	return hosts
}

// Stop ends all nodes and removes their directory if that was made here.
func (g *Galera) Stop() error {
	var errs []error
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		if g.place.ours {
			g.Nodes[i].Kill()
		} else {
			errs = append(errs, g.Nodes[i].halt())
		}
	}
	return errors.Join(append(errs, g.place.remove())...)
}

var (
	lastSeqno = regexp.MustCompile(`(?m)^seqno: *-1`)
	recovered = regexp.MustCompile(`Recovered position: *(\S+)`)
	bootable  = regexp.MustCompile(`(?m)^safe_to_bootstrap:.*$`)
)

func (m *MariaDB) state() string { return filepath.Join(m.dir, "data", "grastate.dat") }

// position answers where in the cluster's history a node was killed, so that it joins by what it missed; "" if it ended well.
func (m *MariaDB) position(ctx context.Context) (string, error) {
	b, err := os.ReadFile(m.state())
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fail.E(fail.Unavailable, err, "state of %s", m.name)
	}
	if !lastSeqno.Match(b) {
		return "", nil
	}
	said, err := m.recover(ctx)
	if err != nil && bytes.Contains(said, []byte("Aria")) {
		// Killed just when it wrote the log of its system tables, a server asks for this log to be deleted, and mends the tables then.
		if err = m.dropAriaLog(); err == nil {
			said, err = m.recover(ctx)
		}
	}
	if err != nil {
		return "", fail.E(fail.Unavailable, err, "%s does not recover: %s", m.name, said[max(0, len(said)-2000):])
	}
	all := recovered.FindAllSubmatch(said, -1)
	if len(all) == 0 {
		return "", nil
	}
	return string(all[len(all)-1][1]), nil
}

// recover lets a server find its position and end; it answers what the server said.
func (m *MariaDB) recover(ctx context.Context) ([]byte, error) {
	log := filepath.Join(m.dir, "recover.err")
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fail.E(fail.Unavailable, err, "old log of %s", m.name)
	}
	err := m.a.run(ctx, m.dir, m.mariadbd, "--defaults-file="+m.config(), "--wsrep-recover", "--log-error="+log)
	said, readErr := os.ReadFile(log)
	return said, errors.Join(err, readErr)
}

func (m *MariaDB) dropAriaLog() error {
	logs, err := filepath.Glob(filepath.Join(m.dir, "data", "aria_log*"))
	for _, name := range logs {
		err = errors.Join(err, os.Remove(name))
	}
	return err
}

// mayBootstrap says in the node's state that it may begin the cluster.
func (m *MariaDB) mayBootstrap() error {
	b, err := os.ReadFile(m.state())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = os.WriteFile(m.state(), bootable.ReplaceAll(b, []byte("safe_to_bootstrap: 1")), 0o660)
	}
	if err != nil {
		return fail.E(fail.Unavailable, err, "state of %s", m.name)
	}
	return nil
}
