//go:build rados

package rados

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ceph/go-ceph/rados"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// stripesAtOnce is how many stripes of one object are written at once.
	stripesAtOnce = 4
	// writeMemory bounds the bytes of all objects that are on their way: librados has a copy of its own of them. 8 stripes of 4 MiB fill ten gigabits where a write takes
	// 25 ms.
	writeMemory = 32 << 20
	// leastWrite is what a write counts for, so that threads are bounded too.
	leastWrite = 256 << 10
	// piecesAtOnce is how many parts are made one piece at a time, which takes no longer than to copy them.
	piecesAtOnce = 2
	// firstPause doubles up to longestPause.
	firstPause   = 50 * time.Millisecond
	longestPause = 2 * time.Second
	// dropPatience is what is spent on cleaning up after a write that failed. What stays then is Tidy's.
	dropPatience = 5 * time.Second
)

// Put writes an object: see blob.Driver.
//
// A write whose answer was lost is sent again, and may find its own object there. So each bears a random mark, and "exists" counts as written if the mark is ours.
//
//  1. The stripes, where there is more than one. A crash leaves them: see Tidy.
//  2. The head, exclusively: the object is there, whole and durable.
func (d *Driver) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	if strings.Contains(name, separator) {
		return blob.Written{}, fail.E(fail.Invalid, nil, "object %s: no name has a %s", name, separator)
	}
	cut := d.cfg.Parts.Cut(r, size, d.cfg.StripeBytes)
	first, err := cut.Next(ctx)
	if err != nil {
		return blob.Written{}, fmt.Errorf("read what is to be written: %w", err)
	}
	w := write{d: d, name: name, mark: newMark()}
	if first.Last {
		err = errors.Join(w.whole(ctx, first), first.Release())
		return blob.Written{Size: first.Size}, err
	}
	if err = w.vacant(ctx); err != nil {
		return blob.Written{}, errors.Join(err, first.Release())
	}
	n, err := cut.Send(ctx, first, stripesAtOnce, w.stripe)
	if err == nil {
		err = w.head(ctx, nil, head{mark: w.mark, size: n, stripe: d.cfg.StripeBytes})
	}
	if err != nil {
		return blob.Written{}, errors.Join(fmt.Errorf("object %s: %w", name, err), w.drop(ctx))
	}
	return blob.Written{Size: n}, nil
}

// Resends says that Put keeps what it sends: see blob.Resender.
func (d *Driver) Resends() {}

// write is one object on its way.
type write struct {
	d    *Driver
	name string
	mark string
	last atomic.Int64 // how many stripes may be there
}

// vacant refuses a name that an object has, before its stripes are written in vain.
func (w *write) vacant(ctx context.Context) error {
	err := w.again(ctx, func() error {
		_, headErr := w.d.head(ctx, w.name)
		return headErr
	})
	if err == nil {
		return fail.E(fail.Exists, nil, "object %s", w.name)
	}
	if fail.Is(err, fail.NotFound) {
		return nil
	}
	return err
}

// whole writes an object of one piece.
func (w *write) whole(ctx context.Context, p *parts.Part) error {
	return w.head(ctx, p, head{mark: w.mark, size: p.Size})
}

// head makes the object, with the bytes of a part if there is one.
func (w *write) head(ctx context.Context, p *parts.Part, h head) error {
	err := w.operate(ctx, w.name, p, func(op *rados.WriteOp) {
		op.Create(rados.CreateExclusive)
		op.SetXattr(headAttr, h.text())
	})
	if !isCode(err, syscall.EEXIST) {
		return w.said(err, "write object %s", w.name)
	}
	var there head
	err = w.again(ctx, func() (tryErr error) {
		there, tryErr = w.d.head(ctx, w.name)
		return tryErr
	})
	if err == nil && there != h {
		err = fail.E(fail.Exists, nil, "object %s", w.name)
	}
	return err
}

// stripe writes one stripe. Doing so twice is no harm: it is the same.
func (w *write) stripe(ctx context.Context, p *parts.Part) error {
	n := int64(p.Number)
	for was := w.last.Load(); was < n && !w.last.CompareAndSwap(was, n); was = w.last.Load() {
		continue
	}
	return w.said(w.operate(ctx, stripeName(w.name, w.mark, n-1), p, nil), "write %d bytes", p.Size)
}

func (w *write) said(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	if err = w.d.failed(err, format, args...); fail.Is(err, fail.NotFound) { // no object is asked for, so it is the pool
		err = fail.E(fail.Unavailable, err, "the pool %s is gone", w.d.cfg.Pool).Hint("restore it, or correct storage.rados.pool")
	}
	return err
}

// operate writes one RADOS object, atomically: what more says, and the bytes of a part. It tries again as long as makes sense.
func (w *write) operate(ctx context.Context, object string, p *parts.Part, more func(*rados.WriteOp)) error {
	size := int64(leastWrite)
	if p != nil {
		size = max(size, p.Size)
	}
	return w.again(ctx, func() error {
		if err := w.d.writing.Acquire(ctx, min(size, writeMemory)); err != nil {
			return err
		}
		op := rados.CreateWriteOp()
		if more != nil {
			more(op)
		}
		if err := w.fill(ctx, op, p); err != nil {
			op.Release()
			w.d.writing.Release(min(size, writeMemory))
			return err
		}
		// librados has what it needs: the part may be released while the call runs.
		name := w.d.name(object)
		_, err := leave(ctx, func() (struct{}, error) {
			defer w.d.writing.Release(min(size, writeMemory))
			defer op.Release()
			return struct{}{}, op.Operate(w.d.io, name, rados.OperationFullTry)
		})
		return err
	})
}

// fill gives an operation the bytes of a part, in one piece, as pools with erasure codes want them. librados copies them, so the piece is another's next.
func (w *write) fill(ctx context.Context, op *rados.WriteOp, p *parts.Part) error {
	if p == nil || p.Size == 0 {
		return nil
	}
	var piece []byte
	select {
	case piece = <-w.d.pieces:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { w.d.pieces <- piece }()
	b := piece[:p.Size]
	if _, err := p.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read what waits to be written: %w", err)
	}
	op.WriteFull(b)
	return nil
}

// again tries a write again while Ceph does not answer.
func (w *write) again(ctx context.Context, try func() error) error {
	var since time.Time
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := try()
		if err == nil || !passing(err) || ctx.Err() != nil {
			return err
		}
		now := w.d.cfg.Clock()
		if since.IsZero() {
			since = now
		}
		if now.Sub(since) > w.d.cfg.Patience {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return err
		}
	}
}

// drop removes what a write that failed has left, also where the request has ended.
func (w *write) drop(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropPatience)
	defer cancel()
	there, err := w.d.head(ctx, w.name)
	if err == nil && there.mark == w.mark { // made after all, and its answer was lost
		if err = w.d.remove(ctx, w.name); err != nil {
			return err
		}
	}
	return w.d.removeStripes(ctx, w.name, w.mark, w.last.Load())
}
