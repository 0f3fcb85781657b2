package harborapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/harborapi"
	"github.com/havn-registry/havn/internal/seal"
)

// idp is an identity provider that says what a test wants. What a browser keeps is as it is kept really.
type idp struct {
	*oidc.Client
	says  oidc.Login
	err   error
	wants string // what Finish must be given
	left  string // the ID token of the last logout
}

func (p *idp) Begin(_ context.Context, returnTo string) (oidc.Start, error) {
	p.says.ReturnTo, p.wants = returnTo, "sealed"
	return oidc.Start{URL: "https://idp.example/authorize?state=xyz", Cookie: oidc.CookieOf("xyz"), Sealed: p.wants}, nil
}

func (p *idp) Finish(_ context.Context, text string, answer url.Values) (oidc.Login, error) {
	if text == "" || text != p.wants || answer.Get("state") != "xyz" {
		return oidc.Login{}, fail.E(fail.Invalid, nil, "a login that did not begin in this browser").Hint("log in again")
	}
	return p.says, p.err
}

func (p *idp) LogoutURL(_ context.Context, idToken string) (string, error) {
	p.left = idToken
	return "https://idp.example/end", nil
}

// withIdentity starts with an identity provider that tells of ada.
func withIdentity(t *testing.T) *service {
	t.Helper()
	s := start(t)
	sealer, err := seal.Open(t.Context(), s.db, s.secret)
	s.ok(err)
	client, err := oidc.New(oidc.Config{Endpoint: "https://idp.example", ClientID: "havn", RedirectURL: "https://registry.example/c/oidc/callback", Seal: sealer})
	s.ok(err)
	s.identity = &idp{Client: client, says: oidc.Login{
		Person: access.Person{Subject: "https://idp.example 7", Name: "ada", Email: "ada@example.com", RealName: "Ada", Groups: []access.Group{{Key: "team"}}},
		Tokens: oidc.Tokens{Refresh: "refresh", ID: "a.b.c"},
	}}
	s.do(http.MethodPut, "/configurations", map[string]any{"auth_mode": "oidc_auth", "oidc_endpoint": "https://idp.example", "oidc_client_id": "havn", "oidc_logout": true}).is(http.StatusOK)
	return s
}

// signIn goes to the provider and back, and answers what the callback answers.
func (s *service) signIn(j jar, to string) *answer {
	s.Helper()
	j.keep(s.get("/c/oidc/login?"+url.Values{"redirect_url": {to}}.Encode(), j.with).is(http.StatusSeeOther).has("Location", "https://idp.example/authorize?state=xyz").has("Cache-Control", "no-store"))
	return j.keep(s.get("/c/oidc/callback?state=xyz&code=1", j.with, reader, header("Sec-Fetch-Site", "cross-site")))
}

func TestPeopleOfAnIdentityProviderAreTakenInAtTheirFirstLogin(t *testing.T) {
	t.Parallel()
	s := withIdentity(t)
	j := jar{}
	s.signIn(j, "/harbor/projects?page=2").is(http.StatusSeeOther).has("Location", "/harbor/projects?page=2").has("Referrer-Policy", "no-referrer")
	if j[harborapi.SessionCookie] == "" || j[oidc.CookieOf("xyz")] != "" || strings.Contains(fmt.Sprint(j), "a.b.c") || strings.Contains(fmt.Sprint(j), "refresh") {
		t.Errorf("kept %v", j)
	}
	var u harborapi.UserResp
	s.get("/users/current", j.with).is(http.StatusOK).decode(&u)
	if u.Username != "ada" || u.Email != "ada@example.com" || u.OidcUserMeta.Subiss != "https://idp.example 7" || u.SysadminFlag || u.AdminRoleInAuth {
		t.Errorf("%+v", u)
	}
	s.get("/audit-logs?q=operation=create,resource=ada").has("X-Total-Count", "1")

	// Another time he is an administrator by his group, and his account is the same, whatever he is called there now.
	s.identity.says.Person.Name, s.identity.says.Person.Admin = "lovelace", true
	again := jar{}
	s.signIn(again, "").is(http.StatusSeeOther)
	s.get("/users/current", again.with).is(http.StatusOK).says(`"ada"`).says(`"admin_role_in_auth":true`)
	s.get("/configurations", again.with).is(http.StatusOK)
	s.get("/users/current", j.with).is(http.StatusOK)
}

