package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

const (
	// patience bounds waits for what must come, on a loaded machine.
	patience = 3 * time.Minute
	// nodes of Havn, and OSDs of the store.
	nodes = 3
	osds  = 2
	// bucket is where they keep their blobs: Swift's container too.
	bucket = "havn-chaos"
	// sweepEvery, orphansEvery, safeTime and deadGrace are short, so that the sweep works while all fails: safeTime is longer than any body is under way.
	sweepEvery   = 2 * time.Second
	orphansEvery = time.Minute
	safeTime     = 3 * time.Minute
	deadGrace    = 10 * time.Second
)

// stores are the APIs of the blob store, of which a run takes one.
var stores = []string{"s3", "swift"}

// need ends the test with what to do if something could not be had.
func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fail.HintOf(err))
	}
}

// deployment is what the guide wants: three nodes of Havn, three of Galera, six of Redis, and a Ceph.
type deployment struct {
	nodes  []*harness.Server
	urls   []string // of the nodes, through restarts
	galera *lab.Galera
	redis  *lab.Redis
	ceph   *lab.Ceph

	store string // which of the stores

	chance  *rand.Rand // of the test's own goroutine: which fault comes when, and whom it strikes
	given   int        // times that a node ended because the others had declared it dead
	daemons int        // times that a daemon of Ceph ended by itself, and was started again
	stuck   int        // times that Ceph took nothing of anybody, and its OSDs and gateway were started again
	anew    int        // times that a Galera node ended by itself, and was started again
	wrong   []string   // what nodes should not have written into their logs
	swept   map[string]int
}

// deploy starts everything, the slow parts at once.
func deploy(t *testing.T, p plan) *deployment {
	t.Helper()
	harness.NeedRoot(t)
	harness.Need(t, "iproute2", "nftables")
	d := &deployment{store: p.store, chance: rand.New(rand.NewPCG(p.seed, 0)), swept: map[string]int{}}
	d.connect(t, nodes+osds+1)
	begun := time.Now()
	errs := make(chan error, 3)
	go func() {
		var err error
		d.galera, err = lab.StartGalera(t.Context(), "", 3)
		errs <- err
	}()
	go func() {
		var err error
		d.redis, err = lab.StartRedis(t.Context(), lab.RedisOptions{Mode: lab.RedisCluster})
		errs <- err
	}()
	go func() {
		var err error
		groups := map[string]int{"mon.a": groupOf(nodes + osds)}
		for i := range osds {
			groups[fmt.Sprintf("osd.%d", i)] = groupOf(nodes + i)
		}
		d.ceph, err = lab.StartCeph(t.Context(), "", lab.CephOptions{OSDs: osds, Groups: groups})
		errs <- err
	}()
	err := errors.Join(<-errs, <-errs, <-errs)
	t.Cleanup(func() { d.stop(t) })
	need(t, err)
	need(t, d.ceph.CreateBucket(t.Context(), bucket))
	t.Logf("the services run after %s", time.Since(begun).Round(time.Second))
	for i := range nodes {
		// The same address after each restart: what a balancer in front has in its configuration.
		addr := freeAddress(t)
		d.nodes = append(d.nodes, harness.Start(t, harness.Options{
			Env: append(d.settings(i), "HAVN_HTTP_ADDR="+addr), Wrap: []string{"setpriv", fmt.Sprintf("--regid=%d", groupOf(i)), "--clear-groups", "--pdeathsig=KILL"},
		}))
		d.urls = append(d.urls, "http://"+addr)
	}
	return d
}

func (d *deployment) stop(t *testing.T) {
	t.Helper()
	var stops []error
	if d.galera != nil {
		stops = append(stops, d.galera.Stop())
	}
	if d.redis != nil {
		stops = append(stops, d.redis.Stop())
	}
	if d.ceph != nil {
		stops = append(stops, d.ceph.Stop())
	}
	if err := errors.Join(stops...); err != nil {
		t.Error(err)
	}
}

