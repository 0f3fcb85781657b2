package oidc

import (
	"bytes"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

const (
	second    = "test-user2" // another user of the library's example
	sessionIs = "sid"
	patience  = 30 * time.Second
)

// served is two nodes of Havn on one database, behind one address with TLS that takes turns: no two requests of a login are answered by the same node.
type served struct {
	*testing.T
	*provider
	front *httptest.Server
	nodes []*harness.Server
}

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fail.HintOf(err))
	}
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{T: t}
	var turn atomic.Int64
	s.front = httptest.NewTLSServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		to, err := url.Parse(s.nodes[turn.Add(1)%2].URL)
		if err != nil {
			t.Error(err)
			return
		}
		r.SetURL(to)
		r.SetXForwarded()
		r.Out.Host = r.In.Host
	}})
	t.Cleanup(s.front.Close)
	s.provider = startProvider(t, s.front.URL+"/c/oidc/callback", s.front.URL+"/")
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	t.Cleanup(func() { need(t, p.Stop()) })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	need(t, os.WriteFile(ca, []byte(s.ca()), 0o600))
	blobs := filepath.Join(t.TempDir(), "blobs")
	for range 2 {
		s.nodes = append(s.nodes, harness.Start(t, harness.Options{Env: []string{
			"HAVN_DATABASE_ENGINE=postgres", "HAVN_DATABASE_HOSTS=" + p.Host, "HAVN_DATABASE_USER=" + lab.User, "HAVN_DATABASE_PASSWORD=" + lab.Password, "HAVN_DATABASE_NAME=" + lab.Database,
			"HAVN_STORAGE_FILESYSTEM_PATH=" + blobs, "HAVN_HTTP_PUBLIC_URL=" + s.front.URL, "HAVN_HTTP_TRUSTED_PROXIES=127.0.0.1/32", "HAVN_OUTBOUND_CA_FILE=" + ca,
		}}))
	}
	return s
}

// ask asks the first node as somebody, by Basic.
func (s *served) ask(who, secret, method, path string, body any) (int, string) {
	s.Helper()
	return s.askAt(s.nodes[0].URL, who, secret, method, path, body)
}

func (s *served) askAt(base, who, secret, method, path string, body any) (int, string) {
	s.Helper()
	text, err := json.Marshal(body)
	need(s.T, err)
	r, err := http.NewRequestWithContext(s.Context(), method, base+path, bytes.NewReader(text))
	need(s.T, err)
	r.SetBasicAuth(who, secret)
	r.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(r)
	need(s.T, err)
	got, err := io.ReadAll(answer.Body)
	need(s.T, err)
	need(s.T, answer.Body.Close())
	return answer.StatusCode, string(got)
}

func (s *served) admin(method, path string, body any, want int) string {
	s.Helper()
	status, text := s.ask("admin", harness.Password, method, path, body)
	if status != want {
		s.Fatalf("%s %s: %d %s, want %d", method, path, status, text, want)
	}
	return text
}

// configure changes settings, and waits until a login shows at each node that it follows them.
func (s *served) configure(values map[string]any, shows int, says string) {
	s.Helper()
	s.admin(http.MethodPut, "/api/v2.0/configurations", values, http.StatusOK)
	for _, n := range s.nodes {
		var last string
		for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
			b := s.browser()
			b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			answer, err := b.Get(n.URL + "/c/oidc/login")
			need(s.T, err)
			_, text := b.read(answer)
			if last = fmt.Sprint(answer.StatusCode, " ", answer.Header.Get("Location"), " ", text); answer.StatusCode == shows && strings.Contains(last, says) {
				break
			}
			if time.Now().After(end) {
				s.Fatalf("%s does not follow: %s", n.URL, last)
			}
		}
	}
}

// granted answers what a token for team/app holds, asked for at a node as docker of the example's user does, or 401.
func (s *served) granted(node int, word string) string {
	s.Helper()
	status, text := s.askAt(s.nodes[node].URL, user, word, http.MethodGet, "/service/token?service=harbor-registry&scope=repository:team/app:pull,push,delete", nil)
	if status == http.StatusUnauthorized {
		return "401"
	}
	var token struct{ Scope string }
	if status != http.StatusOK {
		s.Fatalf("token: %d %s", status, text)
	}
	need(s.T, json.Unmarshal([]byte(text), &token))
	_, actions, _ := strings.Cut(token.Scope, "team/app:")
	return actions
}

