package distapi_test

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/distapi"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// reader makes a user with admin's password and no rights but those that everybody has.
func (s *service) reader() with {
	s.Helper()
	s.ok(s.db.Tx(s.Context(), "test.reader", func(tx *sqldb.Tx) error {
		var hash string
		if err := tx.Row(s.Context(), "SELECT password_hash FROM users WHERE name = 'admin'").Scan(&hash); err != nil {
			return err
		}
		now := sqldb.Micros(tx.Now())
		_, err := tx.InsertIgnore(s.Context(), "users", []string{"id", "name", "password_hash", "admin", "disabled", "created_at", "changed_at"},
			sqldb.NewID(), "reader", hash, false, false, now, now)
		return err
	}))
	return basic("reader", password)
}

// operations are all operations on one repository, with the scope that each needs.
func operations(name, digest string) []struct{ method, path, body, scope string } {
	at := "/v2/" + name
	repository := "repository:" + name + ":"
	return []struct{ method, path, body, scope string }{
		{"GET", at + "/manifests/v1", "", repository + "pull"},
		{"HEAD", at + "/manifests/v1", "", repository + "pull"},
		{"GET", at + "/blobs/" + digest, "", repository + "pull"},
		{"HEAD", at + "/blobs/" + digest, "", repository + "pull"},
		{"GET", at + "/tags/list", "", repository + "pull"},
		{"GET", at + "/referrers/" + digest, "", repository + "pull"},
		{"PUT", at + "/manifests/v2", image(""), repository + "pull,push"},
		{"POST", at + "/blobs/uploads/", "", repository + "pull,push"},
		{"POST", at + "/blobs/uploads/?digest=" + digest, layer, repository + "pull,push"},
		{"POST", at + "/blobs/uploads/?mount=" + digest + "&from=other", "", repository + "pull,push repository:other:pull"},
		{"GET", at + "/blobs/uploads/0123/0", "", repository + "pull,push"},
		{"PATCH", at + "/blobs/uploads/0123/0", "x", repository + "pull,push"},
		{"PUT", at + "/blobs/uploads/0123/0?digest=" + digest, "x", repository + "pull,push"},
		{"DELETE", at + "/blobs/uploads/0123/0", "", repository + "pull,push"},
		{"DELETE", at + "/manifests/v1", "", repository + "delete"},
		{"DELETE", at + "/manifests/" + digest, "", repository + "delete"},
		{"DELETE", at + "/blobs/" + digest, "", repository + "delete"},
	}
}

func (s *service) challenge(scope, reason string) string {
	text := `Bearer realm="` + s.url + `/service/token",service="harbor-registry"`
	if scope != "" {
		text += `,scope="` + scope + `"`
	}
	if reason != "" {
		text += `,error="` + reason + `"`
	}
	return text
}

func TestAStrangerIsToldWhichScopeToAskFor(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushImage("secret/app", "v1")
	for _, method := range []string{"GET", "HEAD"} {
		for _, path := range []string{"/v2/", "/v2"} {
			s.do(method, path, nil, nobody).is(http.StatusUnauthorized).has("WWW-Authenticate", s.challenge("", "")).has("Docker-Distribution-Api-Version", "registry/2.0")
		}
	}
	s.do("GET", "/v2/_catalog", nil, nobody).is(http.StatusUnauthorized, oci.CodeUnauthorized).has("WWW-Authenticate", s.challenge("registry:catalog:*", ""))
	// A repository that is there and one that is not look the same.
	for _, name := range []string{"secret/app", "secret/none", "nowhere/none"} {
		for _, op := range operations(name, sum(layer)) {
			s.do(op.method, op.path, op.body, nobody).is(http.StatusUnauthorized).has("WWW-Authenticate", s.challenge(op.scope, ""))
		}
	}
	s.do("GET", "/v2/", nil, basic("admin", "wrong")).is(http.StatusUnauthorized, oci.CodeUnauthorized).has("WWW-Authenticate", s.challenge("", ""))
	s.do("GET", "/v2/", nil, header("Authorization", "Digest x"), func(r *http.Request) { r.Header.Set("Authorization", "Digest x") }).is(http.StatusUnauthorized, oci.CodeUnauthorized)
	s.do("GET", "/v2/", nil, func(r *http.Request) { r.Header.Set("Authorization", "Basic x") }).is(http.StatusUnauthorized, oci.CodeUnauthorized)
}

