package registry_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
)

// TestAnObjectThatARemoteStoreDidNotTakeIsWrittenAgain breaks writes off after so many bytes, as often as each case says, and pushes a blob of three objects by every way.
func TestAnObjectThatARemoteStoreDidNotTakeIsWrittenAgain(t *testing.T) {
	t.Parallel()
	const object = 2 << 20
	small, large := rt.Content("small", 100_000), rt.Content("large", 2*object+1)
	for _, c := range []struct {
		name  string
		data  []byte
		after int64 // bytes until it breaks off
		kind  fail.Kind
		ok    bool
	}{
		{"a small blob, before the first byte", small, 0, fail.Unavailable, true},
		{"a small blob, in the middle", small, 50_000, fail.Unavailable, true},
		{"a small blob, behind the last byte", small, 100_000, fail.Unavailable, true},
		{"a small blob, for good", small, 50_000, fail.Internal, false},
		{"a large blob, before the first byte", large, 0, fail.Unavailable, true},
		{"a large blob, in the middle", large, object - 1, fail.Unavailable, false},
	} {
		for way, push := range map[string]func(*rt.World) error{
			"in one request":       func(w *rt.World) error { return whole(t, w, c.data, int64(len(c.data))) },
			"of unknown length":    func(w *rt.World) error { return whole(t, w, c.data, -1) },
			"POST and PUT":         func(w *rt.World) error { return session(t, w, c.data, 0) },
			"behind another chunk": func(w *rt.World) error { return session(t, w, c.data, 1000) },
		} {
			t.Run(c.name+", "+way, func(t *testing.T) {
				t.Parallel()
				faulty := &blobtest.Faulty{Driver: memory.New(time.Now)}
				w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: faulty}, func(cfg *registry.Config) {
					cfg.Blobs = blob.NewStore(faulty, blob.StoreConfig{Patience: blob.RemotePatience, Stall: blob.RemoteStall})
					cfg.MaxObjectBytes = object
				})
				first := int64(0)
				if way == "behind another chunk" {
					first = 1 // that chunk is well
				}
				faulty.OnPut = func(n int64) (int64, error) {
					if n < first || (n-first)%2 == 1 {
						return 0, nil
					}
					return c.after, fail.E(c.kind, nil, "gateway restarts")
				}
				err := push(w)
				if (err == nil) != c.ok || err != nil && !fail.Is(err, c.kind) {
					t.Fatalf("pushed: %v (%v)", err, fail.KindOf(err))
				}
				faulty.OnPut = nil
				if c.ok {
					w.WantBlob(t, rt.Name("app/x"), rt.Sum(c.data), c.data)
				}
				rt.CheckInvariants(t, w.DB, w.Store)
				w.Push(t, rt.Name("app/x"), c.data)
				w.WantBlob(t, rt.Name("app/x"), rt.Sum(c.data), c.data)
				rt.CheckInvariants(t, w.DB, w.Store)
			})
		}
	}
}

func whole(t *testing.T, w *rt.World, data []byte, size int64) error {
	t.Helper()
	_, err := w.PushBlob(t.Context(), rt.Name("app/x"), registry.PushBlob{Pusher: rt.Admin, Digest: rt.Sum(data), Size: size, Body: bytes.NewReader(data)})
	return err
}

func session(t *testing.T, w *rt.World, data []byte, first int) error {
	t.Helper()
	u := w.Start(t, rt.Name("app/x"), 0)
	if first > 0 {
		u = w.Send(t, u, data[:first])
	}
	_, err := w.Finish(t.Context(), u.Repo, u.ID, registry.Finish{At: u.Offset, Digest: rt.Sum(data), Size: int64(len(data) - first), Body: bytes.NewReader(data[first:])})
	return err
}

// TestManyBodiesKeepABoundedPart pushes more at once than there is room to keep: what has no room is pushed as well, if the store takes it.
func TestManyBodiesKeepABoundedPart(t *testing.T) {
	t.Parallel()
	d := memory.New(time.Now)
	w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: d}, func(cfg *registry.Config) {
		cfg.Blobs = blob.NewStore(d, blob.StoreConfig{Patience: blob.RemotePatience})
	})
	const many = 100 // of unknown length each: together more than 64 MiB
	hold := make(chan struct{})
	results := make(chan error, many)
	for i := range many {
		data := rt.Content(fmt.Sprint("many", i), 1000)
		body := io.MultiReader(bytes.NewReader(data[:500]), waits(hold), bytes.NewReader(data[500:]))
		go func() {
			_, err := w.PushBlob(t.Context(), rt.Name("app/many"), registry.PushBlob{Pusher: rt.Admin, Digest: rt.Sum(data), Size: -1, Body: body})
			results <- err
		}()
	}
	close(hold)
	for range many {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	rt.CheckInvariants(t, w.DB, w.Store)
}

// waits ends when its channel does.
type waits chan struct{}

func (w waits) Read([]byte) (int, error) {
	<-w
	return 0, io.EOF
}
