package oidc_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/fail"
)

func TestSomebodyLogsIn(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client(func(c *oidc.Config) { c.AdminGroup = "admins" })
	start, err := c.Begin(t.Context(), "/harbor/projects?page=2")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(start.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	for name, want := range map[string]string{
		"client_id": clientID, "response_type": "code", "redirect_uri": "https://registry.example/c/oidc/callback", "scope": "openid profile email offline_access",
		"code_challenge_method": "S256", "tenant": "1",
	} {
		if q.Get(name) != want {
			t.Errorf("%s=%q, want %q", name, q.Get(name), want)
		}
	}
	if len(q.Get("state")) < 26 || len(q.Get("nonce")) < 26 || len(q.Get("code_challenge")) != 43 || strings.Contains(start.Sealed, q.Get("nonce")) {
		t.Errorf("%s with %s", start.URL, start.Sealed)
	}
	if start.Cookie != oidc.CookieOf(q.Get("state")) || len(start.Sealed) > 3500 {
		t.Errorf("cookie %s of %d bytes", start.Cookie, len(start.Sealed))
	}

	got, err := c.Finish(t.Context(), start.Sealed, f.authorize(start))
	if err != nil {
		t.Fatal(err)
	}
	who := got.Person
	if who.Subject != f.subject() || who.Name != "ada" || who.RealName != "Ada Lovelace" || who.Email != "ada@example.com" || !who.Admin || len(who.Groups) != 2 ||
		who.Groups[0] != (access.Group{Key: "team-a"}) {
		t.Errorf("%+v", who)
	}
	if got.Ask || got.ReturnTo != "/harbor/projects?page=2" || got.Tokens.Refresh != "second" || strings.Count(got.Tokens.ID, ".") != 2 || got.Tokens.String() != "***" {
		t.Errorf("%+v", got)
	}
	if f.verified != 1 || f.count("/userinfo") != 0 {
		t.Errorf("verifier %d times, userinfo asked though all was told", f.verified)
	}
}

func TestHostileTokensAreRefused(t *testing.T) {
	t.Parallel()
	stranger := newKey()
	claim := func(name string, value any) func(*fake) { return func(f *fake) { f.claims[name] = value } }
	for _, c := range []struct {
		what   string
		change func(*fake)
		text   string // of the error
	}{
		{"another nonce", claim("nonce", "other"), "another login"},
		{"no nonce", claim("nonce", nil), "another login"},
		{"another issuer", claim("iss", "https://evil.example"), "another provider"},
		{"no issuer", claim("iss", nil), "another provider"},
		{"another audience", claim("aud", "grafana"), "another client"},
		{"no audience", claim("aud", nil), "another client"},
		{"another authorized party", claim("azp", "grafana"), "another client"},
		{"two audiences and no party", claim("aud", []string{clientID, "grafana"}), "another client"},
		{"expired", func(f *fake) { f.claims["exp"] = f.clock.Add(-2 * time.Minute).Unix() }, "over"},
		{"without an end", claim("exp", nil), "over"},
		{"of tomorrow", func(f *fake) { f.claims["nbf"] = f.clock.Add(24 * time.Hour).Unix() }, "believed"},
		{"no subject", claim("sub", nil), "subject"},
		{"subject with a line end", claim("sub", "7\n8"), "subject"},
		{"subject with NUL", claim("sub", "7\x00"), "subject"},
		{"long subject", claim("sub", strings.Repeat("7", 256)), "subject"},
		{"subject that is a number", claim("sub", 7), ""},
		{"alg none", func(f *fake) {
			f.signing = func(all jwt.MapClaims) string {
				return f.sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, all)
			}
		}, "not signed"},
		{"HS256 with the public key in PEM", func(f *fake) {
			der, cause := x509.MarshalPKIXPublicKey(&f.key.PublicKey)
			if cause != nil {
				f.t.Fatal(cause)
			}
			f.signing = func(all jwt.MapClaims) string {
				return f.sign(jwt.SigningMethodHS256, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), all)
			}
		}, "not signed"},
		{"HS256 with the modulus", func(f *fake) {
			f.signing = func(all jwt.MapClaims) string { return f.sign(jwt.SigningMethodHS256, f.key.N.Bytes(), all) }
		}, "not signed"},
		{"HS256 with the client's secret, advertised", func(f *fake) {
			f.said = map[string]any{"id_token_signing_alg_values_supported": []string{"HS256", "none"}}
			f.signing = func(all jwt.MapClaims) string { return f.sign(jwt.SigningMethodHS256, []byte(secret), all) }
		}, "not signed"},
		{"HS256 with a published secret", func(f *fake) {
			f.jwks = append(f.jwks, map[string]any{"kty": "oct", "kid": "oct", "alg": "HS256", "k": base64.RawURLEncoding.EncodeToString([]byte(secret))})
			f.kid = "oct"
			f.signing = func(all jwt.MapClaims) string { return f.sign(jwt.SigningMethodHS256, []byte(secret), all) }
		}, "not signed"},
		{"a stranger's key under our kid", func(f *fake) {
			f.signing = func(all jwt.MapClaims) string { return f.sign(jwt.SigningMethodRS256, stranger, all) }
		}, "not signed"},
		{"a stranger's key that it brings along", func(f *fake) {
			f.signing = func(all jwt.MapClaims) string {
				token := jwt.NewWithClaims(jwt.SigningMethodRS256, all)
				token.Header["jwk"], token.Header["kid"] = public(stranger, "own"), "own"
				text, cause := token.SignedString(stranger)
				if cause != nil {
					f.t.Error(cause)
				}
				return text
			}
		}, "not signed"},
		{"claims changed after the signature", func(f *fake) {
			f.signing = func(all jwt.MapClaims) string {
				parts := strings.Split(f.sign(jwt.SigningMethodRS256, f.key, all), ".")
				all["sub"] = "1"
				parts[1] = strings.Split(f.sign(jwt.SigningMethodRS256, f.key, all), ".")[1]
				return strings.Join(parts, ".")
			}
		}, "not signed"},
		{"no JWT", func(f *fake) { f.signing = func(jwt.MapClaims) string { return "hello" } }, "not signed"},
		{"no ID token", func(f *fake) { f.answers = map[string]any{"id_token": nil} }, "no ID token"},
		{"userinfo of somebody else", func(f *fake) {
			f.claims["groups"] = nil
			f.info = map[string]any{"sub": "8", "groups": []string{"admins"}}
		}, "somebody else"},
		{"userinfo of nobody", func(f *fake) {
			f.claims["groups"] = nil
			f.info = map[string]any{"groups": []string{"admins"}}
		}, "somebody else"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			c.change(f)
			_, err := f.login(f.client())
			if !fail.Is(err, fail.Unauthenticated) || !strings.Contains(err.Error(), c.text) || fail.HintOf(err) == "" {
				t.Errorf("%v, kind %v, hint %q", err, fail.KindOf(err), fail.HintOf(err))
			}
		})
	}
}

