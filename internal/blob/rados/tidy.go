//go:build rados

package rados

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/ceph/go-ceph/rados"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

// tomb is the mark of a head that keeps a writer who is thought dead from making his object, whose stripes are being removed.
const tomb = "tidied"

// Tidy removes stripes of Havn's own objects that are not known and whose writer began before a time and died: see blob.Tidier.
//
//  1. Where no object has the name, an empty one is made: whoever writes it still, though no stripe of his is younger, is refused at the end, and his client sends again. The
//     sweep of objects without a row removes it later.
//  2. The stripes are removed. A crash leaves the others to the next time.
func (d *Driver) Tidy(ctx context.Context, before time.Time, known blob.Known) (n int, err error) {
	names, err := d.sorted(ctx, func(name string) bool {
		object, _, ok := stripeOf(name)
		return ok && blob.IsOwnName(object)
	})
	if err != nil {
		return 0, d.failed(err, "list the pool %s", d.Place())
	}
	defer func() { err = errors.Join(err, names.close()) }()
	var g group
	for {
		name, ok, nextErr := names.next()
		if nextErr != nil {
			return n, nextErr
		}
		object, mark, _ := stripeOf(name)
		if ok && object == g.object && mark == g.mark {
			g.names = append(g.names, name)
			continue
		}
		gone, tidyErr := d.tidy(ctx, g, before, known)
		if tidyErr != nil {
			return n, tidyErr
		}
		if gone {
			n++
		}
		if !ok {
			return n, nil
		}
		g = group{object: object, mark: mark, names: []string{name}}
	}
}

// group are the stripes of one object by one writer.
type group struct {
	object, mark string
	names        []string
}

// tidy removes stripes that belong to no object, and are old; it answers whether it did.
func (d *Driver) tidy(ctx context.Context, g group, before time.Time, known blob.Known) (bool, error) {
	if len(g.names) == 0 {
		return false, nil
	}
	h, err := d.head(ctx, g.object)
	switch {
	case err == nil && h.mark == g.mark:
		return false, nil
	case err != nil && !fail.Is(err, fail.NotFound):
		return false, err
	}
	for _, name := range g.names {
		info, statErr := d.stat(ctx, name)
		if fail.Is(statErr, fail.NotFound) {
			continue
		}
		if statErr != nil || !info.ModTime.Before(before) {
			return false, statErr
		}
	}
	if err != nil { // where there is an object, no other writer of it is acknowledged any more
		used, knownErr := known(ctx, []string{g.object})
		if knownErr != nil || used[g.object] {
			return false, knownErr
		}
		if err = d.bury(ctx, g.object); err != nil {
			return false, err
		}
		// It may have been made in between.
		if h, err = d.head(ctx, g.object); err != nil || h.mark == g.mark {
			return false, err
		}
	}
	for _, name := range g.names {
		if err = d.remove(ctx, name); err != nil {
			return false, err
		}
	}
	return true, nil
}

// bury makes an empty object, where there is none.
func (d *Driver) bury(ctx context.Context, object string) error {
	err := run(ctx, d.others, func() error {
		op := rados.CreateWriteOp()
		defer op.Release()
		op.Create(rados.CreateExclusive)
		op.SetXattr(headAttr, head{mark: tomb}.text())
		return op.Operate(d.io, d.name(object), rados.OperationFullTry)
	})
	if err == nil || isCode(err, syscall.EEXIST) {
		return nil
	}
	return d.failed(err, "make object %s", object)
}