// seeing is the way of a browser that shows pages, and of which a test sees the cookies as they are set.
type seeing struct {
	next http.RoundTripper
	mu   sync.Mutex
	set  []*http.Cookie
	to   []*url.URL
}

func (v *seeing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	answer, err := v.next.RoundTrip(r)
	if err == nil {
		v.mu.Lock()
		v.set, v.to = append(v.set, answer.Cookies()...), append(v.to, r.URL)
		v.mu.Unlock()
	}
	return answer, err
}

// person is somebody's browser.
type person struct {
	browser
	*seeing
	s *served
}

func (s *served) browser() person {
	s.Helper()
	jar, err := cookiejar.New(nil)
	need(s.T, err)
	way := &seeing{next: s.Client().Transport} // its certificate is the front's too
	return person{browser{&http.Client{Jar: jar, Transport: way, Timeout: time.Minute}, s.T}, way, s}
}

// submit fills in the form of the provider's page.
func (p person) submit(at *url.URL, page, name string) (*url.URL, string) {
	p.t.Helper()
	form, id := action.FindStringSubmatch(page), hidden.FindStringSubmatch(page)
	if form == nil || id == nil {
		p.t.Fatalf("no form of the provider's at %s: %s", at, page)
	}
	target, err := at.Parse(form[1])
	need(p.t, err)
	answer, err := p.PostForm(target.String(), url.Values{"id": {id[1]}, "username": {name}, "password": {password}})
	need(p.t, err)
	return p.read(answer)
}

// logIn goes to a path, is sent to the provider, logs in there and answers where that ends.
func (p person) logIn(path, name string) (*url.URL, string) {
	p.t.Helper()
	at, page := p.open(p.s.front.URL + path)
	return p.submit(at, page, name)
}

var token = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// press sends the form of a page of Havn's.
func (p person) press(path, page string, values url.Values) (*url.URL, string) {
	p.t.Helper()
	found := token.FindStringSubmatch(page)
	if found == nil {
		p.t.Fatalf("no form: %s", page)
	}
	values.Set("csrf", html.UnescapeString(found[1]))
	answer, err := p.PostForm(p.s.front.URL+path, values)
	need(p.t, err)
	return p.read(answer)
}

// session answers the value of the session's cookie, "" for none.
func (p person) session() string {
	p.t.Helper()
	at, err := url.Parse(p.s.front.URL)
	need(p.t, err)
	for _, c := range p.Jar.Cookies(at) {
		if c.Name == sessionIs {
			return c.Value
		}
	}
	return ""
}

// current answers who a session is at a node, "" for nobody.
func (p person) current(node int) string {
	p.t.Helper()
	status, text := p.send(node, http.MethodGet, "/api/v2.0/users/current", "")
	if status != http.StatusOK {
		return ""
	}
	return text
}

// send sends a request with the session to a node, with a CSRF token or without.
func (p person) send(node int, method, path, csrf string) (int, string) {
	p.t.Helper()
	return p.s.withCookie(node, p.session(), method, path, csrf)
}

func (s *served) withCookie(node int, cookie, method, path, csrf string) (int, string) {
	s.Helper()
	r, err := http.NewRequestWithContext(s.Context(), method, s.nodes[node].URL+path, http.NoBody)
	need(s.T, err)
	r.AddCookie(&http.Cookie{Name: sessionIs, Value: cookie})
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Harbor-CSRF-Token", csrf)
	answer, err := http.DefaultClient.Do(r)
	need(s.T, err)
	text, err := io.ReadAll(answer.Body)
	need(s.T, err)
	need(s.T, answer.Body.Close())
	return answer.StatusCode, string(text)
}

