package projecttest

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/project"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
)

func made(t *testing.T, w *world) {
	ctx := t.Context()
	owner := w.user(t, "anna")
	before := time.Now().Add(-time.Second)
	id, err := w.Create(ctx, project.Create{Name: "team-a", Owner: owner, Metadata: map[string]string{"public": "1", "auto_scan": "T", "retention_id": ""}})
	need(t, err)
	if id != 2 {
		t.Errorf("the project behind the library has number %d", id)
	}
	for _, find := range []func() (project.Project, error){
		func() (project.Project, error) { return w.Get(ctx, id) },
		func() (project.Project, error) { return w.ByName(ctx, "team-a") },
	} {
		p, findErr := find()
		need(t, findErr)
		if p.ID != id || p.Name != "team-a" || !p.Public || p.Owner != owner || p.OwnerName != "anna" || p.Repositories != 0 ||
			p.CreatedAt.Before(before) || !p.ChangedAt.Equal(p.CreatedAt) || !maps.Equal(p.Metadata, map[string]string{"public": "true", "auto_scan": "true"}) {
			t.Errorf("%+v", p)
		}
	}
	summary, err := w.Summary(ctx, id)
	if err != nil || !maps.Equal(summary.Members, map[int]int64{1: 1}) {
		t.Errorf("who made it is no administrator of it: %v, %v", summary.Members, err)
	}
	_, err = w.Create(ctx, project.Create{Name: "team-a"})
	want(t, err, fail.Exists)
	for _, bad := range []project.Create{
		{Name: "team-b", Owner: 99}, {Name: "team-b", Metadata: map[string]string{"colour": "red"}}, {Name: "team-b", Metadata: map[string]string{"retention_id": "x"}},
	} {
		if _, err = w.Create(ctx, bad); !fail.Is(err, fail.Invalid) && !fail.Is(err, fail.NotFound) {
			t.Errorf("%+v is made: %v", bad, err)
		}
	}
	for _, none := range []error{
		second(w.Get(ctx, id+1)), second(w.Get(ctx, 0)), second(w.ByName(ctx, "team-b")), second(w.ByName(ctx, "")), second(w.ByName(ctx, "TEAM-A")),
		second(w.Metadata(ctx, id+1)), second(w.Summary(ctx, id+1)), second(w.Deletable(ctx, id+1)),
		w.Update(ctx, id+1, project.Change{}), w.DeleteMetadata(ctx, id+1, "auto_scan"), w.Delete(ctx, id+1),
	} {
		if !fail.Is(none, fail.NotFound) {
			t.Errorf("what is not there: %v", none)
		}
	}
	nodes := []*world{w, w.another(t), w.another(t)}
	var mu sync.Mutex
	won := map[int64]bool{}
	var all sync.WaitGroup
	for i := range 9 {
		all.Go(func() {
			got, makeErr := nodes[i%3].Create(ctx, project.Create{Name: "wanted"})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case makeErr == nil:
				won[got] = true
			case !fail.Is(makeErr, fail.Exists):
				t.Error(makeErr)
			}
		})
	}
	all.Wait()
	if p, findErr := w.ByName(ctx, "wanted"); findErr != nil || len(won) != 1 || !won[p.ID] {
		t.Errorf("%v made %+v, %v", won, p, findErr)
	}
}

func second[T any](_ T, err error) error { return err }

// names answers the names of a page.
func names(page []project.Project) []string {
	all := []string{}
	for _, p := range page {
		all = append(all, p.Name)
	}
	return all
}

