package oidc

import (
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/fail"
)

func TestPeopleLogInThroughAProvider(t *testing.T) {
	t.Parallel()
	for _, inToken := range []bool{false, true} {
		p, r := start(t, func(c *oidc.Config) { c.GroupFilter = "^team-" })
		p.set(func() { p.inToken = inToken })
		b := newBrowser(t, p)
		if at, page := b.login(r, "/harbor/projects", user, "wrong"); !strings.Contains(page, "wrong") || at.Host == strings.TrimPrefix(r.URL, "http://") {
			t.Errorf("with a wrong password: %s: %s", at, page)
		}
		got := b.enter(r)
		want := access.Person{
			Subject: p.URL + " " + userID, Name: user, Email: "test-user@zitadel.ch", RealName: "Test User", Groups: []access.Group{{Key: "team-a"}}, Admin: true,
		}
		if !reflect.DeepEqual(got.Person, want) || got.Ask || got.Tokens.Refresh == "" || got.Tokens.ID == "" {
			t.Errorf("groups in the token %v: %+v", inToken, got)
		}
	}
}

func TestAnAnswerIsWorthNothingElsewhere(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	b := newBrowser(t, p)
	b.enter(r)

	thief := newBrowser(t, p)
	if at, page := thief.open(r.URL + "/c/oidc/callback?" + r.last.Encode()); !strings.Contains(page, "did not begin in this browser") {
		t.Errorf("another browser: %s: %s", at, page)
	}
	begun, err := r.nodes[0].Begin(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	answer := newBrowser(t, p).authorize(begun.URL)
	// Whoever sees the code on its way lacks the verifier.
	request := url.Values{"grant_type": {"authorization_code"}, "code": answer["code"], "redirect_uri": {r.URL + "/c/oidc/callback"}}
	for _, verifier := range []string{"", strings.Repeat("a", 43)} {
		request.Set("code_verifier", verifier)
		if status := p.exchange(t, request); status != http.StatusBadRequest {
			t.Errorf("code with verifier %q: %d", verifier, status)
		}
	}
	if _, err = r.nodes[1].Finish(t.Context(), begun.Sealed, answer); err != nil {
		t.Fatalf("the right one: %v", err)
	}
	// A node that does not know that the login ended asks the provider, which takes a code once.
	if _, err = r.nodes[0].Finish(t.Context(), begun.Sealed, answer); !fail.Is(err, fail.Unauthenticated) || fail.HintOf(err) == "" {
		t.Errorf("replayed at another node: %v, kind %v", err, fail.KindOf(err))
	}
}

// authorize logs in at the provider and answers what it sends back, which is not delivered.
func (b browser) authorize(address string) url.Values {
	b.t.Helper()
	at, page := b.open(address)
	form, id := action.FindStringSubmatch(page), hidden.FindStringSubmatch(page)
	if form == nil || id == nil {
		b.t.Fatalf("no form at %s: %s", at, page)
	}
	target, err := at.Parse(form[1])
	if err != nil {
		b.t.Fatal(err)
	}
	var back url.Values
	b.CheckRedirect = func(q *http.Request, _ []*http.Request) error {
		if q.URL.Path == "/c/oidc/callback" {
			back = q.URL.Query()
			return http.ErrUseLastResponse
		}
		return nil
	}
	answer, err := b.PostForm(target.String(), url.Values{"id": {id[1]}, "username": {user}, "password": {password}})
	if err != nil {
		b.t.Fatal(err)
	}
	b.read(answer)
	return back
}

// exchange asks for a token as the client, and answers the status.
func (p *provider) exchange(t *testing.T, form url.Values) int {
	t.Helper()
	q, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL+"/oauth/token", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	q.SetBasicAuth(url.QueryEscape(clientID), url.QueryEscape(secret))
	q.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := p.Client().Do(q)
	if err != nil {
		t.Fatal(err)
	}
	if err = answer.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode
}

func TestARefreshTellsWhatChanged(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	got := newBrowser(t, p).enter(r)
	c := r.nodes[0]
	p.set(func() { p.groups = []string{"team-b"} })
	who, tokens, err := c.Refresh(t.Context(), got.Person.Subject, got.Tokens.Refresh)
	if err != nil || who.Admin || !reflect.DeepEqual(who.Groups, []access.Group{{Key: "team-b"}}) || tokens.Refresh == got.Tokens.Refresh || tokens.Refresh == "" {
		t.Fatalf("%+v, %v", who, err)
	}
	if _, _, err = c.Refresh(t.Context(), got.Person.Subject, got.Tokens.Refresh); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("with the refresh token of before: %v, kind %v", err, fail.KindOf(err))
	}
	p.rotate(t, "second")
	who, tokens, err = r.nodes[1].Refresh(t.Context(), got.Person.Subject, tokens.Refresh)
	if err != nil || who.Name != user {
		t.Fatalf("after the provider changed its key: %+v, %v", who, err)
	}
	p.set(func() { p.gone = true })
	if _, _, err = c.Refresh(t.Context(), got.Person.Subject, tokens.Refresh); !fail.Is(err, fail.Unauthenticated) || fail.HintOf(err) == "" {
		t.Errorf("of somebody who is gone: %v, kind %v", err, fail.KindOf(err))
	}
	p.Close()
	if _, _, err = c.Refresh(t.Context(), got.Person.Subject, tokens.Refresh); !fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "" {
		t.Errorf("of a provider that is away: %v, kind %v", err, fail.KindOf(err))
	}
}

