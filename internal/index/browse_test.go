package index_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

func database(t *testing.T) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closeErr := db.Close(); closeErr != nil {
			t.Error(closeErr)
		}
	})
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return db
}

func run(t *testing.T, db *sqldb.DB, statement string, args ...any) {
	t.Helper()
	err := db.Tx(t.Context(), "test.run", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(t.Context(), statement, args...)
		return cause
	})
	if err != nil {
		t.Fatal(err)
	}
}

// weave fills a repository with manifests that are attached to others or to absent ones, parts of others, and tagged, in any mix.
func weave(t *testing.T, db *sqldb.DB, repo int64, seed uint64) {
	t.Helper()
	const all = 40
	dice := rand.New(rand.NewPCG(seed, 1))
	digest := func(i int) []byte { return oci.Sum(oci.SHA256, fmt.Append(nil, i)).Bytes() }
	run(t, db, "INSERT INTO repositories (id, project_id, name, created_at, pushed_at) VALUES (?, 1, ?, 1, 1)", repo, fmt.Sprint("library/r", repo))
	for i := range all {
		var subject any
		if dice.IntN(3) == 0 {
			subject = digest(dice.IntN(all + all/2))
		}
		run(t, db, "INSERT INTO manifests (repo, digest, media_type, artifact_type, subject, size, body, pushed_at) VALUES (?, ?, 'm', '', ?, ?, ?, ?)", repo, digest(i), subject, dice.IntN(10), []byte("x"), 1+dice.IntN(5))
	}
	for i := range all {
		if dice.IntN(3) == 0 {
			run(t, db, "INSERT OR IGNORE INTO manifest_children (repo, parent, child) VALUES (?, ?, ?), (?, ?, ?)", repo, digest(i), digest(dice.IntN(all)), repo, digest(i), digest(dice.IntN(all)))
		}
		for n := range dice.IntN(3) {
			run(t, db, "INSERT INTO tags (repo, name, digest, moved_at) VALUES (?, ?, ?, 1)", repo, fmt.Sprintf("t%d-%d", i, n), digest(i))
		}
	}
}

func TestArtifactsAreCountedAndOrderedAsTheyAreListed(t *testing.T) {
	t.Parallel()
	db, yes, no := database(t), true, false
	run(t, db, "INSERT INTO projects (id, name, public, created_at) VALUES (1, 'library', 1, 1)")
	for seed := range uint64(20) {
		repo := int64(seed) + 1
		weave(t, db, repo, seed)
		for _, tagged := range []*bool{nil, &yes, &no} {
			of := index.Artifacts{Repo: repo, Tagged: tagged}
			whole := listing.Ask{Page: 1, Size: 100}
			whole.Order = []listing.Order{{Field: "size"}, {Field: "push_time"}} // not in the order of an index
			page, err := index.PageOfArtifacts(t.Context(), db, of, whole, 1)
			if err != nil {
				t.Fatal(err)
			}
			want := map[oci.Digest]bool{}
			for _, a := range page {
				want[a.Digest] = true
			}
			total, err := index.CountArtifacts(t.Context(), db, of, whole)
			if err != nil || total != int64(len(page)) {
				t.Errorf("seed %d, tagged %v: %d are counted, %d listed: %v", seed, tagged, total, len(page), err)
			}
			for _, order := range [][]listing.Order{nil, {{Field: "PushTime", Descending: true}}, {{Field: "push_time"}}} {
				got := map[oci.Digest]bool{}
				last := int64(0)
				for n := int64(1); n == 1 || len(page) > 0; n++ {
					page, err = index.PageOfArtifacts(t.Context(), db, of, listing.Ask{Page: n, Size: 7, Order: order}, 1)
					if err != nil {
						t.Fatal(err)
					}
					for _, a := range page {
						if falls := len(order) == 0 || order[0].Descending; len(got) > 0 && (falls && a.PushedAt > last || !falls && a.PushedAt < last) {
							t.Errorf("seed %d: pushed at %d comes after %d", seed, a.PushedAt, last)
						}
						got[a.Digest], last = true, a.PushedAt
					}
				}
				if len(got) != len(want) || total != int64(len(got)) {
					t.Errorf("seed %d, tagged %v, order %v: %d listed page by page, %d at once", seed, tagged, order, len(got), len(want))
				}
			}
		}
	}
}
