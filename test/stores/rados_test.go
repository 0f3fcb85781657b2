//go:build rados

package stores

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	librados "github.com/ceph/go-ceph/rados"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/blob/rados"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

const (
	stripe      = 1 << 20
	erasurePool = "erasure"
	everyPool   = "everypool" // a user who may use all pools
)

var everyKey string

// radosCeph answers a Ceph of three OSDs without a gateway. A test that breaks some of it does not run in parallel with others, and leaves it whole.
func radosCeph(t *testing.T) *lab.Ceph {
	t.Helper()
	pools.once.Do(func() {
		ctx := context.Background()
		if pools.ceph, pools.err = lab.StartCeph(ctx, "", lab.CephOptions{OSDs: 3, NoGateway: true}); pools.err != nil {
			return
		}
		if pools.err = pools.ceph.CreateErasurePool(ctx, erasurePool); pools.err == nil {
			everyKey, pools.err = pools.ceph.CreateUser(ctx, everyPool, "mon", "allow r", "osd", "allow rw")
		}
	})
	need(t, pools.err)
	return pools.ceph
}

// radosConfig is a driver's on a namespace of its own.
func radosConfig(t *testing.T, c *lab.Ceph) rados.Config {
	t.Helper()
	key, err := os.ReadFile(c.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool, err := parts.NewPool(16<<20, t.TempDir(), 16)
	if err != nil {
		t.Fatal(err)
	}
	return rados.Config{
		Monitors: c.Monitors, User: lab.CephUser, Key: strings.TrimSpace(string(key)), Pool: lab.CephPool, Namespace: fmt.Sprintf("suite-%d", prefixes.Add(1)),
		StripeBytes: stripe, Parts: pool, Dir: t.TempDir(), Clock: time.Now,
	}
}

// pooled remembers where a driver keeps its objects.
type pooled struct {
	*rados.Driver
	config rados.Config
}

func openRADOS(t *testing.T, c rados.Config) pooled {
	t.Helper()
	d, err := rados.New(t.Context(), c)
	need(t, err)
	t.Cleanup(d.Close)
	return pooled{d, c}
}

func TestRADOSPassesTheSuite(t *testing.T) {
	c := radosCeph(t)
	for name, change := range map[string]func(*rados.Config){
		"Copies":       func(*rados.Config) {},
		"ErasureCodes": func(c *rados.Config) { c.Pool, c.User, c.Key = erasurePool, everyPool, everyKey },
		"Prefix":       func(c *rados.Config) { c.Prefix, c.Namespace = fmt.Sprintf("suite/%d", prefixes.Add(1)), "" },
	} {
		t.Run(name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blob.Driver {
				config := radosConfig(t, c)
				change(&config)
				return openRADOS(t, config)
			}, func(t *testing.T, d blob.Driver) blob.Driver {
				before, ok := d.(pooled)
				if !ok {
					t.Fatalf("driver %T", d)
				}
				return openRADOS(t, before.config)
			})
		})
	}
}

// bare answers what librados itself sees of a driver's objects.
func bare(t *testing.T, config rados.Config) *librados.IOContext {
	t.Helper()
	conn, err := librados.NewConnWithClusterAndUser("ceph", "client."+config.User)
	if err != nil {
		t.Fatal(err)
	}
	// librados waits for ever by itself.
	for option, value := range map[string]string{"mon_host": config.Monitors, "key": config.Key, "rados_osd_op_timeout": "15"} {
		if err = conn.SetConfigOption(option, value); err != nil {
			t.Fatal(err)
		}
	}
	if err = conn.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Shutdown)
	in, err := conn.OpenIOContext(config.Pool)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(in.Destroy)
	in.SetNamespace(config.Namespace)
	return in
}

// namesIn lists what is there, and asks again: OSDs that were killed and frozen a moment ago may keep one that asks waiting.
func namesIn(t *testing.T, in *librados.IOContext) (names []string) {
	t.Helper()
	for try := range 8 {
		names = nil
		err := in.ListObjects(func(name string) { names = append(names, name) })
		if err == nil {
			return names
		}
		t.Logf("list the pool, time %d: %v", try+1, err)
	}
	t.Fatal("the pool can't be listed")
	return nil
}

