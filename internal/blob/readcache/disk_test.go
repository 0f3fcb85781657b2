package readcache_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/blob/readcache"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// asFiller makes the test binary fill the cache in the directory that it names, until it is killed.
const asFiller = "FILL_CACHE_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asFiller); dir != "" {
		fillUntilKilled(dir)
	}
	os.Exit(m.Run())
}

func TestTheDirectoryIsBoundedAndWhatIsUsedStays(t *testing.T) {
	t.Parallel()
	const limit, size = 1 << 20, 100_000 // room for ten
	w := open(t, limit)
	hot := w.put(0, size)
	w.keep(hot)
	for i := range 40 {
		w.keep(w.put(uint64(i+1), size))
		if !w.want(hot) {
			t.Fatalf("what is read all the time is gone after %d others", i+1)
		}
		if _, on := w.files(""); on > limit+1000 {
			t.Fatalf("%d bytes are on disk, want at most %d", on, limit)
		}
	}
	if used, copies, _ := w.cache.Used(); used > limit || copies < 9 {
		t.Errorf("%d copies of %d bytes", copies, used)
	}
	large := w.put(99, limit/2+1)
	w.want(large)
	w.idle()
	if w.want(large) {
		t.Error("one object took more than half of the directory")
	}
	if !w.want(hot) {
		t.Error("a large object pushed the others out")
	}
}

func TestEvictionDoesNotBreakAReader(t *testing.T) {
	t.Parallel()
	w := open(t, 1<<20)
	o := w.put(1, 300_000)
	w.keep(o)
	r, err := w.store.OpenCached(t.Context(), []blob.Object{o.Object}, o.digest)
	if err != nil || r.File() == nil {
		t.Fatalf("no copy: %v", err)
	}
	got := make([]byte, 1000)
	if _, err = io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		w.keep(w.put(uint64(i+2), 300_000))
	}
	if _, err = os.Stat(w.cache.Path(o.Object)); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("it was not evicted: %v", err)
	}
	rest, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(append(got, rest...), o.data) {
		t.Errorf("%d bytes, %v", len(got)+len(rest), err)
	}
}

func TestADiskThatFailsNeverFailsAPull(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	full := errors.New("no space left on device")
	for name, harm := range map[string]func(*testing.T, *world, thing){
		"full from the start": func(_ *testing.T, w *world, _ thing) { w.cache.OnWrite(func() error { return full }) },
		"full in the middle": func(_ *testing.T, w *world, _ thing) {
			var n atomic.Int64
			w.cache.OnWrite(func() error {
				if n.Add(1) > 3 {
					return full
				}
				return nil
			})
		},
		"its folders are gone": func(t *testing.T, w *world, _ thing) {
			if err := os.RemoveAll(filepath.Join(w.config.Dir, "unfinished")); err != nil {
				t.Fatal(err)
			}
		},
		"copies can't be renamed": func(t *testing.T, w *world, _ thing) {
			if err := os.RemoveAll(filepath.Join(w.config.Dir, "copies")); err != nil {
				t.Fatal(err)
			}
		},
		"a copy is cut": func(t *testing.T, w *world, old thing) {
			if err := os.Truncate(w.cache.Path(old.Object), 10); err != nil {
				t.Fatal(err)
			}
		},
		"a copy is gone": func(t *testing.T, w *world, old thing) {
			if err := os.Remove(w.cache.Path(old.Object)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := open(t, 10<<20)
			w.stop()
			w.config.Clock = func() time.Time { return time.Unix(now.Load(), 0) }
			w.start()
			old, o := w.put(1, 1<<20), w.put(2, 1<<20)
			w.keep(old)
			harm(t, w, old)
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { w.want(o) })
				all.Go(func() { w.want(old) })
			}
			all.Wait()
			w.idle()
			if _, _, fills := w.cache.Used(); fills > 0 {
				t.Error("something is being copied for ever")
			}
		})
	}
}

func TestAFileThatGoesBadUnderAReaderIsLeftForTheStore(t *testing.T) {
	t.Parallel()
	w := open(t, 10<<20)
	o := w.put(1, 1<<20)
	w.keep(o)
	r, err := w.store.OpenCached(t.Context(), []blob.Object{o.Object}, o.digest)
	if err != nil || r.File() == nil {
		t.Fatalf("no copy: %v", err)
	}
	got := make([]byte, 100_000)
	if _, err = io.ReadFull(r, got); err != nil {
		t.Fatal(err)
	}
	if r.LeaveFile() {
		t.Error("a good file is left")
	}
	if err = os.Truncate(w.cache.Path(o.Object), 300_000); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(append(got, rest...), o.data) {
		t.Errorf("%d bytes, %v", len(got)+len(rest), err)
	}
	if r.File() != nil {
		t.Error("the bad file is still offered")
	}
	w.keep(o)
}

