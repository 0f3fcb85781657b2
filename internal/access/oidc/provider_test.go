package oidc_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/fail"
)

const discovery = "/.well-known/openid-configuration"

func TestAProviderThatIsAwayStopsNobodyElse(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.refuses[discovery] = http.StatusBadGateway
	c := f.client()
	for range 3 {
		if _, err := c.Begin(t.Context(), ""); !fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "" {
			t.Errorf("%v, kind %v", err, fail.KindOf(err))
		}
	}
	if n := f.count(discovery); n != 1 {
		t.Errorf("asked %d times within a moment", n)
	}
	f.refuses[discovery] = 0
	f.clock = f.clock.Add(5 * time.Second)
	if _, err := f.login(c); err != nil {
		t.Errorf("when it is back: %v", err)
	}
	if _, err := f.login(c); err != nil || f.count(discovery) != 1 {
		t.Errorf("what it is was asked again: %v", err)
	}
	f.refuses[discovery] = http.StatusBadGateway
	f.clock = f.clock.Add(time.Hour)
	for range 3 {
		if _, err := f.login(c); err != nil {
			t.Errorf("what was known does not count any more: %v", err)
		}
	}
	if n := f.count(discovery); n != 1 {
		t.Errorf("asked %d times within a moment", n)
	}
	f.refuses[discovery] = 0
	f.said = map[string]any{"authorization_endpoint": f.URL + "/moved"}
	f.clock = f.clock.Add(time.Minute)
	if start, err := c.Begin(t.Context(), ""); err != nil || !strings.HasPrefix(start.URL, f.URL+"/moved?") {
		t.Errorf("the new address is not used: %s, %v", start.URL, err)
	}
}

func TestManyAtOnceAskWhatTheProviderIsOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client()
	var all sync.WaitGroup
	var failed atomic.Int64
	for range 20 {
		all.Go(func() {
			if _, err := c.Begin(t.Context(), ""); err != nil {
				failed.Add(1)
			}
		})
	}
	all.Wait()
	if n := f.count(discovery); n != 1 || failed.Load() != 0 {
		t.Errorf("asked %d times, %d failed", n, failed.Load())
	}
	start, err := c.Begin(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	answer := f.authorize(start)
	for range 20 {
		all.Go(func() {
			if _, refused := c.Finish(t.Context(), start.Sealed, answer); refused != nil {
				failed.Add(1)
			}
		})
	}
	all.Wait()
	if failed.Load() != 19 {
		t.Errorf("of twenty times the same answer %d were refused", failed.Load())
	}
}

func TestKeysRotate(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client()
	login := func() error {
		_, err := f.login(c)
		return err
	}
	if err := login(); err != nil {
		t.Fatal(err)
	}
	old := f.key
	f.use(newKey(), "second")
	if err := login(); err != nil {
		t.Errorf("a token of the new key: %v", err)
	}
	if err := login(); err != nil || f.count("/keys") != 2 {
		t.Errorf("keys are read again though they are known: %v", err)
	}
	f.key, f.kid = old, "first"
	if err := login(); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("a token of a key that is not published any more: %v", err)
	}

	// A key that was taken back counts no longer than until the provider is asked again what it is, though no token of another key came.
	f.use(old, "first")
	c = f.client()
	if err := login(); err != nil {
		t.Fatal(err)
	}
	f.jwks = nil
	f.clock = f.clock.Add(time.Hour)
	if err := login(); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("a token of a key that was taken back: %v", err)
	}
	for _, status := range []int{http.StatusNotFound, http.StatusServiceUnavailable} {
		f.refuses["/keys"] = status
		if err := login(); !fail.Is(err, fail.Unavailable) {
			t.Errorf("keys that can't be read (%d): %v, kind %v", status, err, fail.KindOf(err))
		}
	}
}

func TestTheSecretGoesWhereTheProviderLooksForIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		methods []string
		inBody  bool
		asked   int // in two logins
	}{
		{nil, false, 2},
		{nil, true, 3}, // refused once, then known
		{[]string{"client_secret_post"}, true, 2},
		{[]string{"client_secret_basic"}, false, 2},
		{[]string{"client_secret_post", "client_secret_basic"}, false, 2},
		{[]string{"client_secret_post", "client_secret_basic"}, true, 3},
	} {
		f := newFake(t)
		f.inBody = c.inBody
		if c.methods != nil {
			f.said = map[string]any{"token_endpoint_auth_methods_supported": c.methods}
		}
		client := f.client()
		for range 2 {
			if _, err := f.login(client); err != nil {
				t.Errorf("%v: %v", c, err)
			}
		}
		if n := f.count("/token"); n != c.asked {
			t.Errorf("%v: asked %d times", c, n)
		}
	}
}

