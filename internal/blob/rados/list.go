//go:build rados

package rados

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// maxRun is how many names are sorted in memory: about 8 MiB of them.
	maxRun = 64 << 10
	// looksAtOnce is for how many listed names Ceph is asked at once for size and time.
	looksAtOnce = 16
	// batch is how many of them are asked for before the first is answered.
	batch = 64
	// busyEvery is after how many names a walk says that it goes on.
	busyEvery = 1000
	// keepListing is how long a listing that was left may be gone on with: a walk over the store takes parts of it with pauses between.
	keepListing = 24 * time.Hour
)

// List answers the objects in order: see blob.Driver. Ceph keeps a pool in another order, so all names are read and sorted first, in a file where they are many. Who leaves
// the list and later asks for what comes behind the last name goes on with the same listing: what it does not know of may be there, what is gone is not answered.
func (d *Driver) List(ctx context.Context, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		l := d.kept.take(after, d.cfg.Clock())
		if l == nil {
			names, err := d.sorted(ctx, func(name string) bool {
				_, _, stripe := stripeOf(name)
				return name > after && !stripe
			})
			if err != nil {
				yield(blob.Info{}, d.failed(err, "list the pool %s", d.Place()))
				return
			}
			l = &listing{names: names}
		}
		for {
			info, ok, err := l.next(ctx, d)
			if err != nil || !ok {
				if err = errors.Join(err, l.names.close()); err != nil {
					yield(blob.Info{}, err)
				}
				return
			}
			if !yield(info, nil) {
				d.kept.put(l, info.Name, d.cfg.Clock())
				return
			}
		}
	}
}

// listing are objects in order, some of them looked at.
type listing struct {
	names *merged
	infos []blob.Info
}

// next answers the next object that is there; false at the end.
func (l *listing) next(ctx context.Context, d *Driver) (blob.Info, bool, error) {
	for len(l.infos) == 0 {
		var names []string
		for len(names) < batch {
			name, ok, err := l.names.next()
			if err != nil {
				return blob.Info{}, false, err
			}
			if !ok {
				break
			}
			names = append(names, name)
		}
		if len(names) == 0 {
			return blob.Info{}, false, nil
		}
		var err error
		if l.infos, err = d.look(ctx, names); err != nil {
			return blob.Info{}, false, err
		}
	}
	info := l.infos[0]
	l.infos = l.infos[1:]
	return info, true, nil
}

// look answers size and time of those objects that are there.
func (d *Driver) look(ctx context.Context, names []string) ([]blob.Info, error) {
	all := make([]blob.Info, len(names))
	there := make([]bool, len(names))
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(looksAtOnce)
	for i, name := range names {
		group.Go(func() error {
			info, err := d.Stat(inner, name)
			if fail.Is(err, fail.NotFound) {
				return nil
			}
			all[i], there[i] = info, err == nil
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	infos := all[:0]
	for i := range all {
		if there[i] {
			infos = append(infos, all[i])
		}
	}
	return infos, nil
}

// sorted reads the names of all RADOS objects below the prefix, and answers those that are wanted in order, without the prefix.
func (d *Driver) sorted(ctx context.Context, want func(name string) bool) (*merged, error) {
	return call(ctx, d.others, func() (*merged, error) {
		s := &sorter{dir: d.cfg.Dir, most: maxRun}
		if err := d.walk(ctx, s, want); err != nil {
			return nil, errors.Join(err, s.close())
		}
		return s.sorted()
	})
}

func (d *Driver) walk(ctx context.Context, s *sorter, want func(name string) bool) error {
	it, err := d.io.Iter()
	if err != nil {
		return err
	}
	defer it.Close()
	for n := 0; it.Next(); n++ {
		if n%busyEvery == 0 {
			if ctx.Err() != nil { // nobody waits any more
				return ctx.Err()
			}
			blob.Busy(ctx)
		}
		name, ours := strings.CutPrefix(it.Value(), d.prefix)
		if !ours || !want(name) {
			continue
		}
		if err = s.add(name); err != nil {
			return err
		}
	}
	return it.Err()
}

// keptListing is the listing that was left last.
type keptListing struct {
	mu    sync.Mutex
	list  *listing
	after string
	at    time.Time
}

// take answers the listing that was left behind a name, nil if there is none.
func (k *keptListing) take(after string, now time.Time) *listing {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.list == nil || k.after != after || now.Sub(k.at) > keepListing {
		return nil
	}
	l := k.list
	k.list = nil
	return l
}

func (k *keptListing) put(l *listing, after string, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.list != nil {
		_ = k.list.names.close() //nolint:errcheck // a file without a name, which nobody needs any more
	}
	k.list, k.after, k.at = l, after, now
}
