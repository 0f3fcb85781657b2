package harborapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/harborapi"
)

// projects answers the names of a list of projects.
func (a *answer) projects() []string {
	a.Helper()
	var all []harborapi.Project
	a.is(http.StatusOK).decode(&all)
	names := []string{}
	for _, p := range all {
		names = append(names, p.Name)
	}
	return names
}

// createProject makes a project, as admin unless told otherwise.
func (s *service) createProject(name string, more map[string]any, options ...with) int64 {
	s.Helper()
	body := map[string]any{"project_name": name}
	for k, v := range more {
		body[k] = v
	}
	return s.do(http.MethodPost, "/projects", body, options...).id()
}

func TestAProjectFromItsBeginningToItsEnd(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.user("maria")
	maria := as("maria", secret)
	id := s.createProject("team", map[string]any{"metadata": map[string]string{"public": "false", "auto_scan": "true", "severity": "HIGH"}}, maria)
	at := fmt.Sprintf("/projects/%d", id)
	var p harborapi.Project
	s.get(at, maria).is(http.StatusOK).decode(&p)
	if int64(p.ProjectID) != id || p.Name != "team" || p.OwnerName != "maria" || p.Metadata.Public != "false" || *p.Metadata.AutoScan != "true" || *p.Metadata.Severity != "high" || p.CurrentUserRoleID != 1 ||
		!slices.Equal(p.CurrentUserRoleIds, []int32{1}) || p.CveAllowlist.Items == nil || !time.Time(p.CveAllowlist.CreationTime).IsZero() || p.RepoCount != 0 {
		t.Errorf("%+v", p)
	}
	s.get("/projects/team").is(http.StatusOK)
	s.get("/projects/team", s.logIn("somebody")).is(http.StatusForbidden)
	s.get("/projects/team", nobody).is(http.StatusUnauthorized)
	s.do(http.MethodHead, "/projects?project_name=team", nil, s.logIn("somebody")).is(http.StatusOK)
	s.do(http.MethodHead, "/projects?project_name=absent", nil).is(http.StatusNotFound)
	s.do(http.MethodHead, "/projects", nil).is(http.StatusUnprocessableEntity)

	s.do(http.MethodPut, at, map[string]any{"metadata": map[string]string{"public": "true"}, "cve_allowlist": map[string]any{"items": []map[string]string{{"cve_id": "CVE-2024-1"}}, "expires_at": 4102444800}}, maria).is(http.StatusOK)
	s.get(at, nobody).is(http.StatusOK).says(`"cve_id":"CVE-2024-1"`).says(`"expires_at":4102444800`).says(`"auto_scan":"true"`)
	s.do(http.MethodPut, at, map[string]any{"metadata": map[string]string{"severity": "awful"}}, maria).is(http.StatusBadRequest, "BAD_REQUEST")
	s.do(http.MethodPut, at, map[string]any{"cve_allowlist": map[string]any{"project_id": id + 1, "items": []any{}}}, maria).is(http.StatusBadRequest)
	s.do(http.MethodPut, at, map[string]any{}, s.join("developer", "team", access.Developer)).is(http.StatusForbidden)

	s.push("team/app", image(""), "1")
	s.get(at+"/_deletable", maria).is(http.StatusOK).says("repositories")
	s.do(http.MethodDelete, at, nil, maria).is(http.StatusPreconditionFailed, "PRECONDITION")
	var sum harborapi.ProjectSummary
	s.get(at+"/summary", maria).is(http.StatusOK).decode(&sum)
	if sum.RepoCount != 1 || sum.ProjectAdminCount != 1 || sum.DeveloperCount != 1 || sum.Quota.Hard["storage"] != -1 {
		t.Errorf("%+v", sum)
	}
	s.do(http.MethodPut, "/projects/team/repositories/app", map[string]string{"description": "# App"}, maria).is(http.StatusOK)
	s.get("/projects/team/repositories/app").is(http.StatusOK).says(`"description":"# App"`)
	s.do(http.MethodDelete, "/projects/team/repositories/app", nil, maria).is(http.StatusOK)
	s.get("/projects/team/repositories/app").is(http.StatusNotFound, "NOT_FOUND")
	s.get(at+"/_deletable", maria).is(http.StatusOK).says(`{"deletable":true}`)
	s.do(http.MethodDelete, at, nil, maria).is(http.StatusOK)
	s.get(at).is(http.StatusNotFound, "NOT_FOUND")
	s.get("/audit-logs?q=resource_type=project,username=maria&sort=op_time").has("X-Total-Count", "3").says(`"operation":"create"`).says(`"operation":"delete"`)
}

