package deployment

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// The states of a lab.
const (
	Starting = "starting"
	Whole    = "whole"
	Damaged  = "damaged" // a part is not up
)

// Status is how a lab is, and how it is used.
type Status struct {
	State string       `json:"state"`
	Since time.Time    `json:"since"`
	Parts []PartStatus `json:"parts"`
	Access
}

// Access is how a lab is used.
type Access struct {
	Dir          string `json:"dir"`
	URL          string `json:"url"` // of HAProxy
	User         string `json:"user"`
	PasswordFile string `json:"password_file"`
	// CAFile is the certificate of the authority of HAProxy's, with TLS.
	CAFile string `json:"ca_file,omitempty"`
	// ConfigFile is the configuration of the first node, for `havn status`.
	ConfigFile string `json:"config_file"`
	// LDAP is the directory's URL.
	LDAP string `json:"ldap"`
	// Nodes are those of Havn: URLs that take what HAProxy takes.
	Nodes []string `json:"nodes"`
}

func (d *Deployment) access() Access {
	a := Access{
		Dir: d.o.Dir, URL: d.proxy.URL, User: Admin, PasswordFile: filepath.Join(d.o.Dir, passwordFile), CAFile: d.proxy.CAFile,
		ConfigFile: d.nodes[0].ConfigFile, LDAP: d.ldap.URL,
	}
	for _, n := range d.nodes {
		a.Nodes = append(a.Nodes, n.URL)
	}
	return a
}

// status asks all parts at once.
func (d *Deployment) status(ctx context.Context) Status {
	s := Status{State: Whole, Since: d.since, Access: d.access(), Parts: make([]PartStatus, len(d.parts))}
	var all sync.WaitGroup
	for i, p := range d.parts {
		all.Go(func() { s.Parts[i] = p.look(ctx) })
	}
	all.Wait()
	for _, p := range s.Parts {
		if p.State != Up {
			s.State = Damaged
		}
	}
	return s
}

// silent makes a check of one that has nothing to say when all is well.
func silent(check func(context.Context) error) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) { return "", check(ctx) }
}

// checkGalera looks at what a node says of itself and of its cluster.
func checkGalera(ctx context.Context, m *lab.MariaDB) (string, error) {
	vitals, err := galeraVitals(ctx, m)
	if err != nil {
		return "", err
	}
	note := fmt.Sprintf("%s, %s, %s of %d nodes", vitals["wsrep_local_state_comment"], vitals["wsrep_cluster_status"], vitals["wsrep_cluster_size"], nodes)
	if vitals["wsrep_ready"] != "ON" || vitals["wsrep_cluster_status"] != "Primary" || vitals["wsrep_local_state_comment"] != "Synced" {
		return "", fail.E(fail.Unavailable, nil, "%s", note)
	}
	return note, nil
}

func galeraVitals(ctx context.Context, m *lab.MariaDB) (map[string]string, error) {
	text, err := m.Ask(ctx, "SHOW STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'wsrep_cluster_status', 'wsrep_local_state_comment', 'wsrep_ready')")
	if err != nil {
		return nil, err
	}
	vitals := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "\t")
		vitals[name] = value
	}
	return vitals, nil
}

// checkProxy looks which nodes the balancer uses. One that uses some does its work.
func (d *Deployment) checkProxy(ctx context.Context) (string, error) {
	servers, err := d.proxy.Servers(ctx)
	if err != nil {
		return "", err
	}
	up := 0
	for _, state := range servers {
		if state == "UP" {
			up++
		}
	}
	note := fmt.Sprintf("uses %d of %d nodes", up, nodes)
	if up < nodes {
		return "", fail.E(fail.Unavailable, nil, "%s", note)
	}
	return note, nil
}
