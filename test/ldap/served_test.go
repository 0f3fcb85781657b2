package ldap

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// asker asks Havn for somebody.
type asker struct {
	t            *testing.T
	base         string
	user, secret string
}

func (a asker) ask(method, path string, body any) (int, string) {
	a.t.Helper()
	text, err := json.Marshal(body)
	need(a.t, err)
	r, err := http.NewRequestWithContext(a.t.Context(), method, a.base+path, bytes.NewReader(text))
	need(a.t, err)
	r.SetBasicAuth(a.user, a.secret)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	need(a.t, err)
	got, err := io.ReadAll(answer.Body)
	need(a.t, err)
	need(a.t, answer.Body.Close())
	return answer.StatusCode, string(got)
}

// granted answers what a token for team/app holds, or 401.
func (a asker) granted() string {
	const repository = "team/app"
	a.t.Helper()
	status, text := a.ask(http.MethodGet, "/service/token?service=harbor-registry&scope=repository:"+repository+":pull,push,delete", nil)
	if status == http.StatusUnauthorized {
		return "401"
	}
	var token struct{ Scope string }
	if status != http.StatusOK {
		a.t.Fatalf("token for %s: %d %s", a.user, status, text)
	}
	need(a.t, json.Unmarshal([]byte(text), &token))
	_, actions, _ := strings.Cut(token.Scope, repository+":")
	return actions
}

// TestAHarborCfgLetsTheDirectorysPeopleIn serves the guide's harbor.cfg: its people log in as docker does, with what their groups may do.
func TestAHarborCfgLetsTheDirectorysPeopleIn(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	file := filepath.Join(t.TempDir(), "harbor.cfg")
	need(t, os.WriteFile(file, []byte(strings.Join([]string{
		"auth_mode = ldap_auth", "ldap_url = " + l.URL, "ldap_searchdn = " + lab.LDAPBindDN, "ldap_search_pwd = " + lab.LDAPBindPassword,
		"ldap_basedn = OU=Tech,DC=example,DC=com", "ldap_filter = (objectClass=person)", "ldap_uid = sAMAccountName", "ldap_scope = 3", "ldap_timeout = 5", "ldap_verify_cert = false",
		"ldap_group_basedn = OU=Groups,OU=Tech,DC=example,DC=com", "ldap_group_filter = (objectclass=groupOfNames)", "ldap_group_gid = sAMAccountName", "ldap_group_scope = 3", "",
	}, "\n")), 0o600))
	s := harness.Start(t, harness.Options{Env: []string{"HAVN_HARBOR_CFG=" + file}})
	as := func(user, secret string) asker { return asker{t, s.URL, user, secret} }
	admin := as("admin", harness.Password)
	if status, text := admin.ask(http.MethodPost, "/api/v2.0/projects", map[string]any{"project_name": "team"}); status != http.StatusCreated {
		t.Fatalf("make a project: %d %s", status, text)
	}
	he := as(bob.Account, bob.Password())
	if got := he.granted(); got != "" {
		t.Errorf("without a role: %q", got)
	}
	if got := as(bob.Account, "wrong").granted(); got != "401" {
		t.Errorf("with a wrong password: %q", got)
	}
	if got := as(bob.Account, "").granted(); got != "401" {
		t.Errorf("without a password: %q", got)
	}
	if got := as(carol.Account, carol.Password()).granted(); got != "401" {
		t.Errorf("who is disabled: %q", got)
	}
	member := map[string]any{"role_id": 2, "member_group": map[string]any{"group_type": 1, "ldap_group_dn": lab.LDAPGroupDN("registry-users")}}
	if status, text := admin.ask(http.MethodPost, "/api/v2.0/projects/team/members", member); status != http.StatusCreated {
		t.Fatalf("a group as a member: %d %s", status, text)
	}
	if got := he.granted(); got != "pull,push" {
		t.Errorf("a developer by his group: %q", got)
	}
	if status, text := he.ask(http.MethodGet, "/api/v2.0/users/current", nil); status != http.StatusOK || !strings.Contains(text, `"`+bob.Account+`"`) {
		t.Errorf("who he is: %d %s", status, text)
	}
	if status, _ := he.ask(http.MethodPost, "/api/v2.0/projects/team/members", member); status != http.StatusForbidden {
		t.Errorf("a developer makes members: %d", status)
	}
	// Another administrator's group, while Havn runs.
	if status, text := admin.ask(http.MethodPut, "/api/v2.0/configurations", map[string]any{"ldap_group_admin_dn": lab.LDAPGroupDN("registry-admins")}); status != http.StatusOK {
		t.Fatalf("change the configuration: %d %s", status, text)
	}
	if got := as(alice.Account, alice.Password()).granted(); got != "pull,push,delete" {
		t.Errorf("an administrator by his group: %q", got)
	}
}
