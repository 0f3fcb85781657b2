package access_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// beginAs begins a session of somebody, and answers its cookie.
func beginAs(t *testing.T, a *access.Access, name, password string) string {
	t.Helper()
	cookie, err := a.Begin(t.Context(), mustLogin(t, a, name, password), here, "Mozilla")
	if err != nil {
		t.Fatal(err)
	}
	return cookie
}

// ended fails the test unless a session has ended.
func ended(t *testing.T, a *access.Access, cookie, when string) {
	t.Helper()
	if who, err := a.Check(t.Context(), cookie); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("%s: %+v, %v", when, who, err)
	}
}

func goesOn(t *testing.T, a *access.Access, cookie, when string) {
	t.Helper()
	if _, err := a.Check(t.Context(), cookie); err != nil {
		t.Errorf("%s: %v", when, err)
	}
}

func TestASessionIsItsUsersUntilItEnds(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now().Truncate(time.Microsecond)}
	db := databaseAt(t, w.time)
	a, b := open(t, db, w), open(t, db, w)
	joe := makeUser(t, a, "joe")
	one, two := beginAs(t, a, "joe", joesPassword), beginAs(t, a, "joe", joesPassword)
	other := beginAs(t, a, "admin", password)
	if len(one) != 64 || one == two {
		t.Errorf("cookies %q and %q", one, two)
	}
	for _, node := range []*access.Access{a, b} {
		if who, err := node.Check(t.Context(), one); err != nil || who.User != joe.ID || who.Subject != "joe" || who.Admin {
			t.Errorf("%+v, %v", who, err)
		}
	}
	var stored []byte
	if err := db.Row(t.Context(), "SELECT id FROM sessions WHERE user_id = ? LIMIT 1", joe.ID).Scan(&stored); err != nil || strings.Contains(one+two, fmt.Sprintf("%x", stored)) {
		t.Errorf("the cookie itself is stored: %x, %v", stored, err)
	}
	for _, cookie := range []string{"", "x", strings.Repeat("0", 64), strings.ToUpper(one) + "0", one[:63], fmt.Sprintf("%x", stored)} {
		ended(t, a, cookie, "a cookie of nobody's")
	}
	if err := a.End(t.Context(), one); err != nil {
		t.Fatal(err)
	}
	ended(t, a, one, "ended")
	w.move(4 * time.Second)
	ended(t, b, one, "ended through another node, seconds ago")
	goesOn(t, a, two, "the user's other session")
	goesOn(t, a, other, "somebody else's")
	for _, cookie := range []string{one, "x"} {
		if err := a.End(t.Context(), cookie); err != nil {
			t.Errorf("ended again: %v", err)
		}
	}
}

func TestASessionEndsWhenItIsIdleAndWhenItIsOld(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now()}
	a := open(t, databaseAt(t, w.time), w)
	idle, busy := beginAs(t, a, "admin", password), beginAs(t, a, "admin", password)
	for range 2 {
		w.move(50 * time.Minute)
		goesOn(t, a, busy, "used within the idle time")
	}
	ended(t, a, idle, "not used for longer than the idle time")
	for range 20 {
		w.move(30 * time.Minute)
		goesOn(t, a, busy, "used all the time")
	}
	w.move(30 * time.Minute)
	ended(t, a, busy, "older than a session's life")
}

func TestASessionsUseIsWrittenRarely(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now().Truncate(time.Microsecond)}
	db := databaseAt(t, w.time)
	a := open(t, db, w)
	begun := w.time()
	cookie := beginAs(t, a, "admin", password)
	for _, c := range []struct{ wait, want time.Duration }{{5 * time.Minute, 0}, {59 * time.Second, 0}, {time.Second, 6 * time.Minute}, {5 * time.Minute, 6 * time.Minute}} {
		w.move(c.wait)
		goesOn(t, a, cookie, "in use")
		var active int64
		if err := db.Row(t.Context(), "SELECT active_at FROM sessions").Scan(&active); err != nil || time.UnixMicro(active).Sub(begun) != c.want {
			t.Errorf("written after %s, want %s, %v", time.UnixMicro(active).Sub(begun), c.want, err)
		}
	}
}