func TestALoginIsFinishedAndAuditedThoughTheBrowserLeaves(t *testing.T) {
	t.Parallel()
	s := withIdentity(t)
	j := jar{}
	j.keep(s.get("/c/oidc/login", nobody))
	s.leaveAtCommit()
	j.keep(s.get("/c/oidc/callback?state=xyz&code=1", j.with).is(http.StatusSeeOther))
	s.get("/users/current", j.with).is(http.StatusOK)
	s.get("/audit-logs?q=operation=login,username=ada").has("X-Total-Count", "1")
	s.get("/audit-logs?q=operation=create,username=ada").has("X-Total-Count", "1")
	s.leaveAtCommit()
	s.get("/c/log_out", j.with).is(http.StatusOK)
	s.get("/audit-logs?q=operation=logout,username=ada").has("X-Total-Count", "1")
}

func TestALoginIsTheBrowsersThatBeganIt(t *testing.T) {
	t.Parallel()
	s := withIdentity(t)
	s.get("/c/oidc/callback?state=xyz&code=1", nobody).is(http.StatusBadRequest).says("did not begin in this browser")
	j := jar{}
	j.keep(s.get("/c/oidc/login", nobody))
	stranger := jar{oidc.CookieOf("xyz"): "forged"}
	if a := s.get("/c/oidc/callback?state=xyz&code=1", stranger.with, reader).shows(http.StatusBadRequest); !strings.Contains(a.header.Get("Content-Security-Policy"), "frame-ancestors 'none'") || a.begun() != "" {
		t.Errorf("%v", a.header)
	}
	s.get("/c/oidc/callback?state=other&code=1", j.with).is(http.StatusBadRequest)
	for _, to := range []string{strings.Repeat("/x", 300)} { // others are the client's to refuse
		s.get("/c/oidc/login?redirect_url="+to, nobody).is(http.StatusBadRequest)
	}
	for err, status := range map[error]int{
		fail.E(fail.Denied, nil, "refused"):                http.StatusForbidden,
		fail.E(fail.Unauthenticated, nil, "wrong nonce"):   http.StatusUnauthorized,
		fail.E(fail.Unavailable, nil, "provider is away"):  http.StatusServiceUnavailable,
		fail.E(fail.Invalid, nil, "<script>1</script> no"): http.StatusBadRequest,
	} {
		s.identity.err = err
		a := s.signIn(jar{}, "").shows(status)
		if a.begun() != "" || strings.Contains(string(a.body), "<script>") || a.header.Get("WWW-Authenticate") != "" {
			t.Errorf("%v: %v\n%s", err, a.header, a.body)
		}
	}
}