func TestATokenAllowsWhatItHoldsAndNoMore(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushImage("secret/app", "v1")
	tokens := map[string]string{
		"pull": s.token("repository:secret/app:pull"), "push": s.token("repository:secret/app:push"), "delete": s.token("repository:secret/app:delete"),
		"other": s.token("repository:secret/other:pull,push,delete"), "none": s.token(), "catalog": s.token("registry:catalog:*"),
	}
	for _, op := range operations("secret/app", sum(layer)) {
		for holds, token := range tokens {
			a := s.do(op.method, op.path, op.body, bearer(token))
			_, needed, _ := strings.Cut(strings.Fields(op.scope)[0], "app:")
			needed = strings.TrimPrefix(needed, "pull,")
			if holds == needed {
				if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
					t.Errorf("%s with a token for %s: status %d", a.asked, holds, a.status)
				}
				continue
			}
			a.is(http.StatusUnauthorized).has("WWW-Authenticate", s.challenge(op.scope, "insufficient_scope"))
		}
	}
	s.do("GET", "/v2/", nil, bearer(tokens["none"])).is(http.StatusOK)
	s.do("GET", "/v2/", nil, bearer("nonsense")).is(http.StatusUnauthorized, oci.CodeUnauthorized).has("WWW-Authenticate", s.challenge("", "invalid_token"))
	s.do("GET", "/v2/secret/app/manifests/v1", nil, bearer(tokens["pull"]+"x")).is(http.StatusUnauthorized).
		has("WWW-Authenticate", s.challenge("repository:secret/app:pull", "invalid_token"))
}

func TestWhoIsKnownAndMayNotIsDenied(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushImage("app", "v1")
	s.pushImage("secret/app", "v1")
	reader := s.reader()
	s.do("GET", "/v2/", nil, reader).is(http.StatusOK)
	for _, name := range []string{"app", "secret/app", "secret/none"} {
		for _, op := range operations(name, sum(layer)) {
			a := s.do(op.method, op.path, op.body, reader)
			if name == "app" && strings.HasSuffix(op.scope, ":pull") && !strings.Contains(op.scope, "push") {
				a.is(http.StatusOK)
				continue
			}
			if a.is(http.StatusForbidden); op.method != "HEAD" {
				a.is(http.StatusForbidden, oci.CodeDenied)
			}
			// The token service grants him nothing of it.
			if granted := s.tokenFor(reader, op.scope); s.do(op.method, op.path, op.body, bearer(granted)).status != http.StatusUnauthorized {
				t.Errorf("%s is allowed with a token", a.asked)
			}
		}
	}
	s.do("GET", "/v2/app/manifests/v1", nil).is(http.StatusOK)
	s.do("GET", "/v2/secret/app/manifests/v1", nil).is(http.StatusOK)
}

func TestStrangersPullFromPublicProjects(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushImage("app", "v1")
	for _, who := range []with{nobody, bearer(s.tokenFor(nobody, "repository:app:pull,push")), bearer(s.tokenFor(nobody, "repository:library/app:pull"))} {
		for _, path := range []string{"/v2/app/manifests/v1", "/v2/library/app/manifests/v1", "/v2/app/blobs/" + sum(layer), "/v2/app/tags/list", "/v2/app/referrers/" + sum(layer)} {
			s.do("GET", path, nil, who).is(http.StatusOK)
		}
		s.do("HEAD", "/v2/app/manifests/v1", nil, who).is(http.StatusOK)
		s.do("HEAD", "/v2/app/blobs/"+sum(layer), nil, who).is(http.StatusOK)
		s.do("POST", "/v2/app/blobs/uploads/", nil, who).is(http.StatusUnauthorized, oci.CodeUnauthorized)
		s.do("DELETE", "/v2/app/manifests/v1", nil, who).is(http.StatusUnauthorized, oci.CodeUnauthorized)
	}
}

func TestBothSpellingsOfANameAreOneRepository(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushImage("app", "v1")
	for _, scope := range []string{"repository:app:pull,push", "repository:library/app:pull,push"} {
		token := bearer(s.token(scope))
		for _, name := range []string{"app", "library/app"} {
			s.do("GET", "/v2/"+name+"/manifests/v1", nil, token).is(http.StatusOK)
			s.do("POST", "/v2/"+name+"/blobs/uploads/", nil, token).is(http.StatusAccepted)
		}
	}
}

