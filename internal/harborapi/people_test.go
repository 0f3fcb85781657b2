package harborapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/harborapi"
)

const secret = "Passw0rd-of-users"

// user makes a local user.
func (s *service) user(name string) int64 {
	s.Helper()
	return s.do(http.MethodPost, "/users", map[string]any{"username": name, "password": secret, "email": name + "@example.com", "realname": strings.ToUpper(name), "comment": "made"}).id()
}

func TestUsersAreMadeChangedAndDeleted(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.user("maria")
	at := fmt.Sprintf("/users/%d", id)
	maria := as("maria", secret)
	var u harborapi.UserResp
	s.get("/users/current", maria).is(http.StatusOK).decode(&u)
	if u.UserID != id || u.Username != "maria" || u.Email != "maria@example.com" || u.Realname != "MARIA" || u.Comment != "made" || u.SysadminFlag {
		t.Errorf("%+v", u)
	}
	s.get("/users/current").is(http.StatusOK).says(`"sysadmin_flag":true`)
	s.get(at, maria).is(http.StatusOK)
	s.get("/users/1", maria).is(http.StatusForbidden)
	for _, bad := range []map[string]any{
		{"username": "maria", "password": secret, "email": "m@example.com", "realname": "m"},
		{"username": "x", "password": "short", "email": "x@example.com", "realname": "x"},
		{"username": "", "password": secret, "email": "x@example.com", "realname": "x"},
		{"username": "a,b", "password": secret, "email": "x@example.com", "realname": "x"},
		{"username": "\x01", "password": secret, "email": "x@example.com", "realname": "x"},
		{"username": strings.Repeat("x", 300), "password": secret, "email": "x@example.com", "realname": "x"},
	} {
		if a := s.do(http.MethodPost, "/users", bad); a.status != http.StatusBadRequest && a.status != http.StatusConflict {
			t.Errorf("%v: %d %s", bad, a.status, a.body)
		}
	}
	s.do(http.MethodPost, "/users", map[string]any{"username": "maria", "password": secret, "email": "m@example.com", "realname": "m"}).is(http.StatusConflict, "CONFLICT")
	s.do(http.MethodPost, "/users", map[string]any{"username": "y"}, maria).is(http.StatusForbidden)

	s.do(http.MethodPut, at, map[string]string{"email": "new@example.com", "realname": "New"}, maria).is(http.StatusOK)
	for _, lost := range []map[string]string{{}, {"email": "other@example.com"}, {"realname": "Other"}, {"comment": "x"}} {
		s.do(http.MethodPut, at, lost, maria).is(http.StatusBadRequest, "BAD_REQUEST").says("lost")
	}
	s.get(at).is(http.StatusOK).says("new@example.com")
	s.get(at).is(http.StatusOK).says(`"email":"new@example.com"`)
	s.do(http.MethodPut, at+"/password", map[string]string{"old_password": "wrong", "new_password": secret + "2"}, maria).is(http.StatusForbidden)
	s.do(http.MethodPut, at+"/password", map[string]string{"old_password": secret, "new_password": "weak"}, maria).is(http.StatusBadRequest)
	s.do(http.MethodPut, at+"/password", map[string]string{"old_password": secret, "new_password": secret + "2"}, maria).is(http.StatusOK)
	s.get("/users/current", maria).is(http.StatusUnauthorized)
	s.do(http.MethodPut, at+"/password", map[string]string{"new_password": secret}).is(http.StatusOK) // an administrator needs no old one
	s.do(http.MethodPut, at+"/sysadmin", map[string]bool{"sysadmin_flag": true}, maria).is(http.StatusForbidden)
	s.do(http.MethodPut, at+"/sysadmin", map[string]bool{"sysadmin_flag": true}).is(http.StatusOK)
	s.get("/users/1", maria).is(http.StatusOK)
	s.do(http.MethodPut, at+"/cli_secret", map[string]string{"secret": secret}, maria).is(http.StatusPreconditionFailed, "PRECONDITION")
	s.do(http.MethodDelete, at, nil, maria).is(http.StatusForbidden)
	s.do(http.MethodDelete, "/users/1", nil, maria).is(http.StatusForbidden)
	s.do(http.MethodDelete, at, nil).is(http.StatusOK)
	s.get(at).is(http.StatusNotFound, "NOT_FOUND")
	s.get("/users/current", maria).is(http.StatusUnauthorized)
	s.get("/audit-logs?q=resource=maria,operation=delete").has("X-Total-Count", "1").says(`"resource_type":"user"`)
}