// settings of the i-th node: each is told of the database's servers in another order.
func (d *deployment) settings(i int) []string {
	all := []string{
		"HAVN_DATABASE_ENGINE=mysql", "HAVN_DATABASE_HOSTS=" + strings.Join(d.galera.Hosts(i), ","),
		"HAVN_DATABASE_USER=" + lab.User, "HAVN_DATABASE_PASSWORD=" + lab.Password, "HAVN_DATABASE_NAME=" + lab.Database,
		"HAVN_REDIS_ADDRS=" + strings.Join(d.redis.Addrs(), ","), "HAVN_REDIS_USER=" + lab.User, "HAVN_REDIS_PASSWORD=" + lab.Password,
		"HAVN_STORAGE_DRIVER=" + d.store,
		fmt.Sprintf("HAVN_SWEEP_INTERVAL=%s", sweepEvery), fmt.Sprintf("HAVN_SWEEP_ORPHAN_INTERVAL=%s", orphansEvery),
		fmt.Sprintf("HAVN_SWEEP_SAFE_TIME=%s", safeTime), fmt.Sprintf("HAVN_SWEEP_DEAD_GRACE=%s", deadGrace),
	}
	if d.store == "swift" {
		return append(all,
			"HAVN_STORAGE_SWIFT_AUTH_URL="+d.ceph.SwiftAuthURL(), "HAVN_STORAGE_SWIFT_CONTAINER="+bucket,
			"HAVN_STORAGE_SWIFT_USERNAME="+lab.SwiftUser, "HAVN_STORAGE_SWIFT_PASSWORD="+lab.SwiftKey)
	}
	return append(all,
		"HAVN_STORAGE_S3_ENDPOINT="+d.ceph.S3Endpoint(), "HAVN_STORAGE_S3_BUCKET="+bucket,
		"HAVN_STORAGE_S3_PART_SIZE=5MiB", "HAVN_STORAGE_S3_ACCESS_KEY="+lab.S3AccessKey, "HAVN_STORAGE_S3_SECRET_KEY="+lab.S3SecretKey)
}

// freeAddress answers one on which nobody listens. In this namespace it stays free: outgoing connections come from other ports.
func freeAddress(t *testing.T) string {
	t.Helper()
	for port := 20000; port < 32000; port++ {
		address := fmt.Sprintf("127.0.0.1:%d", port)
		l, err := net.Listen("tcp", address)
		if err == nil {
			need(t, l.Close())
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// settle waits until everything is as it was before a fault. A fault strikes a whole deployment: two at a time are more than is promised.
func (d *deployment) settle(t *testing.T) {
	t.Helper()
	d.superviseCeph(t)
	d.supervise(t)
	deadline := time.Now().Add(patience)
	for ; ; time.Sleep(200 * time.Millisecond) {
		d.superviseGalera(t)
		err := d.galeraWhole(t.Context())
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the Galera cluster does not become whole again: %v", err)
		}
	}
	need(t, d.redis.Settle(t.Context()))
}

// superviseCeph starts daemons that ended by themselves: an OSD that hung too often does.
func (d *deployment) superviseCeph(t *testing.T) {
	t.Helper()
	for _, daemon := range append([]*lab.CephDaemon{d.ceph.Monitor, d.ceph.Gateway}, d.ceph.OSDs...) {
		if !daemon.Running() {
			d.daemons++
			need(t, daemon.Start(t.Context()))
		}
	}
}

// stuckTime is how long no push may be acknowledged before somebody looks at the store.
const stuckTime = time.Minute

// unstick does what an operator would to a Ceph that takes nothing of anybody though nothing of it fails any more: it starts its OSDs and its gateway again, once in a while. False if
// Ceph does take what a plain client writes: then it is Havn that is stuck.
func (d *deployment) unstick(t *testing.T) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), stuckTime/4)
	defer cancel()
	err := d.ceph.PutObject(ctx, bucket, fmt.Sprintf("probe-%d", d.stuck), "does the store take this?")
	if err == nil {
		return false
	}
	if d.stuck++; d.stuck > mostStuck {
		t.Fatalf("Ceph takes nothing of anybody, again: %v", err)
	}
	t.Logf("%s: Ceph takes nothing of a plain client either (%v); its OSDs and its gateway are started again", time.Now().UTC().Format(time.TimeOnly), err)
	for _, daemon := range append([]*lab.CephDaemon{d.ceph.Gateway}, d.ceph.OSDs...) {
		t.Logf("log of %s, its end:\n%s", daemon.Name, logEnd(t, daemon.Log()))
	}
	for _, daemon := range append(slices.Clone(d.ceph.OSDs), d.ceph.Gateway) {
		daemon.Kill()
		need(t, daemon.Start(t.Context()))
	}
	return true
}