func TestWhoHasNoNameYetIsAskedForOne(t *testing.T) {
	t.Parallel()
	s := withIdentity(t)
	s.user("maria")
	s.identity.says.Ask = true
	j := jar{}
	s.signIn(j, "/harbor/projects").is(http.StatusSeeOther).has("Location", "/c/oidc/onboard")
	if j[harborapi.SessionCookie] != "" || strings.Contains(fmt.Sprint(j), "ada@") {
		t.Fatalf("kept %v", j)
	}
	s.get("/users?q=username=ada").has("X-Total-Count", "0")
	asks := s.get("/c/oidc/onboard", j.with, reader).shows(http.StatusOK)
	token := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(string(asks.body))
	if token == nil || !strings.Contains(string(asks.body), `value="ada"`) {
		t.Fatalf("%s", asks.body)
	}
	csrf := strings.NewReplacer("&#43;", "+", "&#61;", "=").Replace(token[1])
	s.post("/c/oidc/onboard", url.Values{"username": {"ada"}}, j.with).is(http.StatusForbidden).says("CSRF")
	s.post("/c/oidc/onboard", url.Values{"username": {"ada"}, "csrf": {harborapi.CSRFToken("")}}, j.with).is(http.StatusForbidden)
	s.post("/c/oidc/onboard", url.Values{"username": {"ada"}, "csrf": {csrf}}, nobody).is(http.StatusBadRequest)
	s.post("/c/oidc/onboard", url.Values{"username": {"ada"}, "csrf": {csrf}}, j.with, header("Origin", "https://evil.example")).is(http.StatusForbidden)
	for name, status := range map[string]int{"maria": http.StatusConflict, "admin": http.StatusConflict, "": 400, "a,b": 400, "robot$x": 400, "a:b": 400, "x\x01": 400} {
		a := s.post("/c/oidc/onboard", url.Values{"username": {name}, "csrf": {csrf}}, j.with, reader).shows(status)
		if !strings.Contains(string(a.body), `role="alert"`) || !strings.Contains(string(a.body), `name="username"`) {
			t.Errorf("%q: %s", name, a.body)
		}
	}
	kept := jar{}
	for name, value := range j {
		kept[name] = value
	}
	// As Harbor's pages send it.
	j.keep(s.do(http.MethodPost, "/c/oidc/onboard", map[string]string{"username": "countess"}, j.with, header("X-Harbor-CSRF-Token", asks.header.Get("X-Harbor-CSRF-Token"))).is(http.StatusOK))
	s.get("/users/current", j.with).is(http.StatusOK).says(`"countess"`)
	for name := range j {
		if strings.HasPrefix(name, "havn_oidc_ask") {
			t.Errorf("%s is kept", name)
		}
	}
	// What was kept makes no second account, and no second session.
	s.post("/c/oidc/onboard", url.Values{"username": {"other"}, "csrf": {csrf}}, kept.with).is(http.StatusConflict)
	again := jar{}
	s.signIn(again, "/x").is(http.StatusSeeOther).has("Location", "/x")
	s.get("/users/current", again.with).is(http.StatusOK).says(`"countess"`)
}

func TestANameThatIsTakenIsNobodyElses(t *testing.T) {
	t.Parallel()
	s := withIdentity(t)
	s.identity.says.Person.Name = "admin"
	if a := s.signIn(jar{}, "").shows(http.StatusConflict); a.begun() != "" {
		t.Error("he is in")
	}
	s.identity.says.Person.Name = "ada"
	j := jar{}
	s.signIn(j, "").is(http.StatusSeeOther)
	var u harborapi.UserResp
	s.get("/users/current", j.with).decode(&u)
	_, err := s.access.SetDisabled(t.Context(), u.UserID, true)
	s.ok(err)
	if a := s.signIn(jar{}, "").shows(http.StatusForbidden); a.begun() != "" {
		t.Error("who is disabled is in")
	}
	s.get("/users/current", j.with).is(http.StatusUnauthorized)
}

func TestALogoutGoesToTheProviderTooWhereItShould(t *testing.T) {
	t.Parallel()
	s := withIdentity(t)
	j := jar{}
	s.signIn(j, "").is(http.StatusSeeOther)
	session := jar{harborapi.SessionCookie: j[harborapi.SessionCookie]}
	j.keep(s.get("/c/log_out", j.with, reader).is(http.StatusSeeOther).has("Location", "/c/oidc/logout"))
	s.get("/users/current", session.with).is(http.StatusUnauthorized)
	j.keep(s.get("/c/oidc/logout", j.with, reader).is(http.StatusSeeOther).has("Location", "https://idp.example/end"))
	if s.identity.left != "a.b.c" || len(j) != 0 {
		t.Errorf("left %q, kept %v", s.identity.left, j)
	}
	j = jar{}
	s.signIn(j, "")
	s.get("/c/log_out", j.with).is(http.StatusOK).says(`{"location":"/c/oidc/logout"}`)
	s.do(http.MethodPut, "/configurations", `{"oidc_logout":false}`).is(http.StatusOK)
	j = jar{}
	s.signIn(j, "")
	if len(j) != 1 {
		t.Errorf("kept %v", j)
	}
	s.get("/c/oidc/logout", j.with, header("Sec-Fetch-Site", "cross-site")).is(http.StatusForbidden)
	s.get("/c/oidc/logout", j.with).is(http.StatusSeeOther).has("Location", "/")
}