func seen(t *testing.T, w *world) {
	ctx := t.Context()
	ids := map[string]int64{}
	for i, name := range []string{"a-public", "b-member", "c-group", "d-robot", "e-nobody", "f-public-member"} {
		ids[name] = w.make(t, name, i%5 == 0)
	}
	user, both, stranger := w.user(t, "user"), w.user(t, "both"), w.user(t, "stranger")
	w.member(t, ids["b-member"], user, 5)
	w.member(t, ids["f-public-member"], user, 1)
	w.groupMember(t, ids["c-group"], user)
	w.member(t, ids["b-member"], both, 3)
	w.groupMember(t, ids["b-member"], both)
	robot := w.robot(t, 0, ids["d-robot"], "repository", "pull", "allow")
	pusher := w.robot(t, 0, ids["d-robot"], "repository", "push", "allow")
	denied := w.robot(t, 0, ids["d-robot"], "repository", "pull", "deny")
	own := w.robot(t, ids["b-member"], ids["b-member"], "*", "*", "allow")
	everywhere := w.robot(t, 0, -1, "repository", "list", "allow")
	elsewhere := w.robot(t, 0, -1, "member", "list", "allow")
	public := "a-public f-public-member"
	for _, c := range []struct {
		viewer project.Viewer
		want   string
	}{
		{project.Viewer{}, public},
		{project.Viewer{All: true}, "a-public b-member c-group d-robot e-nobody f-public-member"},
		{project.Viewer{User: user}, "a-public b-member c-group f-public-member"},
		{project.Viewer{User: both}, "a-public b-member f-public-member"},
		{project.Viewer{User: stranger}, public},
		{project.Viewer{Robot: robot}, "a-public d-robot f-public-member"},
		{project.Viewer{Robot: pusher}, public},
		{project.Viewer{Robot: denied}, public},
		{project.Viewer{Robot: own}, "a-public b-member f-public-member"},
		{project.Viewer{Robot: everywhere}, "a-public b-member c-group d-robot e-nobody f-public-member"},
		{project.Viewer{Robot: elsewhere}, public},
	} {
		want := strings.Fields(c.want)
		page, total, err := w.List(ctx, project.Query{Viewer: c.viewer})
		need(t, err)
		if !slices.Equal(names(page), want) || total != int64(len(want)) {
			t.Errorf("%+v sees %v, %d in all, want %v", c.viewer, names(page), total, want)
		}
		// The rule for lists of repositories is another text; it must mean the same.
		for name, id := range ids {
			if err = w.repository(ctx, name+"/app", true); err != nil && !fail.Is(err, fail.Exists) {
				t.Fatal(err)
			}
			repos, listErr := index.VisibleRepositoryNames(ctx, w.db, index.Viewer(c.viewer), "", 100)
			need(t, listErr)
			if slices.Contains(repos, name+"/app") != slices.Contains(want, name) {
				t.Errorf("%+v sees project %d and its repository differently", c.viewer, id)
			}
		}
		for _, limit := range []int{1, 2, 5} {
			var walked []string
			for {
				page, total, err = w.List(ctx, project.Query{Viewer: c.viewer, Offset: len(walked), Limit: limit})
				need(t, err)
				if total != int64(len(want)) || len(page) > limit {
					t.Fatalf("%+v, page behind %d: %d of %d", c.viewer, len(walked), len(page), total)
				}
				if len(page) == 0 {
					break
				}
				walked = append(walked, names(page)...)
			}
			if !slices.Equal(walked, want) {
				t.Errorf("%+v walks %v", c.viewer, walked)
			}
		}
	}
}