const (
	// mostStuck bounds how often that is done in a run.
	mostStuck = 5
	tailBytes = 6 << 10
)

// logEnd answers the end of a file.
func logEnd(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	need(t, err)
	return string(text[max(0, len(text)-tailBytes):])
}

// superviseGalera starts nodes of the Galera cluster that ended by themselves, as a service manager does: one that missed more than the others remember can get all data anew at its start only.
func (d *deployment) superviseGalera(t *testing.T) {
	t.Helper()
	for _, m := range d.galera.Nodes {
		if m.Ended() {
			d.anew++
			need(t, m.Start(t.Context()))
		}
	}
}

func (d *deployment) galeraWhole(ctx context.Context) error {
	for _, m := range d.galera.Nodes {
		state, err := m.Ask(ctx, "SHOW STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'wsrep_cluster_status', 'wsrep_local_state_comment', 'wsrep_ready')")
		if err != nil {
			return err
		}
		for _, want := range []string{fmt.Sprintf("wsrep_cluster_size\t%d", len(d.galera.Nodes)), "wsrep_cluster_status\tPrimary", "wsrep_local_state_comment\tSynced", "wsrep_ready\tON"} {
			if !slices.Contains(strings.Split(state, "\n"), want) {
				return fmt.Errorf("%s is %q, want %q", m.Host, state, want)
			}
		}
	}
	return nil
}

// supervise starts nodes that ended by themselves, as a service manager does: one that hung ends when it learns that the others declared it dead. Any other end is a fault of Havn's.
func (d *deployment) supervise(t *testing.T) {
	t.Helper()
	for i, n := range d.nodes {
		for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			if ended(n) {
				if strings.Contains(n.Log(), "declared incarnation") {
					d.given++
				} else {
					d.wrong = append(d.wrong, fmt.Sprintf("node %d ended by itself: %s", i, tail(n.Log())))
				}
				d.look(i)
				n.Again(t)
				break
			}
			if answers(t, d.urls[i]) {
				break
			}
			if time.Now().After(deadline) {
				if d.unstick(t) {
					deadline = time.Now().Add(patience)
					continue
				}
				t.Fatalf("node %d neither serves nor ends", i)
			}
		}
	}
}

var (
	panics = regexp.MustCompile(`(?m)^.*(panic:|panic serving|fatal error:|level=ERROR msg=.*(panic|dead content)).*$`)
	sweeps = regexp.MustCompile(`msg=swept what="?([a-z ]+)"? count=(\d+)`)
)

// look writes down what a node's log must not say, and what the node swept. It is to be called once, before the node is started again.
func (d *deployment) look(node int) {
	log := d.nodes[node].Log()
	for _, swept := range sweeps.FindAllStringSubmatch(log, -1) {
		if count, err := strconv.Atoi(swept[2]); err == nil {
			d.swept[swept[1]] += count
		}
	}
	if at := panics.FindStringIndex(log); at != nil {
		d.wrong = append(d.wrong, fmt.Sprintf("node %d: %s", node, log[at[0]:min(len(log), at[0]+4000)]))
	}
}

func tail(log string) string { return log[max(0, len(log)-2000):] }

func ended(n *harness.Server) bool {
	select {
	case <-n.Ended():
		return true
	default:
		return false
	}
}

// answers reports whether a node is ready.
func answers(t *testing.T, node string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, node+"/readyz", nil)
	need(t, err)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return false
	}
	need(t, answer.Body.Close())
	return answer.StatusCode == http.StatusOK
}
