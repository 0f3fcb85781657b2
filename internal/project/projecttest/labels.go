package projecttest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/project"
	"github.com/havn-registry/havn/internal/sqldb"
)

// manifest makes a manifest in a repository that is there.
func (w *world) manifest(t *testing.T, repo oci.Name, n int) oci.Digest {
	t.Helper()
	d := oci.Sum(oci.SHA256, fmt.Append(nil, n))
	need(t, w.db.Tx(t.Context(), "test.manifest", func(tx *sqldb.Tx) error {
		row, err := index.RepositoryByName(t.Context(), tx, repo)
		if err != nil {
			return err
		}
		return index.InsertManifest(t.Context(), tx, &index.Manifest{Repo: row.ID, Digest: d, MediaType: "m", Body: []byte("{}"), PushedAt: 1})
	}))
	return d
}

func name(t *testing.T, s string) oci.Name {
	t.Helper()
	n, err := oci.ParseName(s)
	need(t, err)
	return n
}

func labels(t *testing.T, w *world) {
	ctx := t.Context()
	first, other := w.make(t, "first", false), w.make(t, "other", false)
	ids := map[string]int64{}
	for _, l := range []project.Label{
		{Name: "global"}, {Name: "both", Color: "#FF0000"}, {Name: "both", Project: first}, {Name: " Größe 50% ", Project: first, Description: "two\nlines"}, {Name: "a", Project: other},
	} {
		id, err := w.CreateLabel(ctx, l)
		need(t, err)
		ids[fmt.Sprint(l.Project, l.Name)] = id
		got, err := w.Label(ctx, id)
		need(t, err)
		if got.ID != id || got.Name != strings.TrimSpace(l.Name) || got.Project != l.Project || got.Description != l.Description || got.Color != l.Color || time.Since(got.CreatedAt) > time.Minute {
			t.Errorf("%+v is kept as %+v", l, got)
		}
		want(t, second(w.CreateLabel(ctx, l)), fail.Exists)
	}
	want(t, second(w.CreateLabel(ctx, project.Label{Name: "x", Project: 999})), fail.NotFound)
	for _, bad := range []project.Label{
		{}, {Name: "  "}, {Name: strings.Repeat("ä", 129)}, {Name: "a\x00"}, {Name: "a\xff"}, {Name: "a", Description: strings.Repeat("x", 1025)}, {Name: "a", Color: strings.Repeat("#", 17)},
	} {
		if err := second(w.CreateLabel(ctx, bad)); !fail.Is(err, fail.Invalid) || fail.HintOf(err) == "" {
			t.Errorf("%.60q: %v", bad.Name, err)
		}
	}
	long := project.Label{Name: strings.Repeat("ä", 128), Description: strings.Repeat("x", 1024), Color: strings.Repeat("#", 16), Project: other}
	need(t, second(w.CreateLabel(ctx, long)))

	for _, c := range []struct {
		query project.LabelQuery
		want  string
		total int64
	}{
		{project.LabelQuery{}, "both,global", 2},
		{project.LabelQuery{Down: true}, "global,both", 2},
		{project.LabelQuery{Order: project.LabelsByID, Limit: 1}, "global", 2},
		{project.LabelQuery{Order: project.LabelsByCreation, Offset: 1}, "both", 2},
		{project.LabelQuery{Project: first}, "Größe 50%,both", 2},
		{project.LabelQuery{Project: first, Part: "50%"}, "Größe 50%", 1},
		{project.LabelQuery{Project: first, Part: "%5"}, "", 0},
		{project.LabelQuery{Project: first, Part: "BOT"}, "both", 1},
		{project.LabelQuery{Project: first, Name: "bot"}, "", 0},
		{project.LabelQuery{Project: first, Name: "both"}, "both", 1},
	} {
		page, total, err := w.Labels(ctx, c.query)
		need(t, err)
		var got []string
		for _, l := range page {
			got = append(got, l.Name)
		}
		if strings.Join(got, ",") != c.want || total != c.total {
			t.Errorf("%+v: %q of %d, want %q of %d", c.query, got, total, c.want, c.total)
		}
	}

	both := ids[fmt.Sprint(first, "both")]
	need(t, w.UpdateLabel(ctx, project.Label{ID: both, Name: "renamed", Color: "#00FF00"}))
	need(t, w.UpdateLabel(ctx, project.Label{ID: both, Name: "renamed", Color: "#00FF01"}))
	want(t, w.UpdateLabel(ctx, project.Label{ID: both, Name: "Größe 50%"}), fail.Exists)
	want(t, w.UpdateLabel(ctx, project.Label{ID: both, Name: ""}), fail.Invalid)
	want(t, w.UpdateLabel(ctx, project.Label{ID: 999, Name: "x"}), fail.NotFound)
	if l, err := w.Label(ctx, both); err != nil || l.Name != "renamed" || l.Color != "#00FF01" || !l.ChangedAt.After(l.CreatedAt) {
		t.Errorf("%+v, %v", l, err)
	}
	attached(t, w, both, ids["0global"], ids[fmt.Sprint(other, "a")])
}

