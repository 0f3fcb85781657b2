package readcache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/blob/readcache"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// patience is how long a test waits for what must come.
const patience = 5 * time.Minute

// thing is an object with its bytes.
type thing struct {
	blob.Object
	data   []byte
	digest oci.Digest
}

// world is a store that is remote, and a cache before it.
type world struct {
	*testing.T
	driver *blobtest.Faulty
	cache  *readcache.Cache
	store  *blob.Store
	config readcache.Config
}

func open(t *testing.T, size int64) *world {
	t.Helper()
	w := &world{T: t, driver: &blobtest.Faulty{Driver: memory.New(time.Now)}}
	w.config = readcache.Config{Dir: t.TempDir(), Size: size, BootID: func() string { return "boot 1" }}
	w.start()
	t.Cleanup(func() {
		if w.cache != nil {
			w.stop()
		}
	})
	return w
}

func (w *world) start() {
	w.Helper()
	var err error
	if w.cache, err = readcache.New(w.config); err != nil {
		w.Fatal(err)
	}
	w.store = blob.NewStore(w.driver, blob.StoreConfig{Cache: w.cache, Stall: patience})
}

func (w *world) stop() {
	w.Helper()
	if err := w.cache.Close(); err != nil {
		w.Error(err)
	}
	w.cache = nil
}

// put writes an object.
func (w *world) put(seed uint64, size int) thing {
	w.Helper()
	data := blobtest.Noise(seed, size)
	o := thing{blob.Object{Name: w.store.NewName(), Size: int64(size)}, data, oci.Sum(oci.SHA256, data)}
	if _, err := w.store.Put(w.Context(), o.Name, o.Size, bytes.NewReader(data)); err != nil {
		w.Fatal(err)
	}
	return o
}

// read reads an object whole, and tells whether it came from a file.
func (w *world) read(ctx context.Context, o thing) (data []byte, local bool, err error) {
	r, err := w.store.OpenCached(ctx, []blob.Object{o.Object}, o.digest)
	if err != nil {
		return nil, false, err
	}
	local = r.File() != nil
	data, err = io.ReadAll(r)
	return data, local, errors.Join(err, r.Close())
}

// want reads an object whole and wants its bytes.
func (w *world) want(o thing) (local bool) {
	w.Helper()
	data, local, err := w.read(w.Context(), o)
	if err != nil || !bytes.Equal(data, o.data) {
		w.Fatalf("%d bytes, %v; want %d", len(data), err, len(o.data))
	}
	return local
}

// keep reads an object and waits until its copy is whole and flushed.
func (w *world) keep(o thing) {
	w.Helper()
	w.idle()
	w.want(o)
	w.eventually("the copy is whole", func() bool {
		_, err := os.Stat(w.cache.Path(o.Object))
		return err == nil
	})
}

func (w *world) eventually(what string, holds func() bool) {
	w.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// idle waits until no copy is being made.
func (w *world) idle() {
	w.Helper()
	w.eventually("nothing is being copied", func() bool {
		_, _, fills := w.cache.Used()
		return fills == 0
	})
}

// files answers the names and the size of all files in a folder of the cache.
func (w *world) files(folder string) (names []string, size int64) {
	w.Helper()
	err := filepath.WalkDir(filepath.Join(w.config.Dir, folder), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			names, size = append(names, path), size+info.Size()
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
	return names, size
}

func TestWhatWasReadOnceComesFromTheLocalDisk(t *testing.T) {
	t.Parallel()
	w := open(t, 10<<20)
	for _, size := range []int{1, 128 << 10, 1<<20 + 1} {
		o := w.put(uint64(size), size)
		w.driver.Gets.Store(0)
		if w.want(o) {
			t.Errorf("%d bytes: there was a copy before it was read", size)
		}
		w.keep(o)
		for range 3 {
			if !w.want(o) {
				t.Errorf("%d bytes: no copy", size)
			}
		}
		if n := w.driver.Gets.Load(); n != 1 {
			t.Errorf("%d bytes: the store was asked %d times", size, n)
		}
	}
	// A blob of several objects is made of their copies.
	a, b := w.put(1, 50_000), w.put(2, 70_000)
	both := append(bytes.Clone(a.data), b.data...)
	for range 2 {
		w.driver.Gets.Store(0)
		r, err := w.store.OpenCached(t.Context(), []blob.Object{a.Object, b.Object}, oci.Sum(oci.SHA256, both))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, both) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		w.idle()
	}
	if n := w.driver.Gets.Load(); n != 0 {
		t.Errorf("the second time the store was asked %d times", n)
	}
}

func TestOneFillHoweverManyAsk(t *testing.T) {
	t.Parallel()
	w := open(t, 100<<20)
	o := w.put(1, 3<<20)
	hold := make(chan struct{})
	slow := &slowDriver{Driver: w.driver.Driver, hold: hold, after: 1 << 20}
	w.driver.Driver = slow
	var all sync.WaitGroup
	const many = 50
	for range many {
		all.Go(func() { w.want(o) })
	}
	w.eventually("all read along", func() bool { return w.cache.Readers(o.Object) == many })
	close(hold)
	all.Wait()
	if n := w.driver.Gets.Load(); n != 1 {
		t.Errorf("the store was asked %d times by %d readers", n, many)
	}
}

// slowDriver holds its readers up after some bytes.
type slowDriver struct {
	blob.Driver
	hold  chan struct{}
	after int64
}

func (d *slowDriver) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	r, err := d.Driver.Get(ctx, name, off, n)
	if err != nil {
		return nil, err
	}
	return &slowReader{ReadCloser: r, ctx: ctx, d: d}, nil
}

