package access_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// tokenOf answers a token of somebody who logs in.
func tokenOf(t *testing.T, a *access.Access, name, password string) string {
	t.Helper()
	token, err := a.Issue(t.Context(), mustLogin(t, a, name, password), service, nil)
	if err != nil {
		t.Fatal(err)
	}
	return token.Raw
}

func dead(t *testing.T, a *access.Access, raw, what string) {
	t.Helper()
	if c, err := a.Verify(t.Context(), raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("%s: %+v, %v", what, c, err)
	}
	if c, err := a.VerifyForUpload(t.Context(), raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("%s, for an upload: %+v, %v", what, c, err)
	}
}

func alive(t *testing.T, a *access.Access, raw, what string) {
	t.Helper()
	if _, err := a.Verify(t.Context(), raw); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

func TestRevokedTokensAreRefusedAndNoOthers(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	makeUser(t, a, "joe")
	makeUser(t, a, "eve")
	r, secret := makeRobot(t, a, access.RobotSpec{Permissions: pusher("secret")})
	joe, eve, robot := tokenOf(t, a, "joe", joesPassword), tokenOf(t, a, "eve", joesPassword), tokenOf(t, a, r.Name, secret)
	stranger, err := a.Issue(t.Context(), access.Identity{}, service, nil)
	if err != nil {
		t.Fatal(err)
	}
	alive(t, a, joe, "before") // and so it is remembered
	if err = a.Revoke(t.Context(), "joe"); err != nil {
		t.Fatal(err)
	}
	dead(t, a, joe, "revoked")
	// Within the same second, which is as exact as the times of a token are, and without a clock to tell the two apart.
	alive(t, a, tokenOf(t, a, "joe", joesPassword), "the next")
	alive(t, a, eve, "another user's")
	alive(t, a, robot, "a robot's")
	alive(t, a, stranger.Raw, "a stranger's")
	if err = a.Revoke(t.Context(), r.Name); err != nil {
		t.Fatal(err)
	}
	dead(t, a, robot, "a robot's, revoked")
	alive(t, a, tokenOf(t, a, r.Name, secret), "the robot's next")
	alive(t, a, eve, "another user's")
	w.move(2 * time.Hour)
	dead(t, a, joe, "expired and revoked")
	for _, name := range []string{"", "nobody", "robot$absent", "x\x00"} {
		if err = a.Revoke(t.Context(), name); !fail.Is(err, fail.NotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestWhoIsLockedOutOrDeletedLosesHisTokens(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	off := access.RobotSpec{Days: access.Forever, Permissions: pusher("secret"), Disabled: true}
	for i, c := range []struct {
		what string
		user func(id int64) error
		bot  func(id int64) error
	}{
		{
			"disabled", func(id int64) error { _, err := a.SetDisabled(t.Context(), id, true); return err },
			func(id int64) error { _, err := a.UpdateRobot(t.Context(), administrator, id, off); return err },
		},
		{
			"deleted", func(id int64) error { _, err := a.DeleteUser(t.Context(), id); return err },
			func(id int64) error { _, err := a.DeleteRobot(t.Context(), id); return err },
		},
	} {
		joe := makeUser(t, a, fmt.Sprint("joe", i))
		r, secret := makeRobot(t, a, access.RobotSpec{Name: fmt.Sprint("ci", i), Permissions: pusher("secret")})
		raw, robot := tokenOf(t, a, joe.Name, joesPassword), tokenOf(t, a, r.Name, secret)
		if err := errors.Join(c.user(joe.ID), c.bot(r.ID)); err != nil {
			t.Fatal(err)
		}
		dead(t, a, raw, "a user who is "+c.what)
		dead(t, a, robot, "a robot that is "+c.what)
	}
}

// TestEveryNodeHearsOfARevocation lets one node revoke while the other runs. The revoking node's clock is hours behind: no clock decides.
func TestEveryNodeHearsOfARevocation(t *testing.T) {
	t.Parallel()
	behind, w, dir := &watch{now: time.Now().Add(-3 * time.Hour)}, &watch{now: time.Now()}, t.TempDir()
	db := databaseIn(t, dir, w.time)
	ends := make(chan string, 10)
	node := func() *access.Access {
		n, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Clock: w.time, AdminPassword: password, Cost: cheap, EndUploads: func(_ context.Context, subject string) error {
			ends <- subject
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	b := node()
	a := open(t, databaseIn(t, dir, behind.time), behind)
	makeUser(t, b, "joe")
	joe := tokenOf(t, b, "joe", joesPassword)
	cookie := beginAs(t, b, "joe", joesPassword)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	alive(t, b, joe, "before")
	goesOn(t, b, cookie, "before")
	if err := a.Revoke(t.Context(), "joe"); err != nil {
		t.Fatal(err)
	}
	select {
	case subject := <-ends:
		if subject != "joe" {
			t.Errorf("the uploads of %s are ended", subject)
		}
	case <-time.After(time.Minute):
		t.Fatal("the other node did not hear of it")
	}
	dead(t, b, joe, "on the other node")
	ended(t, b, cookie, "on the other node")
	alive(t, b, tokenOf(t, b, "joe", joesPassword), "the next")
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
	c := node()
	dead(t, c, joe, "on a node that starts later")
	select {
	case subject := <-ends:
		t.Errorf("the uploads of %s are ended twice", subject)
	default:
	}
}

func TestUploadsThatCouldNotBeEndedAreEndedLater(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	var mu sync.Mutex
	var ends []string
	broken := true
	a, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Clock: w.time, AdminPassword: password, Cost: cheap, EndUploads: func(_ context.Context, subject string) error {
		mu.Lock()
		defer mu.Unlock()
		if broken {
			return errors.New("the database is away")
		}
		ends = append(ends, subject)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	makeUser(t, a, "joe")
	raw := tokenOf(t, a, "joe", joesPassword)
	if err = a.Revoke(t.Context(), "joe"); err != nil {
		t.Errorf("revoked, and an error: %v", err)
	}
	dead(t, a, raw, "though its uploads go on")
	mu.Lock()
	broken = false
	mu.Unlock()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	for heard := false; !heard; time.Sleep(time.Millisecond) {
		mu.Lock()
		heard = slices.Equal(ends, []string{"joe"})
		mu.Unlock()
	}
	stop()
	if err = <-done; err != nil {
		t.Error(err)
	}
}

func TestANodeThatCouldNotLookForLongChangesNothing(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	a, other := open(t, db, w), open(t, db, w)
	makeUser(t, a, "joe")
	raw := tokenOf(t, a, "joe", joesPassword)
	if err := other.Revoke(t.Context(), "joe"); err != nil {
		t.Fatal(err)
	}
	if err := a.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	alive(t, a, raw, "on a node that looked a moment ago, and not since") // or this test shows nothing
	w.move(31 * time.Second)
	if err := a.Current(t.Context()); err != nil {
		t.Fatal(err)
	}
	dead(t, a, raw, "after a look")
	w.move(31 * time.Second)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.Current(t.Context()); !fail.Is(err, fail.Unavailable) || fail.RetryAfterOf(err) == 0 {
		t.Errorf("without a database: %v", err)
	}
	if _, err := a.Verify(t.Context(), raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("without a database: %v", err)
	}
}

func TestARevocationIsForgottenWhenNoTokenIsLeft(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now()}
	db := databaseAt(t, w.time)
	a := open(t, db, w)
	makeUser(t, a, "joe")
	for range 3 {
		if err := a.Revoke(t.Context(), "joe"); err != nil {
			t.Fatal(err)
		}
		w.move(time.Minute)
	}
	forget := func() int {
		n, err := a.ForgetRevocations(t.Context(), func(context.Context, *sqldb.Tx) error { return nil }, w.time(), 2)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	w.move(48 * time.Hour) // the life of a token that the configuration may allow, and of the upload that it began
	if n := forget(); n != 0 {
		t.Errorf("%d went too early", n)
	}
	w.move(2 * time.Hour)
	if first, second := forget(), forget(); first != 2 || second != 1 || count(t, db, "revocations") != 0 {
		t.Errorf("%d and %d went", first, second)
	}
	held := errors.New("the duty is another's")
	if _, err := a.ForgetRevocations(t.Context(), func(context.Context, *sqldb.Tx) error { return held }, w.time(), 2); !errors.Is(err, held) {
		t.Errorf("without the duty: %v", err)
	}
}
