package access_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// announced collects what is announced.
type announced struct {
	mu  sync.Mutex
	all []string
}

func (n *announced) add(password string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, password)
	return nil
}

func TestOfManyNodesOneAnnouncesAPassword(t *testing.T) {
	t.Parallel()
	db := database(t)
	heard := &announced{}
	var mu sync.Mutex
	var last *access.Access
	var all sync.WaitGroup
	for range 6 {
		all.Go(func() {
			a, _, err := access.New(context.WithoutCancel(t.Context()), access.Config{Seal: sealed(t, db), DB: db, Cost: cheap, Announce: heard.add, AdminPatience: time.Minute})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			last = a
		})
	}
	all.Wait()
	if len(heard.all) != 1 {
		t.Fatalf("%d passwords announced", len(heard.all))
	}
	if _, err := last.Authenticate(t.Context(), "admin", heard.all[0], here); err != nil {
		t.Errorf("the announced password: %v", err)
	}
}

func TestAFirstStartThatDiedIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	db := database(t)
	heard := &announced{}
	died := func(password string) error { return errors.Join(heard.add(password), errors.New("killed")) }
	if _, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Cost: cheap, Announce: died}); err == nil {
		t.Fatal("the first start did not die")
	}
	a, first, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Cost: cheap, Announce: heard.add})
	if err != nil {
		t.Fatal(err)
	}
	if len(heard.all) != 2 || first.Password != heard.all[1] {
		t.Fatalf("%d announced", len(heard.all))
	}
	if _, err = a.Authenticate(t.Context(), "admin", heard.all[0], here); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("the password of the start that died: %v", err)
	}
	if _, err = a.Authenticate(t.Context(), "admin", heard.all[1], here); err != nil {
		t.Errorf("the password of the next: %v", err)
	}
}

func TestANodeThatSleptWhileItMadeThePasswordHasNone(t *testing.T) {
	t.Parallel()
	db := database(t)
	var slow access.FirstStart
	var second *access.Access
	var fast access.FirstStart
	asleep := func(string) error { // another node starts and makes the administrator, while this one hands over its password
		var err error
		second, fast, err = access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Cost: cheap})
		return err
	}
	_, slow, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Cost: cheap, Announce: asleep})
	if err != nil {
		t.Fatal(err)
	}
	if slow.Password != "" || fast.Password == "" {
		t.Errorf("the slow node's %q, the fast one's %q", slow.Password, fast.Password)
	}
	if _, err = second.Authenticate(t.Context(), "admin", fast.Password, here); err != nil {
		t.Error(err)
	}
}

// heardBy is a log that calls somebody for each line.
type heardBy func()

func (h heardBy) Write(p []byte) (int, error) {
	h()
	return len(p), nil
}

func TestAnAdministratorUnderWayIsWaitedForAndIsNobody(t *testing.T) {
	t.Parallel()
	db := database(t)
	err := db.Tx(t.Context(), "test.pending", func(tx *sqldb.Tx) error {
		_, cause := tx.InsertIgnore(t.Context(), "users", []string{"id", "name", "password_hash", "admin", "disabled", "created_at", "changed_at"}, 1, "admin", "", true, true, 1, 0)
		return cause
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	log := slog.New(slog.NewTextHandler(heardBy(cancel), nil)) // what it says is that it waits
	if _, _, err = access.New(ctx, access.Config{Seal: sealed(t, db), DB: db, Log: log, Cost: cheap, AdminPassword: "mine", AdminPatience: time.Hour}); !fail.Is(err, fail.Unavailable) {
		t.Errorf("did not wait: %v", err)
	}
	a, first, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Cost: cheap, AdminPassword: "mine"})
	if err != nil || first.Password != "" {
		t.Fatalf("%+v, %v", first, err)
	}
	if _, err = a.Authenticate(t.Context(), "admin", "mine", here); err != nil {
		t.Error(err)
	}
}

