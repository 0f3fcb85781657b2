package readcache

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/oci"
)

const (
	// chunk is one read from the store and one write to the disk.
	chunk = 128 << 10
	// ahead is how far behind a copy's end a reader may join it; one further off would wait for bytes that the store has at once.
	ahead = 8 << 20
	// cheap is how much a copy may lack that is finished though nobody reads it any more.
	cheap = 8 << 20
)

// fill makes one copy. It belongs to its goroutine and to those who read along.
type fill struct {
	cache  *Cache
	key    key
	object blob.Object
	digest oci.Digest
	path   string
	ctx    context.Context
	cancel context.CancelFunc
	file   *os.File // closed by the last who uses it

	mu      sync.Mutex
	n       int64 // bytes that can be read
	state   state
	users   int           // the goroutine and the readers
	waiting chan struct{} // closed when n or state changes; nil if nobody waits
}

type state int

const (
	copying state = iota
	complete
	broken
)

// begin makes the file. The cache's lock is held.
func (c *Cache) begin(o blob.Object, digest oci.Digest) (*fill, error) {
	k := keyOf(o.Name)
	c.begun++
	path := c.unfinished(k, c.begun)
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, fileMode)
	if err != nil {
		return nil, err
	}
	f := &fill{cache: c, key: k, object: o, digest: digest, path: path, file: file, users: 2}
	f.ctx, f.cancel = context.WithCancel(c.ctx)
	return f, nil
}

// join adds a reader, unless the copy is no help to him.
func (f *fill) join(off int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.state == broken || off > f.n+ahead || f.ctx.Err() != nil {
		return false
	}
	f.users++
	return true
}

func (f *fill) whole() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == complete
}

// leave takes a user away. The last one closes the file; a copy that nobody reads goes on only if little is missing.
func (f *fill) leave() error {
	f.mu.Lock()
	f.users--
	last := f.users == 0
	missing := f.object.Size - f.n
	if f.users == 1 && f.state == copying && missing > max(cheap, f.n) {
		f.cancel()
	}
	f.mu.Unlock()
	if !last {
		return nil
	}
	return f.file.Close()
}

func (f *fill) set(n int64, s state) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.n, f.state = n, s
	if f.waiting != nil {
		close(f.waiting)
		f.waiting = nil
	}
}

// run makes the copy: 1. the bytes, into a file in the folder of what is not finished; 2. checked: it serves from now on; 3. flushed; 4. renamed to where copies
// are. A crash leaves a file in the first folder, which the next start empties, or after 4 a copy that is whole on disk.
func (f *fill) run(source func(context.Context) io.ReadCloser) {
	c := f.cache
	defer f.cancel()
	err := f.copy(source)
	if err == nil {
		f.set(f.object.Size, complete)
		err = onDisk(f.file.Sync())
	} else {
		f.set(0, broken)
	}
	var disk *diskError
	if errors.As(err, &disk) {
		c.failed("make a copy", err)
	}
	c.finish(f, err == nil)
	if err = f.leave(); err != nil {
		c.failed("close a copy", err)
	}
}

// finish moves a copy to where copies are, or takes it away.
func (c *Cache) finish(f *fill, good bool) {
	size := room(f.object.Size)
	c.mu.Lock()
	delete(c.fills, f.key)
	c.filling -= size
	if good = good && f.ctx.Err() == nil; good {
		if err := os.Rename(f.path, c.path(f.key)); err != nil {
			c.failedLocked("rename a copy", err)
			good = false
		} else {
			c.copies[f.key] = c.order.PushFront(&entry{f.key, f.object.Size, c.cfg.Clock()})
		}
	}
	if !good {
		c.used -= size
	}
	c.mu.Unlock()
	if good {
		return
	}
	if err := os.Remove(f.path); err != nil {
		c.failed("delete an unfinished copy", err)
	}
}

// diskError is an error of the cache's own disk.
type diskError struct{ error }

// Unwrap answers the error itself.
func (e *diskError) Unwrap() error { return e.error }

func onDisk(err error) error {
	if err == nil {
		return nil
	}
	return &diskError{err}
}

// copy reads the object and checks it.
func (f *fill) copy(source func(context.Context) io.ReadCloser) (err error) {
	in := source(f.ctx)
	defer func() { err = errors.Join(err, in.Close()) }()
	var sum hash.Hash
	if !f.digest.IsZero() {
		sum = f.digest.Algorithm().New()
	}
	buf := make([]byte, chunk)
	var n int64
	for {
		m, readErr := in.Read(buf)
		if m > 0 {
			if n+int64(m) > f.object.Size {
				n += int64(m)
				break
			}
			if _, err = f.cache.write(f.file, buf[:m], n); err != nil {
				return onDisk(err)
			}
			if sum != nil {
				sum.Write(buf[:m])
			}
			n += int64(m)
			f.set(n, copying)
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return readErr
		}
	}
	if n != f.object.Size {
		f.cache.metrics.wrong.Inc()
		return fmt.Errorf("object %s is not of %d bytes", f.object.Name, f.object.Size)
	}
	if sum == nil {
		return nil
	}
	if got := oci.FromHash(f.digest.Algorithm(), sum); got != f.digest {
		f.cache.metrics.wrong.Inc()
		f.cache.cfg.Log.Error("an object in the blob store has other bytes than its digest says", "object", f.object.Name, "digest", f.digest.String(), "is", got.String())
		return fmt.Errorf("object %s is %s", f.object.Name, got)
	}
	return nil
}

// follower reads a copy that is being made.
type follower struct {
	fill *fill
	ctx  context.Context
	pos  int64
}

// Read waits for bytes that are still to come.
func (r *follower) Read(p []byte) (int, error) {
	f := r.fill
	n, s, err := f.await(r.ctx, r.pos)
	switch {
	case err != nil:
		return 0, err
	case s == broken:
		return 0, blob.ErrNoCopy
	case r.pos >= n:
		return 0, io.EOF
	}
	m, err := f.file.ReadAt(p[:min(int64(len(p)), n-r.pos)], r.pos)
	r.pos += int64(m)
	if err != nil {
		return m, blob.ErrNoCopy
	}
	return m, nil
}

// await waits until there are bytes behind pos, or no more come.
func (f *fill) await(ctx context.Context, pos int64) (int64, state, error) {
	for {
		f.mu.Lock()
		n, s := f.n, f.state
		if s != copying || n > pos {
			f.mu.Unlock()
			return n, s, nil
		}
		if f.waiting == nil {
			f.waiting = make(chan struct{})
		}
		grown := f.waiting
		f.mu.Unlock()
		select {
		case <-grown:
		case <-ctx.Done():
			return 0, s, ctx.Err()
		}
	}
}

// Close ends the reading along.
func (r *follower) Close() error {
	if err := r.fill.leave(); err != nil {
		r.fill.cache.failed("close a copy", err)
	}
	return nil
}