func TestCodesAndRefreshTokensAreSentOnce(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client()
	for what, refuse := range map[string]func(){
		"5xx":             func() { f.refuses["/token"] = http.StatusInternalServerError },
		"too many":        func() { f.refuses["/token"] = http.StatusTooManyRequests },
		"refused":         func() { f.oauth["authorization_code"], f.oauth["refresh_token"] = "invalid_grant", "invalid_grant" },
		"not an answer":   func() { f.answers = map[string]any{"access_token": nil} },
		"invalid request": func() { f.oauth["authorization_code"], f.oauth["refresh_token"] = "invalid_request", "invalid_request" },
	} {
		refuse()
		_, err := f.login(c)
		_, _, refreshErr := c.Refresh(t.Context(), f.subject(), "first")
		if n := f.count("/token"); n != 2 || err == nil || refreshErr == nil {
			t.Errorf("%s: asked %d times: %v, %v", what, n, err, refreshErr)
		}
		f.answers = nil
		f.refuses["/token"] = 0
		clear(f.oauth)
	}
}

func TestATokenEndpointIsNotFollowedElsewhere(t *testing.T) {
	t.Parallel()
	var leaked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { leaked.Add(1) }))
	t.Cleanup(elsewhere.Close)
	f := newFake(t)
	moved := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(moved.Close)
	f.said = map[string]any{"token_endpoint": moved.URL}
	_, err := f.login(f.client(func(c *oidc.Config) { c.SkipVerify = true }))
	if !fail.Is(err, fail.Unavailable) || leaked.Load() != 0 || !strings.Contains(err.Error(), "redirects to") {
		t.Errorf("%v; asked elsewhere %d times", err, leaked.Load())
	}
}

func TestTheProvidersCertificateIsVerified(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for _, c := range []struct {
		what   string
		change func(*oidc.Config)
		ok     bool
	}{
		{"its authority", func(*oidc.Config) {}, true},
		{"the system's authorities", func(c *oidc.Config) { c.CA = "" }, false},
		{"no verification", func(c *oidc.Config) { c.CA, c.SkipVerify = "", true }, true},
		{"no private addresses", func(c *oidc.Config) { c.Allow = nil }, false},
	} {
		err := f.client(c.change).Test(t.Context())
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", c.what, err)
		}
		if !c.ok && (!fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "" || fail.DetailOf(err) != oidc.StepDiscovery) {
			t.Errorf("%s: %v, kind %v, hint %q, step %v", c.what, err, fail.KindOf(err), fail.HintOf(err), fail.DetailOf(err))
		}
	}
	plain := unstarted(t)
	plain.Start()
	if err := plain.client(func(c *oidc.Config) { c.SkipVerify = true }).Test(t.Context()); err != nil {
		t.Errorf("http:// where nothing is verified: %v", err)
	}
}

func TestATestSaysWhichStepFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what   string
		change func(*fake, *oidc.Config)
		step   any
	}{
		{"all is right", func(*fake, *oidc.Config) {}, nil},
		{"a slash too many", func(_ *fake, c *oidc.Config) { c.Endpoint += "/" }, nil},
		{"nobody there", func(f *fake, _ *oidc.Config) { f.Close() }, oidc.StepDiscovery},
		{"no document", func(_ *fake, c *oidc.Config) { c.Endpoint += "/realms/none" }, oidc.StepDiscovery},
		{"another issuer", func(f *fake, _ *oidc.Config) {
			f.said = map[string]any{"issuer": "https://login.example/{tenantid}/v2.0"}
		}, oidc.StepDiscovery},
		{"no issuer", func(f *fake, _ *oidc.Config) { f.said = map[string]any{"issuer": nil} }, oidc.StepDiscovery},
		{"no token endpoint", func(f *fake, _ *oidc.Config) { f.said = map[string]any{"token_endpoint": nil} }, oidc.StepDiscovery},
		{"keys in the clear", func(f *fake, _ *oidc.Config) {
			f.said = map[string]any{"jwks_uri": strings.Replace(f.URL, "https", "http", 1) + "/keys"}
		}, oidc.StepDiscovery},
		{"keys are away", func(f *fake, _ *oidc.Config) { f.refuses["/keys"] = http.StatusNotFound }, oidc.StepKeys},
		{"no keys", func(f *fake, _ *oidc.Config) { f.jwks = nil }, oidc.StepKeys},
		{"a key for something else", func(f *fake, _ *oidc.Config) { f.jwks[0]["use"] = "enc" }, oidc.StepKeys},
		{"wrong secret", func(_ *fake, c *oidc.Config) { c.ClientSecret = "other" }, oidc.StepClient},
		{"wrong client", func(_ *fake, c *oidc.Config) { c.ClientID = "other" }, oidc.StepClient},
		{"wrong secret, after the code", func(f *fake, c *oidc.Config) { f.codeFirst, c.ClientSecret = true, "other" }, oidc.StepClient},
		{"not allowed", func(f *fake, _ *oidc.Config) { f.oauth["authorization_code"] = "unauthorized_client" }, oidc.StepClient},
		{"no refresh tokens", func(f *fake, _ *oidc.Config) { f.oauth["refresh_token"] = "unauthorized_client" }, nil},
		{"it fails", func(f *fake, _ *oidc.Config) { f.refuses["/token"] = http.StatusBadGateway }, oidc.StepClient},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			conf := f.config()
			c.change(f, &conf)
			client, err := oidc.New(conf)
			if err != nil {
				t.Fatal(err)
			}
			err = client.Test(t.Context())
			if c.step == nil && err != nil || c.step != nil && (fail.DetailOf(err) != c.step || !fail.Is(err, fail.Unavailable) || fail.HintOf(err) == "") {
				t.Errorf("step %v: %v, kind %v, hint %q", fail.DetailOf(err), err, fail.KindOf(err), fail.HintOf(err))
			}
			pinged := oidc.Ping(t.Context(), oidc.Config{Endpoint: conf.Endpoint, CA: conf.CA, Allow: conf.Allow})
			if (pinged == nil) != (c.step == nil || c.step == oidc.StepClient) {
				t.Errorf("pinged: %v", pinged)
			}
		})
	}
}