func TestProjectsThatCannotBeMade(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.user("maria")
	for name, body := range map[string]map[string]any{
		"no name": {}, "capitals": {"project_name": "Team"}, "a slash": {"project_name": "a/b"}, "dots": {"project_name": ".."}, "long": {"project_name": strings.Repeat("x", 300)},
		"quotes": {"project_name": `x'"; DROP TABLE projects`}, "control characters": {"project_name": "a\x01b"}, "public": {"project_name": "x", "metadata": map[string]string{"public": "perhaps"}},
		"quota": {"project_name": "x", "storage_limit": -2}, "retention": {"project_name": "x", "metadata": map[string]string{"retention_id": "7"}},
	} {
		if a := s.do(http.MethodPost, "/projects", body); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	s.do(http.MethodPost, "/projects", map[string]any{"project_name": 7}).is(http.StatusUnprocessableEntity)
	s.do(http.MethodPost, "/projects", map[string]any{"project_name": "library"}).is(http.StatusConflict, "CONFLICT")
	s.do(http.MethodPost, "/projects", map[string]any{"project_name": "cache", "registry_id": 1}).is(http.StatusNotImplemented, "NOT_IMPLEMENTED")
	s.do(http.MethodPost, "/projects", map[string]any{"project_name": "x"}, nobody).is(http.StatusUnauthorized)
	s.do(http.MethodPost, "/projects", map[string]any{"project_name": "named"}, header("X-Resource-Name-In-Location", "true")).is(http.StatusCreated).has("Location", "/api/v2.0/projects/named")
	s.do(http.MethodPut, "/configurations", `{"project_creation_restriction":"adminonly"}`).is(http.StatusOK)
	s.do(http.MethodPost, "/projects", map[string]any{"project_name": "x"}, as("maria", secret)).is(http.StatusForbidden)
	s.createProject("x", nil)
}

func TestProjectsAreListedToWhomTheyMayBeSeen(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.createProject("beta", map[string]any{"metadata": map[string]string{"public": "true"}})
	s.createProject("alpha", map[string]any{"public": false})
	s.createProject("gamma", nil)
	guest := s.join("guest", "alpha", access.Guest)
	for query, want := range map[string][]string{
		"": {"alpha", "beta", "gamma", "library"}, "?sort=-creation_time": {"gamma", "alpha", "beta", "library"}, "?name=AM": {"gamma"}, "?q=name=beta": {"beta"}, "?q=name=~a,public=false": {"alpha", "gamma"},
		"?public=true": {"beta", "library"}, "?public=false": {"alpha", "gamma"}, "?owner=admin": {"alpha", "beta", "gamma"}, "?page=2&page_size=3": {"library"}, "?name=_": {}, "?sort=project_id&page_size=1": {"library"},
		"?with_detail=false&name=gam": {"gamma"}, "?q=project_id=1": {"library"}, "?q=owner_id=1": {"alpha", "beta", "gamma"}, "?q=creation_time=[2020-01-01~2100-01-01],public=false": {"alpha", "gamma"},
		"?q=creation_time=[2100-01-01~]": {}, "?q=update_time=[~2020-01-01]": {}, "?q=update_time=[2020-01-01~],owner=admin,name=~b": {"beta"},
	} {
		if got := s.get("/projects" + query).projects(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
	}
	if got := s.get("/projects", nobody).projects(); !slices.Equal(got, []string{"beta", "library"}) {
		t.Errorf("strangers see %v", got)
	}
	if got := s.get("/projects?public=false", nobody).projects(); len(got) != 0 {
		t.Errorf("strangers see %v", got)
	}
	s.get("/projects", guest).has("X-Total-Count", "3").says(`"current_user_role_id":3`)
	for _, bad := range []string{"?q=nothing=1", "?sort=owner", "?q=public=perhaps", "?q=creation_time=soon", "?q=project_id=x"} {
		s.get("/projects"+bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}
	s.push("beta/web-shop", image(""), "1")
	s.push("gamma/web", image(""), "1")
	var found harborapi.Search
	s.get("/search?q=WEB", guest).is(http.StatusOK).says(`"project":[]`).decode(&found)
	if len(found.Repository) != 1 || found.Repository[0].RepositoryName != "beta/web-shop" || found.Repository[0].ProjectName != "beta" || !found.Repository[0].ProjectPublic || found.Repository[0].ArtifactCount != 1 {
		t.Errorf("%+v", found)
	}
	s.get("/search?q=alph", guest).is(http.StatusOK).says(`"name":"alpha"`).says(`"repository":[]`)
	s.get("/search?q=alph", nobody).is(http.StatusOK).says(`"project":[]`)
	s.get("/search", nobody).is(http.StatusUnprocessableEntity)
}

// Terraform's provider reads a project's scanner with the project, and `harbor project delete --force` its immutable rules: neither goes on after 501.
func TestAProjectHasNeitherAScannerNorImmutableRules(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.createProject("team", nil)
	guest := s.join("guest", "team", access.Guest)
	s.get("/projects/team/scanner", guest).is(http.StatusNotFound, "NOT_FOUND").says("scans")
	s.get("/projects/team/immutabletagrules").is(http.StatusOK).says("[]").has("X-Total-Count", "0")
	s.get("/projects/team/immutabletagrules", guest).is(http.StatusForbidden)
	s.get("/projects/nothing/scanner", guest).is(http.StatusForbidden)
	s.do(http.MethodPut, "/projects/team/scanner", map[string]any{"uuid": "x"}).is(http.StatusNotImplemented)
	s.do(http.MethodPost, "/projects/team/immutabletagrules", map[string]any{}).is(http.StatusNotImplemented)
}

func TestMetadataAreSetOneByOne(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.createProject("team", nil)
	at := "/projects/team/metadatas/"
	s.get(at).is(http.StatusOK).says(`{"public":"false"}`)
	s.do(http.MethodPost, at, map[string]string{"auto_scan": "1"}).is(http.StatusOK)
	s.get(at + "auto_scan").is(http.StatusOK).says(`{"auto_scan":"true"}`)
	s.do(http.MethodPut, at+"auto_scan", map[string]string{"auto_scan": "false"}).is(http.StatusOK)
	s.get(at).is(http.StatusOK).says(`{"auto_scan":"false","public":"false"}`)
	s.do(http.MethodPost, at, map[string]string{"auto_scan": "true", "public": "true"}).is(http.StatusBadRequest)
	s.do(http.MethodPost, at, map[string]string{"nothing": "true"}).is(http.StatusBadRequest)
	s.do(http.MethodPut, at+"auto_scan", map[string]string{"public": "true"}).is(http.StatusBadRequest)
	s.do(http.MethodPut, at+"auto_scan", map[string]int{"auto_scan": 1}).is(http.StatusUnprocessableEntity)
	s.get(at + "nothing").is(http.StatusOK).says("{}")
	s.do(http.MethodDelete, at+"auto_scan", nil).is(http.StatusOK)
	s.get(at + "auto_scan").is(http.StatusOK).says("{}")
	s.do(http.MethodDelete, at+"auto_scan", nil).is(http.StatusNotFound)
	s.get(at, s.join("developer", "team", access.Developer)).is(http.StatusForbidden)
	s.get(at+"public", s.join("maintainer", "team", access.Maintainer)).is(http.StatusOK)
}

func TestLabelsAreMadeAndPutOnArtifacts(t *testing.T) {
	t.Parallel()
	s := start(t)
	team, other := s.createProject("team", nil), s.createProject("other", nil)
	s.push("team/app", image(""), "1")
	boss, guest := s.join("boss", "team", access.ProjectAdmin), s.join("guest", "team", access.Guest)
	label := func(scope string, project int64, name string, options ...with) *answer {
		return s.do(http.MethodPost, "/labels", map[string]any{"name": name, "scope": scope, "project_id": project, "color": "#FF0000", "description": "d"}, options...)
	}
	global, own, foreign := label("g", 0, "everywhere").id(), label("p", team, "ours", boss).id(), label("p", other, "theirs").id()
	label("p", team, "ours").is(http.StatusConflict, "CONFLICT")
	label("g", 0, "x", boss).is(http.StatusForbidden)
	label("p", other, "x", boss).is(http.StatusForbidden)
	label("p", 4711, "x", boss).is(http.StatusForbidden)
	label("p", 4711, "x").is(http.StatusNotFound)
	for _, bad := range []*answer{label("", 0, "x"), label("p", 0, "x"), label("g", 0, ""), label("g", 0, strings.Repeat("x", 200))} {
		bad.is(http.StatusBadRequest, "BAD_REQUEST")
	}
	at := fmt.Sprintf("/labels/%d", own)
	s.get(at, guest).is(http.StatusOK).says(`"color":"#FF0000"`).says(`"scope":"p"`)
	s.get(fmt.Sprintf("/labels/%d", global), guest).is(http.StatusOK).says(`"scope":"g"`)
	s.get(fmt.Sprintf("/labels/%d", foreign), guest).is(http.StatusForbidden)
	s.do(http.MethodPut, at, map[string]string{"name": "renamed", "color": "#00FF00"}, guest).is(http.StatusForbidden)
	s.do(http.MethodPut, at, map[string]string{"name": "renamed", "color": "#00FF00"}, boss).is(http.StatusOK)
	s.get(fmt.Sprintf("/labels?scope=p&project_id=%d", team), guest).is(http.StatusOK).has("X-Total-Count", "1").says("renamed")
	s.get(fmt.Sprintf("/labels?scope=p&project_id=%d", other), guest).is(http.StatusForbidden)
	s.get("/labels?scope=g", nobody).is(http.StatusOK).has("X-Total-Count", "1")
	s.get(fmt.Sprintf("/labels?scope=p&project_id=%d", team), nobody).is(http.StatusUnauthorized)
	s.get("/labels?scope=g&name=every", guest).is(http.StatusOK).has("X-Total-Count", "1")
	for _, bad := range []string{"", "?scope=x", "?scope=p", "?scope=g&q=nothing=1"} {
		s.get("/labels"+bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}

	artifact := "/projects/team/repositories/app/artifacts/1"
	put := func(id int64, options ...with) *answer {
		return s.do(http.MethodPost, artifact+"/labels", map[string]int64{"id": id}, options...)
	}
	put(own, boss).is(http.StatusOK)
	put(global).is(http.StatusOK)
	put(own).is(http.StatusConflict, "CONFLICT")
	put(foreign).is(http.StatusNotFound, "NOT_FOUND")
	put(4711).is(http.StatusNotFound)
	put(own, guest).is(http.StatusForbidden)
	s.get(artifact + "?with_label=true").is(http.StatusOK).says(`"name":"renamed"`).says(`"name":"everywhere"`)
	list := "/projects/team/repositories/app/artifacts?with_label=true"
	s.get(list).is(http.StatusOK).says(`"name":"renamed"`)
	s.get(fmt.Sprintf("%s&q=labels=(%d+%d)", list, own, global)).is(http.StatusOK).has("X-Total-Count", "1")
	s.get(fmt.Sprintf("%s&q=labels=(%d+%d)", list, own, foreign)).is(http.StatusOK).has("X-Total-Count", "0")
	s.do(http.MethodDelete, fmt.Sprintf("%s/labels/%d", artifact, own), nil).is(http.StatusOK)
	s.do(http.MethodDelete, fmt.Sprintf("%s/labels/%d", artifact, own), nil).is(http.StatusNotFound)
	s.do(http.MethodDelete, fmt.Sprintf("/labels/%d", global), nil).is(http.StatusOK)
	if a := s.get(artifact + "?with_label=true").is(http.StatusOK).says(`"labels":[]`); strings.Contains(string(a.body), "everywhere") {
		t.Errorf("a label that is deleted stays on an artifact: %s", a.body)
	}
}

func TestQuotasAreReadAndChanged(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.createProject("team", map[string]any{"storage_limit": 1 << 30})
	at := fmt.Sprintf("/quotas/%d", id)
	s.push("team/app", image(""), "1")
	var q harborapi.Quota
	s.get(at).is(http.StatusOK).decode(&q)
	if q.Hard["storage"] != 1<<30 || q.Used["storage"] != int64(len(imageConfig)+len(layer)+len(image(""))) || q.Ref["name"] != "team" {
		t.Errorf("%+v", q)
	}
	set := func(body any, options ...with) *answer { return s.do(http.MethodPut, at, body, options...) }
	set(map[string]any{"hard": map[string]int64{"storage": 2 << 30}}).is(http.StatusOK)
	s.get("/quotas?reference=project&reference_id="+fmt.Sprint(id)).is(http.StatusOK).has("X-Total-Count", "1").says(`"storage":2147483648`).says(fmt.Sprintf(`"ref":{"id":%d,"name":"team","owner_name":"admin"}`, id))
	s.get("/quotas?page_size=1").is(http.StatusOK).says(`"name":"team"`) // the newest first
	s.get("/quotas?sort=-hard.storage&page_size=1").is(http.StatusOK).has("X-Total-Count", "2").says(`"name":"library"`).says(`"hard":{"storage":-1}`)
	set(map[string]any{"hard": map[string]int64{"storage": -1}}).is(http.StatusOK)
	s.get(at).is(http.StatusOK).says(`"hard":{"storage":-1}`)
	for _, bad := range []any{map[string]any{}, map[string]any{"hard": map[string]int64{"storage": -2}}, map[string]any{"hard": map[string]int64{"cpu": 1}}, map[string]any{"hard": map[string]int64{"storage": 0}}} {
		set(bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}
	set(map[string]any{"hard": map[string]string{"storage": "much"}}).is(http.StatusUnprocessableEntity)
	set(map[string]any{"hard": map[string]int64{"storage": 1}}, s.join("boss", "team", access.ProjectAdmin)).is(http.StatusForbidden)
	for _, bad := range []string{"?reference=user", "?reference_id=x", "?sort=name"} {
		s.get("/quotas"+bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}
	s.get("/quotas?reference_id=4711").is(http.StatusOK).has("X-Total-Count", "0")
}
