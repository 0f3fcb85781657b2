package access_test

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

const joesPassword = "Joes password 1"

func makeUser(t *testing.T, a *access.Access, name string) access.User {
	t.Helper()
	u, err := a.CreateUser(t.Context(), access.UserSpec{Name: name, Password: joesPassword})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestATokenLogsItsUserInWithoutTheSlowHash(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	joe, eve := makeUser(t, a, "joe"), makeUser(t, a, "eve")
	token, secret, err := a.CreateUserToken(t.Context(), joe.ID, "laptop", w.time().Add(24*time.Hour))
	if err != nil || !strings.HasPrefix(secret, "havn_pat_") || len(secret) != len("havn_pat_")+43 || token.Name != "laptop" || token.ID == 0 {
		t.Fatalf("%+v, %q, %v", token, secret, err)
	}
	_, forever, err := a.CreateUserToken(t.Context(), joe.ID, "ci", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	before := a.HashesMade()
	who := mustLogin(t, a, "joe", secret)
	if who.User != joe.ID || who.Subject != "joe" || who.Admin || who.Robot != 0 {
		t.Errorf("logged in as %+v", who)
	}
	if raw, refreshErr := a.IssueRefresh(t.Context(), who, service); raw != "" || refreshErr != nil {
		t.Errorf("a refresh token of a token: %q, %v", raw, refreshErr)
	}
	for name, with := range map[string]string{"joe": secret[:20], "eve": secret, "nobody": secret, "admin": forever} {
		refused(t, a, name, with, "with a token that is not his")
	}
	refused(t, a, "joe", secret+"x", "with a longer one")
	if n := a.HashesMade() - before; n != 0 {
		t.Errorf("%d slow hashes", n)
	}
	mustLogin(t, a, "joe", joesPassword)
	w.move(25 * time.Hour)
	refused(t, a, "joe", secret, "with a token that ended")
	mustLogin(t, a, "joe", forever)
	if _, err = a.SetDisabled(t.Context(), joe.ID, true); err != nil {
		t.Fatal(err)
	}
	refused(t, a, "joe", forever, "disabled")
	if _, err = a.DeleteUserToken(t.Context(), eve.ID, token.ID); !fail.Is(err, fail.NotFound) {
		t.Errorf("somebody else's token deleted: %v", err)
	}
}

func TestTokensAreListedUsedAndDeleted(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now().Truncate(time.Microsecond)}
	a := open(t, databaseAt(t, w.time), w)
	joe := makeUser(t, a, "joe")
	token, secret, err := a.CreateUserToken(t.Context(), joe.ID, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	used := func(want time.Time) {
		t.Helper()
		all, listErr := a.UserTokens(t.Context(), joe.ID)
		if listErr != nil || len(all) != 1 || all[0].ID != token.ID || !all[0].Used.Equal(want) || !all[0].Created.Equal(token.Created) || !all[0].Expires.IsZero() {
			t.Errorf("%+v, want use at %s, %v", all, want, listErr)
		}
	}
	used(time.Time{})
	first := w.time()
	mustLogin(t, a, "joe", secret)
	used(first)
	w.move(59 * time.Minute)
	mustLogin(t, a, "joe", secret)
	used(first)
	w.move(time.Minute)
	mustLogin(t, a, "joe", secret)
	used(first.Add(time.Hour))
	gone, err := a.DeleteUserToken(t.Context(), joe.ID, token.ID)
	if err != nil || gone.Name != "laptop" {
		t.Errorf("%+v, %v", gone, err)
	}
	refused(t, a, "joe", secret, "with a deleted token")
	if _, err = a.DeleteUserToken(t.Context(), joe.ID, token.ID); !fail.Is(err, fail.NotFound) {
		t.Errorf("again: %v", err)
	}
}

func TestTokensThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	joe := makeUser(t, a, "joe")
	if _, _, err := a.CreateUserToken(t.Context(), joe.ID, "there", time.Time{}); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]fail.Kind{"": fail.Invalid, " x": fail.Invalid, "x ": fail.Invalid, "x\x00": fail.Invalid, strings.Repeat("x", 256): fail.Invalid, "there": fail.Exists} {
		if _, secret, err := a.CreateUserToken(t.Context(), joe.ID, name, time.Time{}); !fail.Is(err, kind) || secret != "" {
			t.Errorf("%q: %q, %v", name, secret, err)
		}
	}
	if _, _, err := a.CreateUserToken(t.Context(), joe.ID, "over", w.time()); !fail.Is(err, fail.Invalid) {
		t.Errorf("one that is over: %v", err)
	}
	for _, seconds := range []int64{1 << 40, 1 << 61, math.MaxInt64, math.MinInt64} {
		if made, _, err := a.CreateUserToken(t.Context(), joe.ID, "far", time.Unix(seconds, 0)); !fail.Is(err, fail.Invalid) {
			t.Errorf("%d seconds: %+v, %v", seconds, made, err)
		}
	}
	if _, _, err := a.CreateUserToken(t.Context(), 99, "nobody's", time.Time{}); !fail.Is(err, fail.NotFound) {
		t.Errorf("nobody's: %v", err)
	}
	for i := range 99 {
		if _, _, err := a.CreateUserToken(t.Context(), joe.ID, strings.Repeat("t", i+1), time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := a.CreateUserToken(t.Context(), joe.ID, "one more", time.Time{}); !fail.Is(err, fail.Exhausted) {
		t.Errorf("the 101st: %v", err)
	}
}

func TestACLISecretIsOneAndMayBeChosen(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	joe := makeUser(t, a, "joe")
	first, err := a.SetCLISecret(t.Context(), joe.ID, "")
	if err != nil || !strings.HasPrefix(first, "havn_pat_") {
		t.Fatalf("%q, %v", first, err)
	}
	mustLogin(t, a, "joe", first)
	if second, cause := a.SetCLISecret(t.Context(), joe.ID, "Chosen by 1"); cause != nil || second != "Chosen by 1" {
		t.Fatalf("%q, %v", second, cause)
	}
	refused(t, a, "joe", first, "with the secret of before")
	before := a.HashesMade()
	mustLogin(t, a, "joe", "Chosen by 1")
	if a.HashesMade() != before {
		t.Error("it cost a slow hash")
	}
	mustLogin(t, a, "joe", joesPassword)
	for user, kind := range map[int64]fail.Kind{joe.ID: fail.Invalid, 99: fail.NotFound} {
		secret := map[fail.Kind]string{fail.Invalid: "weak", fail.NotFound: ""}[kind]
		if _, err = a.SetCLISecret(t.Context(), user, secret); !fail.Is(err, kind) {
			t.Errorf("user %d: %v", user, err)
		}
	}
	if all, listErr := a.UserTokens(t.Context(), joe.ID); listErr != nil || len(all) != 1 || all[0].Name != "" {
		t.Errorf("%+v, %v", all, listErr)
	}
}

func TestATokenWhoseCommitIsNotKnownOfIsMadeOnce(t *testing.T) {
	t.Parallel()
	a := open(t, unsure(t, "token.create"), &watch{now: time.Now()})
	joe := makeUser(t, a, "joe")
	if _, secret, err := a.CreateUserToken(t.Context(), joe.ID, "laptop", time.Time{}); err != nil {
		t.Error(err)
	} else {
		mustLogin(t, a, "joe", secret)
	}
}

func FuzzSecret(f *testing.F) {
	for _, seed := range []string{"havn_pat_", "havn_pat_x", "Password1", "pässword1A", "A1a\xff45678"} {
		f.Add(seed)
	}
	a := fuzzed(f)
	joe, err := a.CreateUser(context.Background(), access.UserSpec{Name: "joe", Password: joesPassword})
	if err != nil {
		f.Fatal(err)
	}
	_, good, err := a.CreateUserToken(context.Background(), joe.ID, "laptop", time.Time{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(strings.TrimPrefix(good, "havn_pat_"))
	f.Fuzz(func(t *testing.T, secret string) {
		if access.CheckSecret(secret) == nil && (len(secret) < 8 || len(secret) > 128 || strings.ToLower(secret) == secret || strings.ToUpper(secret) == secret || !strings.ContainsAny(secret, "0123456789")) {
			t.Errorf("%q is taken", secret)
		}
		// What begins as a token is looked at as one, whatever it is: nothing slow, and nobody else is asked.
		before := a.HashesMade()
		who, loginErr := login(t, a, "joe", "havn_pat_"+secret)
		if a.HashesMade() != before {
			t.Errorf("%q cost a slow hash", secret)
		}
		if is := "havn_pat_"+secret == good; is != (loginErr == nil) || is && who.User != joe.ID || !is && !fail.Is(loginErr, fail.Unauthenticated) {
			t.Errorf("%q: %+v, %v", secret, who, loginErr)
		}
	})
}
