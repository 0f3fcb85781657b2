package access_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// storedKeys answers the rows of the tokens' keys.
func storedKeys(t *testing.T, db *sqldb.DB) map[string]string {
	t.Helper()
	all := map[string]string{}
	for row, err := range db.Rows(t.Context(), "SELECT k, v FROM meta WHERE k > 'token_key:' AND k < 'token_key;'") {
		if err != nil {
			t.Fatal(err)
		}
		var k, v string
		if err = row.Scan(&k, &v); err != nil {
			t.Fatal(err)
		}
		all[k] = v
	}
	return all
}

func issue(t *testing.T, a *access.Access, subject string) string {
	t.Helper()
	token, err := a.Issue(t.Context(), access.Identity{Subject: subject}, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	return token.Raw
}

func TestNodesThatStartAtOnceMakeOneKey(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	var all sync.WaitGroup
	nodes := make([]*access.Access, 6)
	for i := range nodes {
		all.Go(func() {
			var err error
			if nodes[i], _, err = access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Clock: w.time, AdminPassword: password, Cost: cheap}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if t.Failed() {
		return
	}
	if n := len(storedKeys(t, db)); n != 1 {
		t.Errorf("%d keys", n)
	}
	for i, from := range nodes {
		raw := issue(t, from, "joe")
		for j, to := range nodes {
			if _, err := to.Verify(t.Context(), raw); err != nil {
				t.Errorf("a token of node %d at node %d: %v", i, j, err)
			}
		}
	}
}

func TestTheKeysAreStoredSealed(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	raw := issue(t, open(t, db, w), "joe")
	if _, err := open(t, db, w).Verify(t.Context(), raw); err != nil {
		t.Fatalf("at another node: %v", err)
	}
	for name, value := range storedKeys(t, db) {
		if key, err := sealed(t, db).Open(name, value); err != nil || strings.Contains(value, hex.EncodeToString(key)) {
			t.Errorf("%s is stored as %s: %v", name, value, err)
		}
	}
}

func TestASealedKeyIsGoodUnderItsOwnNameOnly(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	open(t, db, w)
	err := db.Tx(t.Context(), "test.rename", func(tx *sqldb.Tx) error {
		if _, cause := tx.Exec(t.Context(), "UPDATE meta SET k = 'token_key:0123456789abcdef' WHERE k > 'token_key:' AND k < 'token_key;'"); cause != nil {
			return cause
		}
		_, cause := tx.Exec(t.Context(), "UPDATE meta SET v = '0123456789abcdef' WHERE k = 'token_key'")
		return cause
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err = access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Clock: w.time, Cost: cheap}); !fail.Is(err, fail.Invalid) {
		t.Errorf("a key under another's name: %v", err)
	}
}

func TestANewKeyIsFoundByItsID(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	old := open(t, db, w)
	before := issue(t, old, "joe")
	next := sealed(t, db).Seal("token_key:feedfeedfeedfeed", make([]byte, 32))
	err := db.Tx(t.Context(), "test.rotate", func(tx *sqldb.Tx) error {
		if _, cause := tx.InsertIgnore(t.Context(), "meta", []string{"k", "v"}, "token_key:feedfeedfeedfeed", next); cause != nil {
			return cause
		}
		_, cause := tx.Exec(t.Context(), "UPDATE meta SET v = 'feedfeedfeedfeed' WHERE k = 'token_key'")
		return cause
	})
	if err != nil {
		t.Fatal(err)
	}
	young := open(t, db, w)
	after := issue(t, young, "joe")
	for what, a := range map[string]*access.Access{"a node of before": old, "a node of after": young} {
		for _, raw := range []string{before, after} {
			if _, err = a.Verify(t.Context(), raw); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if parsed, _, cause := jwt.NewParser().ParseUnverified(issue(t, old, "joe"), jwt.MapClaims{}); cause != nil || parsed.Header["kid"] != "feedfeedfeedfeed" {
		t.Errorf("a node that knows of the new key signs with it: %v, %v", parsed.Header, cause)
	}
}

func TestATokenHasDockersForm(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	token, err := a.Issue(t.Context(), access.Identity{Subject: "joe"}, service, parse(t, "repository:app:pull,push"))
	if err != nil {
		t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	parsed, _, err := jwt.NewParser().ParseUnverified(token.Raw, claims)
	if err != nil {
		t.Fatal(err)
	}
	if parsed.Method.Alg() != "HS256" || parsed.Header["kid"] == nil {
		t.Errorf("header %v", parsed.Header)
	}
	now := float64(w.time().Unix())
	want := map[string]any{
		"iss": "havn", "sub": "joe", "aud": []any{service}, "iat": now, "nbf": now, "exp": now + 1800,
		"access": []any{map[string]any{"type": "repository", "name": "app", "actions": []any{"pull", "push"}}},
	}
	for k, v := range want {
		if fmt.Sprint(claims[k]) != fmt.Sprint(v) {
			t.Errorf("%s is %v, want %v", k, claims[k], v)
		}
	}
	if id, ok := claims["jti"].(string); !ok || len(id) < 32 {
		t.Errorf("jti %v", claims["jti"])
	}
}

func TestATokenForAnotherServiceIsRefused(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	token, err := a.Issue(t.Context(), access.Identity{Subject: "admin", Admin: true}, "another-registry", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = a.Verify(t.Context(), token.Raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("verified: %v", err)
	}
}

func TestATokenOfTheFutureIsRefusedBeyondTheSkew(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	w.move(45 * time.Second)
	near := issue(t, a, "joe")
	w.move(2 * time.Minute)
	far := issue(t, a, "joe")
	w.move(-165 * time.Second)
	if _, err := a.Verify(t.Context(), near); err != nil {
		t.Errorf("within the skew: %v", err)
	}
	for what, verify := range map[string]func(string) error{
		"Verify":          func(raw string) error { _, err := a.Verify(t.Context(), raw); return err },
		"VerifyForUpload": func(raw string) error { _, err := a.VerifyForUpload(t.Context(), raw); return err },
	} {
		if err := verify(far); !fail.Is(err, fail.Unauthenticated) {
			t.Errorf("%s beyond the skew: %v", what, err)
		}
	}
}

func TestOneSignatureHasOneSpelling(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	raw := issue(t, a, "joe")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for _, c := range alphabet {
		other := raw[:len(raw)-1] + string(c)
		if _, err := a.Verify(t.Context(), other); (err == nil) != (other == raw) {
			t.Errorf("the last letter %c for %c: %v", c, raw[len(raw)-1], err)
		}
	}
}

func TestWhatIsRememberedOfTokensIsBounded(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	for i := range 8000 { // fewer than are remembered, and longer in all
		if _, err := a.Verify(t.Context(), issue(t, a, fmt.Sprint("user", i))); err != nil {
			t.Fatal(err)
		}
	}
	var scopes []access.Scope
	for i := range 100 {
		scopes = append(scopes, access.Scope{Type: "repository", Name: fmt.Sprintf("library/%0200d", i), Actions: []string{"pull"}})
	}
	long, err := a.Issue(t.Context(), access.Identity{}, service, scopes)
	if err != nil {
		t.Fatal(err)
	}
	if c, cause := a.Verify(t.Context(), long.Raw); cause != nil || len(c.Granted) != 100 {
		t.Errorf("a token of 100 scopes: %v", cause)
	}
	if n, bytes, most, mostBytes := a.Remembered(); n == 0 || n > most || bytes > mostBytes {
		t.Errorf("%d tokens of %d bytes, want at most %d and %d", n, bytes, most, mostBytes)
	}
}

func TestADatabaseThatIsAwayIsNoProofAgainstAToken(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	a := open(t, db, w)
	known, unknown := issue(t, a, "joe"), issue(t, open(t, database(t), w), "joe")
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Verify(t.Context(), known); err != nil {
		t.Errorf("a token of a key that is known: %v", err)
	}
	if _, err := a.Verify(t.Context(), unknown); err == nil || fail.Is(err, fail.Unauthenticated) {
		t.Errorf("a token of a key that can't be looked for: %v", err)
	}
}
