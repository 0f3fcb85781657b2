package registry_test

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
)

// tidying is a store that takes each write for one that may have been left, unless it is told that it is known.
type tidying struct {
	blob.Driver
	mu          sync.Mutex
	begun, gone []string
}

// Put is the driver's, noted.
func (d *tidying) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	d.mu.Lock()
	d.begun = append(d.begun, name)
	d.mu.Unlock()
	return d.Driver.Put(ctx, name, size, r)
}

// Tidy notes what would go.
func (d *tidying) Tidy(ctx context.Context, _ time.Time, known blob.Known) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	used, err := known(ctx, d.begun)
	for _, name := range d.begun {
		if !used[name] {
			d.gone = append(d.gone, name)
		}
	}
	return len(d.gone), err
}

// during runs something when it is read.
type during func()

// Read ends at once.
func (d during) Read([]byte) (int, error) {
	d()
	return 0, io.EOF
}

// TestWhatIsBeingWrittenIsNotTidiedUp: a clock that is a year ahead decides when leftovers go, and not what is one.
func TestWhatIsBeingWrittenIsNotTidiedUp(t *testing.T) {
	t.Parallel()
	d := &tidying{Driver: memory.New(time.Now)}
	w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: d}, nil)
	left := w.Store.NewName()
	d.begun = append(d.begun, left)
	sweep := func() {
		if _, err := w.SweepOrphans(t.Context(), "", time.Now().AddDate(1, 0, 0), 100); err != nil {
			t.Error(err)
		}
	}
	data := rt.Content("slow", 1000)
	body := io.MultiReader(bytes.NewReader(data[:500]), during(sweep), bytes.NewReader(data[500:]))
	if _, err := w.PushBlob(t.Context(), rt.Name("app/slow"), registry.PushBlob{Pusher: rt.Admin, Digest: rt.Sum(data), Size: 1000, Body: body}); err != nil {
		t.Fatal(err)
	}
	sweep()
	if !slices.Equal(d.gone, []string{left, left}) {
		t.Errorf("%d went, of %d that were begun", len(d.gone), len(d.begun))
	}
	w.WantBlob(t, rt.Name("app/slow"), rt.Sum(data), data)
	rt.CheckInvariants(t, w.DB, w.Store)
}
