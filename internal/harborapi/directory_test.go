package harborapi_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// directory is a directory of one person and one group. off: there is none.
type directory struct {
	off   bool
	tried config.LDAP
}

func (d *directory) Try(_ context.Context, l config.LDAP) string {
	if d.tried = l; strings.Contains(l.URL, "good") {
		return ""
	}
	return l.URL + ": connect: nobody answers"
}

func (d *directory) People(_ context.Context, text string) ([]access.Person, error) {
	if d.off {
		return nil, fail.E(fail.Conflict, nil, "no directory is used")
	}
	if !strings.Contains("maria", text) {
		return nil, nil
	}
	return []access.Person{{Subject: "cn=Maria,dc=example", Name: "maria", RealName: "Maria M.", Email: "maria@example.com"}}, nil
}

func (d *directory) Groups(_ context.Context, text, dn string) ([]access.Group, error) {
	one := access.Group{Key: "cn=team,dc=example", Name: "team"}
	if d.off || !strings.Contains(one.Name, text) || dn != "" && dn != one.Key {
		return nil, nil
	}
	return []access.Group{one}, nil
}

func TestTheDirectoryIsTriedAsTheBodyOrTheSettingsHaveIt(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(http.MethodPut, "/configurations", `{"ldap_url":"ldaps://good.example","ldap_search_dn":"cn=us","ldap_search_password":"stored","ldap_uid":"uid"}`).is(http.StatusOK)
	ping := func(body any) *answer { return s.do(http.MethodPost, "/ldap/ping", body).is(http.StatusOK) }
	ping(map[string]any{}).says(`"success":true`)
	if d := s.directory.tried; d.SearchPassword.Reveal() != "stored" || d.UID != "uid" {
		t.Errorf("%+v", d)
	}
	ping(map[string]any{"ldap_url": "ldaps://good.example", "ldap_search_dn": "cn=other"}).says(`"success":true`)
	if d := s.directory.tried; d.SearchPassword.Reveal() != "stored" || d.SearchDN != "cn=other" {
		t.Errorf("%+v", d)
	}
	ping(map[string]any{"ldap_url": "ldap://evil.example", "ldap_uid": "cn", "ldap_scope": 1, "ldap_connection_timeout": 7}).says(`"success":false`).says("connect")
	if d := s.directory.tried; d.SearchPassword.Reveal() != "" || d.UID != "cn" || d.Scope != 1 || d.Timeout != 7 {
		t.Errorf("the stored password goes to another address, or what was said is not tried: %+v", d)
	}
	ping(map[string]any{"ldap_url": "ldap://good.other", "ldap_search_password": "given"})
	if s.directory.tried.SearchPassword.Reveal() != "given" {
		t.Error("the password of the body is not tried")
	}
	// What is to be changed is tried by itself too: a ping that passes it over says that all is well.
	ping(map[string]any{"ldap_search_password": "new", "ldap_base_dn": "dc=other"})
	if d := s.directory.tried; d.URL != "ldaps://good.example" || d.SearchPassword.Reveal() != "new" || d.BaseDN != "dc=other" || d.SearchDN != "cn=us" {
		t.Errorf("without an address the rest of the body is not tried: %+v", d)
	}
	s.do(http.MethodPost, "/ldap/ping", map[string]any{}, s.logIn("somebody")).is(http.StatusForbidden)
}

func TestPeopleAndGroupsOfTheDirectoryAreFound(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.get("/ldap/users/search?username=mar").is(http.StatusOK).says(`[{"email":"maria@example.com","realname":"Maria M.","username":"maria"}]`)
	s.get("/ldap/users/search?username=x").is(http.StatusOK).says("[]")
	s.get("/ldap/groups/search?groupname=tea").is(http.StatusOK).says(`"group_name":"team","group_type":1,"ldap_group_dn":"cn=team,dc=example"`)
	s.get("/ldap/groups/search?groupdn=cn=team,dc=example").is(http.StatusOK)
	s.get("/ldap/groups/search?groupname=x").is(http.StatusNotFound, "NOT_FOUND")
	s.get("/ldap/users/search", s.logIn("somebody")).is(http.StatusForbidden)
	s.do(http.MethodPost, "/ldap/users/import", map[string]any{"ldap_uid_list": []string{"admin"}}).is(http.StatusOK) // is one already
	if a := s.do(http.MethodPost, "/ldap/users/import", map[string]any{"ldap_uid_list": []string{"admin", "nobody"}}); a.status != http.StatusNotFound || !strings.Contains(string(a.body), `[{"error":"unknown_user"`) || !strings.Contains(string(a.body), `"uid":"nobody"}]`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	s.do(http.MethodPost, "/ldap/users/import", map[string]any{"ldap_uid_list": []string{}}).is(http.StatusBadRequest)
	s.directory.off = true
	s.get("/ldap/users/search").is(http.StatusConflict, "CONFLICT")
}
