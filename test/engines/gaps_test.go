package engines

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/internal/sqldb"
)

// heldLock is a lock on a record in what InnoDB tells of itself: the index and the table, and how it is held.
var heldLock = regexp.MustCompile(`RECORD LOCKS .* index (\S+) of table (\S+) trx id \d+ (lock.*)`)

// A transaction that locks the gap between two rows makes those wait who have nothing to do with it; on Galera, where what others committed must go on and the one with the lock waits for them in its COMMIT, the whole
// cluster was seen to stand still for as long as anybody looked. At READ COMMITTED InnoDB does so only where a unique index gets a value that a row which is being deleted or moved still has there.
func TestPushesAndDeletesLockNoGapsOnMariaDB(t *testing.T) {
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	stopAfter(t, m.Stop)
	need(t, m.Run(t.Context(), "SET GLOBAL innodb_status_output_locks = ON"))
	w := registrytest.Open(t, stores(fresh(m, sqldb.MySQL, func(int) []string { return []string{m.Host} }))(t), func(c *registry.Config) { c.MaxObjectBytes = 1 << 10 })
	seen, rows := map[string]bool{}, 0
	w.Faults.Watch(func(tx string) {
		seen[tx] = true
		status, askErr := m.Ask(t.Context(), "SHOW ENGINE INNODB STATUS")
		if askErr != nil {
			t.Error(askErr)
		}
		for _, lock := range heldLock.FindAllStringSubmatch(status, -1) {
			rows++
			if how := lock[3]; !strings.Contains(how, "rec but not gap") && !strings.Contains(how, "insert intention") {
				t.Errorf("%s locks a gap of %s in %s: %s", tx, lock[1], lock[2], how)
			}
		}
	})
	// Somebody reads meanwhile, a backup say: until he is done, what was deleted is still in the indexes.
	need(t, w.DB.View(t.Context(), "test.long", func(q sqldb.Querier) error {
		var project int64
		if readErr := q.Row(t.Context(), "SELECT COUNT(*) FROM projects").Scan(&project); readErr != nil {
			return readErr
		}
		pushAndDelete(t, w, 0, func() {})
		need(t, w.DB.Row(t.Context(), "SELECT id FROM projects WHERE name = ?", "gaps").Scan(&project))
		need(t, w.SetQuota(t.Context(), project, 1<<30))
		for i := range 3 {
			pushAndDelete(t, w, 1+i, func() { need(t, w.CountQuota(t.Context(), project)) })
		}
		return nil
	}))
	if rows == 0 {
		t.Error("no lock at all was found in what InnoDB tells")
	}
	for _, tx := range []string{"upload.start", "upload.settle", "blob.commit", "blob.mount", "manifest.put", "upload.cancel", "tag.delete", "manifest.delete", "blob.delete", "repository.delete", "quota.count"} {
		if !seen[tx] {
			t.Errorf("no transaction %s was seen", tx)
		}
	}
}

// pushAndDelete does once what clients do, with several objects to a blob, and something between pushes and deletions. The repository is another one each time: the name of one that was deleted locks gaps.
func pushAndDelete(t *testing.T, w *registrytest.World, i int, between func()) {
	ctx := t.Context()
	repo, other := registrytest.Name(fmt.Sprint("gaps/app", i)), registrytest.Name("gaps/other")
	large, config := registrytest.Content("large", 3000+i), registrytest.Content("config", 100+i)
	u := w.Start(t, repo, oci.SHA256)
	u = w.Send(t, u, large[:2500])
	w.End(t, u, large[2500:], registrytest.Sum(large))
	w.Push(t, repo, config, large) // large is there
	for range 2 {
		if _, err := w.Mount(ctx, other, registry.Mount{Pusher: registrytest.Admin, Digest: registrytest.Sum(config), From: repo, MayPull: func(oci.Name) bool { return true }}); err != nil {
			t.Fatal(err)
		}
	}
	body := registrytest.Image("image", nil, "", config, large)
	d := w.Put(t, repo, oci.MediaTypeImageManifest, body, "v1", "latest")
	w.Put(t, repo, oci.MediaTypeImageManifest, registrytest.Image("next image", nil, "", config, large), "latest")
	broken := w.Start(t, repo, oci.SHA256)
	broken = w.Send(t, broken, large[:10])
	need(t, w.CancelUpload(ctx, repo, broken.ID))
	if _, err := w.PushBlob(ctx, repo, registry.PushBlob{Pusher: registrytest.Admin, Digest: registrytest.Sum(config), Size: -1, Body: bytes.NewReader(large)}); err == nil {
		t.Fatal("another content was taken")
	}
	between()
	need(t, w.DeleteTag(ctx, repo, registrytest.Tag("v1")))
	need(t, w.DeleteManifest(ctx, repo, d.Digest))
	need(t, w.DeleteBlob(ctx, other, registrytest.Sum(config)))
	need(t, w.DeleteRepository(ctx, repo))
	w.Sweep(t)
}
