//go:build rados

package stores

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// radosEnv is a server's configuration on a namespace of its own.
func radosEnv(c *lab.Ceph, more ...string) []string {
	return append([]string{
		"HAVN_STORAGE_DRIVER=rados", "HAVN_STORAGE_RADOS_POOL=" + lab.CephPool, "HAVN_STORAGE_RADOS_USER=" + lab.CephUser, "HAVN_STORAGE_RADOS_KEY_FILE=" + c.KeyFile,
		"HAVN_STORAGE_RADOS_MONITORS=" + c.Monitors, fmt.Sprintf("HAVN_STORAGE_RADOS_NAMESPACE=served-%d", prefixes.Add(1)),
	}, more...)
}

func TestHavnServesFromRADOS(t *testing.T) {
	serves(t, radosEnv(radosCeph(t)))
}

// TestPushesToRADOSOutliveItsDaemons kills OSDs and the monitor under pushes: they wait, and no client sees it.
func TestPushesToRADOSOutliveItsDaemons(t *testing.T) {
	c := radosCeph(t)
	s := harness.Start(t, harness.Options{Env: radosEnv(c, "HAVN_STORAGE_RADOS_STRIPE_SIZE=1MiB")})
	var stop atomic.Bool
	var pushed atomic.Int64
	var all sync.WaitGroup
	var mu sync.Mutex
	var kept [][]byte
	for i := range 4 {
		all.Go(func() {
			cl := newClient(t, s)
			for round := 0; !stop.Load(); round++ {
				data := blobtest.Noise(uint64(i), 5<<20)
				copy(data, fmt.Sprintf("%d of %d", round, i))
				if err := cl.push(t, "stores/faults", data, round%2 == 0); err != nil {
					t.Errorf("push %d of pusher %d: %v", round, i, err)
					return
				}
				mu.Lock()
				if len(kept) < 20 {
					kept = append(kept, data)
				}
				mu.Unlock()
				pushed.Add(1)
			}
		})
	}
	for _, daemon := range []*lab.CephDaemon{c.OSDs[0], c.Monitor, c.OSDs[1]} {
		progress(t, &pushed, 3)
		if err := daemon.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	progress(t, &pushed, 3)
	stop.Store(true)
	all.Wait()
	cl := newClient(t, s)
	for _, data := range kept {
		cl.pull(t, "stores/faults", data)
	}
	t.Logf("%d pushes", pushed.Load())
}

func TestMemoryStaysFlatUnderManyUploadsToRADOS(t *testing.T) {
	flat(t, radosEnv(radosCeph(t)), mostMemory)
}

// TestMemoryStaysFlatUnderLargeUploadsToRADOS pushes what is cut into stripes, as fast as it goes: librados has copies of what is on its way.
func TestMemoryStaysFlatUnderLargeUploadsToRADOS(t *testing.T) {
	s := harness.Start(t, harness.Options{Env: radosEnv(radosCeph(t))})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			c := newClient(t, s)
			data := blobtest.Noise(uint64(i), 64<<20)
			for range 2 {
				data[0]++
				if err := c.push(t, "stores/large", data, i%2 == 0); err != nil {
					t.Error(err)
				}
				c.pull(t, "stores/large", data)
			}
		})
	}
	all.Wait()
	peak := peakMemory(t, s.PID())
	t.Logf("%d MiB of memory at most", peak>>20)
	if peak > mostMemory {
		t.Errorf("%d MiB of memory, more than %d", peak>>20, int64(mostMemory)>>20)
	}
}

func TestStartAndDoctorSayWhatIsWrongWithRADOS(t *testing.T) {
	t.Parallel()
	c := radosCeph(t)
	for name, bad := range map[string]struct {
		env   []string
		words []string
	}{
		"no such user": {[]string{"HAVN_STORAGE_RADOS_USER=nobody"}, []string{"connect as client.nobody", "ceph auth get client.nobody"}},
		"absent pool":  {[]string{"HAVN_STORAGE_RADOS_POOL=absent"}, []string{"no such pool", "ceph osd pool create absent"}},
		"dead monitor": {[]string{"HAVN_STORAGE_RADOS_MONITORS=127.0.0.1:1"}, []string{"no monitor answers", "storage.rados.monitors"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			refusesToStart(t, radosEnv(c, bad.env...), bad.words...)
		})
	}
}

func TestUsersCanCheckTheirPool(t *testing.T) {
	c := radosCeph(t)
	env := radosEnv(c)
	if code, _ := storeCheck(t, env); code != 0 {
		t.Errorf("exit code %d", code)
	}
	config := radosConfig(t, c)
	config.Namespace = env[len(env)-1][len("HAVN_STORAGE_RADOS_NAMESPACE="):]
	if left := namesIn(t, bare(t, config)); len(left) != 0 {
		t.Errorf("%d RADOS objects are left: %q", len(left), left)
	}
}
