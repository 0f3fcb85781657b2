package access_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// directory is a directory of the test's.
type directory struct {
	mu     sync.Mutex
	people map[string]access.Person // by what they log in as
	asked  []string
	fails  error
}

const ldapPassword = "Of the directory 1"

func (d *directory) Login(_ context.Context, name, password string) (access.Person, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, name+" "+password)
	p, ok := d.people[strings.ToLower(name)]
	switch {
	case d.fails != nil:
		return access.Person{}, d.fails
	case !ok || password != ldapPassword:
		return access.Person{}, fail.E(fail.Unauthenticated, nil, "of the directory's own words")
	}
	return p, nil
}

func (d *directory) Find(_ context.Context, subject string) (access.Person, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, "find "+subject)
	for _, p := range d.people {
		if p.Subject == subject && d.fails == nil {
			return p, nil
		}
	}
	if d.fails != nil {
		return access.Person{}, d.fails
	}
	return access.Person{}, fail.E(fail.NotFound, nil, "%s", subject)
}

// questions answers what the directory was asked since the last call.
func (d *directory) questions() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.asked
	d.asked = nil
	return all
}

func (d *directory) set(p access.Person) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.people == nil {
		d.people = map[string]access.Person{}
	}
	d.people[strings.ToLower(p.Name)] = p
}

func (d *directory) remove(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.people, name)
}

func (d *directory) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fails = err
}

// site is an Access with a directory.
type site struct {
	*access.Access
	t   *testing.T
	db  *sqldb.DB
	dir *directory
	w   *watch
}

func withDirectory(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: &directory{}, w: &watch{now: time.Now().Truncate(time.Microsecond)}}
	s.db = databaseAt(t, s.w.time)
	s.start(func(*access.Config) {})
	return s
}

func (s *site) start(change func(*access.Config)) {
	s.t.Helper()
	c := access.Config{Seal: sealed(s.t, s.db), DB: s.db, Clock: s.w.time, AdminPassword: password, Cost: cheap, Provider: func() access.Provider { return s.dir }}
	change(&c)
	var err error
	if s.Access, _, err = access.New(s.t.Context(), c); err != nil {
		s.t.Fatal(err)
	}
}