func TestOnlyWhatTheProviderKnowsIsAskedFor(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	scopes := func(change ...func(*oidc.Config)) string {
		t.Helper()
		start, err := f.client(change...).Begin(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(start.URL)
		if err != nil {
			t.Fatal(err)
		}
		return u.Query().Get("scope") + "|" + u.Query().Get("prompt")
	}
	if got := scopes(); got != "openid profile email offline_access|" {
		t.Error(got)
	}
	f.said = map[string]any{"scopes_supported": []string{"openid", "offline_access"}}
	extra := func(c *oidc.Config) {
		c.Scopes, c.Extra = []string{"openid", "groups", "offline_access"}, map[string]string{"prompt": "consent", "domain_hint": "a&b=c"}
	}
	if got := scopes(extra); got != "openid groups offline_access|consent" {
		t.Error(got)
	}
	f.said = map[string]any{"scopes_supported": []string{"openid", "email"}}
	if got := scopes(extra); got != "openid groups|consent" {
		t.Error(got)
	}
}

func TestAConfigurationThatCantWorkIsRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	for what, change := range map[string]func(*oidc.Config){
		"no endpoint":           func(c *oidc.Config) { c.Endpoint = "" },
		"endpoint in the clear": func(c *oidc.Config) { c.Endpoint = "http://login.example" },
		"endpoint of a file":    func(c *oidc.Config) { c.Endpoint = "file:///etc/passwd" },
		"endpoint with a name":  func(c *oidc.Config) { c.Endpoint = "https://ada:secret@login.example" },
		"no host":               func(c *oidc.Config) { c.Endpoint = "https:///realm" },
		"no client":             func(c *oidc.Config) { c.ClientID = "" },
		"no callback":           func(c *oidc.Config) { c.RedirectURL = "" },
		"callback as a path":    func(c *oidc.Config) { c.RedirectURL = "/c/oidc/callback" },
		"way out as a path":     func(c *oidc.Config) { c.AfterLogout = "/" },
		"no openid":             func(c *oidc.Config) { c.Scopes = []string{"profile"} },
		"state by hand":         func(c *oidc.Config) { c.Extra = map[string]string{"prompt": "login", "state": "1"} },
		"form_post":             func(c *oidc.Config) { c.Extra = map[string]string{"response_mode": "form_post"} },
		"no expression":         func(c *oidc.Config) { c.GroupFilter = "(" },
		"no certificate":        func(c *oidc.Config) { c.CA = "hello" },
		"a key as certificate":  func(c *oidc.Config) { c.CA = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY"})) },
	} {
		c := f.config()
		change(&c)
		if _, err := oidc.New(c); !fail.Is(err, fail.Invalid) || fail.HintOf(err) == "" {
			t.Errorf("%s: %v, kind %v, hint %q", what, err, fail.KindOf(err), fail.HintOf(err))
		}
	}
}

func TestALogoutEndsTheProvidersSessionToo(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client(func(c *oidc.Config) { c.AfterLogout = "https://registry.example/" })
	token := strings.Repeat("t", 1500)
	for _, try := range []struct{ token, hint string }{{token, token}, {"", ""}, {strings.Repeat("t", 3000), ""}} {
		address, err := c.LogoutURL(t.Context(), try.token)
		if err != nil {
			t.Fatal(err)
		}
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if !strings.HasPrefix(address, f.URL+"/end?") || q.Get("tenant") != "1" || q.Get("client_id") != clientID || q.Get("id_token_hint") != try.hint ||
			q.Get("post_logout_redirect_uri") != "https://registry.example/" || len(address) > 2000 {
			t.Errorf("with a token of %d bytes: %s", len(try.token), address)
		}
	}
	f.said = map[string]any{"end_session_endpoint": nil}
	if _, err := f.client().LogoutURL(t.Context(), token); !fail.Is(err, fail.Unsupported) || fail.HintOf(err) == "" {
		t.Errorf("without such a page: %v", err)
	}
	f.Close()
	if _, err := f.client().LogoutURL(t.Context(), token); !fail.Is(err, fail.Unavailable) {
		t.Errorf("without a provider: %v", err)
	}
}
