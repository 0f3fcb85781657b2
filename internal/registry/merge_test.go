package registry

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	mem "github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// An upload goes on through another node, which saw what it holds of the first node's slice; that node folds it before this one takes it out of the slice. That is no fault of the client's, whose push is run again.
func TestWhatIsFoldedWhileItIsMergedIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := sqldbtest.Open(t, sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db")})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r, err := New(ctx, Config{DB: db, Blobs: blob.NewStore(mem.New(time.Now), blob.StoreConfig{})})
	must(err)
	p, err := index.FindProject(ctx, db, "library")
	must(err)
	must(r.SetQuota(ctx, p.ID, 1000))
	must(db.Tx(ctx, "test.slices", func(tx *sqldb.Tx) error {
		_, holdErr := index.HoldBytes(ctx, tx, p.ID, 400)
		return errors.Join(holdErr,
			index.InsertSlice(ctx, tx, index.Slice{ID: 1, Project: p.ID, Bytes: 300}, 1),
			index.InsertSlice(ctx, tx, index.Slice{ID: 2, Project: p.ID, Bytes: 100}, 2),
			index.InsertHold(ctx, tx, p.ID, index.Hold{Upload: "u", Bytes: 250, Slice: 1}))
	}))
	for _, then := range []rest{{keep: 50}, {end: true}} {
		seen := index.Hold{Upload: "u", Bytes: 250, Slice: 1}
		must(r.fold(ctx, 1, then))
		err = db.Tx(ctx, "test.merge", func(tx *sqldb.Tx) error {
			push := purse{r: r, project: p.ID, slice: 2, n: 100}
			return push.merge(ctx, tx, seen, 60)
		})
		var l *lack
		if !errors.As(err, &l) || l.slice != 0 || l.bytes != 60 {
			t.Errorf("%+v: %v", then, err)
		}
	}
}
