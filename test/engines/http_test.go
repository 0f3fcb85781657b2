package engines

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/distapi"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// serve puts the registry API on a database.
func serve(t *testing.T, open sqldbtest.Opener) *httptest.Server {
	t.Helper()
	db, err := sqldb.Open(t.Context(), open())
	need(t, err)
	stopAfter(t, db.Close)
	need(t, db.Migrate(t.Context()))
	reg, err := registry.New(t.Context(), registry.Config{DB: db, Blobs: blob.NewStore(memory.New(time.Now), blob.StoreConfig{}), Log: slog.New(slog.DiscardHandler), Clock: time.Now, CreateOnPush: true})
	need(t, err)
	sealer, err := seal.Open(t.Context(), db, seal.Random())
	need(t, err)
	who, _, err := access.New(t.Context(), access.Config{DB: db, Seal: sealer, AdminPassword: "a long password", Cost: access.Cost{Passes: 1, MemoryKiB: 1 << 10}})
	need(t, err)
	s := httptest.NewServer(distapi.New(distapi.Config{Registry: reg, Access: who, Log: slog.New(slog.DiscardHandler), Clock: time.Now}))
	t.Cleanup(s.Close)
	return s
}

// What no text can be to PostgreSQL, and what the engines compare in ways of their own, is answered by the registry, alike on each of them.
func refusesOddTexts(t *testing.T, open sqldbtest.Opener) {
	t.Helper()
	s := serve(t, open)
	subject := "sha256:" + strings.Repeat("0", 64)
	for i, odd := range []string{"\x00", "a\x00b", "\xff", "a\xc3", "\xed\xa0\x80", "admin\x00", "\U0001F600\x7f", strings.Repeat("\x00", 300)} {
		escaped := url.QueryEscape(odd)
		ask := func(want int, method, path string, change func(*http.Request)) string {
			t.Helper()
			r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
			need(t, err)
			r.SetBasicAuth("admin", "a long password")
			change(r)
			answer, err := s.Client().Do(r)
			need(t, err)
			text, err := io.ReadAll(answer.Body)
			need(t, err)
			need(t, answer.Body.Close())
			for _, secret := range []string{"SELECT", "INSERT", "UPDATE", "SQLSTATE", "database:", "0x"} {
				if answer.StatusCode != http.StatusOK && strings.Contains(string(text), secret) { // a token may have any letters
					t.Errorf("%s %s with %q tells %s: %s", method, path, odd, secret, text)
				}
			}
			if answer.StatusCode != want {
				t.Errorf("%s %s with %q: %d, want %d: %s", method, path, odd, answer.StatusCode, want, text)
			}
			return string(text)
		}
		asIs := func(*http.Request) {}
		form := func(values url.Values) func(*http.Request) {
			return func(r *http.Request) {
				text := values.Encode()
				r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
				r.Header.Del("Authorization")
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
		}
		as := func(user string) func(*http.Request) {
			return func(r *http.Request) { r.SetBasicAuth(user, "x") }
		}
		ask(http.StatusUnauthorized, http.MethodGet, "/v2/", as(odd))
		ask(http.StatusUnauthorized, http.MethodGet, "/service/token", as(odd))
		ask(http.StatusUnauthorized, http.MethodGet, "/v2/", func(r *http.Request) { r.SetBasicAuth(fmt.Sprint("user", i), odd) })
		ask(http.StatusUnauthorized, http.MethodPost, "/service/token", form(url.Values{"grant_type": {"password"}, "username": {odd}, "password": {"x"}}))
		ask(http.StatusUnauthorized, http.MethodPost, "/service/token", form(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {odd}}))
		ask(http.StatusBadRequest, http.MethodPost, "/service/token", form(url.Values{"grant_type": {odd}}))
		ask(http.StatusOK, http.MethodGet, "/service/token?scope="+url.QueryEscape("repository:"+odd+":pull"), asIs)
		ask(http.StatusBadRequest, http.MethodGet, "/service/token?service="+escaped, asIs)
		if text := ask(http.StatusOK, http.MethodGet, "/v2/app/referrers/"+subject+"?artifactType="+escaped, asIs); !strings.Contains(text, `"manifests":[]`) {
			t.Errorf("referrers of type %q: %s", odd, text)
		}
		ask(http.StatusBadRequest, http.MethodGet, "/v2/app/referrers/"+subject+"?last="+escaped, asIs)
		ask(http.StatusBadRequest, http.MethodGet, "/v2/app/tags/list?last="+escaped, asIs)
		ask(http.StatusBadRequest, http.MethodGet, "/v2/_catalog?last="+escaped, asIs)
		ask(http.StatusBadRequest, http.MethodGet, "/v2/"+url.PathEscape(odd)+"/tags/list", asIs)
		ask(http.StatusBadRequest, http.MethodPost, "/v2/app/blobs/uploads/?mount="+subject+"&from="+escaped, asIs)
		ask(http.StatusBadRequest, http.MethodPost, "/v2/app/blobs/uploads/?digest="+escaped, asIs)
		ask(http.StatusNotFound, http.MethodPatch, "/v2/app/blobs/uploads/"+url.PathEscape(odd), asIs)
		ask(http.StatusBadRequest, http.MethodPut, "/v2/app/manifests/v1?tag="+escaped, asIs)
		ask(http.StatusBadRequest, http.MethodPut, "/v2/app/manifests/v1", func(r *http.Request) {
			text := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[],"artifactType":"a\u0000b"}`
			r.Body, r.ContentLength = io.NopCloser(strings.NewReader(text)), int64(len(text))
			r.Header.Set("Content-Type", "application/vnd.oci.image.index.v1+json")
		})
	}
}

func TestOddTextsOnSQLite(t *testing.T) {
	t.Parallel()
	path := t.TempDir() + "/havn.db"
	refusesOddTexts(t, func() sqldb.Config { return sqldb.Config{Engine: sqldb.SQLite, Path: path} })
}
