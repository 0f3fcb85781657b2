package registry_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
)

// TestAContentThatCannotBeBuriedIsLeft: a row that refers to it, whatever it is, keeps the database from removing it, and must not keep the sweep from all others.
func TestAContentThatCannotBeBuriedIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var w *rt.World
		tries := 0
		refer := func(step string) error {
			if step != "dead.bury: not applied" {
				return nil
			}
			if tries++; tries > 100 {
				return rt.ErrInjected
			}
			return w.DB.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
				_, err := tx.Exec(t.Context(), "UPDATE blobs SET content = (SELECT MIN(content) FROM dead)")
				return err
			})
		}
		w = rt.Open(t, rt.Stores{Database: embedded(t), Driver: memory.New(time.Now)}, func(cfg *registry.Config) { cfg.Fault = refer })
		w.Push(t, rt.Name("app/x"), rt.Content("a blob", 10))
		u := w.Send(t, w.Start(t, rt.Name("app/x"), 0), rt.Content("dead", 10))
		if err := w.CancelUpload(t.Context(), u.Repo, u.ID); err != nil {
			t.Fatal(err)
		}
		n, _, err := w.BuryDead(t.Context(), rt.Free, w.Now(), registry.DeadMark{}, 10)
		if n != 0 || fail.CodeOf(err) != sqldb.CodeFK || tries > 10 {
			t.Errorf("%d are buried after %d tries, %v", n, tries, err)
		}
	})
}