// The tests share the nodes, one after another: they take their time to start.
func TestServed(t *testing.T) {
	s := serve(t)
	s.set(func() { s.groups = []string{"team-a"} })
	settings := map[string]any{
		"auth_mode": "oidc_auth", "oidc_name": "zitadel", "oidc_endpoint": s.URL, "oidc_client_id": clientID, "oidc_client_secret": secret, "oidc_scope": "openid,profile,email,offline_access",
		"oidc_groups_claim": "groups", "oidc_admin_group": "admins", "oidc_group_filter": "^team-", "oidc_auto_onboard": true, "oidc_logout": true, "oidc_verify_cert": true,
	}
	s.admin(http.MethodPost, "/api/v2.0/system/oidc/ping", map[string]any{"url": s.URL, "verify_cert": true}, http.StatusOK)
	s.admin(http.MethodPost, "/api/v2.0/system/oidc/ping", map[string]any{"url": s.URL + "/realms/none", "verify_cert": true}, http.StatusBadRequest)
	s.configure(settings, http.StatusSeeOther, s.URL+"/auth?")
	s.admin(http.MethodPost, "/api/v2.0/projects", map[string]any{"project_name": "team"}, http.StatusCreated)
	for _, one := range []struct {
		name string
		try  func(*served)
	}{
		{"somebody logs in for the first time and docker with his secret", (*served).firstLogin},
		{"an ID token that is not for this login lets nobody in", (*served).tampered},
		{"an answer that is another browser's or was taken lets nobody in", (*served).replayed},
		{"a session changes nothing without its token and ends on every node", (*served).sessions},
		{"a logout ends the login at the provider too", (*served).logouts},
		{"who is asked for a name chooses one that is free", (*served).onboarding},
		{"the configuration changes while nodes run", (*served).changes},
	} {
		if !t.Run(one.name, func(t *testing.T) {
			here := *s
			here.T = t
			one.try(&here)
		}) {
			break
		}
	}
	for _, n := range s.nodes {
		if strings.Contains(n.Log(), "can't log in yet") || strings.Contains(n.Log(), "level=ERROR") {
			t.Errorf("the log of %s:\n%s", n.URL, n.Log())
		}
	}
}

var shown = regexp.MustCompile(`<code>(havn_pat_\w+)</code>`)

func (s *served) firstLogin() {
	b := s.browser()
	at, page := b.logIn("/c/cli_secret", user)
	if at.String() != s.front.URL+"/c/cli_secret" {
		s.Fatalf("ended at %s: %s", at, page)
	}
	for _, c := range b.set {
		if (c.Name == sessionIs || strings.HasPrefix(c.Name, "havn_")) && (!c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode) {
			s.Errorf("cookie %s", c)
		}
	}
	for node := range s.nodes {
		if who := b.current(node); !strings.Contains(who, `"username":"`+user+`"`) || strings.Contains(who, `"admin_role_in_auth":true`) {
			s.Errorf("at node %d he is %s", node, who)
		}
	}
	_, page = b.press("/c/cli_secret", page, url.Values{})
	code := shown.FindStringSubmatch(page)
	if code == nil {
		s.Fatalf("no secret: %s", page)
	}
	if got := s.granted(0, "wrong"); got != "401" {
		s.Errorf("with a wrong secret: %q", got)
	}
	if got := s.granted(0, password); got != "401" {
		s.Errorf("with the provider's password: %q", got)
	}
	if got := s.granted(1, code[1]); got != "" {
		s.Errorf("without a role: %q", got)
	}
	s.admin(http.MethodPost, "/api/v2.0/projects/team/members", map[string]any{"role_id": 2, "member_group": map[string]any{"group_type": 3, "group_name": "team-a"}}, http.StatusCreated)
	if got := s.granted(1, code[1]); got != "pull,push" {
		s.Errorf("a developer by his group: %q", got)
	}
	// Another login tells that he is an administrator now, by a group that the filter does not let through.
	s.set(func() { s.groups = []string{"admins"} })
	defer s.set(func() { s.groups = []string{"team-a"} })
	again := s.browser()
	again.logIn("/c/oidc/login", user)
	if who := again.current(0); !strings.Contains(who, `"admin_role_in_auth":true`) {
		s.Errorf("in the administrators' group he is %s", who)
	}
	if got := s.granted(0, code[1]); got != "pull,push,delete" {
		s.Errorf("an administrator by his group: %q", got)
	}
	if text := s.admin(http.MethodGet, "/api/v2.0/usergroups", nil, http.StatusOK); strings.Contains(text, `"admins"`) || !strings.Contains(text, `"team-a"`) {
		s.Errorf("groups: %s", text)
	}
}

