package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
)

// TestATagOfAnArtifactIsShownHoweverManyOthersHave: what has tags must not look as if it had none, because there are scripts that delete that.
func TestATagOfAnArtifactIsShownHoweverManyOthersHave(t *testing.T) {
	t.Parallel()
	w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: memory.New(time.Now)}, nil)
	repo := rt.Name("shown/app")
	config := rt.Content("config", 10)
	w.Push(t, repo, config)
	few, many := rt.Image("few", nil, "", config), rt.Image("many", nil, "", config)
	w.Put(t, repo, oci.MediaTypeImageManifest, few, "v1")
	w.Put(t, repo, oci.MediaTypeImageManifest, rt.Image("none", nil, "", config))
	w.Put(t, repo, oci.MediaTypeImageManifest, many, "latest")
	err := w.DB.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
		for i := range 5000 {
			if _, txErr := tx.Exec(t.Context(), "INSERT INTO tags (repo, name, digest, moved_at) SELECT repo, ?, digest, moved_at + 1 FROM tags WHERE name = 'latest'", fmt.Sprint("build-", i)); txErr != nil {
				return txErr
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	id, err := w.RepositoryID(t.Context(), repo)
	if err != nil {
		t.Fatal(err)
	}
	page, _, err := w.BrowseArtifacts(t.Context(), registry.Artifacts{Repo: id}, listing.Ask{Page: 1, Size: 10}, false)
	if err != nil || len(page) != 3 {
		t.Fatal(len(page), err)
	}
	for _, a := range page {
		want := map[oci.Digest]int{rt.Sum(few): 1, rt.Sum(many): 5000}[a.Digest]
		if len(a.Tags) != want {
			t.Errorf("%s has %d tags, want %d", a.Digest, len(a.Tags), want)
		}
	}
}
