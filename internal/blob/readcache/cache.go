package readcache

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/oci"
)

const (
	// maxCopies bounds the memory that knows the copies: about 200 bytes each.
	maxCopies = 100_000
	// maxFills bounds how many copies are made at once: each holds a buffer and a connection to the store. Beyond it, reads go to the store.
	maxFills = 32
	// largest is the share of the directory that one object may take, as a divisor: one huge blob must not push all others out.
	largest = 2
	// block is what the shortest file takes on disk.
	block = 4096
	// sulk is how long nothing is copied after the disk failed.
	sulk = 30 * time.Second
	// remember is how old the note on disk, when a copy was read last, may become: the order after a restart is that good.
	remember = time.Hour
)

// Config says where copies are kept. Dir and Size are required.
type Config struct {
	Dir     string
	Size    int64 // bytes that the copies may take in all
	Log     *slog.Logger
	Clock   func() time.Time
	Metrics prometheus.Registerer // nil: none
	BootID  func() string         // what is different after each start of the machine; nil: asks Linux
}

// Cache is a blob.Cache. It is safe for concurrent use.
type Cache struct {
	cfg     Config
	lock    *os.File
	ctx     context.Context // ends with the cache
	stop    context.CancelFunc
	running sync.WaitGroup
	metrics *metrics
	write   func(f *os.File, p []byte, off int64) (int, error) // (*os.File).WriteAt; tests alone change it

	mu      sync.Mutex
	copies  map[key]*list.Element // of *entry
	order   *list.List            // read last comes first
	fills   map[key]*fill
	used    int64     // bytes of the copies and of those that are made
	filling int64     // bytes of those that are made
	begun   int64     // number of fills, for the names of their files
	until   time.Time // nothing is copied before: the disk failed
	closed  bool
}

// key is an object's name, as the name of its copy: names of objects are of any form, names of files are not.
type key [16]byte

func keyOf(name string) key {
	sum := sha256.Sum256([]byte(name))
	return key(sum[:len(key{})])
}

func (k key) String() string { return hex.EncodeToString(k[:]) }

// entry is a whole copy on disk.
type entry struct {
	key   key
	size  int64
	noted time.Time // the file's time: about when it was read last
}

// room is what a file of a size takes.
func room(size int64) int64 { return max(size+block-1, block) / block * block }

// File opens the copy of an object, if there is a whole one. See blob.Cache.
func (c *Cache) File(o blob.Object) *os.File {
	k := keyOf(o.Name)
	f, path, note := c.find(k, o.Size)
	if path != "" {
		f = c.open(k, path, o.Size)
	}
	if f == nil {
		return nil
	}
	if note {
		now := c.cfg.Clock()
		if err := os.Chtimes(path, now, now); err != nil {
			c.cfg.Log.Debug("read cache: note the last use", "error", err)
		}
	}
	c.metrics.hit.Inc()
	return f
}

// open opens a copy that was there a moment ago. One that is not what it should be is dropped.
func (c *Cache) open(k key, path string, size int64) *os.File {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		c.lose(k) // unless it went just now to make room, somebody else took it
		return nil
	}
	if err == nil {
		info, statErr := f.Stat()
		if statErr == nil && info.Size() == size {
			return f
		}
		err = errors.Join(statErr, fmt.Errorf("the copy of an object of %d bytes is damaged", size), f.Close())
	}
	c.failed("open a copy", err)
	c.lose(k)
	return nil
}

// find answers the path of a copy, and whether it is time to note its use on disk. One that is whole and not flushed yet is opened at once, before it is renamed.
func (c *Cache) find(k key, size int64) (f *os.File, path string, note bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if filling := c.fills[k]; filling != nil {
		if !filling.whole() || filling.object.Size != size {
			return nil, "", false
		}
		opened, err := os.Open(filling.path)
		if err != nil {
			c.failedLocked("open a copy", err)
			return nil, "", false
		}
		return opened, "", false
	}
	at := c.copies[k]
	if at == nil || c.entry(at).size != size {
		return nil, "", false
	}
	c.order.MoveToFront(at)
	e, now := c.entry(at), c.cfg.Clock()
	if note = now.Sub(e.noted) > remember; note {
		e.noted = now
	}
	return nil, c.path(k), note
}

func (c *Cache) entry(at *list.Element) *entry {
	e, ok := at.Value.(*entry)
	if !ok {
		panic("readcache: the list holds something else")
	}
	return e
}

// Read reads an object from its copy, or from one that is made meanwhile. See blob.Cache.
func (c *Cache) Read(ctx context.Context, o blob.Object, digest oci.Digest, off int64, source func(context.Context) io.ReadCloser) io.ReadCloser {
	if f := c.File(o); f != nil {
		if _, err := f.Seek(off, io.SeekStart); err == nil {
			return &whole{f, o.Size - off}
		}
		c.close(f)
	}
	f, first := c.fill(o, digest, off)
	switch {
	case f == nil:
		c.metrics.through.Inc()
		return nil
	case first:
		c.metrics.filled.Inc()
		c.running.Go(func() { f.run(source) })
	default:
		c.metrics.followed.Inc()
	}
	return &follower{fill: f, ctx: ctx, pos: off}
}

// whole reads a copy. What can't be read of it is no error of the object.
type whole struct {
	file *os.File
	left int64
}