func (s *served) tampered() {
	defer s.set(func() { s.tamper = nil })
	for claim, value := range map[string]any{"nonce": "another", "iss": "https://other.example", "aud": []string{"grafana"}, "exp": time.Now().Add(-time.Hour).Unix(), "sub": ""} {
		s.set(func() { s.tamper = func(all map[string]any) { all[claim] = value } })
		b := s.browser()
		at, page := b.logIn("/c/oidc/login", user)
		if b.session() != "" || at.Path != "/c/oidc/callback" || !strings.Contains(page, `role="alert"`) {
			s.Errorf("with another %s: %s: %s", claim, at, page)
		}
	}
	s.set(func() { s.tamper = func(map[string]any) {} })
	b := s.browser()
	if at, page := b.logIn("/c/oidc/login", user); b.session() == "" {
		s.Errorf("with nothing changed: %s: %s", at, page)
	}
}

func (s *served) replayed() {
	b := s.browser()
	b.logIn("/c/oidc/login", user)
	var back *url.URL
	var kept []*http.Cookie
	for _, u := range b.to {
		if u.Path == "/c/oidc/callback" {
			back = u
		}
	}
	for _, c := range b.set {
		if strings.HasPrefix(c.Name, "havn_oidc_") && c.MaxAge > 0 {
			kept = append(kept, c)
		}
	}
	if back == nil || len(kept) != 1 || b.session() == "" {
		s.Fatalf("callback %v, cookies %v", back, kept)
	}
	thief := s.browser()
	if at, page := thief.open(back.String()); thief.session() != "" || !strings.Contains(page, "did not begin in this browser") {
		s.Errorf("in another browser: %s: %s", at, page)
	}
	for i := range 4 { // through both nodes, with the cookie as well
		again := s.browser()
		again.Jar.SetCookies(back, []*http.Cookie{{Name: kept[0].Name, Value: kept[0].Value, Path: "/c/oidc/callback", Secure: true}})
		if at, page := again.open(back.String()); again.session() != "" || !strings.Contains(page, `role="alert"`) {
			s.Errorf("taken again, %d: %s: %s", i, at, page)
		}
	}
	for _, to := range []string{"https://evil.example/", "//evil.example", `/\evil.example`, "javascript:alert(1)", "/\t/evil.example", "evil.example"} {
		lured := s.browser()
		if at, page := lured.open(s.front.URL + "/c/oidc/login?" + url.Values{"redirect_url": {to}}.Encode()); at.Path != "/c/oidc/login" || !strings.Contains(page, `role="alert"`) {
			s.Errorf("to %q: %s: %s", to, at, page)
		}
	}
}

func (s *served) sessions() {
	b := s.browser()
	b.logIn("/c/oidc/login", user)
	status, me := b.send(0, http.MethodGet, "/api/v2.0/users/current", "")
	var who struct {
		ID int64 `json:"user_id"`
	}
	if need(s.T, json.Unmarshal([]byte(me), &who)); status != http.StatusOK || who.ID == 0 {
		s.Fatalf("%d %s", status, me)
	}
	at := fmt.Sprintf("/api/v2.0/users/%d/sessions", who.ID)
	for _, csrf := range []string{"", "x", strings.Repeat("A", 88)} {
		if got, text := b.send(1, http.MethodDelete, at, csrf); got != http.StatusForbidden {
			s.Errorf("with the token %q: %d %s", csrf, got, text)
		}
	}
	if b.current(0) == "" || b.current(1) == "" {
		s.Fatal("the session is over")
	}
	status, text := b.send(1, http.MethodGet, at, "")
	var all []struct {
		ID      string `json:"id"`
		Current bool   `json:"current"`
	}
	if need(s.T, json.Unmarshal([]byte(text), &all)); status != http.StatusOK || len(all) == 0 {
		s.Fatalf("%d %s", status, text)
	}
	for _, one := range all {
		if one.Current {
			s.admin(http.MethodDelete, at+"/"+one.ID, nil, http.StatusOK)
		}
	}
	if b.current(0) != "" {
		s.Error("the session goes on at the node that ended it")
	}
	for end := time.Now().Add(patience); b.current(1) != ""; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatal("the session goes on at the other node")
		}
	}
	planted := s.browser()
	target, err := url.Parse(s.front.URL)
	need(s.T, err)
	planted.Jar.SetCookies(target, []*http.Cookie{{Name: sessionIs, Value: strings.Repeat("0", 64), Path: "/", Secure: true}})
	if planted.logIn("/c/oidc/login", user); planted.session() == strings.Repeat("0", 64) || planted.current(0) == "" {
		s.Errorf("a session that was planted goes on: %s", planted.session())
	}
}

