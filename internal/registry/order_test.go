package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
)

// TestADeletionTouchesTheQuotaOnceInATransaction: at its end, that is. All pushes of the project that take of the quota wait for who has changed its row, or end his transaction if they come through another node of Galera;
// and two deletions that change charges and the quota by turns wait for each other.
func TestADeletionTouchesTheQuotaOnceInATransaction(t *testing.T) {
	t.Parallel()
	w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: memory.New(time.Now)}, func(c *registry.Config) { c.QuotaSlice, c.DefaultQuota = -1, func() int64 { return 1 << 30 } })
	repo := rt.Name("ordered/app")
	config := rt.Content("config", 100)
	w.Push(t, repo, config)
	const many = 30
	for i := range many {
		w.Push(t, repo, rt.Content(fmt.Sprint("ordered ", i), 100))
		w.Put(t, repo, oci.MediaTypeImageManifest, rt.Image(fmt.Sprint(i), nil, "", config), fmt.Sprint("v", i))
		w.Send(t, w.Start(t, repo, 0), rt.Content("under way", 10))
	}
	for range 2 { // what is counted against slices is folded, and then counted by itself
		if _, err := w.ReturnSlices(t.Context(), rt.Free, 1000); err != nil {
			t.Fatal(err)
		}
	}
	err := w.DB.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
		if _, txErr := tx.Exec(t.Context(), "CREATE TABLE touched (held INTEGER)"); txErr != nil {
			return txErr
		}
		_, txErr := tx.Exec(t.Context(), "CREATE TRIGGER touches AFTER UPDATE ON quotas BEGIN INSERT INTO touched VALUES (new.held); END")
		return txErr
	})
	if err != nil {
		t.Fatal(err)
	}
	if err = w.DeleteRepository(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	var touched int
	if err = w.DB.Row(t.Context(), "SELECT COUNT(*) FROM touched").Scan(&touched); err != nil || touched == 0 || touched > 5 {
		t.Errorf("%d times, %v: %d manifests, blobs and uploads go in a handful of transactions", touched, err, many)
	}
	rt.CheckInvariants(t, w.DB, w.Store)
}
