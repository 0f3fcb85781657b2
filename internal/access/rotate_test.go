package access_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

func TestARotatedKeySignsAndTheOldOneVerifiesForItsTokensLife(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now()}
	db := databaseAt(t, w.time)
	cfg := access.Config{Seal: sealed(t, db), DB: db, Clock: w.time}
	a := open(t, db, w)
	old, refresh := issue(t, a, "joe"), refreshToken(t, a)
	done, err := access.RotateKey(t.Context(), cfg, false)
	if err != nil || done.Old == done.New || !done.Until.After(w.time().Add(access.DefaultRefreshTTL)) {
		t.Fatalf("%+v, %v", done, err)
	}
	if kid, checkErr := access.CheckKey(t.Context(), db, sealed(t, db), w.time); checkErr != nil || kid != done.New {
		t.Errorf("signs: %s, %v, want %s", kid, checkErr, done.New)
	}
	b := open(t, db, w) // the next start; a still runs
	if _, err = b.Verify(t.Context(), old); err != nil {
		t.Errorf("a token of before: %v", err)
	}
	w.move(access.DefaultRefreshTTL - time.Minute)
	if _, err = b.Refresh(t.Context(), refresh); err != nil {
		t.Errorf("a refresh token of before: %v", err)
	}
	late, fresh := issue(t, a, "joe"), issue(t, b, "joe") // with the old key, of which a knows nothing better, and with the new one
	for what, node := range map[string]*access.Access{"the next": b, "one that runs": a} {
		if _, err = node.Verify(t.Context(), fresh); err != nil {
			t.Errorf("a token of the new key at %s: %v", what, err)
		}
	}
	w.move(10 * time.Minute)
	if _, err = open(t, db, w).Verify(t.Context(), late); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("a key whose time is over: %v", err)
	}
	if _, err = access.RotateKey(t.Context(), cfg, false); err != nil {
		t.Fatal(err)
	}
	if n := len(storedKeys(t, db)); n != 2 {
		t.Errorf("%d keys stored, want 2", n)
	}
}

func TestARevokedKeyEndsItsTokens(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now()}
	db := databaseAt(t, w.time)
	a := open(t, db, w)
	old, refresh := issue(t, a, "joe"), refreshToken(t, a)
	cfg := access.Config{Seal: sealed(t, db), DB: db, Clock: w.time}
	if _, err := access.RotateKey(t.Context(), cfg, false); err != nil {
		t.Fatal(err)
	}
	done, err := access.RotateKey(t.Context(), cfg, true)
	if err != nil || !done.Until.IsZero() || len(storedKeys(t, db)) != 1 {
		t.Fatalf("%+v, %v, %d keys", done, err, len(storedKeys(t, db)))
	}
	b := open(t, db, w)
	if _, err = b.Verify(t.Context(), old); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("a token of before: %v", err)
	}
	if _, err = b.Refresh(t.Context(), refresh); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("a refresh token of before: %v", err)
	}
	if _, err = b.Verify(t.Context(), issue(t, b, "joe")); err != nil {
		t.Errorf("a new token: %v", err)
	}
}

func TestNodesThatRunTakeANewKeyAtTheirNextLook(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now()}
	db := databaseAt(t, w.time)
	a, b := open(t, db, w), open(t, db, w)
	old := issue(t, a, "joe")
	cfg := access.Config{Seal: sealed(t, db), DB: db, Clock: w.time}
	look := func() {
		t.Helper()
		w.move(time.Minute) // longer than a node goes on without a look
		for _, node := range []*access.Access{a, b} {
			if err := node.Current(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	done, err := access.RotateKey(t.Context(), cfg, false)
	if err != nil {
		t.Fatal(err)
	}
	look()
	fresh := issue(t, a, "joe")
	if got := keyOf(t, fresh); got != done.New {
		t.Errorf("signs with %s, want %s", got, done.New)
	}
	alive(t, b, old, "a token of the old key")
	alive(t, b, fresh, "a token of the new key")
	if done, err = access.RotateKey(t.Context(), cfg, true); err != nil {
		t.Fatal(err)
	}
	look()
	dead(t, a, old, "a token of a key that was revoked")
	dead(t, b, fresh, "a token of a key that was revoked, which was remembered")
	if got := keyOf(t, issue(t, b, "joe")); got != done.New {
		t.Errorf("signs with %s, want %s", got, done.New)
	}
}

// keyOf answers the id of the key that signed a token.
func keyOf(t *testing.T, raw string) string {
	t.Helper()
	token, _, err := jwt.NewParser().ParseUnverified(raw, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(token.Header["kid"])
}

func TestThereIsNoKeyToRotateBeforeTheFirstStart(t *testing.T) {
	t.Parallel()
	db := database(t)
	if _, err := access.RotateKey(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Clock: time.Now}, false); !fail.Is(err, fail.NotFound) {
		t.Error(err)
	}
}

func TestTheNumberOfKeysIsBounded(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now()}
	db := databaseAt(t, w.time)
	open(t, db, w)
	cfg := access.Config{Seal: sealed(t, db), DB: db, Clock: w.time}
	var err error
	for range 99 {
		if _, err = access.RotateKey(t.Context(), cfg, false); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = access.RotateKey(t.Context(), cfg, false); !fail.Is(err, fail.Exhausted) {
		t.Errorf("one more: %v", err)
	}
	open(t, db, w)
	if _, err = access.RotateKey(t.Context(), cfg, true); err != nil {
		t.Error(err)
	}
}
