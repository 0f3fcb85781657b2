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
)

func (s *site) refreshes(want access.Refreshed) {
	s.t.Helper()
	if got, err := s.RefreshGroups(s.t.Context()); err != nil || got != want {
		s.t.Errorf("refreshed %+v, want %+v, %v", got, want, err)
	}
}

func TestGroupsAreRefreshedWithoutALogin(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe", "cn=a"))
	s.dir.set(person("eve", "cn=a"))
	joe, eve := mustLogin(t, s.Access, "joe", ldapPassword), mustLogin(t, s.Access, "eve", ldapPassword)
	makeUser(t, s.Access, "local")
	s.dir.questions()
	s.refreshes(access.Refreshed{}) // a moment ago they logged in
	p := person("joe", "cn=b")
	p.Admin = true
	s.dir.set(p)
	s.w.move(59 * time.Minute)
	mustLogin(t, s.Access, "eve", ldapPassword)
	s.w.move(2 * time.Minute)
	s.dir.questions()
	s.refreshes(access.Refreshed{Told: 1})
	if asked := s.dir.questions(); !slices.Equal(asked, []string{"find uid=joe,ou=people"}) {
		t.Errorf("asked %q", asked)
	}
	if got := s.joined(joe.User); !slices.Equal(got, []string{"cn=b"}) {
		t.Errorf("joe is in %v", got)
	}
	if u, err := s.User(t.Context(), joe.User); err != nil || !u.AdminByGroup {
		t.Errorf("%+v, %v", u, err)
	}
	if got := s.joined(eve.User); !slices.Equal(got, []string{"cn=a"}) {
		t.Errorf("eve is in %v", got)
	}
	s.refreshes(access.Refreshed{})
	if _, err := s.SetDisabled(t.Context(), joe.User, true); err != nil {
		t.Fatal(err)
	}
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Told: 2}) // whether he is disabled here is nothing to the directory
}

func TestWhomTheDirectoryDoesNotKnowAnyMoreIsOutUntilItDoes(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	p := person("joe", "cn=a")
	p.Admin = true
	s.dir.set(p)
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	_, token, err := s.CreateUserToken(t.Context(), joe.User, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	refresh, err := s.IssueRefresh(t.Context(), joe, service)
	if err != nil {
		t.Fatal(err)
	}
	cookie := beginAs(t, s.Access, "joe", ldapPassword)
	s.w.move(50 * time.Minute)
	goesOn(t, s.Access, cookie, "before")
	s.dir.remove("joe")
	s.w.move(20 * time.Minute)
	mustLogin(t, s.Access, "joe", token)
	s.refreshes(access.Refreshed{Gone: 1})
	refused(t, s.Access, "joe", token, "gone")
	ended(t, s.Access, cookie, "gone")
	if _, err = s.Refresh(t.Context(), refresh); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("his refresh token: %v", err)
	}
	if _, err = s.Begin(t.Context(), joe, here, ""); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("a session for a login of before: %v", err)
	}
	if u, userErr := s.User(t.Context(), joe.User); userErr != nil || !u.Gone || u.Disabled || u.AdminByGroup {
		t.Errorf("%+v, %v", u, userErr)
	}
	s.refreshes(access.Refreshed{})
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Gone: 1})
	s.dir.set(p)
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Told: 1})
	mustLogin(t, s.Access, "joe", token)
	s.dir.remove("joe")
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Gone: 1})
	s.dir.set(p)
	mustLogin(t, s.Access, "joe", ldapPassword)
	mustLogin(t, s.Access, "joe", token)
}

func TestSomebodyNewWithTheNameOfOneWhoLeftIsNotTakenForHim(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe", "cn=a"))
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	_, token, err := s.CreateUserToken(t.Context(), joe.User, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.SetAdmin(t.Context(), joe.User, true); err != nil {
		t.Fatal(err)
	}
	s.dir.remove("joe")
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Gone: 1})
	other := person("joe")
	other.Subject = "uid=joe,ou=apprentices"
	s.dir.set(other)
	s.w.move(time.Minute)
	if who, loginErr := login(t, s.Access, "joe", ldapPassword); !fail.Is(loginErr, fail.Unauthenticated) {
		t.Errorf("another joe got the account of the one who left: %+v, %v", who, loginErr)
	}
	refused(t, s.Access, "joe", token, "of the one who left")
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Gone: 1})
	refused(t, s.Access, "joe", token, "of the one who left, after the next refresh")
	if _, err = s.DeleteUser(t.Context(), joe.User); err != nil {
		t.Fatal(err)
	}
	s.w.move(time.Minute)
	if who := mustLogin(t, s.Access, "joe", ldapPassword); who.User == joe.User || who.Admin {
		t.Errorf("%+v", who)
	}
}

