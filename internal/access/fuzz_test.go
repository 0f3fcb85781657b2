package access_test

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

func TestScopesAreRead(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]access.Scope{
		"repository:app:pull":                     {Type: "repository", Name: "app", Actions: []string{"pull"}},
		"repository:localhost:5000/app:pull,push": {Type: "repository", Name: "localhost:5000/app", Actions: []string{"pull", "push"}},
		"repository(plugin):app:pull,pull":        {Type: "repository", Name: "app", Actions: []string{"pull"}},
		"registry:catalog:*":                      {Type: "registry", Name: "catalog", Actions: []string{"*"}},
		"repository:app:":                         {Type: "repository", Name: "app"},
	} {
		got, err := access.ParseScope(text)
		if err != nil || got.Type != want.Type || got.Name != want.Name || !slices.Equal(got.Actions, want.Actions) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "repository", "repository:app", ":app:pull", strings.Repeat("x", 2000) + ":a:b"} {
		if _, err := access.ParseScope(text); !fail.Is(err, fail.Invalid) {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

func FuzzScope(f *testing.F) {
	f.Add("repository:library/app:pull,push")
	f.Add("repository(plugin):a:b:c,d")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := access.ParseScope(text)
		if err != nil {
			return
		}
		again, err := access.ParseScope(s.String())
		if err != nil || again.String() != s.String() {
			t.Errorf("%q reads as %q, that as %q (%v)", text, s, again, err)
		}
	})
}

// fuzzed answers an Access with a database of its own.
func fuzzed(f testing.TB) *access.Access {
	f.Helper()
	db, err := sqldb.Open(context.Background(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(f.TempDir(), "havn.db")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if cause := db.Close(); cause != nil {
			f.Error(cause)
		}
	})
	if err = db.Migrate(context.Background()); err != nil {
		f.Fatal(err)
	}
	a, _, err := access.New(context.Background(), access.Config{Seal: sealed(f, db), DB: db, AdminPassword: password, Cost: cheap})
	if err != nil {
		f.Fatal(err)
	}
	return a
}

func FuzzToken(f *testing.F) {
	f.Add("a.b.c")
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	a := fuzzed(f)
	good, err := a.Issue(context.Background(), access.Identity{Subject: "joe"}, service, nil)
	if err != nil {
		f.Fatal(err)
	}
	admin, err := a.Authenticate(context.Background(), "admin", password, here)
	if err != nil {
		f.Fatal(err)
	}
	refresh, err := a.IssueRefresh(context.Background(), admin, service)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good.Raw)
	f.Add(refresh)
	f.Fuzz(func(t *testing.T, raw string) {
		c, cause := a.VerifyForUpload(t.Context(), raw)
		if raw == good.Raw && (cause != nil || c.Identity.Subject != "joe") {
			t.Errorf("the one good token: %+v, %v", c, cause)
		}
		if raw != good.Raw && !fail.Is(cause, fail.Unauthenticated) {
			t.Errorf("%q is a token of %+v: %v", raw, c, cause)
		}
	})
}

func FuzzStoredHash(f *testing.F) {
	f.Add("$argon2id$v=19$m=9216,t=4,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=4294967295,t=0,p=1$$")
	f.Fuzz(func(t *testing.T, text string) {
		again, cost, err := access.ReadHash(text)
		if err != nil {
			return
		}
		if cost.Passes < 1 || cost.Passes > 64 || cost.MemoryKiB < 1 || cost.MemoryKiB > 64<<10 {
			t.Errorf("%q asks for %+v", text, cost)
		}
		third, _, err := access.ReadHash(again)
		if err != nil || third != again {
			t.Errorf("%q reads as %q, that as %q (%v)", text, again, third, err)
		}
	})
}
