package accesstest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// racers is how many do the same at once; rounds is how often.
const (
	racers = 6
	rounds = 8
)

// together runs all racers at once and waits for them.
func together(do func(i int)) {
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	wg.Wait()
}

// oneName lets all nodes make what only one of them may: who is told that he did is who did.
func oneName(t *testing.T, w *world) {
	ctx := t.Context()
	joe := w.user("joe")
	for round := range rounds {
		name := fmt.Sprint("name", round)
		for what, try := range map[string]func(a *access.Access, i int) (int64, error){
			"user": func(a *access.Access, _ int) (int64, error) {
				u, err := a.CreateUser(ctx, access.UserSpec{Name: name, Password: password})
				return u.ID, err
			},
			"robot": func(a *access.Access, _ int) (int64, error) {
				r, _, err := a.CreateRobot(ctx, administrator, access.RobotSpec{Name: name, Days: 1, Permissions: []access.Permission{pull("one")}})
				return r.ID, err
			},
			"token": func(a *access.Access, _ int) (int64, error) {
				token, _, err := a.CreateUserToken(ctx, joe.ID, name, joe.Created.AddDate(100, 0, 0))
				return token.ID, err
			},
			"group": func(a *access.Access, _ int) (int64, error) {
				g, err := a.CreateGroup(ctx, access.FromOIDC, name, "")
				return g.ID, err
			},
			"member": func(a *access.Access, i int) (int64, error) {
				m, err := a.AddMember(ctx, w.project("one"), access.MemberSpec{GroupKey: "of " + name, Origin: access.FromOIDC, Role: access.Roles()[i%5]})
				return m.ID, err
			},
		} {
			var mu sync.Mutex
			won := 0
			together(func(i int) {
				id, err := try(w.node(i), i)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case err == nil && id != 0:
					won++
				case !fail.Is(err, fail.Exists):
					t.Errorf("%s: number %d, %v", what, id, err)
				}
			})
			if won != 1 {
				t.Errorf("round %d: %d were told that they made the %s", round, won, what)
			}
		}
	}
	for table, n := range map[string]int{"users": rounds + 2, "robots": rounds, "user_tokens": rounds, "user_groups": 2 * rounds, "members": rounds} {
		if got := w.count(table); got != n {
			t.Errorf("%d rows in %s, want %d", got, table, n)
		}
	}
}

