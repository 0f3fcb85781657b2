package access_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

func TestGuessesAtOnceAreNotCheaperThanOneAfterAnother(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	before := a.HashesMade()
	var mu sync.Mutex
	wrong, slowed := 0, 0
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			_, err := a.Authenticate(t.Context(), "admin", fmt.Sprint("guess", i), here)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case fail.Is(err, fail.Unauthenticated):
				wrong++
			case fail.Is(err, fail.Exhausted):
				slowed++
			default:
				t.Errorf("guess %d: %v", i, err)
			}
		})
	}
	all.Wait()
	if wrong != 5 || slowed != 35 || a.HashesMade()-before != 5 {
		t.Errorf("%d tried, %d slowed, %d hashes, want 5, 35, 5", wrong, slowed, a.HashesMade()-before)
	}
}

func TestTheSameCredentialsAtOnceCostOneHash(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	before := a.HashesMade()
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if _, err := a.Authenticate(t.Context(), "admin", password, here); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := a.HashesMade() - before; n != 1 {
		t.Errorf("%d hashes", n)
	}
}

func TestAClientThatGoesAwayTakesNobodyAlong(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Authenticate(gone, "admin", password, here); !fail.Is(err, fail.Unavailable) && err != nil {
		t.Errorf("a request that ended: %v", err)
	}
	if _, err := a.Authenticate(t.Context(), "admin", password, here); err != nil {
		t.Errorf("the next one: %v", err)
	}
}

func TestEveryWrongGuessCostsTheSame(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	hashes := func(what, user, guess string) {
		t.Helper()
		before := a.HashesMade()
		if _, err := a.Authenticate(t.Context(), user, guess, here); !fail.Is(err, fail.Unauthenticated) {
			t.Errorf("%s: %v", what, err)
		}
		if n := a.HashesMade() - before; n != 1 {
			t.Errorf("%s: %d hashes, want 1", what, n)
		}
	}
	hashes("known user", "admin", "guess")
	hashes("unknown user", "nobody", "guess")
	if _, err := a.SetDisabled(t.Context(), administrator.User, true); err != nil {
		t.Fatal(err)
	}
	hashes("disabled user", "admin", password)
	before := a.HashesMade()
	if _, err := a.Authenticate(t.Context(), "admin", strings.Repeat("x", 1<<20), here); !fail.Is(err, fail.Unauthenticated) || a.HashesMade() != before {
		t.Errorf("an endless password: %v, %d hashes", err, a.HashesMade()-before)
	}
}

func TestARememberedLoginTellsAGuesserNothing(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	if _, err := a.Authenticate(t.Context(), "admin", password, here); err != nil {
		t.Fatal(err)
	}
	const elsewhere = "198.51.100.7"
	for i := range 5 {
		if _, err := a.Authenticate(t.Context(), "admin", fmt.Sprint("guess", i), elsewhere); !fail.Is(err, fail.Unauthenticated) {
			t.Fatal(err)
		}
	}
	for _, guess := range []string{"wrong", password} {
		if _, err := a.Authenticate(t.Context(), "admin", guess, elsewhere); !fail.Is(err, fail.Exhausted) {
			t.Errorf("the guesser tells %q apart: %v", guess, err)
		}
	}
	if _, err := a.Authenticate(t.Context(), "admin", password, here); err != nil {
		t.Errorf("the owner: %v", err)
	}
}

func TestAProgramWithAnOldPasswordDoesNotLockItsNeighboursOut(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	for hour := range 48 {
		for range 12 { // it tries as often as it may
			w.move(5 * time.Minute)
			if _, err := a.Authenticate(t.Context(), "robot", "of last year", here); !fail.Is(err, fail.Unauthenticated) && !fail.Is(err, fail.Exhausted) {
				t.Fatal(err)
			}
		}
		if _, err := a.Authenticate(t.Context(), "admin", password, here); err != nil {
			t.Fatalf("hour %d: a neighbour at the same address: %v", hour, err)
		}
	}
}