func listed(t *testing.T, w *world) {
	ctx := t.Context()
	anna, ben := w.user(t, "anna"), w.user(t, "ben")
	for i, name := range []string{"delta", "alpha", "al-2", "charlie", "bravo.x", "al_pha"} {
		owner := anna
		if i%2 == 1 {
			owner = ben
		}
		id, err := w.Create(ctx, project.Create{Name: name, Owner: owner, Metadata: map[string]string{"public": fmt.Sprint(i < 3), "severity": "high"}})
		need(t, err)
		w.exec(t, "UPDATE projects SET created_at = ? WHERE id = ?", 1000-i, id)
		w.exec(t, "UPDATE project_details SET changed_at = ? WHERE project = ?", 2000+i*7%4, id)
		for r := range (i * 5) % 4 {
			need(t, w.repository(ctx, fmt.Sprintf("%s/r%d", name, r), true))
		}
		need(t, w.repository(ctx, name+"/never-pushed", false))
	}
	// One that an earlier version made has no details.
	w.exec(t, "INSERT INTO projects (id, name, public, created_at) VALUES (100, 'older', ?, 5000)", false)
	all := project.Viewer{All: true}
	for _, c := range []struct {
		query project.Query
		want  string
	}{
		{project.Query{}, "al-2 al_pha alpha bravo.x charlie delta older"},
		{project.Query{Down: true}, "older delta charlie bravo.x alpha al_pha al-2"},
		{project.Query{Order: project.ByID}, "delta alpha al-2 charlie bravo.x al_pha older"},
		{project.Query{Order: project.ByID, Down: true}, "older al_pha bravo.x charlie al-2 alpha delta"},
		{project.Query{Order: project.ByCreation}, "al_pha bravo.x charlie al-2 alpha delta older"},
		{project.Query{Order: project.ByCreation, Down: true}, "older delta alpha al-2 charlie bravo.x al_pha"},
		{project.Query{Order: project.ByChange}, "delta bravo.x charlie al-2 alpha al_pha older"},
		{project.Query{Order: project.ByRepositories}, "delta bravo.x older alpha al_pha al-2 charlie"},
		{project.Query{Order: project.ByRepositories, Down: true, Limit: 2}, "charlie al-2"},
		{project.Query{Name: "alpha"}, "alpha"},
		{project.Query{Name: "alph"}, ""},
		{project.Query{Part: "al"}, "al-2 al_pha alpha"},
		{project.Query{Part: "L_p"}, "al_pha"},
		{project.Query{Part: "%"}, ""},
		{project.Query{Part: "!"}, ""},
		{project.Query{Part: "."}, "bravo.x"},
		{project.Query{Owner: "anna"}, "al-2 bravo.x delta"},
		{project.Query{Owner: "anna", Part: "a", Private: true}, "bravo.x"},
		{project.Query{Owner: "an%"}, ""},
		{project.Query{Public: true}, "al-2 alpha delta"},
		{project.Query{Private: true}, "al_pha bravo.x charlie older"},
		{project.Query{Private: true, Public: true, Limit: 3}, "al-2 al_pha alpha"},
		{project.Query{Offset: 5}, "delta older"},
		{project.Query{Offset: 7}, ""},
		{project.Query{Offset: -7, Limit: 1}, "al-2"},
	} {
		c.query.Viewer = all
		page, total, err := w.List(ctx, c.query)
		need(t, err)
		if !slices.Equal(names(page), strings.Fields(c.want)) {
			t.Errorf("%+v: %v, want %s", c.query, names(page), c.want)
		}
		rest := c.query
		rest.Offset, rest.Limit = 0, project.MaxPage
		whole, _, err := w.List(ctx, rest)
		need(t, err)
		if total != int64(len(whole)) {
			t.Errorf("%+v: %d in all, there are %d", c.query, total, len(whole))
		}
	}
	page, _, err := w.List(ctx, project.Query{Viewer: all})
	need(t, err)
	for _, p := range page {
		single, getErr := w.Get(ctx, p.ID)
		need(t, getErr)
		if fmt.Sprint(single) != fmt.Sprint(p) || p.Metadata["public"] != fmt.Sprint(p.Public) || p.Name != "older" && p.Metadata["severity"] != "high" {
			t.Errorf("in the list %+v, by itself %+v", p, single)
		}
	}
	if summary, sumErr := w.Summary(ctx, page[0].ID); sumErr != nil || summary.Repositories != page[0].Repositories || page[0].Repositories != 2 {
		t.Errorf("%+v of %+v, %v", summary, page[0], sumErr)
	}
}