// deletions deletes users and groups while others give them something.
func deletions(t *testing.T, w *world) {
	ctx, one := t.Context(), w.project("one")
	for round := range rounds {
		u := w.user(fmt.Sprint("joe", round))
		g, err := w.node(0).CreateGroup(ctx, access.FromOIDC, fmt.Sprint("g", round), "")
		w.ok(err)
		together(func(i int) {
			a := w.node(i)
			var raceErr error
			switch i {
			case 0:
				if _, raceErr = a.DeleteUser(ctx, u.ID); raceErr != nil {
					t.Errorf("delete a user: %v", raceErr)
				}
			case 1:
				if _, raceErr = a.DeleteGroup(ctx, g.ID); raceErr != nil {
					t.Errorf("delete a group: %v", raceErr)
				}
			case 2:
				_, raceErr = a.AddMember(ctx, one, access.MemberSpec{User: u.ID, Role: access.Guest})
			case 3:
				_, raceErr = a.AddMember(ctx, one, access.MemberSpec{Group: g.ID, Role: access.Guest})
			case 4:
				_, _, raceErr = a.CreateUserToken(ctx, u.ID, "x", u.Created.AddDate(100, 0, 0))
			default:
				_, raceErr = a.SetCLISecret(ctx, u.ID, "")
			}
			if raceErr != nil && !fail.Is(raceErr, fail.NotFound) && !fail.Is(raceErr, fail.Conflict) {
				t.Error(raceErr)
			}
		})
	}
	if n := w.count("members") + w.count("user_tokens") + w.count("user_groups") + w.count("users") - 1; n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// robotRaces changes the permissions of a robot through all nodes and then deletes it meanwhile.
func robotRaces(t *testing.T, w *world) {
	ctx := t.Context()
	sets := [][]access.Permission{{pull("one")}, {pushOne, pull("two")}, {pull("one"), pushOne}}
	for round := range rounds {
		r, secret, err := w.node(0).CreateRobot(ctx, administrator, access.RobotSpec{Name: fmt.Sprint("ci", round), Days: 1, Permissions: sets[0]})
		w.ok(err)
		together(func(i int) {
			_, changeErr := w.node(i).UpdateRobot(ctx, administrator, r.ID, access.RobotSpec{Days: 1, Permissions: sets[i%3]})
			if changeErr != nil && !fail.Is(changeErr, fail.Conflict) {
				t.Error(changeErr)
			}
		})
		found, err := w.node(1).Robot(ctx, r.ID)
		w.ok(err)
		one := false
		for _, set := range sets {
			one = one || fmt.Sprint(found.Permissions) == fmt.Sprint(set) || len(set) == len(found.Permissions) && fmt.Sprint(found.Permissions[len(set)-1]) == fmt.Sprint(set[len(set)-1])
		}
		if !one {
			t.Errorf("it has %v, which nobody gave it", found.Permissions)
		}
		together(func(i int) {
			var raceErr error
			if i == 0 {
				_, raceErr = w.node(i).DeleteRobot(ctx, r.ID)
			} else {
				_, raceErr = w.node(i).UpdateRobot(ctx, administrator, r.ID, access.RobotSpec{Days: 1, Permissions: sets[i%3]})
			}
			if raceErr != nil && !fail.Is(raceErr, fail.NotFound) && !fail.Is(raceErr, fail.Conflict) {
				t.Error(raceErr)
			}
		})
		_, err = w.login(2, r.Name, secret)
		w.is(err, fail.Unauthenticated)
	}
	if n := w.count("robots") + w.count("robot_permissions"); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// firstLogins lets somebody log in for the first time through all nodes at once, and then with other groups.
func firstLogins(t *testing.T, w *world) {
	for round := range rounds {
		name := fmt.Sprint("joe", round)
		w.dir.person = func(string) access.Person {
			p := access.Person{Subject: "uid=" + name, Name: name}
			for i := range 10 {
				p.Groups = append(p.Groups, access.Group{Key: fmt.Sprint("cn=", round+i)})
			}
			return p
		}
		together(func(i int) {
			if who, err := w.login(i, name, password); err != nil || who.Subject != name {
				t.Errorf("%+v, %v", who, err)
			}
		})
		u, err := w.node(round).UserByName(t.Context(), name)
		w.ok(err)
		if n := w.count(fmt.Sprintf("group_users WHERE user_id = %d", u.ID)); n != 10 {
			t.Errorf("%s is in %d groups", name, n)
		}
	}
	if users, groups := w.count("users"), w.count("user_groups"); users != rounds+1 || groups != rounds+9 {
		t.Errorf("%d users, %d groups", users, groups)
	}
}

// revocationOrder revokes through all nodes at once while one looks all the time: no row becomes visible behind a higher one, or a node would pass it over.
func revocationOrder(t *testing.T, w *world) {
	ctx := t.Context()
	var raws []string
	for i := range racers {
		w.user(fmt.Sprint("joe", i))
		raws = append(raws, w.token(0, fmt.Sprint("joe", i), password))
	}
	for range rounds {
		done := make(chan struct{})
		go func() {
			defer close(done)
			together(func(i int) {
				if err := w.node(i).Revoke(ctx, fmt.Sprint("joe", i)); err != nil {
					t.Error(err)
				}
			})
		}()
		last := map[int64]bool{}
		for over := false; !over; {
			select {
			case <-done:
				over = true
			default:
			}
			var highest int64
			seen := map[int64]bool{}
			w.ok(w.db.View(ctx, "test.look", func(q sqldb.Querier) error {
				highest, seen = 0, map[int64]bool{}
				for row, err := range q.Rows(ctx, "SELECT id FROM revocations ORDER BY id") {
					if err != nil {
						return err
					}
					if err = row.Scan(&highest); err != nil {
						return err
					}
					seen[highest] = true
				}
				return nil
			}))
			if int64(len(seen)) != highest {
				t.Fatalf("%d rows, and the highest number is %d", len(seen), highest)
			}
			for id := range last {
				if !seen[id] {
					t.Fatalf("row %d is gone", id)
				}
			}
			last = seen
		}
	}
	for i, raw := range raws {
		for n, a := range w.nodes {
			w.ok(a.Revoke(ctx, "admin")) // so that it looks
			if _, err := a.Verify(ctx, raw); !fail.Is(err, fail.Unauthenticated) {
				t.Errorf("the token of joe%d at node %d: %v", i, n, err)
			}
		}
	}
}