// joined answers the keys of the groups that a user is in.
func (s *site) joined(user int64) []string {
	s.t.Helper()
	keys := []string{}
	for row, err := range s.db.Rows(s.t.Context(), "SELECT g.k FROM group_users m JOIN user_groups g ON g.id = m.group_id WHERE m.user_id = ? ORDER BY g.k", user) {
		var key string
		if err == nil {
			err = row.Scan(&key)
		}
		if err != nil {
			s.t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keys
}

func groups(keys ...string) []access.Group {
	var all []access.Group
	for _, key := range keys {
		all = append(all, access.Group{Key: key, Name: strings.TrimPrefix(key, "cn=")})
	}
	return all
}

func person(name string, keys ...string) access.Person {
	return access.Person{Subject: "uid=" + name + ",ou=people", Name: name, Email: name + "@example.com", RealName: "Mx " + name, Groups: groups(keys...)}
}

func TestWhoIsInTheDirectoryIsTakenInAtTheFirstLogin(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe", "cn=devs", "cn=all"))
	who := mustLogin(t, s.Access, "Joe", ldapPassword) // the name is as the directory writes it
	u, err := s.User(t.Context(), who.User)
	want := access.User{
		ID: 2, Name: "joe", Email: "joe@example.com", RealName: "Mx joe", Origin: access.FromLDAP, Subject: "uid=joe,ou=people", Seen: s.w.time().UTC(), Created: s.w.time().UTC(), Changed: s.w.time().UTC(),
	}
	if err != nil || u != want || who.Subject != "joe" || who.Admin {
		t.Errorf("%+v is %+v, want %+v, %v", who, u, want, err)
	}
	if got := s.joined(who.User); !slices.Equal(got, []string{"cn=all", "cn=devs"}) {
		t.Errorf("groups %v", got)
	}
	list, total, err := s.Groups(t.Context(), access.GroupQuery{})
	if err != nil || total != 2 || list[0].Name != "all" || list[1].Key != "cn=devs" || list[1].Origin != access.FromLDAP {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err = s.AddMember(t.Context(), project(t, s.db, "secret"), access.MemberSpec{GroupKey: "cn=devs", Role: access.Developer}); err != nil {
		t.Fatal(err)
	}
	if got := granted(t, s.Access, who, "secret"); got != "pull,push" {
		t.Errorf("by his group: %s", got)
	}
	before := s.HashesMade()
	refused(t, s.Access, "joe", "Wrong 1", "with a wrong password")
	refused(t, s.Access, "nobody", ldapPassword, "of nobody")
	if _, wrongErr := login(t, s.Access, "joe", "Wrong 1"); wrongErr == nil || wrongErr.Error() != "wrong user name or password" {
		t.Errorf("the directory's words are told: %v", wrongErr)
	}
	if s.HashesMade() != before {
		t.Error("a slow hash for the directory's people")
	}
	if raw, refreshErr := s.IssueRefresh(t.Context(), who, service); raw == "" || refreshErr != nil {
		t.Errorf("no refresh token, and so his password lies in docker's file: %v", refreshErr)
	}
}

func TestALoginWritesDifferencesAlone(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe", "cn=a", "cn=b"))
	who := mustLogin(t, s.Access, "joe", ldapPassword)
	state := func() (rows []string) {
		u, err := s.User(t.Context(), who.User)
		if err != nil {
			t.Fatal(err)
		}
		return append(s.joined(who.User), fmt.Sprintf("%+v", u))
	}
	again := func(wait time.Duration) {
		t.Helper()
		s.w.move(wait)
		if next := mustLogin(t, s.Access, "joe", ldapPassword); next.User != who.User {
			t.Errorf("%+v", next)
		}
	}
	before := state()
	again(time.Minute)
	if got := state(); !slices.Equal(got, before) {
		t.Errorf("nothing changed, and %v became %v", before, got)
	}
	p := person("joe", "cn=b", "cn=c")
	p.Email, p.RealName, p.Admin = "new@example.com", "New Name", true
	s.dir.set(p)
	session := beginAs(t, s.Access, "joe", ldapPassword)
	again(time.Minute)
	u, err := s.User(t.Context(), who.User)
	if err != nil || u.Email != p.Email || u.RealName != p.RealName || !u.AdminByGroup || u.Admin || !slices.Equal(s.joined(who.User), []string{"cn=b", "cn=c"}) {
		t.Errorf("%+v in %v, %v", u, s.joined(who.User), err)
	}
	if who = mustLogin(t, s.Access, "joe", ldapPassword); !who.Admin {
		t.Errorf("not an administrator by his group: %+v", who)
	}
	goesOn(t, s.Access, session, "the session of before") // and it is an administrator's now
	p.Admin, p.Groups = false, nil
	s.dir.set(p)
	again(time.Minute)
	if who = mustLogin(t, s.Access, "joe", ldapPassword); who.Admin || len(s.joined(who.User)) != 0 {
		t.Errorf("still %+v in %v", who, s.joined(who.User))
	}
}

func TestTheDirectoryTakesNobodysAccount(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	joe := makeUser(t, s.Access, "joe")
	for _, name := range []string{"joe", "admin"} {
		s.dir.set(person(name))
		s.dir.questions()
		refused(t, s.Access, name, ldapPassword, "with the directory's password for a local account")
		if asked := s.dir.questions(); len(asked) != 0 {
			t.Errorf("the directory was told a local user's password: %q", asked)
		}
	}
	mustLogin(t, s.Access, "joe", joesPassword)
	// By another spelling the directory means the same person, whose name is taken here.
	if _, err := login(t, s.Access, "JOE", ldapPassword); !fail.Is(err, fail.Unauthenticated) || !strings.Contains(err.Error(), "another user joe") {
		t.Errorf("taken in as somebody else: %v", err)
	}
	if u, err := s.User(t.Context(), joe.ID); err != nil || u.Origin != access.FromHere {
		t.Errorf("%+v, %v", u, err)
	}
}

func TestWhoIsMovedInTheDirectoryStaysWhoHeWas(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe", "cn=a"))
	who := mustLogin(t, s.Access, "joe", ldapPassword)
	moved := person("joe", "cn=a")
	moved.Subject = "uid=joe,ou=elsewhere"
	s.dir.set(moved)
	s.w.move(time.Minute)
	if next := mustLogin(t, s.Access, "joe", ldapPassword); next.User != who.User {
		t.Errorf("another account: %+v", next)
	}
	s.dir.remove("joe")
	renamed := moved
	renamed.Name = "joseph"
	s.dir.set(renamed)
	s.w.move(time.Minute)
	if next := mustLogin(t, s.Access, "joseph", ldapPassword); next.User != who.User || next.Subject != "joseph" {
		t.Errorf("renamed: %+v", next)
	}
	if _, err := s.UserByName(t.Context(), "joe"); !fail.Is(err, fail.NotFound) {
		t.Errorf("his old name: %v", err)
	}
	makeUser(t, s.Access, "josephine")
	renamed.Name = "josephine" // somebody else's here
	s.dir.remove("joseph")
	s.dir.set(renamed)
	s.w.move(time.Minute)
	if next := mustLogin(t, s.Access, "Josephine", ldapPassword); next.User != who.User || next.Subject != "joseph" {
		t.Errorf("under somebody else's name: %+v", next)
	}
}

func TestWhoIsDisabledHereIsOutWhateverTheDirectorySays(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe"))
	who := mustLogin(t, s.Access, "joe", ldapPassword)
	if _, err := s.SetDisabled(t.Context(), who.User, true); err != nil {
		t.Fatal(err)
	}
	s.dir.questions()
	refused(t, s.Access, "joe", ldapPassword, "disabled")
	if asked := s.dir.questions(); len(asked) != 0 {
		t.Errorf("the directory is asked: %q", asked)
	}
	refused(t, s.Access, "JOE", ldapPassword, "disabled, by another spelling")
	if _, err := s.SignIn(t.Context(), access.FromLDAP, person("joe"), ""); !fail.Is(err, fail.Denied) {
		t.Errorf("signed in: %v", err)
	}
	if _, err := s.SetDisabled(t.Context(), who.User, false); err != nil {
		t.Fatal(err)
	}
	mustLogin(t, s.Access, "joe", ldapPassword)
}

func TestADirectoryThatIsAwayStopsNobodyElse(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe"))
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	_, token, err := s.CreateUserToken(t.Context(), joe.User, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	refresh, err := s.IssueRefresh(t.Context(), joe, service)
	if err != nil {
		t.Fatal(err)
	}
	makeUser(t, s.Access, "local")
	r, secret := makeRobot(t, s.Access, access.RobotSpec{Permissions: pusher("secret")})
	s.w.move(time.Minute)
	s.dir.fail(fail.E(fail.Unavailable, nil, "no answer").Hint("is ldap.example.com up?"))
	for _, name := range []string{"joe", "somebody"} {
		if _, loginErr := login(t, s.Access, name, ldapPassword); !fail.Is(loginErr, fail.Unavailable) || fail.HintOf(loginErr) == "" {
			t.Errorf("%s: %v", name, loginErr)
		}
	}
	mustLogin(t, s.Access, "local", joesPassword)
	mustLogin(t, s.Access, "admin", password)
	mustLogin(t, s.Access, r.Name, secret)
	mustLogin(t, s.Access, "joe", token)
	if _, err = s.Refresh(t.Context(), refresh); err != nil {
		t.Errorf("who was logged in: %v", err)
	}
	for range 2 * access.FreePerUser { // nobody is slowed down for a guess that nobody judged
		if _, err = s.Authenticate(t.Context(), "joe", ldapPassword, here); !fail.Is(err, fail.Unavailable) {
			t.Errorf("%v", err)
		}
	}
}

func TestNoSecretOfHavnsIsSentToTheDirectory(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe"))
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	_, token, err := s.CreateUserToken(t.Context(), joe.User, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = s.SetCLISecret(t.Context(), joe.User, "Chosen by 1"); err != nil {
		t.Fatal(err)
	}
	r, secret := makeRobot(t, s.Access, access.RobotSpec{Permissions: pusher("secret")})
	s.dir.questions()
	mustLogin(t, s.Access, "joe", token)
	mustLogin(t, s.Access, "joe", "Chosen by 1")
	mustLogin(t, s.Access, r.Name, secret)
	for _, c := range [][2]string{
		{"joe", token[:30]}, {"joe", token + "x"}, {"nobody", token}, {"joe", "havn_pat_"}, {r.Name, "wrong"}, {"robot$absent", secret}, {"robot$secret+absent", secret}, {"joe", ""}, {"nobody", ""},
	} {
		refused(t, s.Access, c[0], c[1], "with "+c[1])
	}
	if asked := s.dir.questions(); len(asked) != 0 {
		t.Errorf("the directory was told %q", asked)
	}
}

func TestNamesOfTheDirectoryThatNobodyCanHaveAreRefused(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	for i, p := range []access.Person{
		{Subject: "uid=1", Name: "a:b"},
		{Subject: "uid=2", Name: "robot$x"},
		{Subject: "uid=3", Name: " x"},
		{Subject: "uid=4", Name: ""},
		{Subject: "uid=5", Name: "x\x00"},
		{Subject: "", Name: "x"},
		{Subject: strings.Repeat("x", 701), Name: "x"},
		{Subject: "a\x00", Name: "x"},
		{Subject: "a ", Name: "x"},
	} {
		if _, err := s.SignIn(t.Context(), access.FromLDAP, p, ""); !fail.Is(err, fail.Invalid) {
			t.Errorf("%d, %+.60v: %v", i, p, err)
		}
	}
	p := access.Person{Subject: "uid=6", Name: "x", Email: "a\x00b", RealName: strings.Repeat("x", 300), Groups: append(groups("cn=ok", "cn=\x00", "", " cn=x", strings.Repeat("x", 701)), access.Group{Key: "cn=named", Name: "n\x00"})}
	who, err := s.SignIn(t.Context(), access.FromLDAP, p, "")
	if err != nil {
		t.Fatal(err)
	}
	if u, findErr := s.User(t.Context(), who.User); findErr != nil || u.Email != "" || u.RealName != "" || !slices.Equal(s.joined(who.User), []string{"cn=named", "cn=ok"}) {
		t.Errorf("%+v in %v, %v", u, s.joined(who.User), findErr)
	}
}

func TestSomebodyInThousandsOfGroupsLogsIn(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	p := person("joe")
	for i := range 2100 {
		p.Groups = append(p.Groups, access.Group{Key: fmt.Sprintf("cn=%04d", i)})
	}
	s.dir.set(p)
	who := mustLogin(t, s.Access, "joe", ldapPassword)
	if n := len(s.joined(who.User)); n != 2000 {
		t.Errorf("in %d groups", n)
	}
	p.Groups = p.Groups[:1]
	s.dir.set(p)
	s.w.move(time.Minute)
	mustLogin(t, s.Access, "joe", ldapPassword)
	if got := s.joined(who.User); !slices.Equal(got, []string{"cn=0000"}) {
		t.Errorf("in %d groups", len(got))
	}
}

func TestFirstLoginsAtOnceMakeOneAccount(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	s.dir.set(person("joe", "cn=a", "cn=b", "cn=c"))
	var all sync.WaitGroup
	for i := range 10 {
		all.Go(func() {
			who, err := s.Authenticate(t.Context(), []string{"joe", "Joe", "JOE"}[i%3], ldapPassword, fmt.Sprint("192.0.2.", i))
			if err != nil || who.User != 2 {
				t.Errorf("%+v, %v", who, err)
			}
		})
	}
	all.Wait()
	if users, joined := count(t, s.db, "users"), s.joined(2); users != 2 || len(joined) != 3 {
		t.Errorf("%d users, in %v", users, joined)
	}
}

func TestAPersonWhoseCommitIsNotKnownOfIsTakenInOnce(t *testing.T) {
	t.Parallel()
	s := &site{t: t, dir: &directory{}, w: &watch{now: time.Now()}, db: unsure(t, "person.admit")}
	s.start(func(*access.Config) {})
	s.dir.set(person("joe", "cn=a"))
	if who := mustLogin(t, s.Access, "joe", ldapPassword); who.User != 2 || count(t, s.db, "users") != 2 {
		t.Errorf("%+v", who)
	}
}

func TestSubjectsOfAnIdentityProviderAreNeverRelinkedByName(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	makeUser(t, s.Access, "local")
	s.dir.set(person("ldap"))
	mustLogin(t, s.Access, "ldap", ldapPassword)
	p := access.Person{Subject: "https://idp.example.com 17", Name: "joe", Groups: groups("devs")}
	if _, err := s.UserOf(t.Context(), access.FromOIDC, p.Subject); !fail.Is(err, fail.NotFound) {
		t.Errorf("known before: %v", err)
	}
	who, err := s.SignIn(t.Context(), access.FromOIDC, p, "refresh token")
	if err != nil || who.Subject != "joe" {
		t.Fatalf("%+v, %v", who, err)
	}
	var stored string
	if err = s.db.Row(t.Context(), "SELECT token FROM profiles WHERE user_id = ?", who.User).Scan(&stored); err != nil || strings.Contains(stored, "refresh") {
		t.Errorf("the token is not sealed: %q, %v", stored, err)
	}
	if u, cause := s.UserOf(t.Context(), access.FromOIDC, p.Subject); cause != nil || u.ID != who.User || u.Origin != access.FromOIDC {
		t.Errorf("%+v, %v", u, cause)
	}
	for _, name := range []string{"joe", "local", "ldap", "admin"} {
		if _, err = s.SignIn(t.Context(), access.FromOIDC, access.Person{Subject: "https://idp.example.com 18", Name: name}, ""); !fail.Is(err, fail.Exists) || fail.HintOf(err) == "" {
			t.Errorf("another subject as %s: %v", name, err)
		}
	}
	p.Name = "renamed at the provider" // he keeps the name that he chose here
	if again, signErr := s.SignIn(t.Context(), access.FromOIDC, p, ""); signErr != nil || again.Subject != "joe" || again.User != who.User {
		t.Errorf("%+v, %v", again, signErr)
	}
	if _, err = s.SignIn(t.Context(), access.FromLDAP, access.Person{Subject: "uid=joe", Name: "joe"}, ""); !fail.Is(err, fail.Exists) {
		t.Errorf("the directory's joe: %v", err)
	}
	s.dir.questions()
	refused(t, s.Access, "joe", ldapPassword, "who is the identity provider's")
	if asked := s.dir.questions(); len(asked) != 0 {
		t.Errorf("the directory is asked for him: %q", asked)
	}
	beginCookie, err := s.Begin(t.Context(), who, here, "")
	if err != nil {
		t.Fatal(err)
	}
	goesOn(t, s.Access, beginCookie, "his session")
}
