package parts

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/havn-registry/havn/internal/blob/arena"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// chunkBytes is what a stream takes from the pool at a time: little enough for many small objects, and enough for few system calls.
	chunkBytes = 256 << 10
	// filePrefix begins the names of files that hold parts, for the moment that they have one.
	filePrefix = "part-"
)

// Pool is the memory of all streams, and the directory for what does not fit. It is safe for concurrent use.
type Pool struct {
	dir   string
	slots chan struct{} // parts that are being sent
	moves atomic.Int64  // rises while the store takes parts, whosever they are
	kept  atomic.Int64  // bytes that keepers have in files

	mu     sync.Mutex
	memory []byte // outside Go's heap, where the platform can: its limit and its collector are not for this
	free   []int  // chunks that nobody holds, the last used ones on top
	total  int
	held   map[*Cutter]int // chunks by stream, of those that hold any
	used   bool            // since the memory was given back
}

// NewPool makes a pool of so many bytes, which spills into files in a directory that is made when it is needed. At most sends parts are sent at
// once. What a process that died left in the directory is removed: no other may use it. "" is the machine's own directory for temporary files, which all share.
func NewPool(bytes int64, dir string, sends int) (*Pool, error) {
	if dir != "" {
		if err := tidy(dir); err != nil {
			return nil, err
		}
	}
	n := int(bytes / chunkBytes)
	memory, err := arena.Reserve(n * chunkBytes)
	if err != nil {
		return nil, fail.E(fail.Unavailable, err, "reserve %d bytes of memory for parts of uploads", n*chunkBytes)
	}
	p := &Pool{dir: dir, slots: make(chan struct{}, sends), memory: memory, total: n, held: map[*Cutter]int{}}
	for i := n - 1; i >= 0; i-- {
		p.free = append(p.free, i)
	}
	return p, nil
}

// tidy removes the files that had a name when their process died.
func tidy(dir string) error {
	left, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail.E(fail.Unavailable, err, "directory for parts of uploads %s", dir)
	}
	for _, f := range left {
		if !strings.HasPrefix(f.Name(), filePrefix) {
			continue
		}
		if err = os.Remove(filepath.Join(dir, f.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fail.E(fail.Unavailable, err, "remove what an earlier process left in %s", dir)
		}
	}
	return nil
}

// take answers a chunk for a stream, or -1. A busy one, which has parts on their way and so gets memory back by itself, takes no more than its share, and
// leaves an eighth to newcomers.
func (p *Pool) take(c *Cutter, busy bool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free)
	if n == 0 || busy && p.held[c] >= (p.total-p.total/8)/max(1, len(p.held)) {
		return -1
	}
	chunk := p.free[n-1]
	p.free, p.used = p.free[:n-1], true
	p.held[c]++
	return chunk
}

// give takes chunks back. When all are back, their memory goes back to the machine.
func (p *Pool) give(c *Cutter, chunks []int) {
	if len(chunks) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, chunks...)
	if p.held[c] -= len(chunks); p.held[c] == 0 {
		delete(p.held, c)
	}
	if p.used && len(p.free) == p.total {
		p.used = false
		arena.GiveBack(p.memory)
	}
}

func (p *Pool) chunk(i int) []byte {
	return p.memory[i*chunkBytes : (i+1)*chunkBytes : (i+1)*chunkBytes]
}

// file makes a file that is gone when it is closed, or when the process ends.
func (p *Pool) file() (*os.File, error) {
	f, err := os.CreateTemp(p.dir, filePrefix)
	if errors.Is(err, os.ErrNotExist) {
		if err = os.MkdirAll(p.dir, 0o700); err == nil {
			f, err = os.CreateTemp(p.dir, filePrefix)
		}
	}
	if err == nil {
		if err = os.Remove(f.Name()); err != nil {
			err = errors.Join(err, f.Close())
		}
	}
	if err != nil {
		return nil, spillFailed(err, p.dir)
	}
	return f, nil
}

func spillFailed(err error, dir string) error {
	kind := fail.Unavailable
	if isFull(err) {
		kind = fail.Exhausted
	}
	return fail.E(kind, err, "keep a part of an upload in %s", dir).Hint("parts that do not fit in memory wait there: free space, or mend the directory")
}