func put(t *testing.T, d blob.Driver, data []byte) string {
	t.Helper()
	name := blobtest.Store(d).NewName()
	if w, err := d.Put(t.Context(), name, -1, bytes.NewReader(data)); err != nil || w.Size != int64(len(data)) {
		t.Fatalf("%d bytes written: %v", w.Size, err)
	}
	return name
}

func readsBack(t *testing.T, d blob.Driver, name string, want []byte) {
	t.Helper()
	r, err := d.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Error(err)
		return
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}

// TestRADOSKeepsTheBytesOfAnObjectAsTheyAre reads what DESIGN.md says that a tool would find.
func TestRADOSKeepsTheBytesOfAnObjectAsTheyAre(t *testing.T) {
	config := radosConfig(t, radosCeph(t))
	d, in := openRADOS(t, config), bare(t, config)
	small, large := blobtest.Noise(1, 1000), blobtest.Noise(2, 3*stripe+5)
	name := put(t, d, small)
	got := make([]byte, 2000)
	if n, err := in.Read(name, got, 0); err != nil || !bytes.Equal(got[:n], small) {
		t.Errorf("%d bytes, %v", n, err)
	}
	name = put(t, d, large)
	var whole []byte
	pieces := 0
	for i := range 4 {
		for _, piece := range namesIn(t, in) {
			if strings.HasPrefix(piece, name+"#") && strings.HasSuffix(piece, fmt.Sprintf("#%08d", i)) {
				b := make([]byte, 2*stripe)
				n, err := in.Read(piece, b, 0)
				if err != nil {
					t.Fatal(err)
				}
				whole, pieces = append(whole, b[:n]...), pieces+1
			}
		}
	}
	if pieces != 4 || !bytes.Equal(whole, large) {
		t.Errorf("%d pieces with %d bytes", pieces, len(whole))
	}
	if err := d.Delete(t.Context(), name); err != nil {
		t.Error(err)
	}
	if left := namesIn(t, in); len(left) != 1 {
		t.Errorf("after the delete: %q", left)
	}
}

func TestAWriteToRADOSThatBreaksOffLeavesNothing(t *testing.T) {
	config := radosConfig(t, radosCeph(t))
	d, in := openRADOS(t, config), bare(t, config)
	cause := errors.New("cable cut")
	body := io.MultiReader(bytes.NewReader(blobtest.Noise(1, 12*stripe)), brokenReader{cause})
	if _, err := d.Put(t.Context(), blobtest.Store(d).NewName(), -1, body); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	if left := namesIn(t, in); len(left) != 0 {
		t.Errorf("%d RADOS objects are left: %q", len(left), left)
	}
}

