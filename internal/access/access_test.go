package access_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

// cheap keeps tests quick; the default is tried once.
var cheap = access.Cost{Passes: 1, MemoryKiB: 64}

const (
	password = "correct horse"
	here     = "192.0.2.1"
	service  = "harbor-registry"
)

type watch struct {
	mu  sync.Mutex
	now time.Time
}

func (w *watch) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *watch) move(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

func database(t *testing.T) *sqldb.DB {
	t.Helper()
	return databaseAt(t, nil)
}

func databaseAt(t *testing.T, clock func() time.Time) *sqldb.DB {
	t.Helper()
	return databaseIn(t, t.TempDir(), clock)
}

// databaseIn opens the database in a directory; several may be open at once.
func databaseIn(t *testing.T, dir string, clock func() time.Time) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(dir, "havn.db"), Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cause := db.Close(); cause != nil {
			t.Error(cause)
		}
	})
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), "test.projects", func(tx *sqldb.Tx) error {
		for name, public := range map[string]bool{"library": true, "secret": false} {
			if _, cause := index.AddProject(t.Context(), tx, index.Project{Name: name, Public: public}); cause != nil {
				return cause
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// sealed answers the seal of a database, always the same.
func sealed(t testing.TB, db *sqldb.DB) *seal.Seal {
	t.Helper()
	s, err := seal.Open(context.WithoutCancel(t.Context()), db, "a secret that is long enough")
	if err != nil {
		t.Error(err)
	}
	return s
}

func open(t *testing.T, db *sqldb.DB, w *watch) *access.Access {
	t.Helper()
	a, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Clock: w.time, AdminPassword: password, Cost: cheap})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func fresh(t *testing.T) (*access.Access, *watch) {
	t.Helper()
	w := &watch{now: time.Now()}
	return open(t, database(t), w), w
}

// refreshToken answers one of the administrator's.
func refreshToken(t *testing.T, a *access.Access) string {
	t.Helper()
	who, err := a.Authenticate(t.Context(), "admin", password, here)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := a.IssueRefresh(t.Context(), who, service)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func parse(t *testing.T, texts ...string) []access.Scope {
	t.Helper()
	var all []access.Scope
	for _, text := range texts {
		s, err := access.ParseScope(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func name(t *testing.T, s string) oci.Name {
	t.Helper()
	n, err := oci.ParseName(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestTheGivenPasswordCountsAtTheFirstStartOnly(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	open(t, db, w)
	a, first, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Clock: w.time, AdminPassword: "another", Cost: cheap})
	if err != nil || first.Password != "" {
		t.Fatalf("second start: %+v, %v", first, err)
	}
	if _, err = a.Authenticate(t.Context(), "admin", "another", here); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("the second start's password counts: %v", err)
	}
	who, err := a.Authenticate(t.Context(), "admin", password, here)
	if err != nil || who.Subject != "admin" || !who.Admin {
		t.Errorf("first password: %+v, %v", who, err)
	}
}

func TestOneOfManyFirstStartsMakesThePassword(t *testing.T) {
	t.Parallel()
	db := database(t)
	var mu sync.Mutex
	var made []string
	var last *access.Access
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			a, first, err := access.New(context.WithoutCancel(t.Context()), access.Config{Seal: sealed(t, db), DB: db, Cost: cheap})
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
				return
			}
			last = a
			if first.Password != "" {
				made = append(made, first.Password)
			}
		})
	}
	all.Wait()
	if len(made) != 1 || len(made[0]) < 26 {
		t.Fatalf("passwords announced: %d, want one of at least 26 characters", len(made))
	}
	if _, err := last.Authenticate(t.Context(), "admin", made[0], here); err != nil {
		t.Errorf("the announced password: %v", err)
	}
}

func TestWrongCredentialsAreAllAlike(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	for i, c := range [][2]string{{"admin", "wrong"}, {"nobody", password}, {"", password}, {"admin", ""}, {"admin", strings.Repeat("x", 5000)}, {strings.Repeat("x", 5000), "x"}, {"Admin", password}, {"admin\x00", password}, {"admin\xff", password}, {"ad\nmin", password}} {
		_, err := a.Authenticate(t.Context(), c[0], c[1], fmt.Sprint("192.0.2.", i))
		if !fail.Is(err, fail.Unauthenticated) || err.Error() != "wrong user name or password" {
			t.Errorf("case %d: %v", i, err)
		}
	}
}

func TestGuessesSlowDownAtTheirAddressAlone(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	guess := func(addr string) error {
		_, err := a.Authenticate(t.Context(), "admin", "guess", addr)
		return err
	}
	for i := range 5 {
		if err := guess(here); !fail.Is(err, fail.Unauthenticated) {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	err := guess(here)
	if !fail.Is(err, fail.Exhausted) || fail.RetryAfterOf(err) <= 0 {
		t.Fatalf("the sixth guess: %v", err)
	}
	if _, err = a.Authenticate(t.Context(), "admin", password, here); !fail.Is(err, fail.Exhausted) {
		t.Errorf("the right password at the slowed address: %v", err)
	}
	if _, err = a.Authenticate(t.Context(), "admin", password, "198.51.100.7"); err != nil {
		t.Errorf("the owner elsewhere is held up: %v", err)
	}
	w.move(2 * time.Second)
	if err = guess(here); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("after the wait: %v", err)
	}
	if err = guess(here); fail.RetryAfterOf(err) < 1500*time.Millisecond {
		t.Errorf("the wait does not grow: %v", fail.RetryAfterOf(err))
	}
	w.move(time.Hour)
	if _, err = a.Authenticate(t.Context(), "admin", password, here); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

func TestManyNamesFromOneAddressSlowDownToo(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	for i := range 50 {
		// A whole /64 of IPv6 is one address.
		if _, err := a.Authenticate(t.Context(), fmt.Sprint("user", i), "guess", fmt.Sprintf("2001:db8::%x", i)); !fail.Is(err, fail.Unauthenticated) {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	if _, err := a.Authenticate(t.Context(), "somebody", "guess", "2001:db8::ffff"); !fail.Is(err, fail.Exhausted) {
		t.Errorf("the 51st: %v", err)
	}
	if _, err := a.Authenticate(t.Context(), "admin", password, "2001:db8:0:1::1"); err != nil {
		t.Errorf("another network: %v", err)
	}
}

func TestGrantsAreWhatTheCallerMay(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	admin, user, stranger := access.Identity{Subject: "admin", Admin: true}, access.Identity{Subject: "joe"}, access.Identity{}
	for _, c := range []struct {
		who  access.Identity
		ask  string
		want string
	}{
		{admin, "repository:secret/app:pull,push,delete", "repository:secret/app:pull,push,delete"},
		{admin, "repository:app:*", "repository:app:*"},
		{admin, "repository:new/app:push", "repository:new/app:push"},
		{admin, "repository:secret/app:fly", ""},
		{admin, "repository:UPPER:pull", ""},
		{admin, "registry:catalog:*", "registry:catalog:*"},
		{admin, "registry:other:*", ""},
		{admin, "robot:x:pull", ""},
		{user, "repository:secret/app:pull,push", ""},
		{user, "repository:library/app:pull,push", "repository:library/app:pull"},
		{user, "repository:app:pull", "repository:app:pull"},
		{user, "repository:app:*", ""},
		{user, "registry:catalog:*", "registry:catalog:*"},
		{stranger, "repository:library/app:pull,push,delete", "repository:library/app:pull"},
		{stranger, "repository:secret/app:pull", ""},
		{stranger, "repository:absent/app:pull", ""},
		{stranger, "registry:catalog:*", ""},
	} {
		granted, err := a.Grant(t.Context(), c.who, parse(t, c.ask))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range granted {
			got = append(got, s.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q asks %s: got %v, want %s", c.who.Subject, c.ask, got, c.want)
		}
	}
}

func TestATokenHoldsWhatWasGrantedAndNoMore(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	token, err := a.Issue(t.Context(), access.Identity{Subject: "joe"}, service, parse(t, "repository:app:pull", "repository:secret/app:push,delete"))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time from memory
		c, cause := a.Verify(t.Context(), token.Raw)
		if cause != nil {
			t.Fatal(cause)
		}
		if c.Identity != (access.Identity{Subject: "joe"}) || c.Expired || c.AllowsCatalog() {
			t.Errorf("claims %+v", c)
		}
		for repo, allowed := range map[string][]string{"library/app": {"pull"}, "secret/app": {"push", "delete"}, "secret/app2": nil} {
			for _, action := range []string{"pull", "push", "delete", "*"} {
				if got := c.Allows(name(t, repo), action); got != slices.Contains(allowed, action) {
					t.Errorf("%s on %s: %v", action, repo, got)
				}
			}
		}
	}
}

func TestTokensEnd(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	token, err := a.Issue(t.Context(), access.Identity{Subject: "admin"}, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.move(token.ExpiresIn + 30*time.Second)
	if _, err = a.Verify(t.Context(), token.Raw); err != nil {
		t.Errorf("within a minute of skew: %v", err)
	}
	w.move(time.Minute)
	if _, err = a.Verify(t.Context(), token.Raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("after its end: %v", err)
	}
	c, err := a.VerifyForUpload(t.Context(), token.Raw)
	if err != nil || !c.Expired || c.Identity.Subject != "admin" {
		t.Errorf("for its upload: %+v, %v", c, err)
	}
	if _, err = a.SetDisabled(t.Context(), administrator.User, true); err != nil {
		t.Fatal(err)
	}
	if _, err = a.VerifyForUpload(t.Context(), token.Raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("for the upload of a disabled user: %v", err)
	}
	if _, err = a.SetDisabled(t.Context(), administrator.User, false); err != nil {
		t.Fatal(err)
	}
	w.move(25 * time.Hour)
	if _, err = a.VerifyForUpload(t.Context(), token.Raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("a day later: %v", err)
	}
}

func TestOtherKindsOfTokensAreRefused(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	other := open(t, database(t), w)
	who := access.Identity{Subject: "admin", Admin: true}
	foreign, err := other.Issue(t.Context(), who, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	refresh := refreshToken(t, a)
	own, err := a.Issue(t.Context(), who, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	unsigned, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": "admin", "iss": "havn", "typ": "access", "exp": w.time().Add(time.Hour).Unix()}).SignedString(jwt.UnsafeAllowNoneSignatureType)
	if err != nil {
		t.Fatal(err)
	}
	for what, raw := range map[string]string{
		"another cluster's": foreign.Raw, "refresh": refresh, "unsigned": unsigned, "empty": "", "not a token": "a.b.c", "changed": own.Raw[:len(own.Raw)-4] + "AAAA", "endless": strings.Repeat("x", 1<<20),
	} {
		if _, err = a.Verify(t.Context(), raw); !fail.Is(err, fail.Unauthenticated) {
			t.Errorf("%s token: %v", what, err)
		}
		if _, err = a.VerifyForUpload(t.Context(), raw); !fail.Is(err, fail.Unauthenticated) {
			t.Errorf("%s token for an upload: %v", what, err)
		}
	}
	if _, err = a.Refresh(t.Context(), own.Raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("an access token refreshed: %v", err)
	}
}

func TestARefreshTokenEndsWithThePassword(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now()}
	a := open(t, databaseAt(t, w.time), w)
	refresh := refreshToken(t, a)
	if who, cause := a.Refresh(t.Context(), refresh); cause != nil || !who.Admin {
		t.Errorf("who %+v, %v: rights are those of now", who, cause)
	}
	w.move(time.Minute)
	_, err := a.SetPassword(t.Context(), administrator.User, "A new one 1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = a.Authenticate(t.Context(), "admin", password, here); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("the old password: %v", err)
	}
	if _, err = a.Authenticate(t.Context(), "admin", "A new one 1", here); err != nil {
		t.Errorf("the new password: %v", err)
	}
	if _, err = a.Refresh(t.Context(), refresh); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("the refresh token of before: %v", err)
	}
}

func TestARefreshTokenIsOnlyForWhoLoggedInWithTheLastPassword(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now()}
	a := open(t, databaseAt(t, w.time), w)
	before := refreshToken(t, a)
	who, err := a.Authenticate(t.Context(), "admin", password, here)
	if err != nil {
		t.Fatal(err)
	}
	// All of it within one second, which is as exact as the times of a token are.
	if _, err = a.SetPassword(t.Context(), administrator.User, "A new one 1"); err != nil {
		t.Fatal(err)
	}
	after, err := a.IssueRefresh(t.Context(), who, service) // a login that was under way, or that another node remembers
	if err != nil {
		t.Fatal(err)
	}
	for what, raw := range map[string]string{"before": before, "after": after} {
		if _, err = a.Refresh(t.Context(), raw); !fail.Is(err, fail.Unauthenticated) {
			t.Errorf("issued for the old password %s it was changed: %v", what, err)
		}
	}
	if who, err = a.Authenticate(t.Context(), "admin", "A new one 1", here); err != nil {
		t.Fatal(err)
	}
	if after, err = a.IssueRefresh(t.Context(), who, service); err != nil {
		t.Fatal(err)
	}
	if _, err = a.Refresh(t.Context(), after); err != nil {
		t.Errorf("for the new password: %v", err)
	}
}

func TestTokensOfOneNodeAreGoodOnAnother(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	a, b := open(t, db, w), open(t, db, w)
	token, err := a.Issue(t.Context(), access.Identity{Subject: "joe"}, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = b.Verify(t.Context(), token.Raw); err != nil {
		t.Error(err)
	}
}

func TestTheDefaultCostWorks(t *testing.T) {
	t.Parallel()
	db := database(t)
	a, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, AdminPassword: password})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 8 { // bounded in memory, and all of them answered
		all.Go(func() {
			if _, cause := a.Authenticate(t.Context(), "admin", password, fmt.Sprint("192.0.2.", i)); cause != nil {
				t.Error(cause)
			}
		})
	}
	all.Wait()
}