func TestWhoWasMovedInTheDirectoryIsFoundByTheRefresh(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe", "cn=a"))
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	_, token, err := s.CreateUserToken(t.Context(), joe.User, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	moved := person("joe", "cn=b")
	moved.Subject = "uid=joe,ou=elsewhere"
	s.dir.set(moved)
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Told: 1})
	mustLogin(t, s.Access, "joe", token)
	if u, userErr := s.User(t.Context(), joe.User); userErr != nil || u.Subject != moved.Subject || !slices.Equal(s.joined(joe.User), []string{"cn=b"}) {
		t.Errorf("%+v in %v, %v", u, s.joined(joe.User), userErr)
	}
	s.w.move(time.Minute)
	if who := mustLogin(t, s.Access, "joe", ldapPassword); who.User != joe.User {
		t.Errorf("%+v", who)
	}
}

func TestWhoHasSeveralNamesInTheDirectoryKeepsTheFirst(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe"))
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	_, token, err := s.CreateUserToken(t.Context(), joe.User, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	p := person("joe")
	p.Name, p.Also = "Joe Smith", []string{"joe"}
	s.dir.set(p)
	for range 2 {
		s.w.move(2 * time.Hour)
		mustLogin(t, s.Access, "joe", token)
		s.dir.remove("joe")
		s.refreshes(access.Refreshed{Told: 1})
		if who := mustLogin(t, s.Access, "Joe Smith", ldapPassword); who.User != joe.User || who.Subject != "joe" {
			t.Errorf("%+v", who)
		}
	}
	p.Also = nil
	s.dir.set(p)
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Told: 1})
	mustLogin(t, s.Access, "Joe Smith", token)
}

