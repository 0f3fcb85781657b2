package registry_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
)

// TestABusyNodeGivesBackWhatItDoesNotUseOfAQuota: pushes through the other nodes would be refused for as long as it is busy, although there is room.
func TestABusyNodeGivesBackWhatItDoesNotUseOfAQuota(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const slice = 1000
		w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: memory.New(time.Now)}, func(c *registry.Config) { c.QuotaSlice, c.DefaultQuota = slice, func() int64 { return 100_000 } })
		if err := w.EnsureProject(t.Context(), registry.Project{Name: "busy"}); err != nil {
			t.Fatal(err)
		}
		var project int64
		if err := w.DB.Row(t.Context(), "SELECT id FROM projects WHERE name = 'busy'").Scan(&project); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		}()
		repo := rt.Name("busy/app")
		if _, err := w.PushBlob(ctx, repo, registry.PushBlob{Pusher: rt.Admin, Digest: rt.Sum(nil), Size: 80_000, Body: bytes.NewReader(rt.Content("breaks off", 10))}); err == nil {
			t.Fatal("a body of 10 bytes was taken for 80,000")
		}
		for i := range 30 {
			gone := rt.Content(fmt.Sprint("gone ", i), 500)
			w.Push(t, repo, gone)
			if err := w.DeleteBlob(ctx, repo, rt.Sum(gone)); err != nil {
				t.Fatal(err)
			}
		}
		for i := range 30 {
			w.Push(t, repo, rt.Content(fmt.Sprint("busy ", i), 8))
			time.Sleep(100 * time.Millisecond)
		}
		u, err := index.FindUsage(ctx, w.DB, project)
		if err != nil || u.Used != 240 || u.Held > u.Used+2*slice {
			t.Errorf("%+v, %v: a node that pushes some bytes now and then holds much more", u, err)
		}
		rt.CheckInvariants(t, w.DB, w.Store)
	})
}
