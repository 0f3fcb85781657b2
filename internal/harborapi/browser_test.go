package harborapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/harborapi"
)

// form sends a body as a browser's form does.
func form(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }

// reader is a browser in which a person reads.
func reader(r *http.Request) { r.Header.Set("Accept", "text/html,*/*;q=0.8") }

// jar is what a browser keeps of answers: cookies by name, and whatever their paths are.
type jar map[string]string

func (j jar) with(r *http.Request) {
	r.Header.Del("Authorization")
	for name, value := range j {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
}

// keep takes an answer's cookies, and wants each to be kept from scripts and from other sites.
func (j jar) keep(a *answer) *answer {
	a.Helper()
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || !c.Secure || c.Domain != "" {
			a.Errorf("%s: cookie %s", a.asked, c)
		}
		if c.MaxAge < 0 {
			delete(j, c.Name)
		} else {
			j[c.Name] = c.Value
		}
	}
	return a
}

// shows wants a page with a status.
func (a *answer) shows(status int) *answer {
	a.Helper()
	if a.status != status || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
		a.Fatalf("%s: %d %v, want a page with %d:\n%.1000s\n%.2000s", a.asked, a.status, a.header, status, a.body, a.log)
	}
	return a
}

// begun answers the session that an answer begins, "" for none.
func (a *answer) begun() string {
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == harborapi.SessionCookie {
			return c.Value
		}
	}
	return ""
}

// post sends a form.
func (s *service) post(path string, values url.Values, options ...with) *answer {
	s.Helper()
	return s.do(http.MethodPost, path, values.Encode(), append([]with{nobody, form}, options...)...)
}

// enter logs somebody in with a browser.
func (s *service) enter(name, password string) (jar, *answer) {
	s.Helper()
	j := jar{}
	return j, j.keep(s.post("/c/login", url.Values{"principal": {name}, "password": {password}}).is(http.StatusOK))
}

func TestABrowserLogsInAndOutAsAtHarbor(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.user("maria")
	j, entered := s.enter("maria", secret)
	if len(j[harborapi.SessionCookie]) != 64 || len(j) != 1 {
		t.Fatalf("%v", j)
	}
	s.get("/users/current", j.with).is(http.StatusOK).says(`"maria"`)
	at := fmt.Sprintf("/users/%d", id)
	profile := map[string]string{"email": "maria@example.com", "realname": "Maria"}
	s.do(http.MethodPut, at, profile, j.with).is(http.StatusForbidden).says("CSRF")
	s.do(http.MethodPut, at, profile, j.with, header("X-Harbor-CSRF-Token", entered.header.Get("X-Harbor-CSRF-Token"))).is(http.StatusOK)

	for what, values := range map[string]url.Values{
		"a wrong password": {"principal": {"maria"}, "password": {"wrong"}},
		"nobody":           {"principal": {"eve"}, "password": {secret}},
		"nothing":          {},
		"another's field":  {"username": {"maria"}, "password": {secret}},
	} {
		a := s.post("/c/login", values).is(http.StatusUnauthorized, "UNAUTHORIZED")
		if a.header.Get("Set-Cookie") != "" || a.header.Get("WWW-Authenticate") != "" {
			t.Errorf("%s: %v", what, a.header)
		}
	}
	s.do(http.MethodPost, "/c/login?principal=maria&password="+url.QueryEscape(secret), nil, nobody, form).is(http.StatusUnauthorized) // addresses are logged
	s.post("/c/login", url.Values{"principal": {"maria"}, "password": {secret}}, header("Sec-Fetch-Site", "cross-site")).is(http.StatusForbidden)
	s.get("/c/login", nobody).is(http.StatusMethodNotAllowed).has("Allow", "POST")
	s.get("/c/nothing", nobody).is(http.StatusNotFound)
	s.post("/c/login", url.Values{"principal": {strings.Repeat("x", 1<<20)}}).is(http.StatusRequestEntityTooLarge)

	s.get("/c/log_out", j.with, header("Sec-Fetch-Site", "cross-site")).is(http.StatusForbidden)
	s.get("/users/current", j.with).is(http.StatusOK)
	stolen := jar{harborapi.SessionCookie: j[harborapi.SessionCookie]}
	j.keep(s.get("/c/log_out", j.with).is(http.StatusOK))
	if len(j) != 0 {
		t.Errorf("kept %v", j)
	}
	s.get("/users/current", stolen.with).is(http.StatusUnauthorized)
	s.get("/c/log_out", nobody).is(http.StatusOK)
	s.get("/c/log_out", nobody, reader).is(http.StatusSeeOther).has("Location", "/")
	s.get("/audit-logs?q=operation=login,username=maria").has("X-Total-Count", "1")
	s.get("/audit-logs?q=operation=logout,username=maria").has("X-Total-Count", "1")
	s.ok(s.audit.Flush(t.Context()))
	failed := s.get("/auditlog-exts?page_size=100&q=operation=login").has("X-Total-Count", "6").says("wrong password").says(`"operation_result":false`)
	if text := string(failed.body); strings.Contains(text, "eve") || strings.Contains(text, secret) || strings.Count(text, `"resource":"maria"`) != 2 {
		t.Errorf("logins that failed: %s", text)
	}
}