func TestALogoutEndsTheLogin(t *testing.T) {
	t.Parallel()
	p, r := start(t)
	b := newBrowser(t, p)
	got := b.enter(r)
	address, err := r.nodes[0].LogoutURL(t.Context(), got.Tokens.ID)
	if err != nil {
		t.Fatal(err)
	}
	if at, page := b.open(address); at.String() != r.URL+"/bye" {
		t.Errorf("ended at %s: %s", at, page)
	}
	if _, _, err = r.nodes[0].Refresh(t.Context(), got.Person.Subject, got.Tokens.Refresh); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("refreshed after the logout: %v, kind %v", err, fail.KindOf(err))
	}
}

func TestAProviderThatDoesNotLetInSaysSo(t *testing.T) {
	t.Parallel()
	p, r := start(t, func(c *oidc.Config) { c.Extra = map[string]string{"prompt": "none"} })
	newBrowser(t, p).login(r, "/", user, password)
	if _, err := r.outcome(); !fail.Is(err, fail.Unauthenticated) || !strings.Contains(err.Error(), "login_required") || fail.HintOf(err) == "" {
		t.Errorf("%v, kind %v", err, fail.KindOf(err))
	}
}

func TestATestOfTheProviderSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		change func(*oidc.Config)
		step   any
	}{
		"nothing":      {func(*oidc.Config) {}, nil},
		"a slash":      {func(c *oidc.Config) { c.Endpoint += "/" }, nil},
		"the address":  {func(c *oidc.Config) { c.Endpoint += "/realms/x" }, oidc.StepDiscovery},
		"the CA":       {func(c *oidc.Config) { c.CA = "" }, oidc.StepDiscovery},
		"the secret":   {func(c *oidc.Config) { c.ClientSecret = "other" }, oidc.StepClient},
		"the client":   {func(c *oidc.Config) { c.ClientID = "other" }, oidc.StepClient},
		"no secret":    {func(c *oidc.Config) { c.ClientSecret = "" }, oidc.StepClient},
		"the networks": {func(c *oidc.Config) { c.Allow = nil }, oidc.StepDiscovery},
	} {
		_, r := start(t, c.change)
		err := r.nodes[0].Test(t.Context())
		if (err == nil) != (c.step == nil) || fail.DetailOf(err) != c.step || err != nil && fail.HintOf(err) == "" {
			t.Errorf("%s: step %v, %v, hint %q", what, fail.DetailOf(err), err, fail.HintOf(err))
		}
	}
}
