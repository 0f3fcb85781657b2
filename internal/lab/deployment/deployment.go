package deployment

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

const (
	// nodes of Havn, and of Galera.
	nodes = 3
	// osds hold copies of each object on two of them: one may be killed.
	osds, copies = 3, 2
	// osdGigabytes is how large a sparse file of an OSD may become.
	osdGigabytes = 16
	// bucket is where Havn keeps its blobs: a container of Swift's too.
	bucket       = "registry"
	passwordFile = "admin-password"
	// readyTime is how long the balancer may take to see all nodes that answered already, and these to see all that they stand on and to tell.
	readyTime = time.Minute

	// Admin is the administrator of the registry.
	Admin = "admin"
)

// Deployment is all of it, running. The methods for verbs are safe for concurrent use.
type Deployment struct {
	o        Options
	say      func(format string, args ...any)
	password string
	secret   string // of the nodes' cluster
	since    time.Time

	galera   *lab.Galera
	postgres *lab.Postgres
	redis    *lab.Redis
	ceph     *lab.Ceph
	ldap     *lab.LDAP
	proxy    *lab.HAProxy
	nodes    []*lab.Havn
	parts    []*part // in the order in which they can be started

	verbs sync.Mutex    // one at a time
	wall  *lab.Firewall // nil: nothing was ever cut off
}

// start starts everything, the slow parts at once. What runs when it fails is the caller's to kill: see end.
func (d *Deployment) start(ctx context.Context) error {
	d.password, d.secret = rand.Text(), rand.Text()
	if err := os.WriteFile(filepath.Join(d.o.Dir, passwordFile), []byte(d.password+"\n"), 0o600); err != nil {
		return fail.E(fail.Unavailable, err, "password of the lab")
	}
	if err := d.front(ctx); err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for what, begin := range map[string]func(context.Context) (string, error){
		"the database": d.startDatabase, "Redis": d.startRedis, "Ceph": d.startCeph, "slapd": d.startLDAP,
	} {
		g.Go(func() error {
			note, err := begin(ctx)
			if err != nil {
				return fmt.Errorf("start %s: %w", what, err)
			}
			d.say("%5.1f s  %s", time.Since(d.since).Seconds(), note)
			return nil
		})
	}
	return g.Wait()
}

// front makes the nodes' addresses and starts the balancer: what comes next needs to know both.
func (d *Deployment) front(ctx context.Context) error {
	addrs := map[string]string{}
	for i := range nodes {
		name := fmt.Sprintf("havn-%d", i+1)
		n, err := lab.NewHavn(lab.HavnOptions{Name: name, Program: d.o.Program, Dir: filepath.Join(d.o.Dir, name), Group: firstGroup(d.o.Dir) + i})
		if err != nil {
			return err
		}
		d.nodes = append(d.nodes, n)
		addrs[name] = n.Addr
	}
	var err error
	d.proxy, err = lab.StartHAProxy(ctx, lab.HAProxyOptions{Dir: filepath.Join(d.o.Dir, "haproxy"), Addr: d.o.Addr, TLS: d.o.TLS, Nodes: addrs})
	return err
}

func (d *Deployment) startDatabase(ctx context.Context) (note string, err error) {
	if d.o.Database == Postgres {
		d.postgres, err = lab.StartDurablePostgres(ctx, filepath.Join(d.o.Dir, "postgres"))
		return "PostgreSQL serves", err
	}
	d.galera, err = lab.StartDurableGalera(ctx, filepath.Join(d.o.Dir, "galera"), nodes)
	return fmt.Sprintf("Galera: %d nodes are synced", nodes), err
}

func (d *Deployment) startRedis(ctx context.Context) (note string, err error) {
	d.redis, err = lab.StartRedis(ctx, lab.RedisOptions{Dir: filepath.Join(d.o.Dir, "redis"), Mode: lab.RedisMode(d.o.Redis)})
	if err != nil {
		return "", err
	}
	note = fmt.Sprintf("Redis (%s): %d servers", d.o.Redis, len(d.redis.Nodes))
	if n := len(d.redis.Sentinels); n > 0 {
		note += fmt.Sprintf(" and %d Sentinels", n)
	}
	return note, nil
}