func TestNobodyGoesOnInASessionThatSomebodyElseGaveHim(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.user("maria")
	s.user("eve")
	eves, _ := s.enter("eve", secret)
	given := eves[harborapi.SessionCookie]
	for _, planted := range []string{given, strings.Repeat("0", 64)} { // a session of the attacker's, and one that he made up
		victim := jar{harborapi.SessionCookie: planted}
		victim.keep(s.post("/c/login", url.Values{"principal": {"maria"}, "password": {secret}}, victim.with).is(http.StatusOK))
		if victim[harborapi.SessionCookie] == planted {
			t.Errorf("the session goes on as it was planted")
		}
		s.get("/users/current", victim.with).is(http.StatusOK).says(`"maria"`)
		s.get("/users/current", jar{harborapi.SessionCookie: planted}.with).is(http.StatusUnauthorized)
	}
}

func TestSecretsOfProgramsBeginNoSession(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.user("maria")
	_, token, err := s.access.CreateUserToken(t.Context(), id, "laptop", time.Time{})
	s.ok(err)
	if a := s.post("/c/login", url.Values{"principal": {"maria"}, "password": {token}}).is(http.StatusForbidden); a.header.Get("Set-Cookie") != "" {
		t.Error("a session began")
	}
}

func TestWhetherAUserExistsIsToldToThoseWhoMayMakeOne(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.user("maria")
	is := func(target, value string, options ...with) *answer {
		return s.post("/c/userExists", url.Values{"target": {target}, "value": {value}}, options...)
	}
	admin := as("admin", password)
	is("username", "maria").is(http.StatusPreconditionFailed, "PRECONDITION")
	is("username", "maria", as("maria", secret)).is(http.StatusPreconditionFailed)
	for _, c := range []struct{ target, value, want string }{
		{"username", "maria", "true"}, {"username", "mari", "false"}, {"email", "Maria@example.com", "true"}, {"email", "aria@example.com", "false"},
	} {
		if a := is(c.target, c.value, admin).is(http.StatusOK); strings.TrimSpace(string(a.body)) != c.want {
			t.Errorf("%+v: %s", c, a.body)
		}
	}
	is("phone", "1", admin).is(http.StatusBadRequest)
	is("username", "", admin).is(http.StatusBadRequest)
	j, _ := s.enter("admin", password)
	is("username", "maria", j.with).is(http.StatusForbidden).says("CSRF")
	s.do(http.MethodPut, "/configurations", `{"self_registration":true}`).is(http.StatusOK)
	is("username", "maria").is(http.StatusOK)
}

