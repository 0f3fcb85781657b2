package registrytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
)

// image pushes an image of two blobs that are named by a symbol, and answers its manifest.
func (w *World) image(t *testing.T, repo oci.Name, symbol string, tags ...string) []byte {
	t.Helper()
	config, layer := Content(symbol+" config", 50), Content(symbol+" layer", 200)
	w.Push(t, repo, config, layer)
	body := Image(symbol, nil, "", config, layer)
	w.Put(t, repo, oci.MediaTypeImageManifest, body, tags...)
	return body
}

func manifests(t *testing.T, w *World) {
	repo := Name("manifests/app")
	config, layer := Content("config", 50), Content("layer", 1500)
	w.Push(t, repo, config, layer)
	body := Image("spaces  are kept", nil, "", config, layer, layer)
	body = append([]byte(" \n"), body...)
	d := w.Put(t, repo, oci.MediaTypeImageManifest, body, "v1", "latest", "v1")
	if d.Digest != Sum(body) || d.Size != int64(len(body)) || d.MediaType != oci.MediaTypeImageManifest {
		t.Fatalf("pushed as %+v", d)
	}
	for _, ref := range []string{"v1", "latest", d.Digest.String()} {
		w.WantManifest(t, repo, ref, body)
		w.WantManifest(t, repo, ref, body)
	}
	w.Put(t, repo, oci.MediaTypeImageManifest, body, "v1")
	w.Put(t, repo, oci.MediaTypeImageManifest, body)

	p := registry.PutManifest{Pusher: Admin, MediaType: oci.MediaTypeImageManifest, Body: body, Digest: oci.Sum(oci.SHA512, body)}
	pushed, err := w.PutManifest(t.Context(), repo, p)
	if err != nil || pushed.Descriptor.Digest != p.Digest || pushed.Subject != nil {
		t.Fatalf("%+v, %v", pushed, err)
	}
	w.WantManifest(t, repo, p.Digest.String(), body)
	p.Digest = Sum([]byte("other"))
	_, err = w.PutManifest(t.Context(), repo, p)
	WantCode(t, err, fail.Invalid, oci.CodeDigestInvalid)

	_, err = w.Manifest(t.Context(), repo, Ref("absent"))
	WantCode(t, err, fail.NotFound, oci.CodeManifestUnknown)
	_, err = w.Manifest(t.Context(), repo, Ref("V1"))
	WantCode(t, err, fail.NotFound, oci.CodeManifestUnknown)
	_, err = w.Manifest(t.Context(), Name("manifests/absent"), Ref("v1"))
	WantCode(t, err, fail.NotFound, oci.CodeNameUnknown)
	_, err = w.TryPut(t.Context(), repo, oci.MediaTypeImageManifest, []byte("{"), "broken")
	WantCode(t, err, fail.Invalid, oci.CodeManifestInvalid)
	_, err = w.TryPut(t.Context(), repo, oci.MediaTypeImageManifest, Image("x", nil, strings.Repeat("a", 300), config), "long")
	WantCode(t, err, fail.Invalid, oci.CodeManifestInvalid)

	w.Put(t, Name("manifests/empty"), oci.MediaTypeImageIndex, Index(), "v1")
	w.WantManifest(t, Name("manifests/empty"), "v1", Index())

	many := make([][]byte, 200)
	for i := range many {
		many[i] = fmt.Appendf(nil, "blob %d", i)
	}
	w.Push(t, repo, many...)
	w.Put(t, repo, oci.MediaTypeImageManifest, Image("many layers", nil, "", many...), "many")
}

