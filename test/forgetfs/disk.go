package forgetfs

import (
	"maps"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"
)

// pageSize is the unit in which bytes are kept and forgotten.
const pageSize = 4096

// page holds the bytes of a page. It is never changed: a write makes a new one, so that what is flushed and what is not can share pages.
type page *[pageSize]byte

// disk is the state: what programs see, and what was flushed.
type disk struct {
	// flushTime is how long each flush takes, so that a cut finds some under way, and who answers before the flush is over is caught.
	flushTime time.Duration

	mu   sync.Mutex
	dead bool // after the cut, until restore
	fail int  // flushes of files that fail from now on
	next uint64
	root *inode
}

// inode is a file or a directory. Everything but flushing is guarded by disk.mu.
type inode struct {
	id       uint64
	mode     uint32 // with the type
	uid, gid uint32
	changed  time.Time
	links    uint32

	// flushing is held by a flush of this inode: a second one must cover what the first has under way.
	flushing sync.Mutex

	seen, kept   image             // of a file
	dirty        map[int64]bool    // pages in which seen and kept may differ
	names, known map[string]*inode // of a directory: as seen, and as flushed
}

// image is the bytes of a file. Absent pages are zeros.
type image struct {
	size  int64
	pages map[int64]page
}

func newDisk(flushTime time.Duration) *disk {
	d := &disk{flushTime: flushTime}
	d.root = d.make(syscall.S_IFDIR | 0o755)
	return d
}

// make makes an inode without a name.
func (d *disk) make(mode uint32) *inode {
	d.next++
	i := &inode{id: d.next, mode: mode, changed: time.Now()}
	if i.isDir() {
		i.names, i.known = map[string]*inode{}, map[string]*inode{}
	} else {
		i.seen.pages, i.kept.pages, i.dirty = map[int64]page{}, map[int64]page{}, map[int64]bool{}
	}
	return i
}

func (i *inode) isDir() bool { return i.mode&syscall.S_IFMT == syscall.S_IFDIR }

// read answers the bytes from off that are there, at most len(dest).
func (i *inode) read(dest []byte, off int64) int {
	n := int(max(0, min(int64(len(dest)), i.seen.size-off)))
	for done := 0; done < n; {
		number, in := (off+int64(done))/pageSize, (off+int64(done))%pageSize
		part := dest[done:min(n, done+pageSize-int(in))]
		if p := i.seen.pages[number]; p != nil {
			copy(part, p[in:])
		} else {
			clear(part)
		}
		done += len(part)
	}
	return n
}

// write puts bytes at off.
func (i *inode) write(data []byte, off int64) {
	for done := 0; done < len(data); {
		number, in := (off+int64(done))/pageSize, (off+int64(done))%pageSize
		done += copy(i.fresh(number)[in:], data[done:])
	}
	i.seen.size = max(i.seen.size, off+int64(len(data)))
	i.changed = time.Now()
}

// fresh answers a copy of a page that may be written now.
func (i *inode) fresh(number int64) page {
	p := new([pageSize]byte)
	if old := i.seen.pages[number]; old != nil {
		*p = *old
	}
	i.seen.pages[number] = p
	i.dirty[number] = true
	return p
}

// truncate sets the size.
func (i *inode) truncate(size int64) {
	if size < i.seen.size {
		for number := range i.seen.pages {
			if number*pageSize >= size {
				delete(i.seen.pages, number)
				i.dirty[number] = true
			}
		}
		if in := size % pageSize; in != 0 && i.seen.pages[size/pageSize] != nil {
			clear(i.fresh(size / pageSize)[in:])
		}
	}
	i.seen.size = size
	i.changed = time.Now()
}

// flush makes durable what the inode held when it was called: bytes and size of a file, names of a directory. What it had reached at a cut is lost.
func (d *disk) flush(i *inode) syscall.Errno {
	i.flushing.Lock()
	defer i.flushing.Unlock()

	d.mu.Lock()
	names, size := maps.Clone(i.names), i.seen.size
	pages := make(map[int64]page, len(i.dirty))
	for number := range i.dirty {
		pages[number] = i.seen.pages[number]
	}
	d.mu.Unlock()

	time.Sleep(d.flushTime)

	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return syscall.EIO
	}
	if i.isDir() {
		i.known = names
		return 0
	}
	if d.fail > 0 {
		// As on Linux: what could not be written counts as written from now on, and only writing it again makes another flush try.
		d.fail--
		for number, p := range pages {
			if i.seen.pages[number] == p {
				delete(i.dirty, number)
			}
		}
		return syscall.EIO
	}
	for number, p := range pages {
		i.kept.set(number, p)
		if i.seen.pages[number] == p {
			delete(i.dirty, number)
		}
	}
	i.kept.resize(size)
	return 0
}

func (m *image) set(number int64, p page) {
	if p == nil {
		delete(m.pages, number)
		return
	}
	m.pages[number] = p
}

// resize sets the size and forgets pages beyond it.
func (m *image) resize(size int64) {
	m.size = size
	for number := range m.pages {
		if number*pageSize >= size {
			delete(m.pages, number)
		}
	}
}

// cut ends everything: from now on each operation is refused and no flush completes.
func (d *disk) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.dead = true
}

// failNext lets the next flushes of files fail.
func (d *disk) failNext(n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = n
}

// restore goes back to what was flushed. Of the rest, each page, size and name has survived by luck with the probability luck, for a
// real disk may have written any part of it.
func (d *disk) restore(luck float64, seed uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	source := rand.New(rand.NewPCG(seed, 0))
	d.root.restore(luck, source, map[*inode]bool{})
	d.dead, d.fail = false, 0
}

func (i *inode) restore(luck float64, source *rand.Rand, done map[*inode]bool) {
	if done[i] {
		i.links++
		return
	}
	done[i] = true
	i.links = 1
	lucky := func() bool { return luck > 0 && source.Float64() < luck }
	if !i.isDir() {
		for number := range i.dirty {
			if lucky() {
				i.kept.set(number, i.seen.pages[number])
			}
		}
		size := i.kept.size
		if lucky() {
			size = i.seen.size
		}
		i.kept.resize(size)
		i.seen = image{size, maps.Clone(i.kept.pages)}
		clear(i.dirty)
		return
	}
	for name, now := range i.names {
		if i.known[name] != now && lucky() {
			i.known[name] = now
		}
	}
	for name := range i.known {
		if i.names[name] == nil && lucky() {
			delete(i.known, name)
		}
	}
	i.names = maps.Clone(i.known)
	for _, child := range i.names {
		child.restore(luck, source, done)
	}
}