// attached gives labels of a project, of all projects and of another project to manifests.
func attached(t *testing.T, w *world, own, global, foreign int64) {
	ctx := t.Context()
	repo := name(t, "first/app")
	need(t, w.repository(ctx, repo.String(), true))
	var all []oci.Digest
	for i := range 600 {
		all = append(all, w.manifest(t, repo, i))
	}
	one := all[0]
	need(t, w.Attach(ctx, repo, one, own))
	need(t, w.Attach(ctx, repo, one, global))
	want(t, w.Attach(ctx, repo, one, own), fail.Exists)
	want(t, w.Attach(ctx, repo, one, foreign), fail.Conflict)
	want(t, w.Attach(ctx, repo, one, 999), fail.NotFound)
	want(t, w.Attach(ctx, repo, oci.Sum(oci.SHA256, []byte("absent")), own), fail.NotFound)
	want(t, w.Attach(ctx, name(t, "first/absent"), one, own), fail.NotFound)
	of, err := w.LabelsOf(ctx, repo, all[:100])
	need(t, err)
	var got []string
	for _, l := range of[one] {
		got = append(got, l.Name)
	}
	if len(of) != 1 || !slices.Equal(got, []string{"global", "renamed"}) {
		t.Errorf("%v", of)
	}
	if of, err = w.LabelsOf(ctx, name(t, "first/absent"), all); err != nil || len(of) != 0 {
		t.Errorf("%v, %v", of, err)
	}
	w.faults.after("label.detach", func() { need(t, w.Attach(ctx, repo, one, own)) })
	need(t, w.Detach(ctx, repo, one, own))
	need(t, w.Detach(ctx, repo, one, own))
	want(t, w.Detach(ctx, repo, one, own), fail.NotFound)

	for _, d := range all[1:] {
		w.exec(t, "INSERT INTO manifest_labels (repo, digest, label) SELECT repo, digest, ? FROM manifests WHERE digest = ?", own, d.Bytes())
	}
	nodes := []*world{w, w.another(t)}
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			if goErr := nodes[i%2].DeleteLabel(ctx, own); goErr != nil && !fail.Is(goErr, fail.NotFound) {
				t.Error(goErr)
			}
		})
		wait.Go(func() {
			if goErr := nodes[i%2].Attach(ctx, repo, all[i], own); goErr != nil && !fail.Is(goErr, fail.NotFound) && !fail.Is(goErr, fail.Exists) {
				t.Error(goErr)
			}
		})
	}
	wait.Wait()
	want(t, w.DeleteLabel(ctx, own), fail.NotFound)
	if n := w.count(t, "SELECT COUNT(*) FROM manifest_labels"); n != 1 {
		t.Errorf("%d manifests have labels, want the one with that for all projects", n)
	}
}

func notes(t *testing.T, w *world) {
	ctx := t.Context()
	w.make(t, "told", false)
	repo := name(t, "told/app")
	want(t, w.SetNote(ctx, repo, "text"), fail.NotFound)
	want(t, second(w.Note(ctx, repo)), fail.NotFound)
	need(t, w.repository(ctx, repo.String(), true))
	for _, text := range []string{"", "# A *note*\n\twith ü and 🐳", strings.Repeat("ü", 256<<10), "short", ""} {
		need(t, w.SetNote(ctx, repo, text))
		if got, err := w.Note(ctx, repo); err != nil || got != text {
			t.Errorf("%.20q reads back as %.20q, %v", text, got, err)
		}
	}
	if n := w.count(t, "SELECT COUNT(*) FROM repository_notes"); n != 0 {
		t.Errorf("%d empty notes are kept", n)
	}
	for _, bad := range []string{"a\x00b", "a\xffb", strings.Repeat("x", 256<<10+1)} {
		want(t, w.SetNote(ctx, repo, bad), fail.Invalid)
	}
}