func TestTokensThatAreRightAreTaken(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(*fake){
		"over within the skew":   func(f *fake) { f.claims["exp"] = f.clock.Add(-30 * time.Second).Unix() },
		"for us and others":      func(f *fake) { f.claims["aud"], f.claims["azp"] = []string{"grafana", clientID}, clientID },
		"begins in two minutes":  func(f *fake) { f.claims["nbf"] = f.clock.Add(2 * time.Minute).Unix() },
		"a subject of 255 bytes": func(f *fake) { f.claims["sub"] = strings.Repeat("7", 255) },
		"by an elliptic curve, not advertised": func(f *fake) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				f.t.Fatal(err)
			}
			point, err := key.PublicKey.Bytes()
			if err != nil {
				f.t.Fatal(err)
			}
			enc := base64.RawURLEncoding.EncodeToString
			f.kid = "curve"
			f.jwks = append(f.jwks, map[string]any{"kty": "EC", "crv": "P-256", "kid": "curve", "x": enc(point[1:33]), "y": enc(point[33:])})
			f.signing = func(all jwt.MapClaims) string { return f.sign(jwt.SigningMethodES256, key, all) }
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			change(f)
			if got, err := f.login(f.client()); err != nil || got.Person.Name != "ada" {
				t.Errorf("%+v, %v", got.Person, err)
			}
		})
	}
}

