package harborapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/harborapi"
)

func TestCredentialsThatDoNotHoldAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"/ping", "/repositories", "/scanners", "/configurations"} {
		wrong := func(r *http.Request) { r.SetBasicAuth("admin", "wrong password") }
		s.get(path, wrong, header("X-Forwarded-For", path)).is(http.StatusUnauthorized, "UNAUTHORIZED").has("WWW-Authenticate", `Basic realm="Havn"`)
		s.get(path, header("Authorization", "Bearer x")).is(http.StatusUnauthorized).says("Basic")
		if s.get(path).status == http.StatusUnauthorized {
			t.Errorf("%s: good credentials are refused", path)
		}
	}
}

func TestGuessingIsSlowedHereToo(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 100 {
		a := s.get("/ping", func(r *http.Request) { r.SetBasicAuth("admin", "wrong password") })
		if a.status == http.StatusTooManyRequests {
			a.is(http.StatusTooManyRequests, "TOO_MANY_REQUEST")
			if a.header.Get("Retry-After") == "" {
				t.Error("no word of when to try again")
			}
			return
		}
		a.is(http.StatusUnauthorized)
	}
	t.Fatal("a hundred guesses went through")
}

func TestASessionChangesNothingWithoutItsToken(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.session["boss"] = access.Identity{Subject: "boss", Admin: true, User: 2}
	s.session["other"] = access.Identity{Subject: "other", User: 3}
	cookie := func(value string) with {
		return func(r *http.Request) {
			r.Header.Del("Authorization")
			r.AddCookie(&http.Cookie{Name: harborapi.SessionCookie, Value: value})
		}
	}
	put := func(status int, options ...with) *answer {
		t.Helper()
		return s.do(http.MethodPut, "/configurations", map[string]any{"session_timeout": 90}, options...).is(status)
	}
	token := s.get("/configurations", cookie("boss")).is(http.StatusOK).header.Get("X-Harbor-CSRF-Token")
	if token == "" || token == s.get("/ping", cookie("boss")).header.Get("X-Harbor-CSRF-Token") {
		t.Fatalf("token %q: none, or the same twice", token)
	}
	refused := put(http.StatusForbidden, cookie("boss")).says("CSRF")
	if s.settings.Live().SessionTimeout != 60 {
		t.Error("a request that was refused changed something")
	}
	for _, bad := range []string{"x", token + "x", strings.ToLower(token), harborapi.CSRFToken("other"), harborapi.CSRFToken("")} {
		put(http.StatusForbidden, cookie("boss"), header("X-Harbor-CSRF-Token", bad))
	}
	put(http.StatusUnauthorized, cookie("nobody any more"), header("X-Harbor-CSRF-Token", harborapi.CSRFToken("nobody any more")))
	put(http.StatusForbidden, cookie("other"), header("X-Harbor-CSRF-Token", harborapi.CSRFToken("other")))
	put(http.StatusOK, cookie("boss"), header("X-Harbor-CSRF-Token", token))
	put(http.StatusOK, cookie("boss"), header("X-Harbor-CSRF-Token", refused.header.Get("X-Harbor-CSRF-Token"))) // the refusal hands out a good one
	put(http.StatusOK)                                                                                           // Basic needs none
	put(http.StatusUnauthorized, nobody)
	if a := s.get("/ping", nobody); a.header.Get("X-Harbor-CSRF-Token") != "" {
		t.Error("a stranger gets a token")
	}
}

func TestPagesOfOtherSitesSendNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	body := map[string]any{"session_timeout": 90}
	s.do(http.MethodPut, "/configurations", body, header("Sec-Fetch-Site", "cross-site")).is(http.StatusForbidden, "FORBIDDEN")
	s.do(http.MethodPut, "/configurations", body, header("Origin", "https://evil.example")).is(http.StatusForbidden)
	s.do(http.MethodPut, "/configurations", body, header("Sec-Fetch-Site", "same-origin")).is(http.StatusOK)
	s.get("/configurations", header("Sec-Fetch-Site", "cross-site")).is(http.StatusOK)
}

func FuzzCSRFToken(f *testing.F) {
	f.Add(harborapi.CSRFToken("cookie"), "cookie")
	f.Add("AAAA", "")
	f.Fuzz(func(t *testing.T, token, cookie string) {
		if !harborapi.CSRFHolds(harborapi.CSRFToken(cookie), cookie) {
			t.Fatalf("no token for %q", cookie)
		}
		if harborapi.CSRFHolds(token, cookie+"other") && harborapi.CSRFHolds(token, cookie) {
			t.Fatalf("%q holds for two sessions", token)
		}
	})
}