func TestWhoCanNotBeAskedForGoesOnWithHisSecretAfterARevocation(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	ada, err := s.SignIn(t.Context(), access.FromOIDC, access.Person{Subject: "idp ada", Name: "ada"}, "")
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := s.CreateUserToken(t.Context(), ada.User, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if err = s.Revoke(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	mustLogin(t, s.Access, "ada", secret)
	s.w.move(31 * 24 * time.Hour)
	refused(t, s.Access, "ada", secret, "of whom nobody told for long")
}

func TestWhoIsAnotherProvidersGoesOnWithHisSecretAfterARevocation(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	idp := &renewer{next: map[string]string{"former ada": "first"}, fails: fail.E(fail.Unsupported, nil, "another provider's")}
	s.start(func(c *access.Config) { c.Renewer = func() access.Renewer { return idp } })
	ada, err := s.SignIn(t.Context(), access.FromOIDC, access.Person{Subject: "former ada", Name: "ada"}, "first")
	if err != nil {
		t.Fatal(err)
	}
	_, secret, err := s.CreateUserToken(t.Context(), ada.User, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err = s.Revoke(t.Context(), "ada"); err != nil {
			t.Fatal(err)
		}
		mustLogin(t, s.Access, "ada", secret)
	}
	for range 2 { // that she was asked for in vain is no word of her
		s.w.move(16 * 24 * time.Hour)
		s.refreshes(access.Refreshed{})
	}
	refused(t, s.Access, "ada", secret, "of whom nobody told for long")
}

func TestSecretsRestWhenNobodyTellsOfTheirUserAnyMore(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe"))
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	ada, err := s.SignIn(t.Context(), access.FromOIDC, access.Person{Subject: "idp ada", Name: "ada"}, "") // whom nobody can ask for again
	if err != nil {
		t.Fatal(err)
	}
	local := makeUser(t, s.Access, "local")
	secrets := map[string]string{}
	for name, id := range map[string]int64{"joe": joe.User, "ada": ada.User, "local": local.ID} {
		if _, secrets[name], err = s.CreateUserToken(t.Context(), id, "laptop", time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 { // the directory goes on to tell of joe
		s.w.move(10 * 24 * time.Hour)
		s.refreshes(access.Refreshed{Told: 1})
		for name, secret := range secrets {
			mustLogin(t, s.Access, name, secret)
		}
	}
	s.w.move(time.Minute)
	if _, err = login(t, s.Access, "ada", secrets["ada"]); !fail.Is(err, fail.Unauthenticated) || fail.HintOf(err) == "" {
		t.Errorf("ada: %v", err)
	}
	refused(t, s.Access, "ada", secrets["ada"]+"x", "with a wrong secret")
	mustLogin(t, s.Access, "joe", secrets["joe"])
	s.start(func(c *access.Config) { c.Provider = nil })
	s.w.move(31 * 24 * time.Hour)
	refused(t, s.Access, "joe", secrets["joe"], "whose directory is asked no more")
	mustLogin(t, s.Access, "local", secrets["local"])
	if _, err = s.SignIn(t.Context(), access.FromOIDC, access.Person{Subject: "idp ada", Name: "ada"}, ""); err != nil {
		t.Fatal(err)
	}
	mustLogin(t, s.Access, "ada", secrets["ada"])
}

func TestWhoIsGoneIsNotAskedForBySecretsOfHavns(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe"))
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	if _, err := s.SetCLISecret(t.Context(), joe.User, "Chosen by 1"); err != nil {
		t.Fatal(err)
	}
	s.dir.remove("joe")
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Gone: 1})
	s.dir.questions()
	refused(t, s.Access, "joe", "Chosen by 1", "gone")
	if asked := s.dir.questions(); len(asked) != 0 {
		t.Errorf("the directory was told %q", asked)
	}
}

func TestADirectoryThatIsAwayMakesNobodyGone(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	for i := range 250 { // three queries for people
		s.dir.set(person(fmt.Sprintf("joe%03d", i)))
		if _, err := s.SignIn(t.Context(), access.FromLDAP, person(fmt.Sprintf("joe%03d", i)), ""); err != nil {
			t.Fatal(err)
		}
	}
	s.w.move(2 * time.Hour)
	s.dir.fail(fail.E(fail.Unavailable, nil, "no answer"))
	s.dir.questions()
	if done, err := s.RefreshGroups(t.Context()); !fail.Is(err, fail.Unavailable) || done != (access.Refreshed{}) {
		t.Errorf("%+v, %v", done, err)
	}
	if asked := s.dir.questions(); len(asked) != 1 {
		t.Errorf("asked %d times", len(asked))
	}
	s.dir.fail(errors.New("an entry that can't be read"))
	if done, err := s.RefreshGroups(t.Context()); err != nil || done != (access.Refreshed{Left: 250}) {
		t.Errorf("%+v, %v", done, err)
	}
	s.dir.fail(nil)
	s.refreshes(access.Refreshed{Told: 250})
}

func TestRefreshesOnSeveralNodesAtOnceDoNoHarm(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	for i := range 20 {
		name := fmt.Sprint("joe", i)
		s.dir.set(person(name, "cn=a"))
		mustLogin(t, s.Access, name, ldapPassword)
		s.dir.set(person(name, "cn=b", "cn=c"))
	}
	s.w.move(2 * time.Hour)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			if _, err := s.RefreshGroups(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	for id := int64(2); id < 22; id++ {
		if got := s.joined(id); !slices.Equal(got, []string{"cn=b", "cn=c"}) {
			t.Errorf("user %d is in %v", id, got)
		}
	}
}

// renewer is an identity provider that takes each token once.
type renewer struct {
	mu    sync.Mutex
	next  map[string]string // what counts of a subject
	n     int
	gone  bool
	fails error
	names []string
}

func (r *renewer) Renew(_ context.Context, subject, token string) (access.Person, string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names = append(r.names, subject)
	if r.next[subject] != token || r.gone {
		return access.Person{}, "", fail.E(fail.Unauthenticated, nil, "the token was used before")
	}
	r.n++
	r.next[subject] = fmt.Sprint("token ", r.n)
	if r.fails != nil {
		return access.Person{}, r.next[subject], r.fails
	}
	return access.Person{Subject: subject, Name: "x", Groups: groups(fmt.Sprint("of ", r.n))}, r.next[subject], nil
}

func TestPeopleOfAnIdentityProviderAreRenewedByTokensThatCountOnce(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	idp := &renewer{next: map[string]string{"idp joe": "first", "idp eve": "first"}}
	s.start(func(c *access.Config) { c.Renewer, c.Provider = func() access.Renewer { return idp }, nil })
	joe, err := s.SignIn(t.Context(), access.FromOIDC, access.Person{Subject: "idp joe", Name: "joe"}, "first")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.SignIn(t.Context(), access.FromOIDC, access.Person{Subject: "idp none", Name: "none"}, ""); err != nil { // whose provider gives no token
		t.Fatal(err)
	}
	_, token, err := s.CreateUserToken(t.Context(), joe.User, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		s.w.move(2 * time.Hour)
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, refreshErr := s.RefreshGroups(t.Context()); refreshErr != nil {
					t.Error(refreshErr)
				}
			})
		}
		all.Wait()
	}
	if idp.n != 3 || len(idp.names) != 3 || !slices.Equal(s.joined(joe.User), []string{"of 3"}) {
		t.Errorf("asked %d times (%v), in %v", idp.n, idp.names, s.joined(joe.User))
	}
	mustLogin(t, s.Access, "joe", token)
	// What came with an error counts the next time.
	idp.fails = fail.E(fail.Unavailable, nil, "no userinfo")
	s.w.move(2 * time.Hour)
	if _, err = s.RefreshGroups(t.Context()); !fail.Is(err, fail.Unavailable) {
		t.Error(err)
	}
	// Where nobody can be asked now, nothing is known of anybody.
	idp.fails = fail.E(fail.Unsupported, nil, "another provider's")
	s.w.move(2 * time.Hour)
	asked := len(idp.names)
	s.refreshes(access.Refreshed{})
	s.refreshes(access.Refreshed{})
	mustLogin(t, s.Access, "joe", token)
	if len(idp.names) != asked+1 {
		t.Errorf("a token that is nothing to the provider was tried %d times", len(idp.names)-asked)
	}
	idp.fails = nil
	if _, err = s.SignIn(t.Context(), access.FromOIDC, access.Person{Subject: "idp joe", Name: "joe"}, idp.next["idp joe"]); err != nil {
		t.Fatal(err)
	}
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Told: 1})
	idp.gone = true
	s.w.move(2 * time.Hour)
	s.refreshes(access.Refreshed{Gone: 1})
	refused(t, s.Access, "joe", token, "whom the provider does not let in any more")
	if who, signErr := s.SignIn(t.Context(), access.FromOIDC, access.Person{Subject: "idp joe", Name: "joe"}, "fresh"); signErr != nil || who.User != joe.User {
		t.Errorf("signed in again: %+v, %v", who, signErr)
	}
	mustLogin(t, s.Access, "joe", token)
}

