package registry_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
)

// swapped is a driver whose directory can be taken away, as by an unmount.
type swapped struct{ blob.Driver }

func TestAStoreThatIsNotTheDatabasesIsRefusedAndNeverMarked(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	open := func(name string, d blob.Driver) *registry.Registry {
		db, err := sqldb.Open(ctx, sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), name)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if closeErr := db.Close(); closeErr != nil {
				t.Error(closeErr)
			}
		})
		if err = db.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		r, err := registry.New(ctx, registry.Config{DB: db, Blobs: blob.NewStore(d, blob.StoreConfig{})})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	store := &swapped{memory.New(time.Now)}
	mine := open("mine.db", store)
	id, err := mine.Identify(ctx)
	if err != nil || id == "" {
		t.Fatalf("%q, %v", id, err)
	}
	again, err := mine.Identify(ctx)
	if err != nil || again != id {
		t.Errorf("the second time: %q, %v; want %q", again, err, id)
	}
	if _, err = open("other.db", store).Identify(ctx); !fail.Is(err, fail.Conflict) {
		t.Errorf("another database on the same store: %v, want a conflict", err)
	}
	full := store.Driver
	store.Driver = memory.New(time.Now)
	if _, err = mine.Identify(ctx); !fail.Is(err, fail.Conflict) {
		t.Errorf("an empty store in its place: %v, want a conflict", err)
	}
	if _, err = blob.NewStore(store, blob.StoreConfig{}).ID(ctx); !fail.Is(err, fail.NotFound) {
		t.Errorf("the wrong store was given an id: %v", err)
	}
	store.Driver = full
	if again, err = mine.Identify(ctx); err != nil || again != id {
		t.Errorf("the right store is back: %q, %v", again, err)
	}
}
