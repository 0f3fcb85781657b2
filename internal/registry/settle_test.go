package registry_test

import (
	"context"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
)

// busy is a store that is busy with others for some time after it has read an object.
type busy struct {
	blob.Driver
	busy time.Duration
}

// Put is the driver's, late.
func (d busy) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	w, err := d.Driver.Put(ctx, name, size, r)
	for end := time.Now().Add(d.busy); err == nil && time.Now().Before(end); err = ctx.Err() {
		time.Sleep(time.Second)
		blob.Moved(r)
	}
	return w, err
}

// TestAPushWaitsForAStoreThatIsBusyWithOthers: what a client has sent is not thrown away because others are served before it.
func TestAPushWaitsForAStoreThatIsBusyWithOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := busy{memory.New(time.Now), 10 * time.Minute}
		w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: d}, func(cfg *registry.Config) {
			cfg.Blobs = blob.NewStore(d, blob.StoreConfig{Patience: blob.RemotePatience, Stall: blob.RemoteStall})
			cfg.MaxObjectBytes = 1000
		})
		data := rt.Content("queued", 2500)
		if err := session(t, w, data, 0); err != nil {
			t.Error(err)
		}
		if err := whole(t, w, data, -1); err != nil {
			t.Error(err)
		}
		w.WantBlob(t, rt.Name("app/x"), rt.Sum(data), data)
		rt.CheckInvariants(t, w.DB, w.Store)
	})
}

// slow is a store whose objects take their time to be read.
type slow struct{ blob.Driver }

// Get is the driver's.
func (d slow) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	time.Sleep(2 * time.Minute)
	return d.Driver.Get(ctx, name, off, n)
}

// TestAPushMayBeReadBackForLong: a blob that was sent as sha256 and is named by another algorithm at the end is read back, and a large one for more than a minute.
func TestAPushMayBeReadBackForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := slow{memory.New(time.Now)}
		w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: d}, nil)
		data := rt.Content("other", 2500)
		u := w.Send(t, w.Start(t, rt.Name("app/x"), 0), data)
		want := oci.Sum(oci.SHA512, data)
		if _, err := w.Finish(t.Context(), u.Repo, u.ID, registry.Finish{At: u.Offset, Digest: want}); err != nil {
			t.Fatal(err)
		}
		w.WantBlob(t, rt.Name("app/x"), want, data)
		rt.CheckInvariants(t, w.DB, w.Store)
	})
}

// distant is a store that takes its time to say whether it has an object.
type distant struct{ blob.Driver }

// Stat is the driver's.
func (d distant) Stat(ctx context.Context, name string) (blob.Info, error) {
	time.Sleep(time.Second)
	return d.Driver.Stat(ctx, name)
}

// TestAPushOfWhatIsThereMayBeLookedAtForLong: a blob of many objects that is there already is looked at, object by object, before what was pushed is thrown away. Meanwhile the upload is not idle.
func TestAPushOfWhatIsThereMayBeLookedAtForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := distant{memory.New(time.Now)}
		w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: d}, func(cfg *registry.Config) {
			cfg.Blobs = blob.NewStore(d, blob.StoreConfig{Patience: blob.RemotePatience, Stall: blob.RemoteStall})
			cfg.MaxObjectBytes = 10
		})
		data := rt.Content("many objects", 3000)
		for range 2 {
			pushed := make(chan error)
			go func() { pushed <- whole(t, w, data, -1) }()
			every := time.NewTicker(30 * time.Second)
			for ended := false; !ended; {
				select {
				case err := <-pushed:
					if ended = true; err != nil {
						t.Error(err)
					}
				case <-every.C:
					if n, err := w.ExpireUploads(t.Context(), false, w.Now().Add(-time.Minute), 10); err != nil || n != 0 {
						t.Errorf("%d expired, %v", n, err)
					}
				}
			}
			every.Stop()
		}
		w.WantBlob(t, rt.Name("app/x"), rt.Sum(data), data)
		rt.CheckInvariants(t, w.DB, w.Store)
	})
}

// TestAPushThatTookTooLongLeavesNothing: what failed because its time was over has time to be put away.
func TestAPushThatTookTooLongLeavesNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hangs := func(step string) error {
			if !strings.HasPrefix(step, "blob.commit: not") {
				return nil
			}
			time.Sleep(10 * time.Minute)
			return nil
		}
		w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: memory.New(time.Now)}, func(cfg *registry.Config) { cfg.Fault = hangs })
		if err := whole(t, w, rt.Content("late", 1000), 1000); !fail.Is(err, fail.Unavailable) {
			t.Errorf("%v (%v)", err, fail.KindOf(err))
		}
		var left int
		if err := w.DB.Row(t.Context(), "SELECT COUNT(*) FROM uploads").Scan(&left); err != nil || left != 0 {
			t.Errorf("%d uploads are left, %v", left, err)
		}
		rt.CheckInvariants(t, w.DB, w.Store)
	})
}