func TestStripesOfDeadWritersToRADOSAreTidiedUp(t *testing.T) {
	config := radosConfig(t, radosCeph(t))
	d, in := openRADOS(t, config), bare(t, config)
	store := blobtest.Store(d)
	data := blobtest.Noise(3, 3*stripe)
	kept, lost := put(t, d, data), put(t, d, data)
	// What a crash leaves before the head is made, and what a hanging OSD writes when the object was made by another try.
	if err := in.Delete(lost); err != nil {
		t.Fatal(err)
	}
	late := kept + "#another#00000001"
	for _, name := range []string{late, "somebody-elses#x#00000000"} {
		if err := in.Write(name, []byte("x"), 0); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := store.Tidy(t.Context(), time.Now().Add(-time.Hour), blobtest.NoneKnown); err != nil || n != 0 {
		t.Errorf("young stripes: %d gone, %v", n, err)
	}
	if n, err := store.Tidy(t.Context(), time.Now().Add(time.Hour), blobtest.NoneKnown); err != nil || n != 2 {
		t.Errorf("old stripes: %d gone, %v", n, err)
	}
	readsBack(t, d, kept, data)
	for _, name := range namesIn(t, in) {
		if name == late || strings.HasPrefix(name, lost+"#") {
			t.Errorf("%s is left", name)
		}
	}
	// Who writes the lost object still is refused, not acknowledged without his stripes.
	if _, err := d.Put(t.Context(), lost, -1, bytes.NewReader(data)); !fail.Is(err, fail.Exists) {
		t.Errorf("error %v", err)
	}
	if n, err := store.Tidy(t.Context(), time.Now().Add(time.Hour), blobtest.NoneKnown); err != nil || n != 0 {
		t.Errorf("once more: %d gone, %v", n, err)
	}
}

// TestAListOfRADOSIsGoneOnWith takes a list in parts, as the sweep does.
func TestAListOfRADOSIsGoneOnWith(t *testing.T) {
	d := openRADOS(t, radosConfig(t, radosCeph(t)))
	want := map[string]bool{}
	for i := range 100 {
		want[put(t, d, []byte{byte(i)})] = true
	}
	gone := ""
	for after, n := "", 0; ; n = 0 {
		for info, err := range d.List(t.Context(), after) {
			if err != nil {
				t.Fatal(err)
			}
			if info.Name <= after || !want[info.Name] {
				t.Fatalf("%s behind %s", info.Name, after)
			}
			delete(want, info.Name)
			after = info.Name
			if n++; n == 7 {
				break
			}
		}
		if n < 7 {
			break
		}
		if gone == "" { // what goes meanwhile is not listed
			for name := range want {
				gone = max(gone, name)
			}
			delete(want, gone)
			if err := d.Delete(t.Context(), gone); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(want) != 0 {
		t.Errorf("%d objects were not listed", len(want))
	}
}

// TestRADOSOutlivesItsDaemons kills OSDs and the monitor, and freezes an OSD, under writes and reads that see nothing of it.
func TestRADOSOutlivesItsDaemons(t *testing.T) {
	c := radosCeph(t)
	d := openRADOS(t, radosConfig(t, c))
	var stop atomic.Bool
	var written atomic.Int64
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for round := 0; !stop.Load(); round++ {
				data := blobtest.Noise(uint64(i), 6*stripe)
				copy(data, fmt.Sprintf("%d of %d", round, i))
				name := blobtest.Store(d).NewName()
				if _, err := d.Put(t.Context(), name, -1, bytes.NewReader(data)); err != nil {
					t.Errorf("write %d of %d: %v", round, i, err)
					return
				}
				readsBack(t, d, name, data)
				if err := d.Delete(t.Context(), name); err != nil {
					t.Error(err)
				}
				written.Add(1)
			}
		})
	}
	for name, fault := range map[string]func() error{
		"an OSD is killed":     func() error { return c.OSDs[0].Restart(t.Context()) },
		"another":              func() error { return c.OSDs[1].Restart(t.Context()) },
		"the monitor is":       func() error { return c.Monitor.Restart(t.Context()) },
		"an OSD hangs for 3 s": func() error { return hang(c.OSDs[2], 3*time.Second) },
	} {
		progress(t, &written, 3)
		began := time.Now()
		if err := fault(); err != nil {
			t.Fatal(err)
		}
		progress(t, &written, 1)
		t.Logf("%s: %s", name, time.Since(began).Round(10*time.Millisecond))
	}
	stop.Store(true)
	all.Wait()
	t.Logf("%d objects", written.Load())
}

func hang(d *lab.CephDaemon, long time.Duration) error {
	if err := d.Pause(); err != nil {
		return err
	}
	time.Sleep(long)
	return d.Resume()
}

// progress waits until a number has grown.
func progress(t *testing.T, n *atomic.Int64, by int64) {
	t.Helper()
	for want, deadline := n.Load()+by, time.Now().Add(patience); n.Load() < want; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nothing goes on")
		}
	}
}

