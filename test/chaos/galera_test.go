package chaos

import (
	"regexp"
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
	{name: "the Galera node that is written to is restarted", served: true, begin: func(t *testing.T, d *deployment) func() error {
		m := d.written(t)
		need(t, m.Finish())
		return func() error { return m.Start(t.Context()) }
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

// bootstrap makes a server, and those that it sees, a cluster that may be written to, whoever else was in it.
const bootstrap = "SET GLOBAL wsrep_provider_options='pc.bootstrap=YES'"