type slowReader struct {
	io.ReadCloser
	ctx  context.Context
	d    *slowDriver
	done int64
}

func (r *slowReader) Read(p []byte) (int, error) {
	if r.done >= r.d.after {
		select {
		case <-r.d.hold:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	} else {
		p = p[:min(int64(len(p)), r.d.after-r.done)]
	}
	n, err := r.ReadCloser.Read(p)
	r.done += int64(n)
	return n, err
}

func TestWhoReadsAPartDoesNotWaitForTheWhole(t *testing.T) {
	t.Parallel()
	w := open(t, 100<<20)
	o := w.put(1, 20<<20)
	hold := make(chan struct{})
	w.driver.Driver = &slowDriver{Driver: w.driver.Driver, hold: hold, after: 1 << 20}
	tail := func() {
		t.Helper()
		r, err := w.store.OpenCached(t.Context(), []blob.Object{o.Object}, o.digest)
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Seek(-1000, io.SeekEnd)
		var got []byte
		if err == nil {
			got, err = io.ReadAll(r)
		}
		if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, o.data[len(o.data)-1000:]) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	tail()
	if _, copies, fills := w.cache.Used(); copies+fills != 0 {
		t.Error("a part of the object began its copy")
	}
	var first sync.WaitGroup
	first.Go(func() { w.want(o) })
	w.eventually("one reads it whole", func() bool { return w.cache.Readers(o.Object) == 1 })
	tail()
	close(hold)
	first.Wait()
}

func TestACopyIsGivenUpWhenNobodyReadsIt(t *testing.T) {
	t.Parallel()
	w := open(t, 100<<20)
	o := w.put(1, 20<<20)
	w.driver.Driver = &slowDriver{Driver: w.driver.Driver, hold: make(chan struct{}), after: 1 << 20}
	r, err := w.store.OpenCached(t.Context(), []blob.Object{o.Object}, o.digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = io.ReadFull(r, make([]byte, 1<<20)); err != nil {
		t.Error(err)
	}
	if err = r.Close(); err != nil {
		t.Error(err)
	}
	w.idle()
	if names, _ := w.files(""); len(names) != 2 { // the lock and the boot
		t.Errorf("files are left: %v", names)
	}
	if used, _, _ := w.cache.Used(); used != 0 {
		t.Errorf("%d bytes are taken for used", used)
	}
}

func TestAReaderThatGoesAwayDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	w := open(t, 100<<20)
	o := w.put(1, 20<<20)
	hold := make(chan struct{})
	w.driver.Driver = &slowDriver{Driver: w.driver.Driver, hold: hold, after: 1 << 20}
	ctx, cancel := context.WithCancel(t.Context())
	var first, others sync.WaitGroup
	first.Go(func() {
		if _, _, err := w.read(ctx, o); !errors.Is(err, context.Canceled) {
			t.Errorf("the one that went: %v", err)
		}
	})
	w.eventually("the first reads", func() bool { return w.cache.Readers(o.Object) == 1 })
	for range 5 {
		others.Go(func() { w.want(o) })
	}
	w.eventually("all read", func() bool { return w.cache.Readers(o.Object) == 6 })
	cancel()
	first.Wait()
	close(hold)
	others.Wait()
	if n := w.driver.Gets.Load(); n != 1 {
		t.Errorf("the store was asked %d times", n)
	}
}

func TestWhatIsNotTheObjectIsNotKept(t *testing.T) {
	t.Parallel()
	w := open(t, 10<<20)
	other := w.put(1, 100_000)
	other.digest = oci.Sum(oci.SHA256, []byte("something else"))
	short := w.put(2, 100_000)
	short.Size = 100_001
	if w.want(other) {
		t.Error("it came from a copy")
	}
	if _, _, err := w.read(t.Context(), short); !fail.Is(err, fail.Internal) {
		t.Errorf("an object that is short: %v", err)
	}
	w.idle()
	if names, _ := w.files("copies"); len(names) != 0 {
		t.Errorf("kept: %v", names)
	}
	if w.want(other) {
		t.Error("it came from a copy")
	}
}

func TestAStoreThatFailsIsTheReadersBusiness(t *testing.T) {
	t.Parallel()
	w := open(t, 10<<20)
	o := w.put(1, 1<<20)
	var cut atomic.Bool
	cut.Store(true)
	w.driver.OnGet = func(int64) (int64, error) {
		if !cut.Load() {
			return 0, nil
		}
		return 0, fail.E(fail.Unavailable, nil, "gateway restarts")
	}
	if _, _, err := w.read(t.Context(), o); !fail.Is(err, fail.Unavailable) {
		t.Errorf("%v", err)
	}
	cut.Store(false)
	w.driver.OnGet = nil
	w.keep(o)
	// A break in the middle is mended below the copy.
	p := w.put(2, 1<<20)
	w.driver.OnGet = func(int64) (int64, error) { return 100_000, io.ErrUnexpectedEOF }
	w.keep(p)
	if !w.want(p) {
		t.Error("no copy")
	}
}

func TestADeletedObjectHasNoCopy(t *testing.T) {
	t.Parallel()
	w := open(t, 10<<20)
	o := w.put(1, 1000)
	w.keep(o)
	if err := w.store.Delete(t.Context(), o.Name); err != nil {
		t.Fatal(err)
	}
	if names, _ := w.files("copies"); len(names) != 0 {
		t.Errorf("left: %v", names)
	}
	if _, _, err := w.read(t.Context(), o); !fail.Is(err, fail.Internal) {
		t.Errorf("read: %v", err)
	}
}
