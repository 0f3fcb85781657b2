package parts

import (
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
)

// Part is a piece of a stream, held until it is released. Several readers may read it at once.
type Part struct {
	Number int   // from 1
	Size   int64 // bytes
	Last   bool  // the stream ends with it

	pool  *Pool
	owner *Cutter
	sent  atomic.Int64 // bytes that a body gave out, those of further tries not counted again

	// Readers hold mu, so that the memory is not another stream's under their hands.
	mu     sync.RWMutex
	gone   bool // released
	chunks []int
	inMem  int64    // bytes that are in chunks; the rest is in the file
	file   *os.File // nil: all is in memory
}

// Body answers a reader of the part from its beginning. It may be read by two at once: net/http can go on reading a body for a moment after its request failed, while
// the next try has begun. Each of them then gets too few bytes, and never wrong ones in their place.
func (p *Part) Body() io.ReadSeeker { return &body{part: p, in: io.NewSectionReader(p, 0, p.Size)} }

type body struct {
	part *Part
	mu   sync.Mutex
	in   *io.SectionReader
	at   int64
}

// Read reads on.
func (b *body) Read(to []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	n, err := b.in.Read(to)
	if b.at += int64(n); n > 0 {
		b.part.went(b.at)
	}
	return n, err
}

// swallowed is how much of a part, at most half of it, buffers on the way may take though nobody takes it from there.
const swallowed = 1 << 20

// went notes that a part was sent up to a byte. What is sent again says nothing new: it goes into the buffers of another connection.
func (p *Part) went(to int64) {
	was := p.sent.Load()
	if to <= was || !p.sent.CompareAndSwap(was, to) {
		return
	}
	p.owner.moved()
	if to > min(swallowed, p.Size/2) {
		p.pool.moves.Add(1)
	}
}

// Seek moves to where the next byte is read.
func (b *body) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, err := b.in.Seek(offset, whence)
	if err == nil {
		b.at = at
	}
	return at, err
}

// ReadAt reads a piece of the part. When the part is released it fails with os.ErrClosed.
func (p *Part) ReadAt(b []byte, off int64) (int, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.gone {
		return 0, os.ErrClosed
	}
	n := 0
	for n < len(b) && off < p.Size {
		var m int
		if off < p.inMem {
			in := p.pool.chunk(p.chunks[off/chunkBytes])
			m = copy(b[n:], in[off%chunkBytes:min(chunkBytes, p.inMem-off/chunkBytes*chunkBytes)])
		} else {
			var err error
			m, err = p.file.ReadAt(b[n:min(int64(len(b)), int64(n)+p.Size-off)], off-p.inMem)
			if err != nil && (!errors.Is(err, io.EOF) || m == 0) {
				return n + m, err
			}
		}
		n, off = n+m, off+int64(m)
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// Release gives the part's memory back. Parts that were given to Send are released there.
func (p *Part) Release() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gone = true
	p.pool.give(p.owner, p.chunks)
	p.chunks = nil
	var err error
	if p.file != nil {
		err = p.file.Close()
		p.file = nil
	}
	return err
}

// room answers where the next bytes go: a piece of memory, or nil where they go to the file.
func (p *Part) room() []byte {
	if p.file != nil {
		return nil
	}
	used := p.inMem % chunkBytes
	if used == 0 && p.inMem == int64(len(p.chunks))*chunkBytes {
		i := p.pool.take(p.owner, p.owner.busy())
		if i < 0 {
			return nil
		}
		p.chunks = append(p.chunks, i)
	}
	return p.pool.chunk(p.chunks[len(p.chunks)-1])[used:]
}
