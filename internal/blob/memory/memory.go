// Package memory keeps objects in memory: for tests and for trying things out. Nothing survives the process.
package memory

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

// Driver is a blob.Driver in memory.
type Driver struct {
	clock func() time.Time

	mu      sync.Mutex
	objects map[string]object
}

type object struct {
	data []byte
	at   time.Time
}

// New makes an empty driver.
func New(clock func() time.Time) *Driver {
	return &Driver{clock: clock, objects: map[string]object{}}
}

// Put keeps the bytes of r: see blob.Driver.
func (d *Driver) Put(ctx context.Context, name string, _ int64, r io.Reader) (blob.Written, error) {
	if d.has(name) {
		return blob.Written{}, fail.E(fail.Exists, nil, "object %s", name)
	}
	data, err := io.ReadAll(r)
	if err = errors.Join(err, ctx.Err()); err != nil {
		return blob.Written{}, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.objects[name]; ok {
		return blob.Written{}, fail.E(fail.Exists, nil, "object %s", name)
	}
	d.objects[name] = object{data, d.clock()}
	return blob.Written{Size: int64(len(data))}, nil
}

func (d *Driver) has(name string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.objects[name]
	return ok
}

func (d *Driver) get(name string) (object, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	o, ok := d.objects[name]
	if !ok {
		return object{}, fail.E(fail.NotFound, nil, "object %s", name)
	}
	return o, nil
}

// Get reads a part of an object: see blob.Driver.
func (d *Driver) Get(_ context.Context, name string, off, n int64) (io.ReadCloser, error) {
	o, err := d.get(name)
	if err != nil {
		return nil, err
	}
	data := o.data[min(off, int64(len(o.data))):]
	if n >= 0 && n < int64(len(data)) {
		data = data[:n]
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

// Stat answers size and time: see blob.Driver.
func (d *Driver) Stat(_ context.Context, name string) (blob.Info, error) {
	o, err := d.get(name)
	return blob.Info{Name: name, Size: int64(len(o.data)), ModTime: o.at}, err
}

// Delete removes an object: see blob.Driver.
func (d *Driver) Delete(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.objects, name)
	return nil
}

// List answers a snapshot of the objects: see blob.Driver.
func (d *Driver) List(_ context.Context, after string) iter.Seq2[blob.Info, error] {
	d.mu.Lock()
	sorted := slices.Sorted(maps.Keys(d.objects))
	d.mu.Unlock()
	return func(yield func(blob.Info, error) bool) {
		for _, name := range sorted {
			if name <= after {
				continue
			}
			o, err := d.get(name)
			if fail.Is(err, fail.NotFound) {
				continue // deleted meanwhile
			}
			if !yield(blob.Info{Name: name, Size: int64(len(o.data)), ModTime: o.at}, err) {
				return
			}
		}
	}
}

// Classify answers Internal: memory does not fail.
func (d *Driver) Classify(error) fail.Kind { return fail.Internal }
