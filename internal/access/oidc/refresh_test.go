package oidc_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/havn-registry/havn/internal/fail"
)

func TestARefreshTellsWhoIsGoneFromWhatCouldNotBeAsked(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what   string
		change func(*fake)
		kind   fail.Kind // 0: he is told
		stored bool      // a new refresh token came, with an error too
	}{
		{"all is well", func(*fake) {}, 0, true},
		{"without a nonce", func(f *fake) { f.claims = jwt.MapClaims{"nonce": nil} }, 0, true},
		{"without an ID token", func(f *fake) { f.answers = map[string]any{"id_token": nil} }, 0, true},
		{"he is gone", func(f *fake) { f.oauth["refresh_token"] = "invalid_grant" }, fail.Unauthenticated, false},
		{"he must answer something", func(f *fake) { f.oauth["refresh_token"] = "interaction_required" }, fail.Unauthenticated, false},
		{"it is somebody else", func(f *fake) { f.claims = jwt.MapClaims{"sub": "8"} }, fail.Unauthenticated, true},
		{"Havn is not known", func(f *fake) { f.oauth["refresh_token"] = "invalid_client" }, fail.Unavailable, false},
		{"Havn may not", func(f *fake) { f.oauth["refresh_token"] = "unauthorized_client" }, fail.Unavailable, false},
		{"nobody may", func(f *fake) { f.oauth["refresh_token"] = "unsupported_grant_type" }, fail.Unavailable, false},
		{"it fails", func(f *fake) { f.refuses["/token"] = http.StatusInternalServerError }, fail.Unavailable, false},
		{"it is busy", func(f *fake) { f.refuses["/token"] = http.StatusTooManyRequests }, fail.Unavailable, false},
		{"it is away", func(f *fake) { f.Close() }, fail.Unavailable, false},
		{"its keys are away", func(f *fake) { f.refuses["/keys"] = http.StatusServiceUnavailable }, fail.Unavailable, true},
		{"its keys are elsewhere", func(f *fake) { f.refuses["/keys"] = http.StatusNotFound }, fail.Unavailable, true},
		{"its token is another client's", func(f *fake) { f.claims = jwt.MapClaims{"aud": "grafana"} }, fail.Unavailable, true},
		{"its token is over", func(f *fake) { f.claims = jwt.MapClaims{"exp": f.clock.Add(-time.Hour).Unix()} }, fail.Unavailable, true},
		{"userinfo is away", func(f *fake) {
			f.claims, f.refuses["/userinfo"] = jwt.MapClaims{"groups": nil}, http.StatusServiceUnavailable
		}, fail.Unavailable, true},
		{"userinfo is of somebody else", func(f *fake) {
			f.claims, f.info = jwt.MapClaims{"groups": nil}, map[string]any{"sub": "8"}
		}, fail.Unavailable, true},
		{"neither ID token nor userinfo", func(f *fake) {
			f.answers, f.said = map[string]any{"id_token": nil}, map[string]any{"userinfo_endpoint": nil}
		}, fail.Unavailable, true},
		{"no ID token, and userinfo is not for us", func(f *fake) { f.answers, f.info = map[string]any{"id_token": nil}, nil }, fail.Unavailable, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			c.change(f)
			who, tokens, err := f.client().Refresh(t.Context(), f.subject(), "first")
			if c.kind == 0 && (err != nil || who.Subject != f.subject() || len(who.Groups) == 0) || c.kind != 0 && (!fail.Is(err, c.kind) || fail.HintOf(err) == "" || who.Subject != "") {
				t.Errorf("%+v, %v, kind %v, hint %q", who, err, fail.KindOf(err), fail.HintOf(err))
			}
			if (tokens.Refresh == "second") != c.stored {
				t.Errorf("refresh token %q", tokens.Refresh)
			}
			if n := f.count("/userinfo"); n > 1 {
				t.Errorf("userinfo was asked %d times", n)
			}
		})
	}
}

func TestARefreshTokenIsNotLostWithItsRequest(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	ctx, leave := context.WithCancel(t.Context())
	f.during = leave
	if _, tokens, err := f.client().Refresh(ctx, f.subject(), "first"); !fail.Is(err, fail.Unavailable) || tokens.Refresh != "second" {
		t.Errorf("after the client left: refresh token %q, %v", tokens.Refresh, err)
	}
}

func TestARefreshNeedsARefreshToken(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	if _, _, err := f.client().Refresh(t.Context(), f.subject(), ""); !fail.Is(err, fail.Unsupported) || fail.HintOf(err) == "" {
		t.Errorf("without a refresh token: %v", err)
	}
	f.answers = map[string]any{"refresh_token": nil}
	if _, tokens, err := f.client().Refresh(t.Context(), f.subject(), "first"); err != nil || tokens.Refresh != "first" {
		t.Errorf("a provider that gives no new one: %q, %v", tokens.Refresh, err)
	}
}