func TestSessionsEndWithThePasswordAndTheAccount(t *testing.T) {
	t.Parallel()
	for what, end := range map[string]func(a *access.Access, id int64) error{
		"password": func(a *access.Access, id int64) error {
			_, err := a.SetPassword(t.Context(), id, "Joes password 2")
			return err
		},
		"disabled": func(a *access.Access, id int64) error { _, err := a.SetDisabled(t.Context(), id, true); return err },
		"enabled again": func(a *access.Access, id int64) error {
			if _, err := a.SetDisabled(t.Context(), id, true); err != nil {
				return err
			}
			_, err := a.SetDisabled(t.Context(), id, false)
			return err
		},
		"revoked": func(a *access.Access, _ int64) error { return a.Revoke(t.Context(), "joe") },
		"deleted": func(a *access.Access, id int64) error { _, err := a.DeleteUser(t.Context(), id); return err },
		"all":     func(a *access.Access, id int64) error { return a.EndSessions(t.Context(), id, "") },
	} {
		a, _ := fresh(t)
		joe := makeUser(t, a, "joe")
		who := mustLogin(t, a, "joe", joesPassword)
		cookie, other := beginAs(t, a, "joe", joesPassword), beginAs(t, a, "admin", password)
		goesOn(t, a, cookie, what+" not yet")
		if err := end(a, joe.ID); err != nil {
			t.Fatal(err)
		}
		ended(t, a, cookie, what)
		goesOn(t, a, other, "somebody else's, "+what)
		if _, err := a.Begin(t.Context(), who, here, ""); (what != "all") != fail.Is(err, fail.Unauthenticated) {
			t.Errorf("begun for a login of before, %s: %v", what, err)
		}
	}
}

func TestSessionsAreListedAndEndedByTheirUserAlone(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now().Truncate(time.Microsecond)}
	a := open(t, databaseAt(t, w.time), w)
	joe := makeUser(t, a, "joe")
	who := mustLogin(t, a, "joe", joesPassword)
	var cookies []string
	for _, agent := range []string{"first", "second\x00\x1b", strings.Repeat("ä", 300)} {
		cookie, err := a.Begin(t.Context(), who, here, agent)
		if err != nil {
			t.Fatal(err)
		}
		cookies = append(cookies, cookie)
		w.move(time.Minute)
	}
	all, err := a.Sessions(t.Context(), joe.ID)
	if err != nil || len(all) != 3 || all[2].Agent != "first" || all[1].Agent != "second" || all[0].Agent != strings.Repeat("ä", 255) || all[2].Addr != here || !all[2].Expires.Equal(all[2].Begun.Add(12*time.Hour)) {
		t.Fatalf("%+v, %v", all, err)
	}
	for _, id := range []string{"", "x", "00"} {
		if err = a.EndSession(t.Context(), joe.ID, id); err != nil {
			t.Error(err)
		}
	}
	if err = a.EndSession(t.Context(), administrator.User, all[2].ID); err != nil {
		t.Error(err)
	}
	goesOn(t, a, cookies[0], "ended by somebody else")
	ended(t, a, all[2].ID, "by its name")
	if err = a.EndSession(t.Context(), joe.ID, all[2].ID); err != nil {
		t.Error(err)
	}
	ended(t, a, cookies[0], "ended by its user")
	if err = a.EndSessions(t.Context(), joe.ID, cookies[1]); err != nil {
		t.Error(err)
	}
	goesOn(t, a, cookies[1], "kept")
	ended(t, a, cookies[2], "of those that were not kept")
	w.move(2 * time.Hour)
	if all, err = a.Sessions(t.Context(), joe.ID); err != nil || len(all) != 0 {
		t.Errorf("idle ones are listed: %+v, %v", all, err)
	}
}

func TestAUserHasABoundedNumberOfSessions(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now()}
	db := databaseAt(t, w.time)
	a := open(t, db, w)
	who := mustLogin(t, a, "admin", password)
	first, last := "", ""
	for range 101 {
		cookie, err := a.Begin(t.Context(), who, here, "")
		if err != nil {
			t.Fatal(err)
		}
		if last = cookie; first == "" {
			first = cookie
		}
		w.move(time.Second)
	}
	if n := count(t, db, "sessions"); n != 100 {
		t.Errorf("%d sessions", n)
	}
	ended(t, a, first, "the oldest of too many")
	goesOn(t, a, last, "the last")
}

func TestOnlyPeopleHaveSessions(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	r, secret := makeRobot(t, a, access.RobotSpec{Permissions: pusher("secret")})
	for _, who := range []access.Identity{{}, mustLogin(t, a, r.Name, secret)} {
		if _, err := a.Begin(t.Context(), who, here, ""); !fail.Is(err, fail.Denied) {
			t.Errorf("%+v: %v", who, err)
		}
	}
	joe := makeUser(t, a, "joe")
	_, token, err := a.CreateUserToken(t.Context(), joe.ID, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = a.Begin(t.Context(), mustLogin(t, a, "joe", token), here, ""); !fail.Is(err, fail.Denied) || fail.HintOf(err) == "" {
		t.Errorf("by a token, which can be taken back: %v", err)
	}
	if _, err = a.Begin(t.Context(), mustLogin(t, a, "joe", joesPassword), here, ""); err != nil {
		t.Errorf("by the password: %v", err)
	}
}