func TestAnAddressThatUsedItsAllowanceGetsOneGuessARefill(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	n := 0
	guess := func() error {
		n++
		_, err := a.Authenticate(t.Context(), fmt.Sprint("user", n), "guess", here)
		return err
	}
	for range 50 {
		if err := guess(); !fail.Is(err, fail.Unauthenticated) {
			t.Fatalf("guess %d: %v", n, err)
		}
	}
	for range 3 {
		err := guess()
		if !fail.Is(err, fail.Exhausted) || fail.RetryAfterOf(err) != 10*time.Second {
			t.Fatalf("guess %d: %v, wait %s", n, err, fail.RetryAfterOf(err))
		}
		w.move(fail.RetryAfterOf(err))
		if err = guess(); !fail.Is(err, fail.Unauthenticated) {
			t.Fatalf("guess %d, after the time that it was told: %v", n, err)
		}
	}
}

func TestHashesOfAnotherCostAreMadeAnew(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	refresh := refreshToken(t, open(t, db, w))
	a, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Clock: w.time, Cost: access.Cost{Passes: 2, MemoryKiB: 128}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = a.Authenticate(t.Context(), "admin", password, here); err != nil {
		t.Fatal(err)
	}
	var stored string
	if err = db.Row(t.Context(), "SELECT password_hash FROM users WHERE name = 'admin'").Scan(&stored); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stored, "$argon2id$v=19$m=128,t=2,p=1$") {
		t.Errorf("stored: %.40s", stored)
	}
	w.move(time.Minute) // the login is no longer remembered
	if _, err = a.Authenticate(t.Context(), "admin", password, here); err != nil {
		t.Errorf("the new hash: %v", err)
	}
	if _, err = a.Refresh(t.Context(), refresh); err != nil {
		t.Errorf("a refresh token of before: %v", err)
	}
}

func TestAStoredHashThatCannotBeReadIsNoPassword(t *testing.T) {
	t.Parallel()
	const salt, key = "AAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if _, _, err := access.ReadHash("$argon2id$v=19$m=9216,t=4,p=1$" + salt + "$" + key); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		"", "plain", "$2y$10$abc", "$argon2id$v=18$m=9216,t=4,p=1$" + salt + "$" + key, "$argon2i$v=19$m=9216,t=4,p=1$" + salt + "$" + key,
		"$argon2id$v=19$m=9216,t=0,p=1$" + salt + "$" + key, "$argon2id$v=19$m=99999999,t=4,p=1$" + salt + "$" + key, "$argon2id$v=19$m=9216,t=4,p=2$" + salt + "$" + key,
		"$argon2id$v=19$m=9216,t=4,p=1$" + salt + "$AAAA", "$argon2id$v=19$m=9216,t=4,p=1$$" + key,
	} {
		if _, _, err := access.ReadHash(text); !fail.Is(err, fail.Internal) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestOneSiteCantKeepOthersFromLoggingIn(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	release := a.HoldHashes()
	var all sync.WaitGroup
	for i := range 400 {
		all.Go(func() {
			_, err := a.Authenticate(t.Context(), fmt.Sprint("user", i), "guess", fmt.Sprintf("2001:db8:1:%x::1", i%8))
			if !fail.Is(err, fail.Unauthenticated) && !fail.Is(err, fail.Exhausted) {
				t.Errorf("guess %d: %v", i, err)
			}
		})
	}
	for _, addr := range []string{here, "2001:db8:2::1"} {
		all.Go(func() {
			for a.HashesWaiting() < 32 {
				time.Sleep(time.Millisecond)
			}
			if _, err := a.Authenticate(t.Context(), "admin", password, addr); err != nil {
				t.Errorf("admin at %s: %v", addr, err)
			}
		})
	}
	for a.HashesWaiting() < 33 { // 32 of the site, and one flight of admin's
		time.Sleep(time.Millisecond)
	}
	release()
	all.Wait()
}