func TestAfterAFailureTheDiskIsTriedAgainLater(t *testing.T) {
	t.Parallel()
	w := open(t, 10<<20)
	w.stop()
	var now atomic.Int64
	w.config.Clock = func() time.Time { return time.Unix(now.Load(), 0) }
	w.config.Metrics = prometheus.NewRegistry()
	w.start()
	var tried atomic.Int64
	w.cache.OnWrite(func() error { tried.Add(1); return syscall.ENOSPC })
	o := w.put(1, 1000)
	for range 5 {
		w.want(o)
		w.idle()
	}
	if tried.Load() != 1 {
		t.Errorf("a disk that fails was tried %d times", tried.Load())
	}
	w.cache.OnWrite(func() error { return nil })
	now.Add(60)
	w.keep(o)
}

func TestCopiesOutliveTheProcessButNotAPowerCut(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		orderly, booted bool // ended in order; the machine was started anew
		kept            bool
	}{
		{"ended in order", true, false, true},
		{"killed", false, false, true},
		{"ended in order, machine started anew", true, true, true},
		{"power cut", false, true, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, 10<<20)
			o, p := w.put(1, 100_000), w.put(2, 1000)
			w.keep(o)
			w.keep(p)
			foreign := filepath.Join(w.config.Dir, "copies", "notes.txt")
			half := filepath.Join(w.config.Dir, "unfinished", strings.Repeat("ab", 16)+"-1")
			if c.orderly {
				w.stop()
			} else {
				old, copied := w.config.Dir, t.TempDir()
				if err := os.CopyFS(copied, os.DirFS(old)); err != nil { // as a killed process leaves it
					t.Fatal(err)
				}
				w.stop()
				w.config.Dir = copied
				foreign, half = filepath.Join(copied, "copies", "notes.txt"), filepath.Join(copied, "unfinished", strings.Repeat("ab", 16)+"-1")
			}
			for _, path := range []string{foreign, half} {
				if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if c.booted {
				w.config.BootID = func() string { return "boot 2" }
			}
			w.start()
			for _, one := range []thing{o, p} {
				if local := w.want(one); local != c.kept {
					t.Errorf("%d bytes: from a copy: %v, want %v", one.Size, local, c.kept)
				}
			}
			w.idle()
			if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("what was not finished is left: %v", err)
			}
			if _, err := os.Stat(foreign); err != nil {
				t.Errorf("another's file: %v", err)
			}
		})
	}
}

func TestASmallerDirectoryDropsTheOldest(t *testing.T) {
	t.Parallel()
	w := open(t, 10<<20)
	var all []thing
	for i := range 8 {
		o := w.put(uint64(i), 100_000)
		w.keep(o)
		at := time.Now().Add(time.Duration(i-100) * time.Minute)
		if err := os.Chtimes(w.cache.Path(o.Object), at, at); err != nil {
			t.Fatal(err)
		}
		all = append(all, o)
	}
	w.stop()
	w.config.Size = 350_000
	w.start()
	if _, copies, _ := w.cache.Used(); copies != 3 {
		t.Errorf("%d copies, want 3", copies)
	}
	for i, o := range all {
		_, err := os.Stat(w.cache.Path(o.Object))
		if there := err == nil; there != (i >= 5) {
			t.Errorf("copy %d: there is %v", i, there)
		}
	}
}

