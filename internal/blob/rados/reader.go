//go:build rados

package rados

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/havn-registry/havn/internal/blob/arena"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// pieceBytes is what is read at once. aheadMost pieces of one reader are on their way or wait to be taken, as long as there are buffers: aheadBuffers of them for
	// all readers. One that gets none reads pieces of leastPiece, one at a time.
	pieceBytes   = 1 << 20
	aheadMost    = 8
	aheadBuffers = 48
	leastPiece   = 128 << 10
)

// buffers are what all readers share, outside Go's heap: its soft limit is less than they are.
type buffers struct {
	mu      sync.Mutex
	memory  []byte
	free    [][]byte // the last used ones at the end
	readers int
	used    bool // since the memory was given back
}

func newBuffers() (*buffers, error) {
	memory, err := arena.Reserve(aheadBuffers * pieceBytes)
	if err != nil {
		return nil, fail.E(fail.Unavailable, err, "reserve %d bytes of memory for reading ahead", aheadBuffers*pieceBytes)
	}
	b := &buffers{memory: memory}
	for piece := range slices.Chunk(memory, pieceBytes) {
		b.free = append(b.free, piece)
	}
	return b, nil
}

// take answers a buffer for a reader that holds so many; nil if there is none for it.
func (b *buffers) take(held int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	last := len(b.free) - 1
	if last < 0 || held >= max(1, aheadBuffers/max(1, b.readers)) {
		return nil
	}
	buffer := b.free[last]
	b.free, b.used = b.free[:last], true
	return buffer
}

// give takes a buffer back.
func (b *buffers) give(buffer []byte) {
	if len(buffer) != pieceBytes {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, buffer)
	b.rest()
}

// count says that there are so many readers more.
func (b *buffers) count(readers int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readers += readers
	b.rest()
}

// rest lets the machine have the memory when nobody reads.
func (b *buffers) rest() {
	if b.used && b.readers == 0 && len(b.free) == aheadBuffers {
		b.used = false
		arena.GiveBack(b.memory)
	}
}

// piece is one read on its way. Two hold it: the call that fills it, and the reader; the last one to let go gives its buffer back.
type piece struct {
	buffer []byte
	want   int
	let    atomic.Int32
	done   chan struct{}
	n      int
	err    error
}

func (d *Driver) letGo(p *piece) {
	if p.let.Add(1) == 2 {
		d.ahead.give(p.buffer)
	}
}

// reader reads an object in pieces, some of them ahead. It is not safe for concurrent use.
type reader struct {
	d      *Driver
	ctx    context.Context
	cancel context.CancelFunc
	object string
	head   head
	next   int64 // where the next piece begins
	end    int64
	pieces []*piece // in order; the first is being read from at
	at     int
	closed bool
}

func (d *Driver) newReader(ctx context.Context, object string, h head, off, end int64) *reader {
	d.ahead.count(1)
	ctx, cancel := context.WithCancel(ctx)
	r := &reader{d: d, ctx: ctx, cancel: cancel, object: object, head: h, next: off, end: end}
	r.fill()
	return r
}

// fill asks for pieces, as many as there are buffers for.
func (r *reader) fill() {
	for len(r.pieces) < aheadMost && r.next < r.end {
		if left := r.end - r.next; len(r.pieces) == 0 && left <= leastPiece {
			r.ask(make([]byte, left))
			return
		}
		buffer := r.d.ahead.take(len(r.pieces))
		if buffer == nil {
			if len(r.pieces) == 0 {
				r.ask(make([]byte, leastPiece))
			}
			return
		}
		r.ask(buffer)
	}
}

// ask begins to read the next piece.
func (r *reader) ask(buffer []byte) {
	name, off, room := r.object, r.next, min(r.end-r.next, int64(len(buffer)))
	if r.head.stripe > 0 {
		name, off = stripeName(r.object, r.head.mark, r.next/r.head.stripe), r.next%r.head.stripe
		room = min(room, r.head.stripe-off)
	}
	p := &piece{buffer: buffer, want: int(room), done: make(chan struct{})}
	r.pieces = append(r.pieces, p)
	r.next += int64(p.want)
	go func() { // it ends when its call does, which Ceph's time-outs bound; before its turn, when the reader is closed
		defer r.d.letGo(p)
		defer close(p.done)
		select {
		case r.d.reads <- struct{}{}:
		case <-r.ctx.Done():
			p.err = r.ctx.Err()
			return
		}
		defer func() { <-r.d.reads }()
		p.n, p.err = r.d.io.Read(r.d.name(name), p.buffer[:p.want], uint64(off))
	}()
}

// Read reads on.
func (r *reader) Read(b []byte) (int, error) {
	if r.closed {
		return 0, fail.E(fail.Internal, nil, "read object %s: the reader is closed", r.object)
	}
	if len(r.pieces) == 0 {
		if r.fill(); len(r.pieces) == 0 {
			return 0, io.EOF
		}
	}
	p := r.pieces[0]
	select {
	case <-p.done:
	case <-r.ctx.Done():
		return 0, r.ctx.Err()
	}
	if p.err != nil {
		return 0, r.broke(p.err)
	}
	n := copy(b, p.buffer[r.at:p.n])
	r.at += n
	switch {
	case r.at < p.n:
	case p.n < p.want: // it is shorter than its head says: who reads it knows how long it should be
		r.next = r.end
		r.drop()
	default:
		r.pieces, r.at = r.pieces[1:], 0
		r.d.letGo(p)
		r.fill()
	}
	if n == 0 && len(b) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// broke says what is wrong with a piece.
func (r *reader) broke(err error) error {
	err = r.d.failed(err, "read object %s", r.object)
	if fail.Is(err, fail.NotFound) && r.head.stripe > 0 {
		return fail.E(fail.Internal, err, "damaged: a stripe of object %s is not in the pool", r.object).Hint("the pool lost data, or the object is being deleted: push the blob again")
	}
	return err
}

func (r *reader) drop() {
	for _, p := range r.pieces {
		r.d.letGo(p)
	}
	r.pieces, r.at = nil, 0
}

// Close ends the reader. Reads on their way end by themselves.
func (r *reader) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.cancel()
	r.drop()
	r.d.ahead.count(-1)
	return nil
}