func TestProgramsOfTheProvidersPeopleHaveASecret(t *testing.T) {
	t.Parallel()
	s := withIdentity(t)
	s.get("/c/cli_secret", nobody, reader).is(http.StatusSeeOther).has("Location", "/c/oidc/login?redirect_url=/c/cli_secret")
	j := jar{}
	s.signIn(j, "/c/cli_secret").is(http.StatusSeeOther).has("Location", "/c/cli_secret")
	asks := s.get("/c/cli_secret", j.with, reader).shows(http.StatusOK)
	if !strings.Contains(string(asks.body), `action="/c/cli_secret"`) {
		t.Errorf("%s", asks.body)
	}
	s.post("/c/cli_secret", url.Values{}, j.with).is(http.StatusForbidden).says("CSRF")
	token := url.Values{"csrf": {harborapi.CSRFToken(j[harborapi.SessionCookie])}}
	shown := regexp.MustCompile(`<code>(havn_pat_\w+)</code>`).FindStringSubmatch(string(s.post("/c/cli_secret", token, j.with, reader).shows(http.StatusOK).body))
	if shown == nil {
		t.Fatal("no secret is shown")
	}
	var u harborapi.UserResp
	s.get("/users/current", as("ada", shown[1])).is(http.StatusOK).decode(&u)
	at := fmt.Sprintf("/users/%d/cli_secret", u.UserID)
	var made harborapi.CLISecret
	s.do(http.MethodPost, at, nil, as("ada", shown[1])).is(http.StatusOK).decode(&made)
	s.get("/users/current", as("ada", shown[1])).is(http.StatusUnauthorized)
	s.do(http.MethodPut, at, map[string]string{"secret": "Chosen-by-ada-1"}, as("ada", made.Secret)).is(http.StatusOK)
	s.do(http.MethodPut, at, map[string]string{"secret": ""}, as("ada", "Chosen-by-ada-1")).is(http.StatusBadRequest)
	s.get("/users/current", as("ada", "Chosen-by-ada-1")).is(http.StatusOK)
	s.post("/c/login", url.Values{"principal": {"ada"}, "password": {"Chosen-by-ada-1"}}).is(http.StatusForbidden)
	s.post("/c/login", url.Values{"principal": {"ada"}, "password": {"wrong"}}).is(http.StatusUnauthorized).says("/c/oidc/login")

	s.do(http.MethodPut, "/configurations", `{"read_only":true}`).is(http.StatusOK)
	s.post("/c/cli_secret", token, j.with).is(http.StatusForbidden, "DENIED")
	s.do(http.MethodPost, at, nil).is(http.StatusForbidden, "DENIED")
	other := jar{}
	s.signIn(other, "").is(http.StatusSeeOther)
	s.do(http.MethodDelete, fmt.Sprintf("/users/%d/sessions?but_this=true", u.UserID), nil, j.with, header("X-Harbor-CSRF-Token", token.Get("csrf"))).is(http.StatusOK)
	s.get("/users/current", other.with).is(http.StatusUnauthorized)
	s.do(http.MethodPut, "/configurations", `{"read_only":false}`).is(http.StatusOK)

	id := s.user("maria")
	s.do(http.MethodPost, fmt.Sprintf("/users/%d/cli_secret", id), nil, as("maria", secret)).is(http.StatusPreconditionFailed, "PRECONDITION")
	s.do(http.MethodPost, at, nil, as("maria", secret)).is(http.StatusForbidden)
	marias, _ := s.enter("maria", secret)
	s.get("/c/cli_secret", marias.with).is(http.StatusPreconditionFailed)
}

func TestAnIdentityProviderIsTried(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(http.MethodPost, "/system/oidc/ping", `{"url":"https://idp.example","verify_cert":true}`).is(http.StatusOK)
	s.do(http.MethodPost, "/system/oidc/ping", `{"url":"https://idp.example","verify_cert":false}`).is(http.StatusBadRequest, "BAD_REQUEST").says("no route").says("correct the address")
	for _, path := range []string{"/c/oidc/login", "/c/oidc/callback?state=xyz", "/c/oidc/onboard"} {
		s.get(path, nobody).is(http.StatusConflict).says("no identity provider")
	}
	s.get("/c/oidc/logout", nobody).is(http.StatusSeeOther).has("Location", "/")
}
