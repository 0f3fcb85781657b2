package blobtest

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

// ErrHang makes an operation of Faulty wait until its context ends, as behind a connection whose other end lost its power.
var ErrHang = errors.New("hangs")

// Faulty is a driver that fails on purpose. It is safe for concurrent use if its functions are.
type Faulty struct {
	blob.Driver
	// OnGet, where set, says of each Get, counted from 0, after how many bytes its reader fails, and with what; nil: not at all. With a negative number Get
	// itself fails.
	OnGet func(n int64) (after int64, err error)
	// OnPut says of each Put how many bytes of the source are read before it fails; nil: not at all.
	OnPut func(n int64) (after int64, err error)

	Gets, Puts atomic.Int64
}

// Get is the driver's, with faults.
func (f *Faulty) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	nth := f.Gets.Add(1) - 1
	if f.OnGet == nil {
		return f.Driver.Get(ctx, name, off, n)
	}
	after, err := f.OnGet(nth)
	if err != nil && after < 0 {
		return nil, happen(ctx, err)
	}
	r, getErr := f.Driver.Get(ctx, name, off, n)
	if getErr != nil || err == nil {
		return r, getErr
	}
	return &breaking{ReadCloser: r, ctx: ctx, left: after, err: err}, nil
}

// Put is the driver's, with faults.
func (f *Faulty) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	nth := f.Puts.Add(1) - 1
	if f.OnPut != nil {
		if after, err := f.OnPut(nth); err != nil {
			if _, copyErr := io.CopyN(io.Discard, r, after); copyErr != nil && !errors.Is(copyErr, io.EOF) {
				return blob.Written{}, copyErr
			}
			return blob.Written{}, happen(ctx, err)
		}
	}
	return f.Driver.Put(ctx, name, size, r)
}

// Classify answers Unavailable for what broke off, as drivers of remote stores do, else what the driver says.
func (f *Faulty) Classify(err error) fail.Kind {
	if kind := fail.KindOf(err); kind != fail.Internal {
		return kind
	}
	return f.Driver.Classify(err)
}

func happen(ctx context.Context, err error) error {
	if errors.Is(err, ErrHang) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// breaking is a reader that fails after some bytes.
type breaking struct {
	io.ReadCloser
	ctx  context.Context
	left int64
	err  error
}

// Read reads on.
func (b *breaking) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, happen(b.ctx, b.err)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
