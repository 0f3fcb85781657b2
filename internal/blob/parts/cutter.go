package parts

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// vouchEvery is how often the source of parts that wait for their turn is told that others' move.
const vouchEvery = time.Second

// spillBuffer is one write to a file. Each slow client that writes to one has such a buffer.
const spillBuffer = 32 << 10

var spillBuffers = sync.Pool{New: func() any { b := make([]byte, spillBuffer); return &b }}

// mover is a source that wants to know that what was read from it moves, or waits while the store takes other parts: see blob.Moved.
type mover interface{ Moved() }

// Cutter cuts one stream. It is not safe for concurrent use.
type Cutter struct {
	pool *Pool
	from io.Reader
	size int64 // of a part
	hint int64 // how many bytes are to come, -1 if unknown

	number int
	taken  int64
	ended  bool
	ahead  []byte // a byte that was read to see whether there is one

	waiting atomic.Int64 // parts that wait for their turn

	mu     sync.Mutex
	out    int           // parts that are being sent
	freed  chan struct{} // one of them is back
	closed error         // of releasing
}

// Cut begins to cut a stream into parts of so many bytes, the last one of fewer. hint is how long the stream is thought to be, -1 for unknown.
func (p *Pool) Cut(from io.Reader, hint, partBytes int64) *Cutter {
	return &Cutter{pool: p, from: from, size: partBytes, hint: hint, freed: make(chan struct{}, 1)}
}

// Next answers the next part. The first one may be empty; behind the last comes io.EOF. An error of the stream is answered as it is.
func (c *Cutter) Next(ctx context.Context) (*Part, error) {
	if c.ended && c.number > 0 {
		return nil, io.EOF
	}
	p := &Part{pool: c.pool, owner: c}
	if err := c.fill(ctx, p); err != nil {
		return nil, errors.Join(err, p.Release())
	}
	if p.Size == 0 && c.number > 0 {
		if err := p.Release(); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	c.number++
	p.Number, p.Last = c.number, c.ended
	return p, nil
}

func (c *Cutter) fill(ctx context.Context, p *Part) error {
	for p.Size < c.size && !c.ended {
		if err := ctx.Err(); err != nil {
			return err
		}
		to := p.room()
		var err error
		if to == nil {
			if c.await(ctx) {
				continue
			}
			err = c.spill(p)
		} else {
			var n int
			n, err = c.read(to[:min(int64(len(to)), c.size-p.Size)])
			p.Size, p.inMem = p.Size+int64(n), p.inMem+int64(n)
		}
		if err != nil {
			return err
		}
	}
	// The end of a stream whose length is known is seen before its last part is sent, so that one of a single part is known to be one.
	if !c.ended && c.hint >= 0 && c.taken >= c.hint {
		var one [1]byte
		n, err := c.read(one[:])
		c.taken -= int64(n)
		c.ahead = append(c.ahead, one[:n]...)
		return err
	}
	return nil
}

// read reads on, and notes the end, which is no error here.
func (c *Cutter) read(b []byte) (int, error) {
	if len(c.ahead) > 0 {
		n := copy(b, c.ahead)
		c.ahead, c.taken = c.ahead[n:], c.taken+int64(n)
		return n, nil
	}
	n, err := c.from.Read(b)
	c.taken += int64(n)
	if err == io.EOF { // itself: an error that wraps it is a stream that broke off
		c.ended = true
		return n, nil
	}
	return n, err
}

// spill reads on into the part's file.
func (c *Cutter) spill(p *Part) error {
	if p.file == nil {
		f, err := c.pool.file()
		if err != nil {
			return err
		}
		p.file = f
	}
	buf, ok := spillBuffers.Get().(*[]byte)
	if !ok {
		return errors.New("pool of buffers")
	}
	defer spillBuffers.Put(buf)
	n, err := c.read((*buf)[:min(spillBuffer, c.size-p.Size)])
	if n > 0 {
		if _, writeErr := p.file.Write((*buf)[:n]); writeErr != nil {
			return spillFailed(writeErr, c.pool.dir)
		}
		p.Size += int64(n)
	}
	return err
}

// busy reports whether parts of the stream are on their way.
func (c *Cutter) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out > 0
}

// await waits until a part of this stream was sent, if one is on its way: then its memory can be had.
func (c *Cutter) await(ctx context.Context) bool {
	if !c.busy() {
		return false
	}
	select {
	case <-c.freed:
	case <-ctx.Done():
	}
	return true
}

// moved tells the source.
func (c *Cutter) moved() {
	if m, ok := c.from.(mover); ok {
		m.Moved()
	}
}

// vouch tells the source of parts that wait for their turn that the store takes others', until the context ends. However many wait, it is not the store that hangs.
func (c *Cutter) vouch(ctx context.Context) {
	if _, ok := c.from.(mover); !ok {
		return
	}
	tick := time.NewTicker(vouchEvery)
	defer tick.Stop()
	for seen := c.pool.moves.Load(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if now := c.pool.moves.Load(); now != seen {
			if seen = now; c.waiting.Load() > 0 {
				c.moved()
			}
		}
	}
}

// Send sends a part that Next answered, and those behind it, with up to width at once, and answers the number of bytes when all were sent. After an
// error, the stream's or send's own, none is under way any more. A source with a method Moved is told when bytes of its parts go out, and that others' do while its own wait.
func (c *Cutter) Send(ctx context.Context, first *Part, width int, send func(context.Context, *Part) error) (int64, error) {
	stoppable, stop := context.WithCancel(ctx)
	var vouching sync.WaitGroup
	vouching.Go(func() { c.vouch(stoppable) })
	defer vouching.Wait()
	defer stop()
	group, inner := errgroup.WithContext(stoppable)
	group.SetLimit(width)
	var sum int64
	var readErr error
	for p := first; readErr == nil; {
		sum += p.Size
		c.begin()
		sent := p
		group.Go(func() error { return c.one(inner, sent, send) })
		p, readErr = c.Next(inner)
	}
	whole := readErr == io.EOF //nolint:errorlint // Next's own word
	if !whole && inner.Err() == nil {
		stop()
		return 0, errors.Join(readErr, ignoreCancelled(group.Wait()))
	}
	if err := errors.Join(group.Wait(), c.closed); err != nil {
		return 0, err
	}
	if !whole { // given up between two parts, when all that were cut had been sent
		return 0, readErr
	}
	return sum, nil
}

// ignoreCancelled drops the errors of parts that were stopped because the stream broke off.
func ignoreCancelled(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (c *Cutter) begin() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out++
}

// one sends one part when it is the node's turn for one more.
func (c *Cutter) one(ctx context.Context, p *Part, send func(context.Context, *Part) error) error {
	defer c.end(p)
	if err := c.turn(ctx); err != nil {
		return err
	}
	defer func() { <-c.pool.slots }()
	if err := send(ctx, p); err != nil {
		return fmt.Errorf("part %d: %w", p.Number, err)
	}
	c.pool.moves.Add(1)
	c.moved()
	return nil
}

// turn waits for the node's turn.
func (c *Cutter) turn(ctx context.Context) error {
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	select {
	case c.pool.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Cutter) end(p *Part) {
	err := p.Release()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out--
	c.closed = errors.Join(c.closed, err)
	select {
	case c.freed <- struct{}{}:
	default:
	}
}
