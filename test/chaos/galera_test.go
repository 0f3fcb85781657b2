package chaos

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
)

var ofGalera = []fault{
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
	{name: "the Galera node that is written to is cut off from the others", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		m := d.written(t)
		var others []string
		for _, other := range d.galera.Nodes {
			if other != m {
				others = append(others, other.Host)
			}
		}
		return cut(t, "ip saddr "+ips(m.Host)+" ip daddr "+ips(others...), "ip daddr "+ips(m.Host)+" ip saddr "+ips(others...))
	}},
	{name: "the Galera node that is written to is cut off from everything", hang: true, served: true, begin: func(t *testing.T, d *deployment) func() error {
		return cut(t, alone(d.written(t).Host)...)
	}},
	{name: "a Galera node is killed", hold: time.Second, served: true, begin: func(t *testing.T, d *deployment) func() error {
		m := d.server()
		m.Kill()
		return func() error { return m.Start(t.Context()) }
	}},
	{name: "a Galera node loses its data, and gets all of it again", served: true, begin: func(t *testing.T, d *deployment) func() error {
		m := d.server()
		m.Kill()
		need(t, m.LoseData())
		return func() error { return m.Start(t.Context()) }
	}},
	{name: "a Galera node is killed while it gets all data", served: true, begin: func(t *testing.T, d *deployment) func() error {
		m := d.server()
		m.Kill()
		need(t, m.LoseData())
		ended := make(chan error, 1)
		go func() { ended <- m.Start(t.Context()) }()
		need(t, d.transferring(t.Context(), ended))
		m.Kill()
		return func() error {
			if err := <-ended; err == nil {
				t.Log("it had all data before it was killed")
			}
			return errors.Join(m.LoseData(), m.Start(t.Context()))
		}
	}},
	{name: "two of three Galera nodes are killed", hold: 5 * time.Second, begin: func(t *testing.T, d *deployment) func() error {
		spared := d.server()
		for _, m := range d.galera.Nodes {
			if m != spared {
				m.Kill()
			}
		}
		return func() error { return d.beginAnew(t.Context(), spared) }
	}},
	{name: "all Galera nodes are killed", hold: 2 * time.Second, begin: func(t *testing.T, d *deployment) func() error {
		for _, m := range d.galera.Nodes {
			m.Kill()
		}
		return func() error { return d.galera.Recover(t.Context()) }
	}},
}

// server answers one of the database, by chance.
func (d *deployment) server() *lab.MariaDB { return d.galera.Nodes[d.chance.IntN(len(d.galera.Nodes))] }

var writes = regexp.MustCompile(`msg="the database is written to[^"]*" server=(\S+)`)

// written answers the server of the database that a node, taken by chance, writes to, as its log says.
func (d *deployment) written(t *testing.T) *lab.MariaDB {
	t.Helper()
	log := d.nodes[d.chance.IntN(nodes)].Log()
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

// transferring waits until a server feeds the one that starts, or that has its data already.
func (d *deployment) transferring(ctx context.Context, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		select {
		case err := <-ended:
			return fmt.Errorf("the server that joins ended before it was fed: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("no server feeds the one that joins: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
		for _, m := range d.galera.Nodes {
			state, err := m.Ask(ctx, "SHOW STATUS LIKE 'wsrep_local_state_comment'")
			if err == nil && strings.Contains(state, "Donor") {
				return nil
			}
		}
	}
}

// beginAnew does what the guide says when the majority is lost for good: what is left begins a new cluster, as soon as it knows that it is alone, and the others join it one by one.
func (d *deployment) beginAnew(ctx context.Context, left *lab.MariaDB) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		state, err := left.Ask(bounded, "SHOW STATUS LIKE 'wsrep_cluster_status'")
		if err == nil && strings.Contains(state, "non-Primary") {
			break
		}
		select {
		case <-bounded.Done():
			return fmt.Errorf("%s does not notice that it is alone: %q: %w", left.Host, state, errors.Join(err, bounded.Err()))
		case <-time.After(100 * time.Millisecond):
		}
	}
	if err := left.Run(ctx, "SET GLOBAL wsrep_provider_options='pc.bootstrap=YES'"); err != nil {
		return err
	}
	for _, m := range d.galera.Nodes {
		if m != left {
			if err := m.Start(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}
