package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// A server of Galera hangs with the COMMIT of a run that removed some of a manifest's tags, and another client removes the one that this run left. The next run finds few enough to remove the manifest too; but the first
// one wakes, is ahead of it, and is what was applied. Nobody may be told that the manifest is deleted before it is. One database in a file does not do that, so the test takes back what the first run did, and does it again.
func TestADeletionGoesOnFromTheRunThatWasApplied(t *testing.T) {
	t.Parallel()
	const hung, hidden = 1, 2
	ctx, repo, config := t.Context(), rt.Name("late/app"), rt.Content("late", 20)
	body := rt.Image("", nil, "", config)
	var (
		db    *sqldb.DB
		id    int64 // of the repository
		stage int
		op    string // the row of the first run
		at    int64
		woke  sync.WaitGroup
	)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	change := func(statement string, args ...any) {
		t.Helper()
		must(db.Tx(ctx, "test.change", func(tx *sqldb.Tx) error {
			_, err := tx.Exec(ctx, statement, args...)
			return err
		}))
	}
	tag := func(i int) string { return fmt.Sprintf("t-%03d", i) }
	cfg := embedded(t)()
	cfg.Fault = func(_ context.Context, p sqldb.FaultPoint, tx string) error {
		switch {
		case tx != "manifest.delete":
			return nil
		case p == sqldb.AfterCommit && stage == hung:
			stage = hidden
			left, err := index.TagsOf(ctx, db, id, rt.Sum(body), 1000)
			must(err)
			if len(left) != 1 {
				t.Errorf("the first run left %d tags", len(left))
			}
			must(db.Row(ctx, "SELECT op, at FROM ops ORDER BY at DESC LIMIT 1").Scan(&op, &at))
			change("DELETE FROM ops WHERE op = ?", op)
			for i := range 501 {
				if tag(i) != left[0] {
					change("INSERT INTO tags (repo, name, digest, moved_at) VALUES (?, ?, ?, 1)", id, tag(i), rt.Sum(body).Bytes())
				}
			}
			change("DELETE FROM tags WHERE repo = ? AND name = ?", id, left[0])
			return errors.New("nobody knows whether it was committed")
		case p == sqldb.BeforeCommit && stage == hidden:
			stage = 0
			woke.Go(func() {
				must(db.Tx(ctx, "test.wake", func(tx *sqldb.Tx) error {
					ahead, err := index.ClaimOp(ctx, tx, op, at)
					if err == nil && !ahead {
						err = errors.New("it woke behind the next run: nothing was tried")
					}
					if err == nil {
						_, err = tx.Exec(ctx, "DELETE FROM tags WHERE repo = ?", id)
					}
					return err
				}))
			})
			time.Sleep(100 * time.Millisecond) // it stands in line when this run gives its place up
			return errors.New("the first run was ahead")
		}
		return nil
	}
	db = sqldbtest.Open(t, cfg)
	w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: memory.New(time.Now)}, func(c *registry.Config) { c.DB = db })
	w.DB = db
	w.Push(t, repo, config)
	var tags []oci.Tag
	for i := range 501 {
		tags = append(tags, rt.Tag(tag(i)))
	}
	_, err := w.PutManifest(ctx, repo, registry.PutManifest{Pusher: rt.Admin, MediaType: oci.MediaTypeImageManifest, Body: body, Tags: tags})
	must(err)
	r, err := index.RepositoryByName(ctx, db, repo)
	must(err)
	id, stage = r.ID, hung
	err = w.DeleteManifest(ctx, repo, rt.Sum(body))
	woke.Wait()
	there, findErr := index.HasManifest(ctx, db, id, rt.Sum(body))
	must(findErr)
	if err != nil || there || stage != 0 {
		t.Errorf("the deletion answered %v, and the manifest is there: %t (stage %d)", err, there, stage)
	}
}
