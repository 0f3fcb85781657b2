package chaos

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// patience bounds waits for what must come, on a loaded machine.
const patience = 3 * time.Minute

// bucket is where the nodes keep their blobs.
const bucket = "havn-chaos"

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
}

// deploy starts everything, the slow parts at once.
func deploy(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{}
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
		d.ceph, err = lab.StartCeph(t.Context(), "", lab.CephOptions{OSDs: 2})
		errs <- err
	}()
	err := errors.Join(<-errs, <-errs, <-errs)
	t.Cleanup(func() {
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
		if stopErr := errors.Join(stops...); stopErr != nil {
			t.Error(stopErr)
		}
	})
	need(t, err)
	need(t, d.ceph.CreateBucket(t.Context(), bucket))
	t.Logf("the services run after %s", time.Since(begun).Round(time.Second))
	for i := range 3 {
		// The same address after each restart: what a balancer in front has in its configuration.
		addr := fmt.Sprintf("127.0.0.1:%d", freePort(t))
		d.nodes = append(d.nodes, harness.Start(t, harness.Options{Env: append(d.settings(i), "HAVN_HTTP_ADDR="+addr)}))
		d.urls = append(d.urls, "http://"+addr)
	}
	return d
}

// settings of the i-th node: each is told of the database's servers in another order.
func (d *deployment) settings(i int) []string {
	return []string{
		"HAVN_DATABASE_ENGINE=mysql", "HAVN_DATABASE_HOSTS=" + strings.Join(d.galera.Hosts(i), ","),
		"HAVN_DATABASE_USER=" + lab.User, "HAVN_DATABASE_PASSWORD=" + lab.Password, "HAVN_DATABASE_NAME=" + lab.Database,
		"HAVN_REDIS_ADDRS=" + strings.Join(d.redis.Addrs(), ","), "HAVN_REDIS_USER=" + lab.User, "HAVN_REDIS_PASSWORD=" + lab.Password,
		"HAVN_STORAGE_DRIVER=s3", "HAVN_STORAGE_S3_ENDPOINT=" + d.ceph.S3Endpoint(), "HAVN_STORAGE_S3_BUCKET=" + bucket,
		"HAVN_STORAGE_S3_ACCESS_KEY=" + lab.S3AccessKey, "HAVN_STORAGE_S3_SECRET_KEY=" + lab.S3SecretKey,
	}
}

// supervise starts nodes that ended by themselves, as a service manager does: one that hung ends when it learns that the others declared it dead.
func (d *deployment) supervise(t *testing.T) {
	t.Helper()
	for i, n := range d.nodes {
		for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			if ended(n) {
				n.Again(t)
				break
			}
			if answers(t, d.urls[i]) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("node %d neither serves nor ends", i)
			}
		}
	}
}

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

// freePort answers a port on which nobody listens, below those that the kernel gives to outgoing connections.
func freePort(t *testing.T) int {
	t.Helper()
	for port := 20000 + os.Getpid()%5000; port < 32000; port++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			need(t, l.Close())
			if !taken[port] {
				taken[port] = true
				return port
			}
		}
	}
	t.Fatal("no port is free")
	return 0
}

var taken = map[int]bool{}
