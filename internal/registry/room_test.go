package registry_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
)

// mute is a store on a file system that does not say how much room it has, whoever gave up waiting, for some time.
type mute struct {
	blob.Driver
	time  time.Duration
	asked *atomic.Int64
}

// Space answers late.
func (d mute) Space(context.Context) (free, total int64, err error) {
	d.asked.Add(1)
	time.Sleep(d.time)
	return 1 << 30, 1 << 40, nil
}

// TestNobodyIsHeldUpByAFileSystemThatHangs: each push waits as long as its client does, and one question is asked for all.
func TestNobodyIsHeldUpByAFileSystemThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := mute{memory.New(time.Now), time.Hour, &atomic.Int64{}}
		w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: d}, func(cfg *registry.Config) { cfg.LowDiskBytes = 1 << 20 })
		began := time.Now()
		const many = 20
		results := make(chan error, many)
		for range many {
			go func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				_, err := w.StartUpload(ctx, rt.Name("app/x"), registry.StartUpload{Pusher: rt.Admin})
				results <- err
			}()
		}
		for range many {
			if err := <-results; !fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "" {
				t.Errorf("%v (%v)", err, fail.KindOf(err))
			}
		}
		if took := time.Since(began); took > 2*time.Minute || d.asked.Load() != 1 {
			t.Errorf("%v, asked %d times", took, d.asked.Load())
		}
		w.Push(t, rt.Name("app/x"), rt.Content("patient", 100))
		if n := d.asked.Load(); n > 2 {
			t.Errorf("asked %d times", n)
		}
	})
}

// filling is a store that fills up.
type filling struct {
	blob.Driver
	room int64
	has  *atomic.Int64
}

// Space answers what is left.
func (d filling) Space(context.Context) (free, total int64, err error) {
	return d.room - d.has.Load(), d.room, nil
}

// Put counts what is written.
func (d filling) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	return d.Driver.Put(ctx, name, size, io.TeeReader(r, counter{d.has}))
}

type counter struct{ n *atomic.Int64 }

// Write counts.
func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// slowly is a body between whose pieces the time goes on.
type slowly struct {
	io.Reader
	wait func()
	read *atomic.Int64
}

// Read reads on.
func (s slowly) Read(p []byte) (int, error) {
	s.wait()
	n, err := s.Reader.Read(p)
	s.read.Add(int64(n))
	return n, err
}

// TestABlobLargerThanTheRoomLeavesTheWatermarkFree: what began in time may not take the room that deletes need, nor is it let begin if it says how long it is.
func TestABlobLargerThanTheRoomLeavesTheWatermarkFree(t *testing.T) {
	t.Parallel()
	for name, forward := range map[string]time.Duration{"slowly": time.Second, "before the store is asked again": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			overfills(t, forward)
		})
	}
}

func overfills(t *testing.T, forward time.Duration) {
	t.Helper()
	const room, low, long = 40 << 20, 12 << 20, 64 << 20
	d := filling{memory.New(time.Now), room, &atomic.Int64{}}
	w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: d}, func(cfg *registry.Config) { cfg.LowDiskBytes = low })
	data := bytes.Repeat(rt.Content("long", 1<<20), long>>20)
	var read atomic.Int64
	body := func() io.Reader {
		return slowly{bytes.NewReader(data), func() { w.Forward(forward) }, &read}
	}
	full := func(err error) {
		t.Helper()
		if !fail.Is(err, fail.Exhausted) || fail.RetryAfterOf(err) != 0 {
			t.Errorf("%v, kind %v", err, fail.KindOf(err))
		}
	}
	u, err := w.StartUpload(t.Context(), rt.Name("app/x"), registry.StartUpload{Pusher: rt.Admin})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Append(t.Context(), rt.Name("app/x"), u.ID, registry.Append{Size: long, Body: body()})
	full(err)
	_, err = w.Finish(t.Context(), rt.Name("app/x"), u.ID, registry.Finish{Size: long, Body: body(), Digest: rt.Sum(data)})
	full(err)
	_, err = w.PushBlob(t.Context(), rt.Name("app/x"), registry.PushBlob{Pusher: rt.Admin, Size: long, Body: body(), Digest: rt.Sum(data)})
	full(err)
	if want := "has 40.0 MiB left, too few for 64.0 MiB more"; !strings.Contains(err.Error(), want) {
		t.Errorf("%v: want that it %s", err, want)
	}
	// A hundred bytes too many are too many.
	_, err = w.PushBlob(t.Context(), rt.Name("app/x"), registry.PushBlob{Pusher: rt.Admin, Size: room - low + 100, Body: body(), Digest: rt.Sum(data)})
	full(err)
	if n := read.Load(); n != 0 {
		t.Errorf("%d bytes were read of what can't fit", n)
	}
	_, err = w.Append(t.Context(), rt.Name("app/x"), u.ID, registry.Append{Size: -1, Body: body()})
	full(err)
	if u, err = w.Upload(t.Context(), rt.Name("app/x"), u.ID); err != nil || u.Offset == 0 || u.Offset != d.has.Load() || u.Offset > room-low+16<<20 {
		t.Errorf("%+v, %v: %d bytes were written", u, err, d.has.Load())
	}
	// Somebody makes room.
	d.has.Store(-long)
	w.Forward(2 * time.Second)
	if _, err = w.Finish(t.Context(), rt.Name("app/x"), u.ID, registry.Finish{At: u.Offset, Size: long - u.Offset, Body: bytes.NewReader(data[u.Offset:]), Digest: rt.Sum(data)}); err != nil {
		t.Error(err)
	}
	w.WantBlob(t, rt.Name("app/x"), rt.Sum(data), data)
}