func TestUsersAreListedAndFound(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, name := range []string{"berta", "annabel", "anna"} {
		s.user(name)
	}
	names := func(a *answer) string {
		t.Helper()
		var all []harborapi.UserResp
		a.is(http.StatusOK).decode(&all)
		text := ""
		for _, u := range all {
			text += u.Username + " "
		}
		return strings.TrimSpace(text)
	}
	for query, want := range map[string]string{
		"":                                     "anna annabel berta", // Harbor hides the administrator of the first start, unless he is named
		"?q=username=admin":                    "admin",
		"?sort=-username":                      "berta annabel anna",
		"?sort=user_id":                        "berta annabel anna",
		"?q=username=anna":                     "anna",
		"?q=username=~ANNA":                    "anna annabel",
		"?q=email=~berta":                      "berta",
		"?username=ann":                        "anna annabel",
		"?q=sysadmin_flag=true":                "",
		"?q=username=~adm":                     "",
		"?page=2&page_size=2":                  "berta",
		"?q=username%3D~ann":                   "anna annabel",
		"?q=username=~%25&page=1":              "",
		"?q=username=~_nn&sort=":               "",
		"?q=username='%20OR%201=1":             "",
		"?q=" + url.QueryEscape(`username=~"`): "",
	} {
		if got := names(s.get("/users" + query)); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	s.get("/users?q=password=x").is(http.StatusBadRequest, "BAD_REQUEST")
	s.get("/users?sort=password").is(http.StatusBadRequest)
	var found []harborapi.UserSearchRespItem
	s.get("/users/search?username=anna", as("berta", secret)).is(http.StatusOK).has("X-Total-Count", "2").decode(&found)
	if len(found) != 2 || found[0].Username != "anna" {
		t.Errorf("%+v", found)
	}
	s.get("/users/search?username=adm", as("berta", secret)).is(http.StatusOK).has("X-Total-Count", "0").says("[]")
	s.get("/users/search").is(http.StatusUnprocessableEntity)
	s.get("/users", as("berta", secret)).is(http.StatusForbidden)
}

func TestMembersHaveRolesAndLoseThem(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("private/app", image(""), "1")
	id := s.user("maria")
	maria := as("maria", secret)
	s.get("/projects/private/repositories", maria).is(http.StatusForbidden)
	add := func(body map[string]any, options ...with) *answer {
		return s.do(http.MethodPost, "/projects/private/members", body, options...)
	}
	made := add(map[string]any{"role_id": 3, "member_user": map[string]any{"username": "maria"}})
	mid := made.id()
	at := made.header.Get("Location")
	if want := fmt.Sprintf("/api/v2.0/projects/private/members/%d", mid); at != want {
		t.Errorf("at %s, want %s: as the project was named", at, want)
	}
	s.get("/projects/private/repositories", maria).is(http.StatusOK).says("private/app")
	var m harborapi.ProjectMemberEntity
	s.get(at).is(http.StatusOK).decode(&m)
	if m.ID != mid || m.EntityName != "maria" || m.EntityType != "u" || m.EntityID != id || m.RoleID != 3 || m.RoleName != "guest" || m.ProjectID == 0 {
		t.Errorf("%+v", m)
	}
	add(map[string]any{"role_id": 2, "member_user": map[string]any{"user_id": id}}).is(http.StatusConflict, "CONFLICT")
	for _, bad := range []map[string]any{{}, {"role_id": 9, "member_user": map[string]any{"user_id": id}}, {"role_id": 1}, {"role_id": 1, "member_group": map[string]any{"group_type": 7, "group_name": "x"}}} {
		add(bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}
	add(map[string]any{"role_id": 1, "member_user": map[string]any{"username": "nobody"}}).is(http.StatusNotFound, "NOT_FOUND")
	add(map[string]any{"role_id": 1, "member_user": map[string]any{"username": "admin"}}, maria).is(http.StatusForbidden)
	s.do(http.MethodPut, at, map[string]int{"role_id": 1}, maria).is(http.StatusForbidden)
	s.do(http.MethodPut, at, map[string]int{"role_id": 0}).is(http.StatusBadRequest)
	s.do(http.MethodPut, at, map[string]int{"role_id": 1}).is(http.StatusOK)
	add(map[string]any{"role_id": 5, "member_user": map[string]any{"username": "admin"}}, maria).is(http.StatusCreated)
	s.get("/projects/private/members?entityname=mari", maria).is(http.StatusOK).has("X-Total-Count", "0").says("[]")
	s.get("/projects/private/members?entityname=maria", maria).is(http.StatusOK).has("X-Total-Count", "1").says(`"role_name":"projectAdmin"`)
	s.get(fmt.Sprintf("/projects/library/members/%d", mid)).is(http.StatusNotFound) // of another project
	s.do(http.MethodDelete, at, nil).is(http.StatusOK)
	s.get("/projects/private/repositories", maria).is(http.StatusForbidden)
	s.get("/projects/private/logs?q=resource_type=project_member").is(http.StatusOK).has("X-Total-Count", "4")
}

func TestAGroupThatIsNotKnownIsNotMade(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(http.MethodPost, "/usergroups", map[string]any{"group_name": "x", "group_type": 9}).is(http.StatusBadRequest, "BAD_REQUEST")
	a := s.do(http.MethodPost, "/usergroups", map[string]any{"group_name": "team", "group_type": 3})
	id := a.id()
	at := fmt.Sprintf("/usergroups/%d", id)
	s.get(at).is(http.StatusOK).says(`"group_name":"team","group_type":3`)
	s.get("/usergroups?group_name=EA").is(http.StatusOK).has("X-Total-Count", "1")
	s.get("/usergroups/search?groupname=tea", s.logIn("somebody")).is(http.StatusOK).has("X-Total-Count", "1")
	s.do(http.MethodPut, at, map[string]string{"group_name": "crew"}).is(http.StatusOK)
	s.do(http.MethodPut, at, map[string]string{"group_name": ""}).is(http.StatusBadRequest)
	s.get(at).is(http.StatusOK).says("crew")
	s.push("private/app", image(""), "1")
	s.do(http.MethodPost, "/projects/private/members", map[string]any{"role_id": 2, "member_group": map[string]any{"id": id}}).is(http.StatusCreated)
	s.get("/projects/private/members").is(http.StatusOK).says(`"entity_type":"g"`)
	// Terraform's provider sends a DN beside the name of a group that has none.
	s.do(http.MethodPost, "/projects/library/members", map[string]any{"role_id": 2, "member_group": map[string]any{"group_type": 3, "group_name": "guild", "ldap_group_dn": "cn=team,dc=example"}}).is(http.StatusCreated)
	s.get("/projects/library/members").is(http.StatusOK).says(`"entity_name":"guild"`)
	s.get("/usergroups").is(http.StatusOK).has("X-Total-Count", "2")
	s.do(http.MethodDelete, at, nil).is(http.StatusOK)
	s.get(at).is(http.StatusNotFound)
	s.get("/projects/private/members").is(http.StatusOK).has("X-Total-Count", "0")
}

func robotBody(name, level string, permissions ...any) map[string]any {
	return map[string]any{"name": name, "level": level, "duration": 30, "description": "CI", "permissions": permissions}
}

func in(kind, namespace string, operations ...string) map[string]any {
	var all []map[string]string
	for _, text := range operations {
		resource, action, _ := strings.Cut(text, ":")
		all = append(all, map[string]string{"resource": resource, "action": action})
	}
	return map[string]any{"kind": kind, "namespace": namespace, "access": all}
}

func TestRobotAccountsDoWhatTheyWereGiven(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("private/app", image(""), "1")
	s.push("other/app", image(""), "1")
	var made harborapi.RobotCreated
	a := s.do(http.MethodPost, "/robots", robotBody("ci", "project", in("project", "private", "repository:list", "repository:read", "artifact:list", "artifact:read")))
	a.is(http.StatusCreated).decode(&made)
	if made.Name != "robot$private+ci" || made.Secret == "" || made.ID != a.id() || made.ExpiresAt == 0 {
		t.Fatalf("%+v", made)
	}
	robot := as(made.Name, made.Secret)
	s.get("/projects/private/repositories", robot).is(http.StatusOK).says("private/app")
	s.get("/repositories", robot).is(http.StatusOK).says("private/app")
	s.get("/projects/other/repositories", robot).is(http.StatusForbidden)
	s.do(http.MethodDelete, "/projects/private/repositories/app/artifacts/1", nil, robot).is(http.StatusForbidden)
	s.get("/users/current", robot).is(http.StatusPreconditionFailed, "PRECONDITION")

	at := fmt.Sprintf("/robots/%d", made.ID)
	var r harborapi.Robot
	s.get(at).is(http.StatusOK).decode(&r)
	if r.Name != made.Name || r.Level != "project" || *r.Duration != 30 || !r.Editable || r.Disable || r.Secret != "" || len(r.Permissions) != 1 || r.Permissions[0].Namespace != "private" || len(r.Permissions[0].Access) != 4 || r.CreatorType != "local" || r.CreatorRef != 1 {
		t.Errorf("%+v", r)
	}
	r.Description, r.Disable = "other", true
	s.do(http.MethodPut, at, r).is(http.StatusOK)
	s.get("/projects/private/repositories", robot).is(http.StatusUnauthorized)
	r.Disable = false
	s.do(http.MethodPut, at, r).is(http.StatusOK)
	renamed := r
	renamed.Name = "other"
	s.do(http.MethodPut, at, renamed).is(http.StatusBadRequest, "BAD_REQUEST")

	var fresh harborapi.RobotSec
	s.do(http.MethodPatch, at, map[string]string{}).is(http.StatusOK).decode(&fresh)
	s.get("/projects/private/repositories", robot).is(http.StatusUnauthorized)
	s.get("/projects/private/repositories", as(made.Name, fresh.Secret)).is(http.StatusOK)
	if b := s.do(http.MethodPatch, at, map[string]string{"secret": secret}).is(http.StatusOK); strings.Contains(string(b.body), secret) {
		t.Errorf("a secret comes back: %s", b.body)
	}
	s.get("/projects/private/repositories", as(made.Name, secret)).is(http.StatusOK)
	s.do(http.MethodPatch, at, map[string]string{"secret": "weak"}).is(http.StatusBadRequest)

	var project int64
	s.ok(s.db.Row(t.Context(), "SELECT id FROM projects WHERE name = 'private'").Scan(&project))
	list := fmt.Sprintf("/robots?q=Level=project,ProjectID=%d", project)
	s.get(list).is(http.StatusOK).has("X-Total-Count", "1").says(`"robot$private+ci"`)
	s.get("/robots").is(http.StatusOK).has("X-Total-Count", "0")
	boss, guest := s.join("boss", "private", access.ProjectAdmin), s.join("guest", "private", access.LimitedGuest)
	s.get(list, boss).is(http.StatusOK).has("X-Total-Count", "1")
	s.get(list, guest).is(http.StatusForbidden)
	s.get("/robots", boss).is(http.StatusForbidden)
	s.get(at, guest).is(http.StatusForbidden)
	for _, bad := range []string{"q=Level=project", "q=Level=project,ProjectID=x", "q=Level=other", "q=nothing=1", "sort=secret"} {
		s.get("/robots?"+bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}
	s.do(http.MethodDelete, at, nil, guest).is(http.StatusForbidden)
	s.do(http.MethodDelete, at, nil, boss).is(http.StatusOK)
	s.get("/projects/private/repositories", as(made.Name, secret)).is(http.StatusUnauthorized)
	s.get(at, boss).is(http.StatusForbidden)
}

func TestRobotAccountsHaveNoPowerOverAdministrators(t *testing.T) {
	t.Parallel()
	s := start(t)
	maria, boss := s.user("maria"), s.user("boss")
	s.do(http.MethodPut, fmt.Sprintf("/users/%d/sysadmin", boss), map[string]bool{"sysadmin_flag": true}).is(http.StatusOK)
	var made harborapi.RobotCreated
	s.do(http.MethodPost, "/robots", robotBody("people", "system", in("system", "/", "user:create", "user:delete", "user:list", "user:read", "user:update"))).is(http.StatusCreated).decode(&made)
	robot := as(made.Name, made.Secret)
	for _, id := range []int64{maria, boss, 1} {
		at := fmt.Sprintf("/users/%d", id)
		mine := http.StatusForbidden
		if id == maria {
			mine = http.StatusOK
		}
		s.do(http.MethodPut, at+"/sysadmin", map[string]bool{"sysadmin_flag": true}, robot).is(http.StatusForbidden)
		s.do(http.MethodPut, at+"/sysadmin", map[string]bool{"sysadmin_flag": false}, robot).is(http.StatusForbidden)
		s.do(http.MethodPut, at+"/password", map[string]string{"new_password": secret + "2"}, robot).is(mine)
		s.do(http.MethodPut, at, map[string]string{"email": "new@example.com", "realname": "New"}, robot).is(mine)
		s.get(at, robot).is(http.StatusOK)
	}
	s.do(http.MethodDelete, fmt.Sprintf("/users/%d", boss), nil, robot).is(http.StatusForbidden)
	s.do(http.MethodDelete, fmt.Sprintf("/users/%d", maria), nil, robot).is(http.StatusOK)
	s.get("/users/current", as("boss", secret)).is(http.StatusOK).says(`"sysadmin_flag":true`)
	s.get("/users/99", robot).is(http.StatusNotFound)
	s.do(http.MethodDelete, "/users/99", nil, robot).is(http.StatusNotFound)
	s.do(http.MethodPut, "/users/99/password", map[string]string{"new_password": secret}, robot).is(http.StatusNotFound)
}

func TestRobotAccountsThatCannotBe(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("private/app", image(""), "1")
	read := in("project", "private", "repository:read")
	for name, body := range map[string]any{
		"no level": robotBody("x", "", read), "no permissions": robotBody("x", "system"), "other kind": robotBody("x", "system", in("world", "private", "repository:read")),
		"no access": robotBody("x", "system", in("project", "private")), "unknown": robotBody("x", "system", in("project", "private", "repository:fly")),
		"two projects": robotBody("x", "project", read, in("project", "library", "repository:read")), "a name of letters that no name has": robotBody("X Y", "system", read),
		"an effect":      robotBody("x", "system", map[string]any{"kind": "project", "namespace": "private", "access": []map[string]string{{"resource": "repository", "action": "read", "effect": "maybe"}}}),
		"for ever twice": map[string]any{"name": "x", "level": "system", "duration": -2, "permissions": []any{read}},
	} {
		if a := s.do(http.MethodPost, "/robots", body); a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	s.do(http.MethodPost, "/robots", robotBody("x", "project", in("project", "absent", "repository:read"))).is(http.StatusNotFound)
	boss := s.join("boss", "private", access.ProjectAdmin)
	s.do(http.MethodPost, "/robots", robotBody("x", "project", read), boss).is(http.StatusCreated)
	s.do(http.MethodPost, "/robots", robotBody("x", "project", read), boss).is(http.StatusConflict, "CONFLICT")
	s.do(http.MethodPost, "/robots", robotBody("y", "system", read), boss).is(http.StatusForbidden)
	s.do(http.MethodPost, "/robots", robotBody("y", "project", in("project", "absent", "repository:read")), boss).is(http.StatusForbidden)

	var made harborapi.RobotCreated
	s.do(http.MethodPost, "/robots", robotBody("volumes", "system", in("system", "/", "system-volumes:read", "user:list"), in("project", "*", "repository:list"))).is(http.StatusCreated).decode(&made)
	robot := as(made.Name, made.Secret)
	s.get("/systeminfo/volumes", robot).is(http.StatusOK)
	s.get("/users", robot).is(http.StatusOK)
	s.get("/configurations", robot).is(http.StatusForbidden)
	s.get("/projects/private/repositories", robot).is(http.StatusOK)
}

func TestPermissionsAreTold(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("private/app", image(""), "1")
	var project int64
	s.ok(s.db.Row(t.Context(), "SELECT id FROM projects WHERE name = 'private'").Scan(&project))
	guest := s.join("guest", "private", access.Guest)
	scope := fmt.Sprintf("/users/current/permissions?scope=/project/%d", project)
	a := s.get(scope, guest).is(http.StatusOK).says(fmt.Sprintf(`{"action":"pull","resource":"/project/%d/repository"}`, project))
	if strings.Contains(string(a.body), `"push"`) {
		t.Errorf("a guest may push: %s", a.body)
	}
	s.get(scope + "&relative=true").is(http.StatusOK).says(`{"action":"push","resource":"repository"}`).says(`{"action":"update","resource":"."}`)
	s.get(scope).is(http.StatusOK).says(fmt.Sprintf(`{"action":"update","resource":"/project/%d"}`, project))
	for _, nothing := range []string{"", "?scope=/project/4711", "?scope=/system", "?scope=/x", "?scope=/project/x"} {
		if b := s.get("/users/current/permissions"+nothing, guest).is(http.StatusOK); string(b.body) != "[]\n" {
			t.Errorf("%s: %s", nothing, b.body)
		}
	}
	s.get("/users/current/permissions?scope=/system").is(http.StatusOK).says(`{"action":"list","resource":"user"}`)
	var all harborapi.Permissions
	s.get("/permissions", guest).is(http.StatusForbidden)
	s.get("/permissions", nobody).is(http.StatusUnauthorized)
	s.get("/permissions", s.join("chief", "private", access.ProjectAdmin)).is(http.StatusOK).decode(&all)
	if len(all.System) != 0 || len(all.Project) < 50 {
		t.Errorf("a project's administrator is told of %d and %d permissions", len(all.System), len(all.Project))
	}
	s.get("/permissions").is(http.StatusOK).decode(&all)
	if len(all.System) < 50 || len(all.Project) < 50 {
		t.Errorf("%d and %d permissions", len(all.System), len(all.Project))
	}
}

func TestARobotIsGoodForAsLongAsAdministratorsSetWhereNobodySays(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(http.MethodPut, "/configurations", `{"robot_token_duration":3}`).is(http.StatusOK)
	body := robotBody("ci", "system", in("system", "/", "project:list"))
	delete(body, "duration")
	var made harborapi.RobotCreated
	s.do(http.MethodPost, "/robots", body).is(http.StatusCreated).decode(&made)
	if left := time.Until(time.Unix(made.ExpiresAt, 0)); left < 71*time.Hour || left > 73*time.Hour {
		t.Errorf("good for %s", left)
	}
	at := fmt.Sprintf("/robots/%d", made.ID)
	s.get(at).is(http.StatusOK).says(`"duration":3`)
	s.do(http.MethodPut, "/configurations", `{"robot_token_duration":5}`).is(http.StatusOK)
	s.get(at).is(http.StatusOK).says(`"duration":3`)
	body["name"], body["duration"] = made.Name, 0
	s.do(http.MethodPut, at, body).is(http.StatusOK)
	s.get(at).is(http.StatusOK).says(`"duration":5`)
}

func TestNumbersOfProjectsTellMakersOfRobotsNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("mine/app", image(""), "1")
	s.push("others-"+hidden+"/app", image(""), "1")
	var mine, others int64
	s.ok(s.db.Row(t.Context(), "SELECT id FROM projects WHERE name = 'mine'").Scan(&mine))
	s.ok(s.db.Row(t.Context(), "SELECT id FROM projects WHERE name LIKE 'others%'").Scan(&others))
	boss := s.join("boss", "mine", access.ProjectAdmin)
	own := in("project", fmt.Sprint(mine), "repository:pull")
	var made harborapi.RobotCreated
	s.do(http.MethodPost, "/robots", robotBody("ci", "project", own), boss).is(http.StatusCreated).decode(&made)
	if made.Name != "robot$mine+ci" {
		t.Errorf("%+v", made)
	}
	for _, number := range []int64{others, 4711} { // one that he may not see, and none
		two := in("project", fmt.Sprint(number), "repository:pull")
		for _, a := range []*answer{
			s.do(http.MethodPost, "/robots", robotBody("more", "project", own, two), boss),
			s.do(http.MethodPut, fmt.Sprintf("/robots/%d", made.ID), robotBody(made.Name, "project", own, two), boss),
		} {
			if a.is(http.StatusBadRequest); strings.Contains(string(a.body), hidden) {
				t.Errorf("project %d: %s", number, a.body)
			}
		}
	}
	s.do(http.MethodPost, "/robots", robotBody("all", "system", in("project", fmt.Sprint(others), "repository:pull"))).is(http.StatusCreated)
	s.do(http.MethodPost, "/robots", robotBody("none", "system", in("project", "4711", "repository:pull"))).is(http.StatusNotFound)
}
