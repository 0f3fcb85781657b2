package blob

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// What StoreConfig takes for a store behind a network. Patience is longer than a gateway's restart and the failover of what is behind it. Stall is longer than a
// Ceph cluster hangs when it loses a disk (seconds), and three of them are shorter than clients wait for an answer.
const (
	RemotePatience = 10 * time.Second
	RemoteStall    = 15 * time.Second
	// writeStalls times Stall bounds the writing of an object instead: a driver that sends it in parts takes no byte while a part is on its way, and the store may
	// take its time to put the parts together.
	writeStalls = 4
)

var errStalled = errors.New("no byte moved in time")

// watch ends an operation of a driver that moves no byte for too long, however much it moved before: a pull of 20 GiB may take hours, and a connection whose
// other end lost its power must not. A nil watch watches nothing.
type watch struct {
	limit  time.Duration
	ctx    context.Context
	cancel context.CancelCauseFunc

	mu      sync.Mutex // what moves may be told from elsewhere
	timer   *time.Timer
	resting bool
}

// watch begins with the driver at work. The context that it answers ends with the watch.
func (s *Store) watch(ctx context.Context, limit time.Duration) (context.Context, *watch) {
	if limit == 0 {
		return ctx, nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	w := &watch{limit: limit, timer: time.AfterFunc(limit, func() { cancel(errStalled) }), cancel: cancel}
	w.ctx = context.WithValue(ctx, watchKey{}, w)
	return w.ctx, w
}

// watchKey is that of a watch in the context that it answers.
type watchKey struct{}

// rest says that it is not the driver that is waited for.
func (w *watch) rest() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting = true
	w.timer.Stop()
}

// work says that the driver is waited for again.
func (w *watch) work() {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resting = false
	w.timer.Reset(w.limit)
}

// moved says that the driver goes on, if it is waited for.
func (w *watch) moved() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.resting {
		w.timer.Reset(w.limit)
	}
}

func (w *watch) end() {
	if w != nil {
		w.rest()
		w.cancel(nil)
	}
}

// verdict makes an error of a driver that was cut off one that can be tried again.
func (w *watch) verdict(err error) error {
	if w == nil || err == nil || !errors.Is(context.Cause(w.ctx), errStalled) {
		return err
	}
	return fail.E(fail.Unavailable, errors.Join(errStalled, err), "the blob store moved no byte for %v", w.limit).
		Hint("look at the store and the network to it: `havn doctor`")
}

// bounded runs an operation that answers at once or not at all.
func (s *Store) bounded(ctx context.Context, do func(context.Context) error) error {
	ctx, w := s.watch(ctx, s.stall)
	defer w.end()
	return w.verdict(do(ctx))
}

// watchedReader is an object's reader that ends when the driver moves no byte.
type watchedReader struct {
	io.ReadCloser
	watch *watch
}

// Read reads on.
func (r watchedReader) Read(p []byte) (int, error) {
	r.watch.work()
	n, err := r.ReadCloser.Read(p)
	r.watch.rest()
	if errors.Is(err, io.EOF) {
		return n, err
	}
	return n, r.watch.verdict(err)
}

// Close ends the reader and its watch.
func (r watchedReader) Close() error {
	err := r.ReadCloser.Close()
	r.watch.end()
	return err
}

// open asks the driver for an object's bytes, once.
func (s *Store) open(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	ctx, w := s.watch(ctx, s.stall)
	in, err := s.driver.Get(ctx, name, off, n)
	w.rest()
	if err != nil {
		err = w.verdict(err)
		w.end()
		return nil, err
	}
	if w == nil {
		return in, nil
	}
	return watchedReader{in, w}, nil
}

// watchedSource is what an object is written from: while its bytes are waited for, the driver is not.
type watchedSource struct {
	io.Reader
	watch *watch
}

// Read reads on.
func (r watchedSource) Read(p []byte) (int, error) {
	r.watch.rest()
	n, err := r.Reader.Read(p)
	r.watch.work()
	return n, err
}

// put hands an object to the driver, once.
func (s *Store) put(ctx context.Context, name string, size int64, r io.Reader) (Written, error) {
	ctx, w := s.watch(ctx, writeStalls*s.stall)
	defer w.end()
	if w != nil {
		r = watchedSource{r, w}
	}
	written, err := s.driver.Put(ctx, name, size, r)
	return written, w.verdict(err)
}

// list is List with a watch on the driver, not on who looks at the objects.
func (s *Store) list(ctx context.Context, after string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		watched, w := s.watch(ctx, s.stall)
		defer w.end()
		for info, err := range s.driver.List(watched, after) {
			w.rest()
			if !yield(info, w.verdict(err)) {
				return
			}
			w.work()
		}
	}
}

// Moved says that bytes of the source move which are not read from it now: see the function Moved. It may be said while it is read.
func (r watchedSource) Moved() { r.watch.moved() }

// Moved is for drivers: it says of the reader that was given to Put that bytes of it move which are not read from it now, because they are sent later or again, or that they wait
// while the store takes others.
func Moved(r io.Reader) {
	if in, ok := r.(watchedSource); ok {
		in.Moved()
	}
}

// Busy is for drivers: it says that what they do on a context goes on, though there is nothing to answer yet, as where all of a list is read before it can be put in order.
func Busy(ctx context.Context) {
	if w, ok := ctx.Value(watchKey{}).(*watch); ok {
		w.moved()
	}
}