func TestAnAnswerBelongsToOneLoginOfOneBrowser(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client()
	begin := func(c *oidc.Client) oidc.Start {
		t.Helper()
		start, err := c.Begin(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		return start
	}
	mine, other := begin(c), begin(c)
	answer := f.authorize(mine)
	foreign := begin(f.client(func(c *oidc.Config) { c.Seal = sealed(t, "the secret of another cluster") }))
	elsewhere := begin(f.client(func(c *oidc.Config) { c.ClientID = "havn-2" }))
	query := func(start oidc.Start, state string) url.Values {
		q := f.authorize(start)
		if state != "" {
			q.Set("state", state)
		}
		return q
	}
	for _, try := range []struct {
		what, cookie string
		answer       url.Values
	}{
		{"no cookie", "", answer},
		{"the cookie of another login", other.Sealed, answer},
		{"no state", mine.Sealed, url.Values{"code": {"one"}}},
		{"another state", mine.Sealed, query(mine, "other")},
		{"a changed cookie", mine.Sealed[:len(mine.Sealed)-4] + "AAAA", answer},
		{"half a cookie", mine.Sealed[:len(mine.Sealed)/2], answer},
		{"rubbish", "%$§", answer},
		{"a cookie of another cluster", foreign.Sealed, query(foreign, "")},
		{"a cookie of another client", elsewhere.Sealed, query(elsewhere, "")},
		{"no code and no error", mine.Sealed, url.Values{"state": answer["state"]}},
	} {
		if _, err := c.Finish(t.Context(), try.cookie, try.answer); !fail.Is(err, fail.Invalid) || fail.HintOf(err) == "" {
			t.Errorf("%s: %v, kind %v, hint %q", try.what, err, fail.KindOf(err), fail.HintOf(err))
		}
	}
	if n := f.count("/token"); n != 0 {
		t.Errorf("the provider was asked for tokens %d times", n)
	}

	late := begin(c)
	f.clock = f.clock.Add(oidc.StateLife)
	if _, err := c.Finish(t.Context(), late.Sealed, f.authorize(late)); !fail.Is(err, fail.Invalid) || !strings.Contains(err.Error(), "longer than") {
		t.Errorf("too late: %v", err)
	}
	again := begin(c)
	answer = f.authorize(again)
	if _, err := c.Finish(t.Context(), again.Sealed, answer); err != nil {
		t.Fatal(err)
	}
	// This provider takes a code any number of times; a right one does not.
	if _, err := c.Finish(t.Context(), again.Sealed, answer); !fail.Is(err, fail.Invalid) || f.count("/token") != 1 {
		t.Errorf("replayed: %v", err)
	}
}

func TestAnyNodeFinishesWhatAnotherBegan(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	shared := sealed(t, "the secret of the cluster")
	a, b := f.client(func(c *oidc.Config) { c.Seal = shared }), f.client(func(c *oidc.Config) { c.Seal = shared })
	start, err := a.Begin(t.Context(), "/x")
	if err != nil {
		t.Fatal(err)
	}
	if got, finished := b.Finish(t.Context(), start.Sealed, f.authorize(start)); finished != nil || got.ReturnTo != "/x" {
		t.Errorf("%+v, %v", got, finished)
	}
}

func TestTheWayBackStaysHere(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client()
	for _, path := range []string{
		"https://evil.example/", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, "/\t/evil.example", "/\n/evil.example", "harbor", "?a=b", "javascript:alert(1)",
		"http:/evil", "/a\x00b", `/a\b`, "/%zz", " /a", "/" + strings.Repeat("a", 3000),
	} {
		if start, err := c.Begin(t.Context(), path); !fail.Is(err, fail.Invalid) || fail.HintOf(err) == "" {
			t.Errorf("%q: %+v, %v", path, start, err)
		}
	}
	for _, path := range []string{"/", "/harbor/projects/1/repositories/a%2Fb?page=1&q=a//b#tags", "/oauth?next=https://other.example", "/ö", "/" + strings.Repeat("a", 1500)} {
		start, err := c.Begin(t.Context(), path)
		if err != nil {
			t.Errorf("%q: %v", path, err)
			continue
		}
		if got, finished := c.Finish(t.Context(), start.Sealed, f.authorize(start)); finished != nil || got.ReturnTo != path {
			t.Errorf("%q: back to %q, %v", path, got.ReturnTo, finished)
		}
	}
}

func TestWhatTheProviderRefusesHasAKindAndAHint(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c := f.client()
	finish := func(change func(url.Values)) error {
		t.Helper()
		start, err := c.Begin(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		answer := f.authorize(start)
		change(answer)
		_, err = c.Finish(t.Context(), start.Sealed, answer)
		return err
	}
	for code, kind := range map[string]fail.Kind{
		"access_denied": fail.Denied, "login_required": fail.Unauthenticated, "interaction_required": fail.Unauthenticated, "server_error": fail.Unavailable,
		"temporarily_unavailable": fail.Unavailable, "invalid_scope": fail.Invalid, "unauthorized_client": fail.Invalid, "invalid_request": fail.Invalid, "<b>": fail.Invalid,
	} {
		err := finish(func(q url.Values) {
			q.Set("error", code)
			q.Set("error_description", "call 555-1234")
			q.Del("code")
		})
		var e *fail.Error
		if !errors.As(err, &e) || !fail.Is(err, kind) || fail.HintOf(err) == "" || !strings.Contains(err.Error(), "555-1234") {
			t.Errorf("%s: %v, kind %v, hint %q", code, err, fail.KindOf(err), fail.HintOf(err))
			continue
		}
		if strings.Contains(e.Text()+fail.HintOf(err), "555-1234") {
			t.Errorf("%s: a stranger reads %q", code, e.Text())
		}
	}
	if n := f.count("/token"); n != 0 {
		t.Errorf("asked for tokens %d times", n)
	}
	if err := finish(func(q url.Values) { q.Set("iss", "https://evil.example") }); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("the answer of another provider: %v", err)
	}
	if err := finish(func(q url.Values) { q.Set("iss", f.URL) }); err != nil {
		t.Errorf("the answer of this provider: %v", err)
	}
	f.oauth["authorization_code"] = "invalid_grant"
	if err := finish(func(url.Values) {}); !fail.Is(err, fail.Unauthenticated) || fail.HintOf(err) == "" {
		t.Errorf("a code that is over: %v", err)
	}
	f.said = map[string]any{"authorization_response_iss_parameter_supported": true}
	f.oauth = nil
	c = f.client()
	if err := finish(func(url.Values) {}); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("an answer without the name that this provider always gives: %v", err)
	}
}