func TestOneProcessUsesADirectory(t *testing.T) {
	t.Parallel()
	w := open(t, 10<<20)
	if _, err := readcache.New(w.config); !fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "" {
		t.Errorf("a second process: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readcache.New(readcache.Config{Dir: file, Size: 1}); !fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "" {
		t.Errorf("a file: %v", err)
	}
}

// known is the name of the ith object.
func known(i uint64) string { return "object " + strconv.FormatUint(i, 10) }

// fillUntilKilled copies objects that others know, one after the other, and says so on standard output when one is on disk. That the cache answers a copy is not
// enough: it serves one as soon as it is whole, before it is flushed and renamed.
func fillUntilKilled(dir string) {
	bg := context.Background()
	cache, err := readcache.New(readcache.Config{Dir: dir, Size: 1 << 30})
	if err != nil {
		panic(err)
	}
	for i := uint64(0); ; i++ {
		data := blobtest.Noise(i, 400_000)
		o := blob.Object{Name: known(i), Size: int64(len(data))}
		d := memory.New(time.Now)
		if _, err = d.Put(bg, o.Name, o.Size, bytes.NewReader(data)); err != nil {
			panic(err)
		}
		r, openErr := blob.NewStore(d, blob.StoreConfig{Cache: cache}).OpenCached(bg, []blob.Object{o}, oci.Sum(oci.SHA256, data))
		if openErr != nil {
			panic(openErr)
		}
		if _, err = io.Copy(io.Discard, r); err != nil {
			panic(err)
		}
		if err = r.Close(); err != nil {
			panic(err)
		}
		for err = fs.ErrNotExist; errors.Is(err, fs.ErrNotExist); time.Sleep(time.Millisecond) {
			_, err = os.Stat(cache.Path(o))
		}
		if err != nil {
			panic(err)
		}
		if _, err = os.Stdout.WriteString("."); err != nil {
			os.Exit(1)
		}
	}
}

func TestAKillInTheMiddleLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), asFiller+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		promised := 20 + 7*round
		if _, err = io.ReadFull(out, make([]byte, promised)); err != nil {
			t.Error(err)
		}
		if err = cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		if err = cmd.Wait(); err == nil {
			t.Error("it was not killed")
		}
		cache, err := readcache.New(readcache.Config{Dir: dir, Size: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		kept := 0
		for i := range uint64(200) {
			f := cache.File(blob.Object{Name: known(i), Size: 400_000})
			if f == nil {
				continue
			}
			kept++
			got, readErr := io.ReadAll(f)
			if readErr = errors.Join(readErr, f.Close()); readErr != nil || !bytes.Equal(got, blobtest.Noise(i, 400_000)) {
				t.Errorf("copy %d: %d bytes, %v", i, len(got), readErr)
			}
		}
		if kept < promised {
			t.Errorf("%d copies are left of %d that were on disk", kept, promised)
		}
		if err = cache.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestACacheThatIsClosedIsFree has a child of the process share the lock's file, for the moment between its fork and its program.
func TestACacheThatIsClosedIsFree(t *testing.T) {
	t.Parallel()
	config := readcache.Config{Dir: t.TempDir(), Size: 1 << 20}
	cache, err := readcache.New(config)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := cache.ShareLock()
	if err != nil {
		t.Fatal(err)
	}
	if err = cache.Close(); err != nil {
		t.Fatal(err)
	}
	if cache, err = readcache.New(config); err == nil {
		err = cache.Close()
	}
	if err = errors.Join(err, syscall.Close(shared)); err != nil {
		t.Error(err)
	}
}

// TestManyReadersOfManyObjectsInATightDirectory is for the race detector: readers of all kinds, evictions, deletions and a disk and a store that fail now and then.
func TestManyReadersOfManyObjectsInATightDirectory(t *testing.T) {
	t.Parallel()
	w := open(t, 1<<20)
	w.stop()
	w.config.Clock = func() time.Time { return time.Unix(0, ticks.Add(int64(time.Second))) } // so that a failure is forgotten soon
	w.start()
	var objects []thing
	for i := range 20 {
		objects = append(objects, w.put(uint64(i), 10_000+i*9_000))
	}
	w.driver.OnGet = func(n int64) (int64, error) {
		if n%5 == 0 {
			return 5_000, io.ErrUnexpectedEOF
		}
		return 0, nil
	}
	var writes atomic.Int64
	w.cache.OnWrite(func() error {
		if writes.Add(1)%50 == 0 {
			return syscall.EIO
		}
		return nil
	})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for range 150 {
				o := objects[random.IntN(len(objects))]
				switch random.IntN(10) {
				case 0:
					w.cache.Forget(o.Name)
				case 1:
					part(w, o, int64(random.IntN(len(o.data))))
				default:
					w.want(o)
				}
			}
		})
	}
	all.Wait()
	w.idle()
	used, _, _ := w.cache.Used()
	names, on := w.files("copies")
	if used > 1<<20 || on > used {
		t.Errorf("%d files of %d bytes, taken for %d", len(names), on, used)
	}
	if names, _ = w.files("unfinished"); len(names) != 0 {
		t.Errorf("not finished: %v", names)
	}
}

var ticks atomic.Int64

// part reads from an offset and goes away in the middle.
func part(w *world, o thing, off int64) {
	w.Helper()
	r, err := w.store.OpenCached(w.Context(), []blob.Object{o.Object}, o.digest)
	if err != nil {
		w.Error(err)
		return
	}
	n := (o.Size - off + 1) / 2
	got := make([]byte, n)
	if _, err = r.Seek(off, io.SeekStart); err == nil {
		_, err = io.ReadFull(r, got)
	}
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, o.data[off:off+n]) {
		w.Errorf("a part: %v", err)
	}
}