func TestMountsTakeOnlyWhatTheCallerMayPull(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushBlob("secret/app", layer)
	s.pushBlob("app", config)
	// A token that was granted a push while its subject may pull no more than a stranger.
	issued, err := s.access.Issue(t.Context(), s.identity("reader"), distapi.Service, scopes(t, "repository:app:pull,push"))
	s.ok(err)
	who := bearer(issued.Raw)
	for _, from := range []string{"&from=secret/app", "&from=secret/none", ""} {
		s.do("POST", "/v2/app/blobs/uploads/?mount="+sum(layer)+from, nil, who).is(http.StatusAccepted)
	}
	s.do("HEAD", "/v2/app/blobs/"+sum(layer), nil, who).is(http.StatusNotFound)
	s.do("POST", "/v2/app/blobs/uploads/?mount="+sum(config)+"&from=library/app", nil, who).is(http.StatusCreated)
}

func TestAnExpiredTokenFinishesTheUploadThatItsSubjectBegan(t *testing.T) {
	t.Parallel()
	s := start(t)
	admin := s.token("repository:secret/app:pull,push")
	issued, err := s.access.Issue(t.Context(), s.identity("reader"), distapi.Service, scopes(t, "repository:secret/app:pull,push"))
	s.ok(err)
	s.reader()
	begun := s.do("POST", "/v2/secret/app/blobs/uploads/", nil, bearer(admin)).is(http.StatusAccepted).location()
	s.clock.advance(2 * time.Hour)
	other := s.begin("secret/other")

	s.do("GET", "/v2/secret/app/tags/list", nil, bearer(admin)).is(http.StatusUnauthorized).has("WWW-Authenticate", s.challenge("repository:secret/app:pull", "invalid_token"))
	s.do("POST", "/v2/secret/app/blobs/uploads/", nil, bearer(admin)).is(http.StatusUnauthorized)
	s.do("PATCH", begun, "x", bearer(issued.Raw)).is(http.StatusUnauthorized, oci.CodeUnauthorized)
	s.do("PATCH", other, "x", bearer(admin)).is(http.StatusUnauthorized, oci.CodeUnauthorized)
	s.do("GET", strings.Replace(begun, "uploads/", "uploads/0", 1), nil, bearer(admin)).is(http.StatusUnauthorized)
	next := s.do("PATCH", begun, "123", bearer(admin)).is(http.StatusAccepted).location()
	s.do("GET", next, nil, bearer(admin)).is(http.StatusNoContent)
	for range 2 { // the second time because the answer was lost
		s.do("PUT", next+"?digest="+sum("12345"), "45", bearer(admin)).is(http.StatusCreated)
	}
	s.do("PUT", next+"?digest="+sum("12345"), "45", bearer(issued.Raw)).is(http.StatusUnauthorized, oci.CodeUnauthorized)

	late := s.begin("secret/app")
	_, err = s.access.SetDisabled(t.Context(), 1, true)
	s.ok(err)
	s.do("PATCH", late, "x", bearer(admin)).is(http.StatusUnauthorized, oci.CodeUnauthorized)
}

func TestTheRealmIsWhereTheClientIs(t *testing.T) {
	t.Parallel()
	forwarded := func(r *http.Request) {
		r.Header.Del("Authorization")
		r.Header.Set("X-Forwarded-Proto", "https")
		r.Header.Set("X-Forwarded-Host", "hub.example")
	}
	s := start(t)
	s.do("GET", "/v2/", nil, forwarded).has("WWW-Authenticate", s.challenge("", ""))
	s.do("GET", "/v2/", nil, nobody, func(r *http.Request) { r.Host = "other.example:5000" }).
		has("WWW-Authenticate", `Bearer realm="http://other.example:5000/service/token",service="harbor-registry"`)
	behind := start(t, func(set *settings) {
		set.api.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	})
	behind.do("GET", "/v2/", nil, forwarded).has("WWW-Authenticate", `Bearer realm="https://hub.example/service/token",service="harbor-registry"`)
	public := start(t, func(set *settings) { set.api.PublicURL = &url.URL{Scheme: "https", Host: "registry.example"} })
	public.do("GET", "/v2/", nil, forwarded).has("WWW-Authenticate", `Bearer realm="https://registry.example/service/token",service="harbor-registry"`)
}