func (d *Deployment) startCeph(ctx context.Context) (note string, err error) {
	groups := map[string]int{}
	for i, name := range cephNames() {
		groups[name] = firstGroup(d.o.Dir) + nodes + i
	}
	d.ceph, err = lab.StartCeph(ctx, filepath.Join(d.o.Dir, "ceph"), lab.CephOptions{OSDs: osds, Copies: copies, Gigabytes: osdGigabytes, Groups: groups})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("Ceph: a monitor, %d OSDs and radosgw", osds), d.ceph.CreateBucket(ctx, bucket)
}

// cephNames are the daemons as Ceph calls them.
func cephNames() []string {
	names := []string{"mon.a"}
	for i := range osds {
		names = append(names, fmt.Sprintf("osd.%d", i))
	}
	return append(names, "client.rgw")
}

func (d *Deployment) startLDAP(ctx context.Context) (note string, err error) {
	d.ldap, err = lab.StartLDAP(ctx, lab.LDAPOptions{Dir: filepath.Join(d.o.Dir, "slapd")})
	return "slapd serves", err
}

// serve starts the nodes of Havn, all at once, and waits until the balancer sees them.
func (d *Deployment) serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for i, n := range d.nodes {
		if err := n.Configure(d.settings(i)); err != nil {
			return err
		}
		g.Go(func() error { return n.Start(ctx) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	d.say("%5.1f s  Havn: %d nodes are ready", time.Since(d.since).Seconds(), nodes)
	return nil
}

// settle waits until the balancer uses all nodes and `havn status` finds all well. If it never does, what runs is still good for something.
func (d *Deployment) settle(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		_, err := d.checkProxy(bounded)
		if err == nil {
			err = d.nodes[0].Status(bounded)
		}
		if err == nil {
			return nil
		}
		select {
		case <-bounded.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			d.say("not all is well: %v", err)
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// settings of the i-th node: each is told of the database's servers in another order.
func (d *Deployment) settings(i int) map[string]any {
	database := map[string]any{"user": lab.User, "password": lab.Password, "name": lab.Database}
	if d.postgres != nil {
		database["engine"], database["hosts"] = "postgres", []string{d.postgres.Host}
	} else {
		database["engine"], database["hosts"] = "mysql", d.galera.Hosts(i)
	}
	storage := map[string]any{"driver": d.o.Store}
	if d.o.Store == Swift {
		storage["swift"] = map[string]any{"auth_url": d.ceph.SwiftAuthURL(), "username": lab.SwiftUser, "password": lab.SwiftKey, "container": bucket}
	} else {
		storage["s3"] = map[string]any{"endpoint": d.ceph.S3Endpoint(), "bucket": bucket, "access_key": lab.S3AccessKey, "secret_key": lab.S3SecretKey}
	}
	source, _, err := net.SplitHostPort(d.proxy.Source)
	if err != nil {
		panic(err) // of our own lab
	}
	return map[string]any{
		"admin": map[string]any{"password": d.password}, "cluster": map[string]any{"secret": d.secret},
		"http": map[string]any{"trusted_proxies": []string{source + "/32"}}, "database": database, "storage": storage,
		"redis": map[string]any{"addrs": d.redis.Addrs(), "user": lab.User, "password": lab.Password},
	}
}

// assemble lists the parts, in the order in which they can be started.
func (d *Deployment) assemble() {
	alone := func(host string) func(*lab.Firewall) []string {
		return func(*lab.Firewall) []string { return lab.Alone(host) }
	}
	if d.postgres != nil {
		d.parts = append(d.parts, &part{name: Postgres, kind: Postgres, addr: d.postgres.Host, server: d.postgres, packets: alone(d.postgres.Host), check: func(ctx context.Context) (string, error) {
			return "", d.postgres.Run(ctx, "SELECT 1")
		}})
	} else {
		for i, m := range d.galera.Nodes {
			d.parts = append(d.parts, &part{name: fmt.Sprintf("galera-%d", i+1), kind: Galera, addr: m.Host, server: m, packets: alone(m.Host), check: func(ctx context.Context) (string, error) {
				return checkGalera(ctx, m)
			}})
		}
	}
	for i, n := range d.redis.Nodes {
		d.parts = append(d.parts, &part{name: fmt.Sprintf("redis-%d", i+1), kind: "redis", addr: n.Host, server: n, packets: alone(n.Host), check: n.Role})
	}
	for i, n := range d.redis.Sentinels {
		d.parts = append(d.parts, &part{name: fmt.Sprintf("sentinel-%d", i+1), kind: "sentinel", addr: n.Host, server: n, packets: alone(n.Host), check: n.Role})
	}
	for i, c := range slices.Concat([]*lab.CephDaemon{d.ceph.Monitor}, d.ceph.OSDs, []*lab.CephDaemon{d.ceph.Gateway}) {
		p := &part{name: map[string]string{"mon.a": "mon", "client.rgw": "radosgw"}[c.Name], kind: "ceph", server: c, check: silent(c.Check)}
		group := firstGroup(d.o.Dir) + nodes + i
		p.packets = func(w *lab.Firewall) []string { return []string{w.Of(group)} }
		switch {
		case c == d.ceph.Gateway:
			p.addr = d.ceph.GatewayHost
		case p.name == "":
			p.name = strings.ReplaceAll(c.Name, ".", "-")
		}
		d.parts = append(d.parts, p)
	}
	d.parts = append(d.parts, &part{name: "slapd", kind: "slapd", addr: d.ldap.Host, server: d.ldap, packets: alone(d.ldap.Host), check: silent(d.ldap.Check)})
	for i, n := range d.nodes {
		group := firstGroup(d.o.Dir) + i
		d.parts = append(d.parts, &part{name: n.Name, kind: "havn", addr: n.Addr, server: n, begin: n.Begin, check: n.Troubles, packets: func(w *lab.Firewall) []string {
			return append(lab.Alone(n.Addr), w.Of(group))
		}})
	}
	d.parts = append(d.parts, &part{name: "haproxy", kind: "haproxy", addr: d.proxy.Addr, server: d.proxy, begin: d.proxy.Begin, check: d.checkProxy, packets: func(*lab.Firewall) []string {
		host, port, err := net.SplitHostPort(d.proxy.Addr)
		if err != nil {
			panic(err) // of our own lab
		}
		rules := lab.Alone(d.proxy.Source)
		if ip := net.ParseIP(host); ip != nil && ip.To4() != nil && !ip.IsUnspecified() {
			return append(rules, "ip daddr "+host+" tcp dport "+port, "ip saddr "+host+" tcp sport "+port)
		}
		return append(rules, "tcp dport "+port, "tcp sport "+port)
	}})
}

// groups are those that the servers without an address of their own in both directions run as.
func (d *Deployment) groups() []int {
	var all []int
	for i := range nodes + len(cephNames()) {
		all = append(all, firstGroup(d.o.Dir)+i)
	}
	return all
}

// end kills everything that runs.
func (d *Deployment) end(ctx context.Context) error {
	for _, n := range d.nodes {
		n.Kill()
	}
	if d.proxy != nil {
		d.proxy.Kill()
	}
	if d.ldap != nil {
		d.ldap.Kill()
	}
	if d.redis != nil {
		for _, n := range slices.Concat(d.redis.Sentinels, d.redis.Nodes) {
			n.Kill()
		}
	}
	if d.ceph != nil {
		d.ceph.Kill()
	}
	if d.galera != nil {
		for _, m := range d.galera.Nodes {
			m.Kill()
		}
	}
	if d.postgres != nil {
		d.postgres.Kill()
	}
	if d.wall != nil {
		return d.wall.Remove(ctx)
	}
	return nil
}