func absentReferences(t *testing.T, w *World) {
	repo, other := Name("absent/app"), Name("absent/other")
	config, layer := Content("absent config", 50), Content("absent layer", 50)
	w.Push(t, repo, config)
	w.Push(t, other, layer)
	_, err := w.TryPut(t.Context(), repo, oci.MediaTypeImageManifest, Image("", nil, "", config, layer), "v1")
	WantCode(t, err, fail.NotFound, oci.CodeManifestBlobUnknown)
	if named, ok := fail.DetailOf(err).([]string); !ok || !slices.Equal(named, []string{Sum(layer).String()}) {
		t.Fatalf("detail %v", fail.DetailOf(err))
	}
	_, err = w.Manifest(t.Context(), repo, Ref("v1"))
	WantCode(t, err, fail.NotFound, oci.CodeManifestUnknown)

	w.Push(t, repo, layer)
	wrong := bytes.Replace(Image("", nil, "", config, layer), []byte(`"size":50`), []byte(`"size":51`), 1)
	_, err = w.TryPut(t.Context(), repo, oci.MediaTypeImageManifest, wrong, "v1")
	WantCode(t, err, fail.Invalid, oci.CodeManifestInvalid)

	foreign := []byte(`{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageManifest + `","config":{"mediaType":"` + configType + `","size":50,"digest":"` + Sum(config).String() +
		`"},"layers":[{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar","size":7,"digest":"` + Sum([]byte("nowhere")).String() + `"}]}`)
	w.Put(t, repo, oci.MediaTypeImageManifest, foreign, "foreign")
	// One that is there all the same is held like any other.
	w.Push(t, repo, []byte("nowhere"))
	w.Put(t, repo, oci.MediaTypeImageManifest, foreign, "foreign")
	WantCode(t, w.DeleteBlob(t.Context(), repo, Sum([]byte("nowhere"))), fail.Conflict, oci.CodeDenied)

	child := Descriptor(oci.MediaTypeImageManifest, []byte("no such child"))
	_, err = w.TryPut(t.Context(), repo, oci.MediaTypeImageIndex, Index(child), "index")
	WantCode(t, err, fail.NotFound, oci.CodeManifestBlobUnknown)

	// Who pulls a child asks for a manifest: its bytes as a blob are none.
	bytesOnly := Image("pushed as a blob", nil, "", config)
	w.Push(t, repo, bytesOnly)
	pushed := Index(Descriptor(oci.MediaTypeImageManifest, bytesOnly))
	_, err = w.TryPut(t.Context(), repo, oci.MediaTypeImageIndex, pushed, "index")
	WantCode(t, err, fail.NotFound, oci.CodeManifestBlobUnknown)
	w.Put(t, repo, oci.MediaTypeImageManifest, bytesOnly)
	w.Put(t, repo, oci.MediaTypeImageIndex, pushed, "index")
}

func indexes(t *testing.T, w *World) {
	repo := Name("index/app")
	amd, arm := w.image(t, repo, "amd64"), w.image(t, repo, "arm64")
	cache := Content("BuildKit's cache", 70)
	w.Push(t, repo, cache)
	index := Index(Descriptor(oci.MediaTypeImageManifest, amd), Descriptor(oci.MediaTypeImageManifest, arm), Descriptor("application/vnd.buildkit.cacheconfig.v0", cache))
	d := w.Put(t, repo, oci.MediaTypeImageIndex, index, "multi")
	w.Put(t, repo, oci.MediaTypeImageIndex, index, "multi")
	err := w.DeleteManifest(t.Context(), repo, Sum(amd))
	WantCode(t, err, fail.Conflict, oci.CodeDenied)
	if !strings.Contains(err.Error(), d.Digest.String()) {
		t.Fatalf("the index is not named: %v", err)
	}
	err = w.DeleteBlob(t.Context(), repo, Sum(cache))
	WantCode(t, err, fail.Conflict, oci.CodeDenied)
	wrong := Descriptor(oci.MediaTypeImageManifest, amd)
	wrong.Size++
	_, err = w.TryPut(t.Context(), repo, oci.MediaTypeImageIndex, Index(wrong), "wrong")
	WantCode(t, err, fail.Invalid, oci.CodeManifestInvalid)
	if err = w.DeleteManifest(t.Context(), repo, d.Digest); err != nil {
		t.Fatal(err)
	}
	if err = w.DeleteManifest(t.Context(), repo, Sum(amd)); err != nil {
		t.Fatal(err)
	}
	w.WantManifest(t, repo, Sum(arm).String(), arm)
}

func sparse(t *testing.T, w *World) {
	repo := Name("sparse/app")
	config := Content("sparse config", 20)
	child := Image("child", nil, "", config)
	index := Index(Descriptor(oci.MediaTypeImageManifest, child), Descriptor(oci.MediaTypeImageManifest, []byte("never")))
	w.Put(t, repo, oci.MediaTypeImageIndex, index, "v1")
	w.WantManifest(t, repo, "v1", index)
	_, err := w.TryPut(t.Context(), repo, oci.MediaTypeImageManifest, child, "child")
	WantCode(t, err, fail.NotFound, oci.CodeManifestBlobUnknown)
	w.Push(t, repo, config)
	w.Put(t, repo, oci.MediaTypeImageManifest, child, "child")
	// A child that comes after its index is held by it all the same.
	WantCode(t, w.DeleteManifest(t.Context(), repo, Sum(child)), fail.Conflict, oci.CodeDenied)
	w.Put(t, repo, oci.MediaTypeImageIndex, index, "v1")
	WantCode(t, w.DeleteManifest(t.Context(), repo, Sum(child)), fail.Conflict, oci.CodeDenied)
	for _, d := range []oci.Digest{Sum(index), Sum(child)} {
		if err = w.DeleteManifest(t.Context(), repo, d); err != nil {
			t.Fatal(err)
		}
	}
	crowd(t, w, repo)
	other := w.Registry
	if !w.DB.Sole() {
		other = w.Another(t)
	}
	for i := range rounds {
		child = Image(fmt.Sprintf("child %d", i), nil, "", config)
		together(2, func(who int) {
			p, node := registry.PutManifest{Pusher: Admin, MediaType: oci.MediaTypeImageManifest, Body: child}, w.Registry
			if who == 1 {
				p.MediaType, p.Body, node = oci.MediaTypeImageIndex, Index(Descriptor(oci.MediaTypeImageManifest, child)), other
			}
			if _, putErr := node.PutManifest(t.Context(), repo, p); putErr != nil {
				t.Error(putErr)
			}
		})
		WantCode(t, w.DeleteManifest(t.Context(), repo, Sum(child)), fail.Conflict, oci.CodeDenied)
	}
	CheckInvariants(t, w.DB, w.Store)
}

// crowd lets so many indexes wait for one manifest that no more may: when it comes, one transaction lets them all refer to it.
func crowd(t *testing.T, w *World, repo oci.Name) {
	config := Content("awaited config", 20)
	w.Push(t, repo, config)
	child := Image("awaited", nil, "", config)
	waiting := func(i int) []byte {
		return Index(Descriptor(oci.MediaTypeImageManifest, child), Descriptor(oci.MediaTypeImageManifest, fmt.Appendf(nil, "never %d", i)))
	}
	first := waiting(0)
	w.Put(t, repo, oci.MediaTypeImageIndex, first)
	const most = 1000
	err := w.DB.Tx(t.Context(), "test.wait", func(tx *sqldb.Tx) error {
		id, err := index.RepositoryByName(t.Context(), tx, repo)
		if err != nil {
			return err
		}
		for i := range most - 1 {
			row := index.Manifest{Repo: id.ID, Digest: Sum(waiting(i + 1)), MediaType: oci.MediaTypeImageIndex, Body: waiting(i + 1)}
			if err = index.InsertManifest(t.Context(), tx, &row); err != nil {
				return err
			}
			if err = index.InsertAbsent(t.Context(), tx, id.ID, row.Digest, []oci.Digest{Sum(child)}); err != nil {
				return err
			}
			if err = index.Review(t.Context(), tx, index.ReviewManifest, id.ID, row.Digest, 1); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.TryPut(t.Context(), repo, oci.MediaTypeImageIndex, waiting(most))
	WantCode(t, err, fail.NotFound, oci.CodeManifestBlobUnknown)
	w.Put(t, repo, oci.MediaTypeImageIndex, first)
	w.Put(t, repo, oci.MediaTypeImageManifest, child)
	WantCode(t, w.DeleteManifest(t.Context(), repo, Sum(child)), fail.Conflict, oci.CodeDenied)
	w.Put(t, repo, oci.MediaTypeImageIndex, waiting(most))
}

func tagMoves(t *testing.T, w *World) {
	repo := Name("tags/app")
	old, fresh := w.image(t, repo, "old", "v1", "kept"), w.image(t, repo, "new")
	w.WantManifest(t, repo, "v1", old)
	w.Put(t, repo, oci.MediaTypeImageManifest, fresh, "v1")
	w.WantManifest(t, repo, "v1", fresh)
	w.WantManifest(t, repo, "kept", old)
	// Another process would not share the memory of this one; on SQLite there is none, elsewhere its answer is as fresh.
	if !w.DB.Sole() {
		other := w.Another(t)
		m, err := other.Manifest(t.Context(), repo, Ref("v1"))
		if err != nil || m.Descriptor.Digest != Sum(fresh) {
			t.Fatalf("%+v, %v", m, err)
		}
		w.Put(t, repo, oci.MediaTypeImageManifest, old, "v1")
		if m, err = other.Manifest(t.Context(), repo, Ref("v1")); err != nil || !bytes.Equal(m.Body, old) {
			t.Fatalf("%+v, %v", m, err)
		}
	}
}

func deletes(t *testing.T, w *World) {
	repo := Name("deletes/app")
	body := w.image(t, repo, "deleted", "one", "two")
	layer := Content("deleted layer", 200)
	w.WantBlob(t, repo, Sum(layer), layer)
	w.WantManifest(t, repo, "one", body)
	err := w.DeleteBlob(t.Context(), repo, Sum(layer))
	WantCode(t, err, fail.Conflict, oci.CodeDenied)
	if !strings.Contains(err.Error(), Sum(body).String()) {
		t.Fatalf("the manifest is not named: %v", err)
	}
	WantCode(t, w.DeleteTagOf(t.Context(), repo, Tag("one"), Sum(layer)), fail.NotFound, oci.CodeManifestUnknown)
	w.WantManifest(t, repo, "one", body)
	if err = w.DeleteTagOf(t.Context(), repo, Tag("one"), Sum(body)); err != nil {
		t.Fatal(err)
	}
	WantCode(t, w.DeleteTagOf(t.Context(), repo, Tag("one"), Sum(body)), fail.NotFound, oci.CodeManifestUnknown)
	w.Put(t, repo, oci.MediaTypeImageManifest, body, "one")
	if err = w.DeleteTag(t.Context(), repo, Tag("one")); err != nil {
		t.Fatal(err)
	}
	_, err = w.Manifest(t.Context(), repo, Ref("one"))
	WantCode(t, err, fail.NotFound, oci.CodeManifestUnknown)
	w.WantManifest(t, repo, "two", body)
	WantCode(t, w.DeleteTag(t.Context(), repo, Tag("one")), fail.NotFound, oci.CodeManifestUnknown)
	if err = w.DeleteManifest(t.Context(), repo, Sum(body)); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"two", Sum(body).String()} {
		_, err = w.Manifest(t.Context(), repo, Ref(ref))
		WantCode(t, err, fail.NotFound, oci.CodeManifestUnknown)
	}
	WantCode(t, w.DeleteManifest(t.Context(), repo, Sum(body)), fail.NotFound, oci.CodeManifestUnknown)
	if err = w.DeleteBlob(t.Context(), repo, Sum(layer)); err != nil {
		t.Fatal(err)
	}
	_, err = w.OpenBlob(t.Context(), repo, Sum(layer))
	WantCode(t, err, fail.NotFound, oci.CodeBlobUnknown)
	WantCode(t, w.DeleteBlob(t.Context(), repo, Sum(layer)), fail.NotFound, oci.CodeBlobUnknown)
	absent := Name("deletes/absent")
	WantCode(t, w.DeleteTag(t.Context(), absent, Tag("one")), fail.NotFound, oci.CodeNameUnknown)
	WantCode(t, w.DeleteManifest(t.Context(), absent, Sum(body)), fail.NotFound, oci.CodeNameUnknown)
	WantCode(t, w.DeleteBlob(t.Context(), absent, Sum(layer)), fail.NotFound, oci.CodeNameUnknown)
	page, err := w.Tags(t.Context(), repo, -1, "")
	if err != nil || len(page.Names) != 0 {
		t.Fatalf("%+v, %v", page, err)
	}
	w.image(t, repo, "deleted", "one")
}

// manyTags deletes a manifest with more tags than a transaction may remove, while each commit is said once to have failed.
func manyTags(t *testing.T, s Stores) {
	var w *World
	steps, after := []int64{}, func() {}
	repo := Name("many/app")
	body := Image("many", nil, "", Content("many layer", 20))
	w = Open(t, s, func(c *registry.Config) {
		c.Fault = func(step string) error {
			if step == "manifest.delete: applied" {
				steps = append(steps, count(t, w, "SELECT COUNT(*) FROM tags WHERE digest = ?", Sum(body).Bytes()))
				after()
				after = func() {}
			}
			return nil
		}
	})
	w.Push(t, repo, Content("many layer", 20))
	w.Put(t, repo, oci.MediaTypeImageManifest, body, "stays")
	other := w.image(t, repo, "other", "other")
	const n = 1201
	tag := func() {
		t.Helper()
		err := w.DB.Tx(t.Context(), "test.tag", func(tx *sqldb.Tx) error {
			id, err := index.RepositoryByName(t.Context(), tx, repo)
			if err != nil {
				return err
			}
			for i := range n {
				if _, err = index.MoveTag(t.Context(), tx, id.ID, Tag(fmt.Sprintf("many-%d", i)), oci.Digest{}, Sum(body), 1); err != nil {
					return err
				}
			}
			_, err = index.MoveTag(t.Context(), tx, id.ID, Tag("stays"), oci.Digest{}, Sum(body), 1)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	tag()
	again := "" // one that was removed is pushed again
	after = func() {
		for i := 0; again == ""; i++ {
			name := fmt.Sprintf("many-%d", i)
			if _, err := w.Manifest(t.Context(), repo, Ref(name)); fail.Is(err, fail.NotFound) {
				again = name
			}
		}
		w.Put(t, repo, oci.MediaTypeImageManifest, body, again)
	}
	err := w.DeleteManifest(t.Context(), repo, Sum(body))
	WantCode(t, err, fail.Conflict, oci.CodeDenied)
	if again == "" || !strings.Contains(err.Error(), "00 of whose tags are removed") {
		t.Errorf("tag %q was pushed again, and it ends with %v", again, err)
	}
	w.WantManifest(t, repo, again, body)
	CheckInvariants(t, w.DB, w.Store)

	tag()
	steps = nil
	w.Faults.AfterCommit("manifest.delete", func() {})
	if err = w.DeleteManifest(t.Context(), repo, Sum(body)); err != nil {
		t.Fatal(err)
	}
	if want := []int64{702, 202, 0}; !slices.Equal(steps, want) {
		t.Errorf("behind each transaction there are %v tags, want %v", steps, want)
	}
	_, err = w.Manifest(t.Context(), repo, Ref("stays"))
	WantCode(t, err, fail.NotFound, oci.CodeManifestUnknown)
	w.WantManifest(t, repo, "other", other)
	CheckInvariants(t, w.DB, w.Store)
}

func reviews(t *testing.T, w *World) {
	repo := Name("reviews/app")
	data := Content("reviewed", 40)
	w.Push(t, repo, data)
	due := func(kind int, d oci.Digest) int64 {
		t.Helper()
		var at int64
		err := w.DB.Row(t.Context(), "SELECT v.due FROM review v JOIN repositories r ON r.id = v.repo WHERE r.name = ? AND v.kind = ? AND v.digest = ?", repo.String(), kind, d.Bytes()).Scan(&at)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	first := due(2, Sum(data))
	if first < w.Now().Add(23*time.Hour).UnixMicro() {
		t.Fatal("due too early")
	}
	w.Forward(20 * time.Hour)
	if _, err := w.StatBlob(t.Context(), repo, Sum(data), registry.ToPush); err != nil {
		t.Fatal(err)
	}
	if second := due(2, Sum(data)); second < first+(19*time.Hour).Microseconds() {
		t.Fatal("a HEAD of a push did not put the review off")
	}
	body := w.image(t, repo, "reviewed image")
	first = due(1, Sum(body))
	w.Forward(20 * time.Hour)
	if err := w.TouchManifest(t.Context(), repo, oci.Reference{Digest: Sum(body)}, Sum(body), registry.ToPush); err != nil {
		t.Fatal(err)
	}
	if second := due(1, Sum(body)); second < first+(19*time.Hour).Microseconds() {
		t.Fatal("a HEAD of a push did not put the review off")
	}
	if err := w.TouchManifest(t.Context(), repo, oci.Reference{Digest: Sum(data)}, Sum(data), registry.ToPush); !fail.Is(err, fail.NotFound) {
		t.Fatalf("a push is told of a manifest that is not there: %v", err)
	}
	// A tag that moves between the two looks of a HEAD.
	w.image(t, repo, "another image", "moved")
	if err := w.TouchManifest(t.Context(), repo, Ref("moved"), Sum(body), registry.ToPush); !fail.Is(err, fail.Conflict) {
		t.Fatalf("a push is told that a tag is what it was: %v", err)
	}
	unsaid := func(write bool) {
		t.Helper()
		blobDue, manifestDue := due(2, Sum(data)), due(1, Sum(body))
		if _, err := w.StatBlob(t.Context(), repo, Sum(data), registry.Unsaid); err != nil {
			t.Fatal(err)
		}
		if err := w.TouchManifest(t.Context(), repo, oci.Reference{Digest: Sum(body)}, Sum(body), registry.Unsaid); err != nil {
			t.Fatal(err)
		}
		if now := due(2, Sum(data)); (now != blobDue) != write {
			t.Errorf("a stranger's HEAD made a blob's review due at %d, from %d", now, blobDue)
		}
		if now := due(1, Sum(body)); (now != manifestDue) != write {
			t.Errorf("a stranger's HEAD made a manifest's review due at %d, from %d", now, manifestDue)
		}
	}
	if _, err := w.StatBlob(t.Context(), repo, Sum(data), registry.ToPush); err != nil {
		t.Fatal(err)
	}
	w.Forward(11 * time.Hour)
	unsaid(false)
	w.Forward(8 * time.Hour)
	unsaid(true)
	unsaid(false)
}

func pullCounts(t *testing.T, w *World) {
	repo := Name("pulls/app")
	d := Sum(w.image(t, repo, "pulled", "v1"))
	for range 3 {
		w.CountPull(repo, Ref("v1"), d)
	}
	w.CountPull(repo, oci.Reference{Digest: d}, d)
	w.CountPull(Name("pulls/absent"), oci.Reference{Digest: d}, d)
	w.FlushPulls(t.Context())
	w.CountPull(repo, Ref("v1"), d)
	w.FlushPulls(t.Context())
	w.FlushPulls(t.Context())
	for {
		n, err := w.FoldPulls(t.Context(), Free, 2)
		if err != nil {
			t.Fatal(err)
		}
		if n < 2 {
			break
		}
	}
	for tag, want := range map[string]int64{"": 5, "v1": 4} {
		var n, last int64
		err := w.DB.Row(t.Context(), "SELECT p.n, p.last_at FROM pull_totals p JOIN repositories r ON r.id = p.repo WHERE r.name = ? AND p.digest = ? AND p.tag = ?", repo.String(), d.Bytes(), tag).Scan(&n, &last)
		if err != nil || n != want || last == 0 {
			t.Fatalf("tag %q: %d at %d, %v", tag, n, last, err)
		}
	}
	old, err := w.OldOps(t.Context(), w.Now().Add(time.Hour), 2)
	if err == nil {
		err = w.ForgetOps(t.Context(), Free, old)
	}
	if err != nil {
		t.Fatalf("%v, %v", old, err)
	}
	// At the end, Run writes what waits.
	ctx, cancel := context.WithCancel(t.Context())
	w.CountPull(repo, Ref("v1"), d)
	cancel()
	if err = w.Run(ctx); err != nil {
		t.Fatal(err)
	}
	folded, err := w.FoldPulls(t.Context(), Free, 10)
	if err != nil || folded != 1 {
		t.Fatalf("%d, %v", folded, err)
	}
}

func orphans(t *testing.T, w *World) {
	repo := Name("orphans/app")
	data := Content("not an orphan", 2500)
	w.Push(t, repo, data)
	name := w.Store.NewName()
	if _, err := w.Store.Put(t.Context(), name, -1, strings.NewReader("orphan")); err != nil {
		t.Fatal(err)
	}
	sweep := func(before time.Time) (deleted int) {
		for last := ""; ; {
			found, err := w.SweepOrphans(t.Context(), last, before, 3)
			if err != nil {
				t.Fatal(err)
			}
			deleted += found.Deleted
			if last = found.Last; last == "" {
				return deleted
			}
		}
	}
	if n := sweep(time.Now().Add(-time.Hour)); n != 0 {
		t.Fatalf("%d young objects deleted", n)
	}
	if n := sweep(w.Now().Add(time.Hour)); n != 1 {
		t.Fatalf("%d orphans deleted", n)
	}
	if _, err := w.Store.Stat(t.Context(), name); !fail.Is(err, fail.NotFound) {
		t.Fatalf("the orphan is still there: %v", err)
	}
	w.WantBlob(t, repo, Sum(data), data)
}

// full is a store that says how much room it has.
type full struct {
	blob.Driver
	free int64
}

func (f *full) Space(context.Context) (free, total int64, err error) { return f.free, 1 << 40, nil }

func limits(t *testing.T, s Stores) {
	store := &full{Driver: s.Driver, free: 1 << 30}
	s.Driver = store
	w := Open(t, s, func(c *registry.Config) { c.MaxUploadsPerSubject, c.LowDiskBytes = 2, 1<<20 })
	repo := Name("limits/app")
	body := w.image(t, repo, "limited", "v1")

	var held []registry.Upload
	release := make(chan struct{})
	ended := make(chan error, 2)
	for range 2 {
		u := w.Start(t, repo, 0)
		held = append(held, u)
		began := make(chan struct{})
		first := true
		reader := readerFunc(func(p []byte) (int, error) {
			if first {
				first = false
				close(began)
				return copy(p, "x"), nil
			}
			<-release
			return 0, io.EOF
		})
		go func() {
			_, err := w.Append(t.Context(), repo, u.ID, registry.Append{Size: -1, Body: reader})
			ended <- err
		}()
		<-began
	}
	third := w.Start(t, repo, 0)
	_, err := w.Append(t.Context(), repo, third.ID, registry.Append{Size: 1, Body: strings.NewReader("x")})
	WantCode(t, err, fail.Exhausted, oci.CodeTooManyRequests)
	if fail.RetryAfterOf(err) == 0 {
		t.Error("no time to wait")
	}
	before := count(t, w, "SELECT COUNT(*) FROM uploads")
	_, err = w.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum([]byte("x")), Size: 1, Body: strings.NewReader("x")})
	WantCode(t, err, fail.Exhausted, oci.CodeTooManyRequests)
	if left := count(t, w, "SELECT COUNT(*) FROM uploads") - before; left != 0 {
		t.Errorf("a blob that was refused leaves %d uploads, which count for its subject until they expire", left)
	}
	other := registry.Pusher{Subject: "another", MayCreate: true}
	if _, err = w.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: other, Digest: Sum([]byte("x")), Size: 1, Body: strings.NewReader("x")}); err != nil {
		t.Fatal(err)
	}
	close(release)
	if err = errors.Join(<-ended, <-ended); err != nil {
		t.Fatal(err)
	}
	w.At(t, held[0], 1)
	w.Send(t, third, []byte("x"))

	store.free = 1 << 19
	w.Forward(time.Minute)
	_, err = w.StartUpload(t.Context(), repo, registry.StartUpload{Pusher: Admin})
	WantCode(t, err, fail.Exhausted, oci.CodeDenied)
	_, err = w.Append(t.Context(), repo, third.ID, registry.Append{At: 1, Size: 1, Body: strings.NewReader("x")})
	WantCode(t, err, fail.Exhausted, oci.CodeDenied)
	_, err = w.TryPut(t.Context(), repo, oci.MediaTypeImageManifest, body, "v2")
	WantCode(t, err, fail.Exhausted, oci.CodeDenied)
	w.WantManifest(t, repo, "v1", body)
	if err = w.DeleteTag(t.Context(), repo, Tag("v1")); err != nil {
		t.Fatal(err)
	}
	store.free = 1 << 30
	w.Forward(time.Minute)
	w.Put(t, repo, oci.MediaTypeImageManifest, body, "v2")
	CheckInvariants(t, w.DB, w.Store)
}