// Read reads on.
func (w *whole) Read(p []byte) (int, error) {
	n, err := w.file.Read(p)
	w.left -= int64(n)
	if err != nil && (!errors.Is(err, io.EOF) || w.left > 0) {
		err = blob.ErrNoCopy
	}
	return n, err
}

// Close closes the file.
func (w *whole) Close() error { return w.file.Close() }

// fill joins the making of a copy, or begins one: first. It answers nil if the store is to be read.
func (c *Cache) fill(o blob.Object, digest oci.Digest, off int64) (f *fill, first bool) {
	c.mu.Lock()
	if f = c.fills[keyOf(o.Name)]; f != nil {
		defer c.mu.Unlock()
		if f.object.Size != o.Size || !f.join(off) {
			return nil, false
		}
		return f, false
	}
	f, victims := c.start(o, digest, off)
	c.mu.Unlock()
	c.remove(victims)
	return f, f != nil
}

// start begins a copy, and answers those that go for it. The lock is held.
func (c *Cache) start(o blob.Object, digest oci.Digest, off int64) (*fill, []*entry) {
	size := room(o.Size)
	switch {
	case off != 0: // whoever begins in the middle wants a part: the whole may be much more
		return nil, nil
	case c.closed, len(c.fills) >= maxFills, c.cfg.Clock().Before(c.until), size > c.cfg.Size/largest, c.filling+size > c.cfg.Size:
		return nil, nil
	}
	f, err := c.begin(o, digest)
	if err != nil {
		c.failedLocked("begin a copy", err)
		return nil, nil
	}
	c.fills[f.key] = f
	c.filling += size
	c.used += size
	return f, c.shrink()
}

// shrink takes out the copies that are too much. The lock is held.
func (c *Cache) shrink() (victims []*entry) {
	for c.order.Len() > 0 && (c.used > c.cfg.Size || c.order.Len()+len(c.fills) > maxCopies) {
		victims = append(victims, c.take(c.order.Back()))
		c.metrics.evicted.Inc()
	}
	return victims
}

// take takes a copy out of the list. The lock is held.
func (c *Cache) take(at *list.Element) *entry {
	e := c.entry(at)
	c.order.Remove(at)
	delete(c.copies, e.key)
	c.used -= room(e.size)
	return e
}

// remove deletes the files of copies that were taken out. Whoever reads one keeps it until he closes it. What can't be deleted goes on taking its room. The lock is
// not held: it takes a while for large files. If the object was copied again meanwhile, that copy goes too, and is missed when it is opened.
func (c *Cache) remove(victims []*entry) {
	for _, e := range victims {
		if err := os.Remove(c.path(e.key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.mu.Lock()
			c.used += room(e.size)
			c.failedLocked("delete a copy", err)
			c.mu.Unlock()
		}
	}
}

// Forget drops the copy of an object that is deleted, also one that is being made. See blob.Cache.
func (c *Cache) Forget(name string) {
	k := keyOf(name)
	c.mu.Lock()
	f := c.fills[k]
	c.mu.Unlock()
	if f != nil {
		f.cancel()
	}
	c.lose(k)
}

// lose drops a whole copy.
func (c *Cache) lose(k key) {
	c.mu.Lock()
	var victims []*entry
	if at := c.copies[k]; at != nil {
		victims = append(victims, c.take(at))
	}
	c.mu.Unlock()
	c.remove(victims)
}

// failed notes that the disk failed: for a while nothing is copied, so that a broken disk costs nothing.
func (c *Cache) failed(what string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failedLocked(what, err)
}

func (c *Cache) failedLocked(what string, err error) {
	c.metrics.failed.Inc()
	now := c.cfg.Clock()
	if now.Before(c.until) {
		return // said already
	}
	c.until = now.Add(sulk)
	c.cfg.Log.Warn("read cache: the disk fails; blobs come from the store meanwhile", "step", what, "error", err, "pause", sulk)
}

func (c *Cache) close(f io.Closer) {
	if err := f.Close(); err != nil {
		c.failed("close", err)
	}
}

// Close ends the copies that are being made and says that all others are whole and flushed. Readers must be gone.
func (c *Cache) Close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.stop()
	c.running.Wait()
	return errors.Join(c.markClean(), c.unlock())
}

type metrics struct {
	hit, followed, filled, through, evicted, failed, wrong prometheus.Counter
}

func (c *Cache) newMetrics(reg prometheus.Registerer) *metrics {
	reads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "havn_read_cache_reads_total", Help: "Objects read: from a whole copy, from one that was being made, making one, or from the store.",
	}, []string{"result"})
	m := &metrics{
		hit: reads.WithLabelValues("hit"), followed: reads.WithLabelValues("follow"), filled: reads.WithLabelValues("fill"), through: reads.WithLabelValues("store"),
		evicted: prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_read_cache_evicted_total", Help: "Copies that went to make room."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_read_cache_errors_total", Help: "Errors of the read cache's disk."}),
		wrong:   prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_read_cache_wrong_total", Help: "Copies thrown away because their size or digest was not the object's."}),
	}
	gauge := func(name, help string, of func() float64) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			c.mu.Lock()
			defer c.mu.Unlock()
			return of()
		})
	}
	if reg != nil {
		reg.MustRegister(reads, m.evicted, m.failed, m.wrong,
			gauge("havn_read_cache_bytes", "Bytes that the copies take, with those that are made.", func() float64 { return float64(c.used) }),
			gauge("havn_read_cache_objects", "Whole copies.", func() float64 { return float64(c.order.Len()) }))
	}
	return m
}
