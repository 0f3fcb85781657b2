package registry_test

import (
	"context"
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