func TestPeopleAreRefreshedByTheNodeThatHoldsTheDuty(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe", "cn=a"))
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	s.dir.set(person("joe", "cn=b"))
	s.w.move(2 * time.Hour)
	every, holds := make(chan time.Time), make(chan error, 1)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- access.Duty{Access: s.Access, Every: every, Holds: func(context.Context) (bool, error) {
			err := <-holds
			return err == nil, err
		}}.Run(ctx)
	}()
	tick := func(err error) { // when the second one is taken, the first one is over
		holds <- err
		every <- time.Time{}
		holds <- err
		every <- time.Time{}
	}
	tick(errors.New("another node's"))
	if got := s.joined(joe.User); !slices.Equal(got, []string{"cn=a"}) {
		t.Errorf("a node without the duty refreshed: %v", got)
	}
	tick(nil)
	if got := s.joined(joe.User); !slices.Equal(got, []string{"cn=b"}) {
		t.Errorf("the node with the duty did not refresh: %v", got)
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestARevocationAsksForTheGroupsAgain(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe", "cn=a"))
	s.dir.set(person("eve", "cn=a"))
	joe, eve := mustLogin(t, s.Access, "joe", ldapPassword), mustLogin(t, s.Access, "eve", ldapPassword)
	s.dir.set(person("joe", "cn=b"))
	s.dir.set(person("eve", "cn=b"))
	for _, name := range []string{"joe", "admin"} { // admin is nobody's but Havn's
		if err := s.Revoke(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.joined(joe.User); !slices.Equal(got, []string{"cn=b"}) {
		t.Errorf("joe is in %v", got)
	}
	if got := s.joined(eve.User); !slices.Equal(got, []string{"cn=a"}) {
		t.Errorf("eve, who keeps hers, is in %v", got)
	}
	s.refreshes(access.Refreshed{})
	// The directory is away: the revocation counts, and the next refresh asks.
	s.dir.fail(fail.E(fail.Unavailable, nil, "away"))
	if err := s.Revoke(t.Context(), "eve"); err != nil {
		t.Fatal(err)
	}
	s.dir.fail(nil)
	s.refreshes(access.Refreshed{Told: 1})
	if got := s.joined(eve.User); !slices.Equal(got, []string{"cn=b"}) {
		t.Errorf("eve is in %v", got)
	}
	s.dir.remove("joe")
	if err := s.Revoke(t.Context(), "joe"); err != nil {
		t.Fatal(err)
	}
	if u, err := s.User(t.Context(), joe.User); err != nil || !u.Gone {
		t.Errorf("%+v, %v", u, err)
	}
}