func deleted(t *testing.T, w *world) {
	ctx := t.Context()
	const many = 1200
	id, other := w.make(t, "going", false), w.make(t, "staying", true)
	need(t, w.SetMetadata(ctx, id, map[string]string{"auto_scan": "true"}))
	need(t, w.db.Tx(ctx, "test.fill", func(tx *sqldb.Tx) error {
		for i := range many {
			if _, err := tx.Exec(ctx, "INSERT INTO labels (id, scope, project, name, description, color, created_at, changed_at) VALUES (?, ?, ?, ?, '', '', 1, 1)", i+1, id, id, fmt.Sprint("l", i)); err != nil {
				return err
			}
		}
		return nil
	}))
	user := w.user(t, "user")
	w.member(t, id, user, 2)
	w.groupMember(t, id, user)
	w.member(t, other, user, 2)
	w.robot(t, id, id, "repository", "pull", "allow")
	shared := w.robot(t, 0, id, "repository", "pull", "allow")
	w.exec(t, "INSERT INTO robot_permissions (robot, scope, project, resource, action, effect) VALUES (?, ?, ?, 'repository', 'pull', 'allow')", shared, other, other)
	for _, repo := range []string{"going/unseen", "going/unseen-too"} {
		_, startErr := w.registry.StartUpload(ctx, name(t, repo), registry.StartUpload{})
		need(t, startErr)
	}
	data := []byte("a blob of no manifest")
	_, err := w.registry.PushBlob(ctx, name(t, "going/unseen"), registry.PushBlob{Digest: oci.Sum(oci.SHA256, data), Size: int64(len(data)), Body: bytes.NewReader(data)})
	need(t, err)
	need(t, w.registry.SetQuota(ctx, id, 1000))
	summary, err := w.Summary(ctx, id)
	need(t, err)
	if summary.Quota.Limit != 1000 || summary.Quota.Used != int64(len(data)) || summary.Quota.Name != "going" {
		t.Errorf("%+v", summary.Quota)
	}
	if !maps.Equal(summary.Members, map[int]int64{2: 1, 3: 1}) {
		t.Errorf("%+v", summary)
	}
	need(t, w.repository(ctx, "staying/app", true))
	if why, lookErr := w.Deletable(ctx, other); lookErr != nil || !strings.Contains(why, "repositories: 1") {
		t.Errorf("%q, %v", why, lookErr)
	}
	want(t, w.Delete(ctx, other), fail.Conflict)
	if why, lookErr := w.Deletable(ctx, id); lookErr != nil || why != "" {
		t.Errorf("%q, %v", why, lookErr)
	}
	need(t, w.Delete(ctx, id))
	want(t, w.Delete(ctx, id), fail.NotFound)
	want(t, second(w.Get(ctx, id)), fail.NotFound)
	for table, left := range map[string]int64{"projects": 1, "project_details": 1, "project_metadata": 0, "members": 1, "robots": 1, "robot_permissions": 1, "labels": 0, "users": 1, "uploads": 0, "repo_blobs": 0, "quotas": 0, "quota_charges": 0, "quota_slices": 0} {
		if n := w.count(t, "SELECT COUNT(*) FROM "+table); n != left {
			t.Errorf("%d rows of %s are left, want %d", n, table, left)
		}
	}
	if again := w.make(t, "going", false); again <= other {
		t.Errorf("number %d was given again", again)
	}
}

// deletedOrPushed lets some delete a project while others make repositories in it, through other nodes.
func deletedOrPushed(t *testing.T, w *world) {
	ctx := t.Context()
	nodes := []*world{w, w.another(t), w.another(t)}
	user := w.user(t, "user")
	pushes, deletions := 0, 0
	for round := range 20 {
		name := fmt.Sprintf("p%d", round)
		id := w.make(t, name, false)
		w.member(t, id, user, 1)
		var all sync.WaitGroup
		var pushed, removed error
		all.Go(func() { pushed = nodes[1].repository(ctx, name+"/app", true) })
		all.Go(func() { removed = nodes[round%2*2].Delete(ctx, id) })
		all.Wait()
		if (pushed == nil) == (removed == nil) {
			t.Fatalf("round %d: push %v, deletion %v", round, pushed, removed)
		}
		if pushed == nil {
			pushes++
			want(t, removed, fail.Conflict)
			if n := w.count(t, "SELECT COUNT(*) FROM members WHERE project = ?", id); n != 1 {
				t.Errorf("a deletion that was refused removed the members")
			}
			continue
		}
		deletions++
		if !fail.Is(pushed, fail.NotFound) && !fail.Is(pushed, fail.Conflict) {
			t.Error(pushed)
		}
	}
	t.Logf("%d pushes and %d deletions were first", pushes, deletions)
}