func TestNoStartTouchesAnAdministratorThatCountsOrIsAnothers(t *testing.T) {
	t.Parallel()
	change := func(t *testing.T, db *sqldb.DB, set string) {
		t.Helper()
		err := db.Tx(t.Context(), "test.change", func(tx *sqldb.Tx) error {
			_, cause := tx.Exec(t.Context(), "UPDATE users SET "+set+" WHERE name = 'admin'")
			return cause
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct{ before, under string }{
		"disabled before this start":                       {"disabled = 1", ""},
		"enabled by this start already, and then disabled": {"", "disabled = 1, changed_at = 1"}, // its commit was run again
		"taken over by a node that is not through":         {"", "password_hash = 'another'"},
		"taken over by a node that is through":             {"", "password_hash = 'another', disabled = 1, changed_at = 1"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			db, heard := database(t), &announced{}
			cfg := access.Config{Seal: sealed(t, db), DB: db, Cost: cheap, Announce: func(password string) error {
				if c.under != "" {
					change(t, db, c.under)
				}
				return heard.add(password)
			}}
			if c.before != "" {
				first := cfg
				first.AdminPassword = password
				if _, _, err := access.New(t.Context(), first); err != nil {
					t.Fatal(err)
				}
				change(t, db, c.before)
			}
			a, _, err := access.New(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			var disabled bool
			if err = db.Row(t.Context(), "SELECT disabled FROM users WHERE name = 'admin'").Scan(&disabled); err != nil || !disabled {
				t.Errorf("enabled: %v", err)
			}
			for _, word := range append(heard.all, password) {
				if _, err = a.Authenticate(t.Context(), "admin", word, here); err == nil {
					t.Error("somebody can log in")
				}
			}
		})
	}
}

func TestTheAdministratorsPasswordCanBeReset(t *testing.T) {
	t.Parallel()
	db := database(t)
	reset := func(password string) (string, error) {
		return access.ResetAdmin(t.Context(), access.Config{DB: db, Clock: time.Now, Cost: cheap}, password)
	}
	if _, err := reset("new"); !fail.Is(err, fail.NotFound) || fail.HintOf(err) == "" {
		t.Fatalf("before the first start: %v", err)
	}
	open := func() *access.Access {
		t.Helper()
		a, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, AdminPassword: password, Cost: cheap})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := open()
	who, err := a.Authenticate(t.Context(), "admin", password, here)
	if err != nil {
		t.Fatal(err)
	}
	refresh, err := a.IssueRefresh(t.Context(), who, service)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = a.SetDisabled(t.Context(), administrator.User, true); err != nil {
		t.Fatal(err)
	}
	if _, err = reset(strings.Repeat("x", 1025)); !fail.Is(err, fail.Invalid) {
		t.Errorf("a password of 1025 bytes: %v", err)
	}
	for _, want := range []string{"another horse", ""} {
		given, resetErr := reset(want)
		if resetErr != nil || want != "" && given != want || len(given) < 12 {
			t.Fatalf("%q, %v", given, resetErr)
		}
		a = open() // as a start with the old one in its configuration would
		if who, err = a.Authenticate(t.Context(), "admin", given, "192.0.2.9"); err != nil || !who.Admin {
			t.Errorf("with the new password: %v", err)
		}
		if _, err = a.Authenticate(t.Context(), "admin", password, here); !fail.Is(err, fail.Unauthenticated) {
			t.Errorf("with the old password: %v", err)
		}
		if _, err = a.Refresh(t.Context(), refresh); !fail.Is(err, fail.Unauthenticated) {
			t.Errorf("with a refresh token of the old password: %v", err)
		}
	}
}

func TestAnAdministratorUnderWayIsNotReset(t *testing.T) {
	t.Parallel()
	db := database(t)
	broken := errors.New("no terminal")
	_, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Cost: cheap, Announce: func(string) error { return broken }})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if _, err = access.ResetAdmin(t.Context(), access.Config{DB: db, Clock: time.Now, Cost: cheap}, "new"); !fail.Is(err, fail.NotFound) {
		t.Errorf("reset answers %v", err)
	}
	if _, first, newErr := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Cost: cheap}); newErr != nil || first.Password == "" {
		t.Errorf("the next start makes %q, %v", first.Password, newErr)
	}
}
