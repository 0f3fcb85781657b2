//go:build rados

package rados

import (
	"bytes"
	"context"
	"io"
	"syscall"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

// removesAtOnce is how many stripes of one object are removed at once.
const removesAtOnce = 8

// Driver is a blob.Driver on a pool.
type Driver struct {
	cfg    Config
	prefix string // of every name: "" or with a slash at its end
	conn   *rados.Conn
	io     *rados.IOContext

	reads, others slots
	writing       *semaphore.Weighted // bytes that are on their way into the pool
	pieces        chan []byte         // each of a stripe's size, for what is handed to librados
	ahead         *buffers
	kept          keptListing
}

func (d *Driver) name(object string) string { return d.prefix + object }

// head reads the head of an object.
func (d *Driver) head(ctx context.Context, object string) (head, error) {
	text, err := call(ctx, d.others, func() ([]byte, error) {
		b := make([]byte, maxHead)
		n, callErr := d.io.GetXattr(d.name(object), headAttr, b)
		return b[:n], callErr
	})
	if isCode(err, syscall.ENODATA) { // another program's, which is what it is
		info, statErr := d.stat(ctx, object)
		return head{size: int64(info.Size)}, statErr
	}
	if err != nil {
		return head{}, d.failed(err, "look at object %s", object)
	}
	return parseHead(text)
}

func (d *Driver) stat(ctx context.Context, object string) (rados.ObjectStat, error) {
	info, err := call(ctx, d.others, func() (rados.ObjectStat, error) { return d.io.Stat(d.name(object)) })
	if err != nil {
		return info, d.failed(err, "look at object %s", object)
	}
	return info, nil
}

// Get reads a part of an object: see blob.Driver.
func (d *Driver) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	h, err := d.head(ctx, name)
	if err != nil {
		return nil, err
	}
	end := h.size
	if n >= 0 && n < end-off {
		end = off + n
	}
	if off >= end {
		return io.NopCloser(bytes.NewReader(nil)), nil
	}
	return d.newReader(ctx, name, h, off, end), nil
}

// Stat answers size and time: see blob.Driver. The time is by the clock of the node that wrote the object, as Ceph keeps it.
func (d *Driver) Stat(ctx context.Context, name string) (blob.Info, error) {
	h, err := d.head(ctx, name)
	if err != nil {
		return blob.Info{}, err
	}
	info, err := d.stat(ctx, name)
	if err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Name: name, Size: h.size, ModTime: info.ModTime}, nil
}

// Delete removes an object: see blob.Driver.
//
//  1. The stripes. A crash leaves the head, and so an object that can't be read and is deleted again.
//  2. The head.
func (d *Driver) Delete(ctx context.Context, name string) error {
	h, err := d.head(ctx, name)
	if err != nil {
		if fail.Is(err, fail.NotFound) {
			return nil
		}
		return err
	}
	if err = d.removeStripes(ctx, name, h.mark, h.stripes()); err != nil {
		return err
	}
	return d.remove(ctx, name)
}

func (d *Driver) removeStripes(ctx context.Context, name, mark string, n int64) error {
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(removesAtOnce)
	for i := range n {
		group.Go(func() error {
			blob.Busy(ctx)
			return d.remove(inner, stripeName(name, mark, i))
		})
	}
	return group.Wait()
}

// remove removes one RADOS object, also from a pool that is full; an absent one is no error.
func (d *Driver) remove(ctx context.Context, object string) error {
	err := run(ctx, d.others, func() error {
		op := rados.CreateWriteOp()
		defer op.Release()
		op.Remove()
		return op.Operate(d.io, d.name(object), rados.OperationFullTry)
	})
	if err == nil {
		return nil
	}
	if err = d.failed(err, "delete object %s", object); fail.Is(err, fail.NotFound) {
		return nil
	}
	return err
}