// pushedMeanwhile pushes to a repository that nobody saw when the deletion of its project began.
func pushedMeanwhile(t *testing.T, w *world) {
	ctx := t.Context()
	id := w.make(t, "going", false)
	for _, repo := range []string{"going/a", "going/b"} {
		_, err := w.registry.StartUpload(ctx, name(t, repo), registry.StartUpload{})
		need(t, err)
	}
	body := []byte(`{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageIndex + `","manifests":[]}`)
	d := oci.Sum(oci.SHA256, body)
	w.faults.after("repository.delete", func() {
		_, err := w.registry.PutManifest(ctx, name(t, "going/b"), registry.PutManifest{MediaType: oci.MediaTypeImageIndex, Body: body, Digest: d})
		need(t, err)
	})
	want(t, w.Delete(ctx, id), fail.Conflict)
	if _, err := w.registry.Manifest(ctx, name(t, "going/b"), oci.Reference{Digest: d}); err != nil {
		t.Errorf("what was acknowledged is gone: %v", err)
	}
}

// once says of commits that nobody knows whether they happened; meanwhile others undo them.
func once(t *testing.T, w *world) {
	ctx := t.Context()
	w.faults.after("project.create", func() {})
	id := w.make(t, "made", false)
	if p, err := w.ByName(ctx, "made"); err != nil || p.ID != id {
		t.Fatalf("%+v, %v, want %d", p, err, id)
	}
	w.faults.after("project.update", func() {
		need(t, w.SetMetadata(ctx, id, map[string]string{"public": "false", "auto_scan": "false"}))
	})
	need(t, w.SetMetadata(ctx, id, map[string]string{"public": "true", "auto_scan": "true"}))
	if p, err := w.Get(ctx, id); err != nil || p.Public || p.Metadata["auto_scan"] != "false" {
		t.Errorf("what was changed later is changed back: %+v, %v", p, err)
	}
	w.faults.after("metadata.delete", func() { need(t, w.SetMetadata(ctx, id, map[string]string{"auto_scan": "true"})) })
	need(t, w.DeleteMetadata(ctx, id, "auto_scan"))
	if p, err := w.Get(ctx, id); err != nil || p.Metadata["auto_scan"] != "true" {
		t.Errorf("what was set later is deleted: %+v, %v", p, err)
	}
	w.faults.after("project.delete", func() { w.make(t, "made", true) })
	need(t, w.Delete(ctx, id))
	if p, err := w.ByName(ctx, "made"); err != nil || !p.Public {
		t.Errorf("what was made later is deleted: %+v, %v", p, err)
	}
}

func quotas(t *testing.T, w *world) {
	ctx := t.Context()
	bytes := func(n int64) *int64 { return &n }
	ids := map[string]int64{}
	for _, c := range []struct {
		name  string
		limit *int64
	}{{"much", bytes(1 << 40)}, {"default", nil}, {"nothing", bytes(0)}, {"all", bytes(registry.Unlimited)}, {"some", bytes(1 << 20)}} {
		id, err := w.Create(ctx, project.Create{Name: c.name, Quota: c.limit})
		need(t, err)
		ids[c.name] = id
		q, err := w.Quota(ctx, id)
		need(t, err)
		want := int64(registry.Unlimited)
		if c.limit != nil {
			want = *c.limit
		}
		if q.Limit != want || q.Project != id || q.Name != c.name || (q.Used != 0) != (want < 0) || time.Since(q.CreatedAt) > time.Minute || q.ChangedAt.Before(q.CreatedAt) {
			t.Errorf("%s: %+v", c.name, q)
		}
	}
	want(t, second(w.Create(ctx, project.Create{Name: "negative", Quota: bytes(-2)})), fail.Invalid)
	want(t, second(w.Quota(ctx, 999)), fail.NotFound)
	_, err := w.registry.PushBlob(ctx, name(t, "nothing/app"), registry.PushBlob{Digest: oci.Sum(oci.SHA256, []byte("x")), Size: 1, Body: strings.NewReader("x")})
	want(t, err, fail.Denied)
	_, err = w.registry.PushBlob(ctx, name(t, "some/app"), registry.PushBlob{Digest: oci.Sum(oci.SHA256, []byte("x")), Size: 1, Body: strings.NewReader("x")})
	need(t, err)
	need(t, w.registry.SetQuota(ctx, ids["nothing"], 5))
	need(t, w.registry.SetQuota(ctx, ids["much"], registry.Unlimited))
	for _, c := range []struct {
		order         project.QuotaOrder
		down          bool
		offset, limit int
		want          string
	}{
		{project.QuotasByProject, false, 0, 0, "much default nothing all some"},
		{project.QuotasByProject, true, 1, 2, "all nothing"},
		{project.QuotasByLimit, false, 0, 0, "nothing some much default all"},
		{project.QuotasByLimit, true, 0, 4, "all default much some"},
		{project.QuotasByUse, true, 0, 1, "some"},
		{project.QuotasByChange, true, 0, 1, "nothing"},
		{project.QuotasByProject, false, 5, 0, ""},
	} {
		page, total, listErr := w.Quotas(ctx, c.order, c.down, c.offset, c.limit)
		need(t, listErr)
		var got []string
		for _, q := range page {
			got = append(got, q.Name)
		}
		if !slices.Equal(got, strings.Fields(c.want)) && len(got)+len(c.want) > 0 || total != 5 {
			t.Errorf("%+v: %v of %d", c, got, total)
		}
	}
	if q, getErr := w.Quota(ctx, ids["some"]); getErr != nil || q.Used != 1 {
		t.Errorf("%+v, %v", q, getErr)
	}
}