// TestRADOSThatHangsIsNotWaitedForForEver freezes all OSDs: whoever waits is let go by his context, or by Ceph's time-out, and when they are back all is as before.
func TestRADOSThatHangsIsNotWaitedForForEver(t *testing.T) {
	c := radosCeph(t)
	config := radosConfig(t, c)
	config.Patience = 2 * time.Second
	d := openRADOS(t, config)
	small, large := []byte("small"), blobtest.Noise(4, 8*stripe)
	there := put(t, d, large)
	for _, o := range c.OSDs {
		if err := o.Pause(); err != nil {
			t.Fatal(err)
		}
	}
	for name, do := range map[string]func(context.Context) error{
		"stat":   func(ctx context.Context) error { _, err := d.Stat(ctx, there); return err },
		"delete": func(ctx context.Context) error { return d.Delete(ctx, there) },
		"get":    func(ctx context.Context) error { _, err := d.Get(ctx, there, 0, -1); return err },
		"put": func(ctx context.Context) error {
			_, err := d.Put(ctx, blobtest.Store(d).NewName(), -1, bytes.NewReader(small))
			return err
		},
		"put of stripes": func(ctx context.Context) error {
			_, err := d.Put(ctx, blobtest.Store(d).NewName(), -1, bytes.NewReader(large))
			return err
		},
		"list": func(ctx context.Context) error {
			for _, err := range d.List(ctx, "") {
				return err
			}
			return nil
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		began := time.Now()
		err := do(ctx)
		cancel()
		// A write that broke off looks for what it has left.
		if took := time.Since(began); err == nil || took > 8*time.Second {
			t.Errorf("%s: %v after %s", name, err, took)
		}
	}
	began := time.Now()
	_, err := d.Put(t.Context(), blobtest.Store(d).NewName(), -1, bytes.NewReader(small))
	if !fail.Is(err, fail.Unavailable) || !strings.Contains(fail.HintOf(err), "do not answer") || time.Since(began) > 20*time.Second {
		t.Errorf("%v (%s) after %s", err, fail.HintOf(err), time.Since(began))
	}
	for _, o := range c.OSDs {
		if err = o.Resume(); err != nil {
			t.Fatal(err)
		}
	}
	readsBack(t, d, put(t, d, large), large)
}

func TestAPoolThatIsFullSaysSo(t *testing.T) {
	c := radosCeph(t)
	config := radosConfig(t, c)
	d, in := openRADOS(t, config), bare(t, config)
	there := put(t, d, blobtest.Noise(5, 3*stripe))
	if err := c.SetFull(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1000, 3 * stripe} {
		var err error
		// The OSDs and librados hear of it from the monitor a moment later.
		for end := time.Now().Add(time.Minute); err == nil && time.Now().Before(end); {
			name := blobtest.Store(d).NewName()
			if _, err = d.Put(t.Context(), name, -1, bytes.NewReader(blobtest.Noise(6, size))); err == nil {
				need(t, d.Delete(t.Context(), name))
			}
		}
		if !fail.Is(err, fail.Exhausted) || !strings.Contains(fail.HintOf(err), "full") {
			t.Errorf("%d bytes: %v (%s)", size, err, fail.HintOf(err))
		}
	}
	if err := d.Delete(t.Context(), there); err != nil {
		t.Errorf("delete in a full pool: %v", err)
	}
	if err := c.SetFull(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if left := namesIn(t, in); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
	// Each OSD hears of it by itself too, and the tests that follow need them all.
	const everywhere = 20
	for fine, end := 0, time.Now().Add(time.Minute); fine < everywhere; {
		_, err := d.Put(t.Context(), blobtest.Store(d).NewName(), -1, strings.NewReader("room again"))
		switch {
		case err == nil:
			fine++
		case !fail.Is(err, fail.Exhausted) || time.Now().After(end):
			t.Fatal(err)
		default:
			fine = 0
		}
	}
}

func TestWhatIsWrongWithAPoolIsSaid(t *testing.T) {
	t.Parallel()
	c := radosCeph(t)
	readOnly, err := c.CreateUser(t.Context(), "readonly", "mon", "allow r", "osd", "allow r pool="+lab.CephPool)
	need(t, err)
	need(t, c.CreatePool(t.Context(), "foreign"))
	garbage := filepath.Join(t.TempDir(), "ceph.conf")
	if err = os.WriteFile(garbage, []byte("[global\nmon_host"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]struct {
		change     func(*rados.Config)
		text, hint string
	}{
		"wrong key":      {func(c *rados.Config) { c.Key = everyKey }, "EACCES", "ceph auth get client.havn"},
		"no such user":   {func(c *rados.Config) { c.User = "nobody" }, "connect as client.nobody", "ceph auth get client.nobody"},
		"key of no form": {func(c *rados.Config) { c.Key = "not-base64!" }, "", "storage.rados.key"},
		"no key":         {func(c *rados.Config) { c.Key, c.Keyring = "", "/nowhere/keyring" }, "", "storage.rados.keyring"},
		"absent pool":    {func(c *rados.Config) { c.Pool = "absent" }, "no such pool", "ceph osd pool create absent"},
		"foreign pool":   {func(c *rados.Config) { c.Pool = "foreign" }, "write an object", "osd 'allow rw pool=foreign"},
		"read-only":      {func(c *rados.Config) { c.User, c.Key = "readonly", readOnly }, "write an object", "ceph auth caps client.readonly"},
		"dead monitor":   {func(c *rados.Config) { c.Monitors = "127.0.0.1:1" }, "", "no monitor answers"},
		"silent monitor": {func(c *rados.Config) { c.Monitors = strings.TrimPrefix(silent(t), "http://") }, "", "no monitor answers"},
		"no such host":   {func(c *rados.Config) { c.Monitors = "nowhere.invalid" }, "", "storage.rados.monitors"},
		"no monitors":    {func(c *rados.Config) { c.Monitors = ""; c.ConfigFile = "/nowhere/ceph.conf" }, "/nowhere/ceph.conf", "storage.rados.config_file"},
		"garbage":        {func(c *rados.Config) { c.Monitors = ""; c.ConfigFile = garbage }, "", "storage.rados"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := radosConfig(t, c)
			bad.change(&config)
			began := time.Now()
			d, newErr := rados.New(t.Context(), config)
			if newErr == nil {
				d.Close()
				t.Fatal("no error")
			}
			if !strings.Contains(newErr.Error(), bad.text) || !strings.Contains(fail.HintOf(newErr), bad.hint) {
				t.Errorf("error %v\nhint %s", newErr, fail.HintOf(newErr))
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("it took %s", took)
			}
			t.Logf("%v → %s", newErr, fail.HintOf(newErr))
		})
	}
}

// TestRADOSIsReadByManyAtOnce has more readers than there are buffers to read ahead with, each half way, and all of them to their ends.
func TestRADOSIsReadByManyAtOnce(t *testing.T) {
	d := openRADOS(t, radosConfig(t, radosCeph(t)))
	want := blobtest.Noise(7, 5*stripe+77)
	name := put(t, d, want)
	var halves, all sync.WaitGroup
	const readers = 100
	halves.Add(readers)
	for range readers {
		all.Go(func() {
			r, err := d.Get(t.Context(), name, 0, -1)
			if err != nil {
				t.Error(err)
				halves.Done()
				return
			}
			half := make([]byte, len(want)/2)
			_, err = io.ReadFull(r, half)
			halves.Done()
			halves.Wait()
			rest, restErr := io.ReadAll(r)
			if err = errors.Join(err, restErr, r.Close()); err != nil || !bytes.Equal(append(half, rest...), want) {
				t.Errorf("%d + %d bytes, %v", len(half), len(rest), err)
			}
		})
	}
	all.Wait()
	readsBack(t, d, name, want)
}

// TestWhatRADOSReadsAheadIsNotInGosHeap: its soft limit is less than all buffers, and the collector would run all the time, also when nobody reads any more.
func TestWhatRADOSReadsAheadIsNotInGosHeap(t *testing.T) {
	d := openRADOS(t, radosConfig(t, radosCeph(t)))
	const readers, most = 6, 8 << 20
	data := blobtest.Noise(7, 16<<20)
	name := put(t, d, data)
	before := heap()
	var open []io.Closer
	for range readers {
		r, err := d.Get(t.Context(), name, 0, -1)
		need(t, err)
		_, err = io.ReadFull(r, make([]byte, len(data)/2))
		need(t, err)
		open = append(open, r)
	}
	if grown := heap() - before; grown > most {
		t.Errorf("%d readers half way: %d MiB more in the heap", readers, grown>>20)
	}
	for _, r := range open {
		need(t, r.Close())
	}
	if grown := heap() - before; grown > most {
		t.Errorf("when nobody reads: %d MiB more in the heap", grown>>20)
	}
	runtime.KeepAlive(data)
}

// TestRADOSIsClosedWhileReadsAreOnTheirWay: readers leave in the middle, and their reads are not over when the driver is closed, as when a node stops.
func TestRADOSIsClosedWhileReadsAreOnTheirWay(t *testing.T) {
	config := radosConfig(t, radosCeph(t))
	name := put(t, openRADOS(t, config), blobtest.Noise(8, 16<<20))
	for range 30 {
		d, err := rados.New(t.Context(), config)
		need(t, err)
		for range 4 {
			r, getErr := d.Get(t.Context(), name, 0, -1)
			need(t, getErr)
			need(t, r.Close())
		}
		d.Close()
	}
}

// heap answers the bytes of what lives in Go's heap.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
