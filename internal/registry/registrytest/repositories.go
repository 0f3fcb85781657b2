package registrytest

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
)

// label makes a label for all projects and gives it to a manifest.
func (w *World) label(t *testing.T, repo oci.Name, d oci.Digest) {
	t.Helper()
	err := w.DB.Tx(t.Context(), "test.label", func(tx *sqldb.Tx) error {
		id, _, err := index.InsertLabel(t.Context(), tx, index.Label{Name: sqldb.NewToken()})
		if err != nil {
			return err
		}
		row, err := index.RepositoryByName(t.Context(), tx, repo)
		if err != nil {
			return err
		}
		_, err = index.Attach(t.Context(), tx, row.ID, d, id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// rowsOf counts the rows of all tables that have to do with a repository.
func (w *World) rowsOf(t *testing.T, repo int64) (n int64) {
	t.Helper()
	for _, table := range []string{
		"repo_blobs", "manifests", "manifest_blobs", "manifest_children", "manifest_absent", "manifest_labels", "tags", "uploads", "review", "pull_totals", "repository_notes",
	} {
		n += count(t, w, "SELECT COUNT(*) FROM "+table+" WHERE repo = ?", repo)
	}
	return n + count(t, w, "SELECT COUNT(*) FROM repositories WHERE id = ?", repo)
}

func (w *World) repositoryID(t *testing.T, name oci.Name) int64 {
	t.Helper()
	row, err := index.RepositoryByName(t.Context(), w.DB, name)
	if err != nil {
		t.Fatal(err)
	}
	return row.ID
}

// emptied deletes a repository with all that one can have, in numbers that no single transaction takes.
func emptied(t *testing.T, w *World) {
	repo, other := Name("emptied/app"), Name("emptied/other")
	shared := Content("shared", 100)
	w.Push(t, other, shared)
	w.Push(t, repo, shared)
	for i := range 120 {
		w.Push(t, repo, fmt.Appendf(nil, "unused %d", i))
	}
	var children []oci.Descriptor
	for i := range 45 {
		body := Image(fmt.Sprintf("emptied %d", i), nil, "", shared)
		children = append(children, w.Put(t, repo, oci.MediaTypeImageManifest, body))
	}
	top := w.Put(t, repo, oci.MediaTypeImageIndex, Index(children...), "v1", "v2")
	nested := w.Put(t, repo, oci.MediaTypeImageIndex, Index(top, children[7]), "nested")
	w.label(t, repo, children[3].Digest)
	w.label(t, repo, nested.Digest)
	underWay := w.Send(t, w.Start(t, repo, 0), []byte("under way"))
	w.End(t, w.Start(t, repo, 0), []byte("done"), Sum([]byte("done")))
	for range 60 {
		w.Start(t, repo, 0)
	}
	w.CountPull(repo, Ref("v1"), top.Digest)
	w.FlushPulls(t.Context())
	if _, err := w.FoldPulls(t.Context(), Free, 10); err != nil {
		t.Fatal(err)
	}
	id := w.repositoryID(t, repo)
	exec(t, w, "INSERT INTO repository_notes (repo, description) VALUES (?, 'text')", id)

	if err := w.DeleteRepository(t.Context(), repo); err != nil {
		t.Fatal(err)
	}
	if n := w.rowsOf(t, id); n != 0 {
		t.Errorf("%d rows are left", n)
	}
	WantCode(t, w.DeleteRepository(t.Context(), repo), fail.NotFound, oci.CodeNameUnknown)
	_, err := w.Manifest(t.Context(), repo, Ref("v1"))
	WantCode(t, err, fail.NotFound, oci.CodeNameUnknown)
	_, err = w.StatBlob(t.Context(), repo, Sum(shared), registry.ToPull)
	WantCode(t, err, fail.NotFound, oci.CodeNameUnknown)
	_, err = w.Append(t.Context(), repo, underWay.ID, registry.Append{At: underWay.Offset, Size: 1, Body: bytes.NewReader([]byte("x"))})
	WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)
	w.WantBlob(t, other, Sum(shared), shared)
	CheckInvariants(t, w.DB, w.Store)
	w.Push(t, repo, shared)
	w.Put(t, repo, oci.MediaTypeImageManifest, Image("again", nil, "", shared), "v1")
}

// emptiedWhilePushed deletes a repository while others push to it. What was acknowledged before the deletion was, or after it, is whole; a deletion that was acknowledged left nothing of what was there before.
func (r *race) emptiedWhilePushed(t *testing.T) {
	repo := Name("races/emptied")
	config := Content("emptied config", 50)
	before := Image("before", nil, "", config)
	push := func(ctx context.Context, n *registry.Registry, body []byte) error {
		if _, err := n.PushBlob(ctx, repo, registry.PushBlob{Pusher: Admin, Digest: Sum(config), Size: -1, Body: bytes.NewReader(config)}); err != nil {
			return err
		}
		_, err := n.PutManifest(ctx, repo, registry.PutManifest{Pusher: Admin, MediaType: oci.MediaTypeImageManifest, Body: body, Tags: []oci.Tag{Tag("v1")}})
		return err
	}
	deletions, conflicts := 0, 0
	for round := range rounds {
		if err := push(t.Context(), r.w.Registry, before); err != nil {
			t.Fatal(err)
		}
		id := r.w.repositoryID(t, repo)
		during := Image(fmt.Sprintf("during %d", round), nil, "", config)
		pushed := make([]error, 4)
		var deleted error
		together(len(pushed)+1, func(i int) {
			if i == len(pushed) {
				deleted = r.node(round).DeleteRepository(t.Context(), repo)
				return
			}
			pushed[i] = push(t.Context(), r.node(i), during)
		})
		for _, err := range pushed {
			// The upload was ended, or the blob went before its manifest came: both say so.
			if err != nil && !fail.Is(err, fail.NotFound) {
				t.Error(err)
			}
		}
		switch {
		case deleted == nil:
			deletions++
			if n := r.w.rowsOf(t, id); n != 0 {
				t.Errorf("%d rows are left of a repository that was deleted", n)
			}
		case fail.Is(deleted, fail.Conflict):
			conflicts++
		default:
			t.Error(deleted)
		}
		m, err := r.w.Manifest(t.Context(), repo, Ref("v1"))
		if err == nil && !bytes.Equal(m.Body, during) && (deleted == nil || !bytes.Equal(m.Body, before)) || err != nil && !fail.Is(err, fail.NotFound) {
			t.Errorf("after a deletion that answered %v the tag is %+v, %v", deleted, m, err)
		}
		CheckInvariants(t, r.w.DB, r.w.Store)
	}
	t.Logf("%d deletions, %d conflicts", deletions, conflicts)
}
