package registry

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	mem "github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// limited makes a registry whose project library may have 1000 bytes, and answers that project's number.
func limited(t *testing.T) (*Registry, int64) {
	t.Helper()
	db := sqldbtest.Open(t, sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db")})
	r, err := New(t.Context(), Config{DB: db, CreateOnPush: true, Blobs: blob.NewStore(mem.New(time.Now), blob.StoreConfig{})})
	must(t, err)
	p, err := index.FindProject(t.Context(), db, "library")
	must(t, err)
	must(t, r.SetQuota(t.Context(), p.ID, 1000))
	return r, p.ID
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holds wants so many bytes of a quota to be held.
func holds(t *testing.T, r *Registry, project, want int64) {
	t.Helper()
	q, err := index.FindQuota(t.Context(), r.db, project)
	must(t, err)
	if q.Held != want {
		t.Errorf("%d bytes are held, not %d", q.Held, want)
	}
}

// An upload goes on through another node, which saw what it holds of the first node's slice; that node folds it before this one takes it out of the slice. That is no fault of the client's, whose push is run again.
func TestWhatIsFoldedWhileItIsMergedIsLookedAtAgain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, project := limited(t)
	must(t, r.db.Tx(ctx, "test.slices", func(tx *sqldb.Tx) error {
		_, holdErr := index.HoldBytes(ctx, tx, project, 400)
		return errors.Join(holdErr,
			index.InsertSlice(ctx, tx, index.Slice{ID: 1, Project: project, Bytes: 300}, 1),
			index.InsertSlice(ctx, tx, index.Slice{ID: 2, Project: project, Bytes: 100}, 2),
			index.InsertHold(ctx, tx, project, index.Hold{Upload: "u", Bytes: 250, Slice: 1}))
	}))
	for _, then := range []rest{{keep: 50}, {end: true}} {
		seen := index.Hold{Upload: "u", Bytes: 250, Slice: 1}
		must(t, r.fold(ctx, 1, then))
		err := r.db.Tx(ctx, "test.merge", func(tx *sqldb.Tx) error {
			push := purse{r: r, project: project, slice: 2, n: 100}
			return push.merge(ctx, tx, seen, 60)
		})
		var l *lack
		if !errors.As(err, &l) || l.slice != 0 || l.bytes != 60 {
			t.Errorf("%+v: %v", then, err)
		}
	}
}

// A node does not know whether the slice that it took is there; it comes to be there when nobody looks for it any more but the one that took it.
func TestASliceThatComesLateIsGivenBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, project := limited(t)
	r.grants.stray(7, time.Now().Add(strayTime))
	r.grants.stray(8, time.Now().Add(-time.Second))
	r.returnSlices(ctx, false)
	must(t, r.db.Tx(ctx, "test.late", func(tx *sqldb.Tx) error {
		_, err := index.HoldBytes(ctx, tx, project, 300)
		return errors.Join(err, index.InsertSlice(ctx, tx, index.Slice{ID: 7, Project: project, Bytes: 300}, 1))
	}))
	holds(t, r, project, 300)
	r.returnSlices(ctx, false)
	holds(t, r, project, 0)
	if left := r.grants.takeStrays(); len(left) != 1 {
		t.Errorf("%v are looked for", left)
	}
}

// The project got its quota when the deletion of its repository had begun, and an upload went on under it.
func TestAnUploadThatEndsWithItsRepositoryHoldsNothingOfANewQuota(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	r, project := limited(t)
	name, err := oci.ParseName("library/app")
	must(t, err)
	up, err := r.StartUpload(ctx, name, StartUpload{})
	must(t, err)
	repo, err := index.RepositoryByName(ctx, r.db, name)
	must(t, err)
	must(t, r.db.Tx(ctx, "test.hold", func(tx *sqldb.Tx) error {
		_, holdErr := index.HoldBytes(ctx, tx, project, 250)
		return errors.Join(holdErr, index.InsertHold(ctx, tx, project, index.Hold{Upload: up.ID, Bytes: 250}))
	}))
	must(t, r.db.Tx(ctx, "test.end", func(tx *sqldb.Tx) error {
		list, listErr := index.UploadsOf(ctx, tx, repo.ID, 10)
		if listErr != nil || len(list) != 1 {
			return errors.Join(listErr, fmt.Errorf("%d uploads", len(list)))
		}
		asItBegan := repo
		asItBegan.Quota = 0
		e := emptying{r: r, name: name}
		return e.end(ctx, tx, asItBegan, list[0])
	}))
	holds(t, r, project, 0)
}
