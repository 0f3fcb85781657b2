package access_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// counters is what nodes count together, in memory: five failures of a pair, then a wait.
type counters struct {
	mu    sync.Mutex
	pairs map[string]int
	gone  bool
	deaf  bool // takes nothing back
}

func (c *counters) count(pair string, change func(n int) int) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return 0, fail.E(fail.Unavailable, nil, "gone")
	}
	n := c.pairs[pair]
	if change == nil || change(n) > n && n >= access.FreePerUser {
		if n >= access.FreePerUser {
			return time.Second, nil
		}
		return 0, nil
	}
	c.pairs[pair] = change(n)
	return 0, nil
}

func (c *counters) Wait(_ context.Context, _, pair string) (time.Duration, error) {
	return c.count(pair, nil)
}

func (c *counters) Begin(_ context.Context, _, pair string) (time.Duration, error) {
	return c.count(pair, func(n int) int { return n + 1 })
}

func (c *counters) Right(_ context.Context, _, pair string) error {
	if c.isDeaf() {
		return fail.E(fail.Unavailable, nil, "deaf")
	}
	_, err := c.count(pair, func(int) int { return 0 })
	return err
}

func (c *counters) Unknown(_ context.Context, _, pair string) error {
	if c.isDeaf() {
		return fail.E(fail.Unavailable, nil, "deaf")
	}
	_, err := c.count(pair, func(n int) int { return n - 1 })
	return err
}

func (c *counters) isDeaf() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.deaf
}

func (c *counters) hear(hears bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf = !hears
}

func (c *counters) be(gone bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = gone
}

// nodes makes nodes of one cluster that count together.
func nodes(t *testing.T, n int, shared access.Guesses) []*access.Access {
	t.Helper()
	db := database(t)
	w := &watch{now: time.Now()} // stands still: no wait ends
	var all []*access.Access
	for range n {
		a, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Clock: w.time, AdminPassword: password, Cost: cheap, Guesses: shared})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

func TestGuessesAtManyNodesAreNotCheaperThanAtOne(t *testing.T) {
	t.Parallel()
	all := nodes(t, 3, &counters{pairs: map[string]int{}})
	if _, err := all[0].Authenticate(t.Context(), "admin", password, here); err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for i := range 15 {
		switch _, err := all[i%3].Authenticate(t.Context(), "admin", fmt.Sprint("guess", i), here); {
		case fail.Is(err, fail.Unauthenticated):
			wrong++
		case !fail.Is(err, fail.Exhausted):
			t.Fatal(err)
		}
	}
	if wrong != access.FreePerUser {
		t.Errorf("%d guesses were tried, want %d", wrong, access.FreePerUser)
	}
	for i, a := range all { // also where the right one is remembered
		if _, err := a.Authenticate(t.Context(), "admin", password, here); !fail.Is(err, fail.Exhausted) {
			t.Errorf("node %d tells the right guess: %v", i, err)
		}
	}
}

func TestARightPasswordClearsTheCountEverywhere(t *testing.T) {
	t.Parallel()
	all := nodes(t, 2, &counters{pairs: map[string]int{}})
	for range 3 {
		for i := range access.FreePerUser - 1 {
			if _, err := all[i%2].Authenticate(t.Context(), "admin", fmt.Sprint("guess", i), here); !fail.Is(err, fail.Unauthenticated) {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		for i, a := range all {
			if _, err := a.Authenticate(t.Context(), "admin", password, here); err != nil {
				t.Fatalf("node %d: %v", i, err)
			}
			if _, err := a.SetDisabled(t.Context(), administrator.User, false); err != nil { // forgets who was right a moment ago
				t.Fatal(err)
			}
		}
	}
}

func TestWithoutTheSharedCountEachNodeCountsAlone(t *testing.T) {
	t.Parallel()
	shared := &counters{pairs: map[string]int{}, gone: true}
	all := nodes(t, 2, shared)
	for n, a := range all {
		wrong := 0
		for i := range 10 {
			if _, err := a.Authenticate(t.Context(), "admin", fmt.Sprint("guess", i), here); fail.Is(err, fail.Unauthenticated) {
				wrong++
			}
		}
		if wrong != access.FreePerUser {
			t.Errorf("node %d tried %d guesses, want %d", n, wrong, access.FreePerUser)
		}
	}
	shared.be(false)
	if _, err := all[0].Authenticate(t.Context(), "admin", password, here); !fail.Is(err, fail.Exhausted) {
		t.Errorf("a node forgot its own count when the shared one came back: %v", err)
	}
}

func TestLoginsWhoseEndIsNotHeardAreNotTakenForGuesses(t *testing.T) {
	t.Parallel()
	shared := &counters{pairs: map[string]int{}}
	all := nodes(t, 3, shared)
	logIn := func(i int) {
		t.Helper()
		a := all[i%len(all)]
		if _, err := a.Authenticate(t.Context(), "admin", password, here); err != nil {
			t.Fatalf("login %d: %v", i, err)
		}
		if _, err := a.SetDisabled(t.Context(), administrator.User, false); err != nil { // forgets who was right a moment ago
			t.Fatal(err)
		}
	}
	shared.hear(false)
	for i := range 4 * access.FreePerUser {
		logIn(i)
	}
	shared.hear(true)
	for i := range all {
		logIn(i)
	}
	for pair, n := range shared.pairs {
		if n != 0 {
			t.Errorf("%d failures of %s are left, after logins alone", n, pair)
		}
	}
	wrong := 0
	for i := range 10 {
		if _, err := all[i%len(all)].Authenticate(t.Context(), "admin", fmt.Sprint("guess", i), here); fail.Is(err, fail.Unauthenticated) {
			wrong++
		}
	}
	if wrong != access.FreePerUser {
		t.Errorf("%d guesses were tried after that, want %d", wrong, access.FreePerUser)
	}
}