func (s *served) logouts() {
	b := s.browser()
	b.logIn("/c/oidc/login", user)
	was := b.session()
	at, page := b.open(s.front.URL + "/c/log_out")
	if at.String() != s.front.URL+"/" {
		s.Errorf("ended at %s: %s", at, page)
	}
	ended := false
	for _, u := range b.to {
		ended = ended || u.Path == "/end_session" && u.Query().Get("id_token_hint") != "" && u.Query().Get("client_id") == clientID
	}
	if status, _ := s.withCookie(0, was, http.MethodGet, "/api/v2.0/users/current", ""); b.session() != "" || status != http.StatusUnauthorized || !ended {
		s.Errorf("session %q, at Havn %d, the provider was told: %v", b.session(), status, ended)
	}
	local := s.browser()
	answer, err := local.PostForm(s.front.URL+"/c/login", url.Values{"principal": {"admin"}, "password": {harness.Password}})
	need(s.T, err)
	if local.read(answer); answer.StatusCode != http.StatusOK || local.current(1) == "" || answer.Header.Get("X-Harbor-CSRF-Token") == "" {
		s.Errorf("Havn's own user: %d", answer.StatusCode)
	}
	if at, page = local.open(s.front.URL + "/c/log_out"); at.String() != s.front.URL+"/" || local.session() != "" {
		s.Errorf("ended at %s: %s", at, page)
	}
}

func (s *served) onboarding() {
	s.admin(http.MethodPut, "/api/v2.0/configurations", map[string]any{"oidc_auto_onboard": false}, http.StatusOK)
	var b person
	var at *url.URL
	var page string
	for end := time.Now().Add(patience); ; time.Sleep(500 * time.Millisecond) { // until both nodes know: nobody of the second name may have an account before
		all := s.admin(http.MethodGet, "/api/v2.0/systeminfo", nil, http.StatusOK)
		status, text := s.askAt(s.nodes[1].URL, "admin", harness.Password, http.MethodGet, "/api/v2.0/configurations", nil)
		if status == http.StatusOK && strings.Contains(text, `"oidc_auto_onboard":{"value":false`) {
			break
		}
		if time.Now().After(end) {
			s.Fatalf("not followed: %s %s", all, text)
		}
	}
	b = s.browser()
	if at, page = b.logIn("/c/oidc/login?redirect_url=/harbor/projects", second); at.Path != "/c/oidc/onboard" || b.session() != "" || !strings.Contains(page, `value="`+second+`"`) {
		s.Fatalf("ended at %s: %s", at, page)
	}
	for _, name := range []string{"admin", user, "a,b", ""} {
		if _, again := b.press("/c/oidc/onboard", page, url.Values{"username": {name}}); b.session() != "" || !strings.Contains(again, `role="alert"`) {
			s.Errorf("as %q: %s", name, again)
		}
	}
	if at, page = b.press("/c/oidc/onboard", page, url.Values{"username": {"somebody"}}); at.String() != s.front.URL+"/harbor/projects" {
		s.Errorf("ended at %s: %s", at, page)
	}
	for node := range s.nodes {
		if who := b.current(node); !strings.Contains(who, `"username":"somebody"`) {
			s.Errorf("at node %d he is %s", node, who)
		}
	}
	again := s.browser()
	if at, page = again.logIn("/c/oidc/login", second); at.Path != "/" || !strings.Contains(again.current(1), `"username":"somebody"`) {
		s.Errorf("the second time he ends at %s: %s", at, page)
	}
}

func (s *served) changes() {
	b := s.browser()
	b.logIn("/c/oidc/login", user)
	s.configure(map[string]any{"oidc_endpoint": s.URL + "/realms/none"}, http.StatusServiceUnavailable, "discovery document")
	s.configure(map[string]any{"oidc_endpoint": s.URL, "oidc_client_secret": "another"}, http.StatusSeeOther, s.URL+"/auth?")
	denied := s.browser()
	if at, page := denied.logIn("/c/oidc/login", user); denied.session() != "" || !strings.Contains(page, "oidc_client_secret") {
		s.Errorf("with a wrong secret: %s: %s", at, page)
	}
	s.configure(map[string]any{"auth_mode": "db_auth"}, http.StatusConflict, "no identity provider")
	if b.current(0) == "" || b.current(1) == "" {
		s.Error("whoever was logged in is not any more")
	}
}
