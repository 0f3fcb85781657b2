package distapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/distapi"
	"github.com/havn-registry/havn/internal/oci"
)

func (s *service) identity(subject string) access.Identity { return access.Identity{Subject: subject} }

func scopes(t *testing.T, texts ...string) (all []access.Scope) {
	t.Helper()
	for _, text := range texts {
		scope, err := access.ParseScope(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, scope)
	}
	return all
}

type tokenAnswer struct {
	Token        string    `json:"token"`
	AccessToken  string    `json:"access_token"`
	Scope        string    `json:"scope"`
	ExpiresIn    int       `json:"expires_in"`
	IssuedAt     time.Time `json:"issued_at"`
	RefreshToken string    `json:"refresh_token"`
}

func (a *answer) tokens() (got tokenAnswer) {
	a.Helper()
	a.is(http.StatusOK).has("Cache-Control", "no-store").has("Docker-Distribution-Api-Version", "").decode(&got)
	if got.Token == "" || got.Token != got.AccessToken || got.ExpiresIn < 60 || time.Since(got.IssuedAt).Abs() > time.Hour {
		a.Errorf("%+v", got)
	}
	return got
}

func TestTokensByGet(t *testing.T) {
	t.Parallel()
	s := start(t)
	const path = "/service/token?service=harbor-registry"
	got := s.do("GET", path+"&scope=repository:app:pull,push&scope="+url.QueryEscape("repository:b/c:pull registry:catalog:*")+"&account=admin&client_id=docker", nil).tokens()
	if got.Scope != "repository:app:pull,push repository:b/c:pull registry:catalog:*" || got.RefreshToken != "" {
		t.Errorf("%+v", got)
	}
	if got = s.do("GET", "/service/token", nil).tokens(); got.Scope != "" {
		t.Errorf("%+v", got)
	}
	if got = s.do("GET", path+"&scope=", nil, nobody).tokens(); got.Scope != "" {
		t.Errorf("%+v", got)
	}
	if got = s.do("GET", path+"&scope=repository:app:pull,push&scope=repository:secret/app:pull&scope=registry:catalog:*&offline_token=true", nil, nobody).tokens(); got.Scope != "repository:app:pull" || got.RefreshToken != "" {
		t.Errorf("a stranger gets %+v", got)
	}
	if got = s.do("GET", path+"&scope=repository:BAD:pull", nil).tokens(); got.Scope != "" {
		t.Errorf("%+v", got)
	}
	s.do("GET", path+"&scope=nonsense", nil).is(http.StatusBadRequest, oci.CodeUnsupported)
	s.do("GET", path+"&scope="+strings.Repeat("a:b:c+", 101), nil).is(http.StatusBadRequest, oci.CodeUnsupported)
	s.do("GET", "/service/token?service=other", nil).is(http.StatusBadRequest, oci.CodeUnsupported)
	for _, who := range []with{basic("admin", "wrong"), basic("nobody", password), basic("", ""), bearer("x")} {
		s.do("GET", path, nil, who).is(http.StatusUnauthorized, oci.CodeUnauthorized).has("WWW-Authenticate", `Basic realm="harbor-registry"`)
	}
}

func (s *service) post(form url.Values) *answer {
	s.Helper()
	return s.do("POST", "/service/token", form.Encode(), nobody, header("Content-Type", "application/x-www-form-urlencoded"))
}

func TestTokensByPost(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushImage("secret/app", "v1")
	form := url.Values{"grant_type": {"password"}, "service": {distapi.Service}, "client_id": {"test"}, "scope": {"repository:secret/app:pull"}, "username": {"admin"}, "password": {password}}
	got := s.post(form).tokens()
	s.do("GET", "/v2/secret/app/manifests/v1", nil, bearer(got.Token)).is(http.StatusOK)
	if got.RefreshToken != "" || got.Scope != "repository:secret/app:pull" {
		t.Errorf("%+v", got)
	}
	form.Set("access_type", "offline")
	refresh := s.post(form).tokens().RefreshToken
	fresh := url.Values{"grant_type": {"refresh_token"}, "service": {distapi.Service}, "refresh_token": {refresh}, "scope": {"repository:secret/app:pull"}}
	if got = s.post(fresh).tokens(); got.RefreshToken != refresh {
		t.Errorf("%+v", got)
	}
	s.do("GET", "/v2/secret/app/manifests/v1", nil, bearer(got.Token)).is(http.StatusOK)
	s.do("GET", "/v2/secret/app/manifests/v1", nil, bearer(refresh)).is(http.StatusUnauthorized)
	byGet := s.do("GET", "/service/token?offline_token=true&service=harbor-registry&account=admin&client_id=docker", nil).tokens()
	s.post(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {byGet.RefreshToken}}).tokens()

	for what, c := range map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"no grant":        {url.Values{}, 400, oci.CodeUnsupported},
		"another grant":   {url.Values{"grant_type": {"authorization_code"}}, 400, oci.CodeUnsupported},
		"another service": {url.Values{"grant_type": {"password"}, "service": {"x"}}, 400, oci.CodeUnsupported},
		"a bad scope":     {url.Values{"grant_type": {"password"}, "scope": {"x"}}, 400, oci.CodeUnsupported},
		"a huge form":     {url.Values{"grant_type": {"password"}, "username": {strings.Repeat("x", 100_000)}}, 400, oci.CodeUnsupported},
		"no password":     {url.Values{"grant_type": {"password"}, "username": {"admin"}}, 401, oci.CodeUnauthorized},
		"no refresh":      {url.Values{"grant_type": {"refresh_token"}}, 401, oci.CodeUnauthorized},
		"an access token": {url.Values{"grant_type": {"refresh_token"}, "refresh_token": {got.Token}}, 401, oci.CodeUnauthorized},
	} {
		if a := s.post(c.form); a.status != c.status || a.problems()[0].Code != c.code {
			t.Errorf("%s: status %d, %s", what, a.status, a.body)
		}
	}
	_, err := s.access.SetPassword(t.Context(), 1, "Another password 1")
	s.ok(err)
	s.clock.advance(2 * time.Second)
	s.do("GET", "/v2/", nil).is(http.StatusUnauthorized)
}

func TestGuessingIsSlowedDown(t *testing.T) {
	t.Parallel()
	s := start(t)
	var a *answer
	for range 50 {
		if a = s.do("GET", "/service/token", nil, basic("admin", "guess")); a.status != http.StatusUnauthorized {
			break
		}
	}
	a.is(http.StatusTooManyRequests, oci.CodeTooManyRequests)
	if a.header.Get("Retry-After") == "" || a.header.Get("WWW-Authenticate") != "" {
		t.Errorf("%v", a.header)
	}
}
