package registry_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
)

// BenchmarkPageOfArtifacts shows 10 of 100,000 manifests of a repository, four of five of which are parts of indexes, with how many there are in all.
func BenchmarkPageOfArtifacts(b *testing.B) {
	db, err := sqldb.Open(b.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(b.TempDir(), "havn.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if closeErr := db.Close(); closeErr != nil {
			b.Error(closeErr)
		}
	})
	if err = db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	r, err := registry.New(b.Context(), registry.Config{DB: db, Blobs: blob.NewStore(memory.New(time.Now), blob.StoreConfig{})})
	if err != nil {
		b.Fatal(err)
	}
	fillArtifacts(b, db)
	tagged := true
	for _, c := range []struct {
		name string
		of   registry.Artifacts
		ask  listing.Ask
	}{
		{"first", registry.Artifacts{}, listing.Ask{Page: 1, Size: 10}},
		{"deep", registry.Artifacts{}, listing.Ask{Page: 1900, Size: 10}},
		{"oldest", registry.Artifacts{}, listing.Ask{Page: 1, Size: 10, Order: []listing.Order{{Field: "push_time"}}}},
		{"tagged", registry.Artifacts{Tagged: &tagged}, listing.Ask{Page: 1, Size: 10}},
	} {
		b.Run(c.name, func(b *testing.B) {
			c.of.Repo = 7
			var took []time.Duration
			for b.Loop() {
				begun := time.Now()
				page, total, listErr := r.BrowseArtifacts(b.Context(), c.of, c.ask, true)
				if listErr != nil || len(page) != 10 || total != 20_000 {
					b.Fatal(len(page), total, listErr)
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
		})
	}
}

// fillArtifacts makes a repository of 20,000 indexes with a tag and four parts each.
func fillArtifacts(b *testing.B, db *sqldb.DB) {
	b.Helper()
	const all, atOnce, indexEvery = 100_000, 500, 5
	digest := func(i int) []byte { return oci.Sum(oci.SHA256, fmt.Append(nil, i)).Bytes() }
	body := []byte(strings.Repeat("x", 600))
	run := func(tx *sqldb.Tx, into string, columns int, row func(i int) []any) error {
		mark := "(?" + strings.Repeat(", ?", columns-1) + ")"
		for from := 0; from < all; from += atOnce {
			var args []any
			for i := from; i < from+atOnce; i++ {
				args = append(args, row(i)...)
			}
			n := len(args) / columns
			if _, err := tx.Exec(b.Context(), "INSERT INTO "+into+" VALUES "+mark+strings.Repeat(", "+mark, n-1), args...); err != nil {
				return err
			}
		}
		return nil
	}
	err := db.Tx(b.Context(), "test.fill", func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(b.Context(), "INSERT INTO repositories (id, project_id, name, created_at, pushed_at) VALUES (7, 1, 'library/app', 1, 1)"); err != nil {
			return err
		}
		err := run(tx, "manifests (repo, digest, media_type, artifact_type, size, body, pushed_at)", 7, func(i int) []any {
			return []any{7, digest(i), oci.MediaTypeImageManifest, "", len(body), body, i + 1}
		})
		if err == nil {
			err = run(tx, "tags (repo, name, digest, moved_at)", 4, func(i int) []any {
				if i%indexEvery != 0 {
					return nil
				}
				return []any{7, fmt.Sprint("t", i), digest(i), i + 1}
			})
		}
		if err == nil {
			err = run(tx, "manifest_children (repo, parent, child)", 3, func(i int) []any {
				if i%indexEvery == 0 {
					return nil
				}
				return []any{7, digest(i - i%indexEvery), digest(i)}
			})
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}