func TestStrangersRegisterWhereThatIsOn(t *testing.T) {
	t.Parallel()
	s := start(t)
	body := map[string]any{"username": "joe", "password": secret, "email": "joe@example.com", "realname": "Joe", "sysadmin_flag": true}
	s.do(http.MethodPost, "/users", body, nobody).is(http.StatusUnauthorized)
	s.do(http.MethodPut, "/configurations", `{"self_registration":true}`).is(http.StatusOK)
	s.do(http.MethodPost, "/users", body, nobody, header("Sec-Fetch-Site", "cross-site")).is(http.StatusForbidden)
	s.do(http.MethodPost, "/users", body, nobody).is(http.StatusCreated)
	s.do(http.MethodPost, "/users", body, nobody).is(http.StatusConflict)
	s.do(http.MethodPost, "/users", map[string]any{"username": "eve", "password": "weak"}, nobody).is(http.StatusBadRequest)
	s.get("/users/current", as("joe", secret)).is(http.StatusOK).says(`"sysadmin_flag":false`)
	body["username"] = "second" // who has an account makes no second one
	s.do(http.MethodPost, "/users", body, as("joe", secret)).is(http.StatusForbidden)
	s.get("/audit-logs?q=operation=create,resource=joe,username=joe").has("X-Total-Count", "1")
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	t.Parallel()
	s := start(t)
	id := s.user("maria")
	s.user("eve")
	here, _ := s.enter("maria", secret)
	there, _ := s.enter("maria", secret)
	eves, _ := s.enter("eve", secret)
	at := fmt.Sprintf("/users/%d/sessions", id)
	token := header("X-Harbor-CSRF-Token", harborapi.CSRFToken(here[harborapi.SessionCookie]))
	list := func(options ...with) (all []harborapi.Session) {
		t.Helper()
		s.get(at, options...).is(http.StatusOK).decode(&all)
		return all
	}
	var other string
	current := 0
	all := list(here.with)
	for _, one := range all {
		if one.ID == "" || one.Address != "192.0.2.1" || !strings.Contains(one.UserAgent, "Go-http-client") || strings.Contains(fmt.Sprint(here, there), one.ID) || time.Time(one.ExpirationTime).Before(time.Now()) {
			t.Errorf("%+v", one)
		}
		if one.Current {
			current++
		} else {
			other = one.ID
		}
	}
	if len(all) != 2 || current != 1 {
		t.Fatalf("%+v", all)
	}
	s.get(at, eves.with).is(http.StatusForbidden)
	s.do(http.MethodDelete, at+"/"+other, nil, eves.with, header("X-Harbor-CSRF-Token", harborapi.CSRFToken(eves[harborapi.SessionCookie]))).is(http.StatusForbidden)
	s.do(http.MethodDelete, at+"/"+other, nil, here.with).is(http.StatusForbidden).says("CSRF")
	s.do(http.MethodDelete, at+"/"+other, nil, here.with, token).is(http.StatusOK)
	s.do(http.MethodDelete, at+"/"+other, nil, here.with, token).is(http.StatusNotFound)
	s.get("/users/current", there.with).is(http.StatusUnauthorized)
	s.get("/users/current", here.with).is(http.StatusOK)

	there, _ = s.enter("maria", secret)
	s.do(http.MethodDelete, at+"?but_this=true", nil, here.with, token).is(http.StatusOK)
	s.get("/users/current", there.with).is(http.StatusUnauthorized)
	s.get("/users/current", here.with).is(http.StatusOK)
	if all = list(); len(all) != 1 || all[0].Current { // an administrator looks
		t.Errorf("%+v", all)
	}
	s.do(http.MethodDelete, at, nil).is(http.StatusOK)
	s.get("/users/current", here.with).is(http.StatusUnauthorized)
	s.get("/users/current", eves.with).is(http.StatusOK)
	if all = list(); len(all) != 0 {
		t.Errorf("left: %+v", all)
	}
}
