package faults

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/test/forgetfs"
)

// TestAFlushThatFailsLosesNothingThatIsAcknowledgedLater lets the flush of a commit fail once. The kernel then takes all that was to be flushed for written; what came into the log of the
// database before without a flush of its own would be missing under the commits that are acknowledged later.
func TestAFlushThatFailsLosesNothingThatIsAcknowledgedLater(t *testing.T) {
	t.Parallel()
	volume := forgetfs.New(t)
	open := func() *sqldb.DB {
		db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(volume.Path, "havn.db")})
		must(t, err)
		return db
	}
	put := func(key string) func(*sqldb.Tx) error {
		return func(tx *sqldb.Tx) error {
			_, err := tx.InsertIgnore(t.Context(), "meta", []string{"k", "v"}, key, "1")
			return err
		}
	}
	db := open()
	must(t, db.Migrate(t.Context()))
	for round := range 3 {
		for i := range 10 {
			must(t, db.TxRelaxed(t.Context(), "test.relaxed", put(fmt.Sprint("relaxed", round, i))))
		}
		volume.FailFlush(t, 1+round)
		must(t, db.Tx(t.Context(), "test.durable", put(fmt.Sprint("durable", round))))
		volume.Cut(t)
		if err := db.Close(); err != nil {
			t.Logf("close after the cut: %v", err)
		}
		volume.Restore(t, 0, 0)
		db = open()
		var rows int
		must(t, db.Row(t.Context(), "SELECT COUNT(*) FROM meta WHERE k LIKE 'durable%'").Scan(&rows))
		if rows != round+1 {
			t.Fatalf("%d of %d acknowledged rows are there after the power cut", rows, round+1)
		}
	}
	must(t, db.Close())
}
