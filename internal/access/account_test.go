package access_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// run runs one statement that must succeed.
func run(t *testing.T, db *sqldb.DB, statement string, args ...any) {
	t.Helper()
	err := db.Tx(t.Context(), "test.run", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(t.Context(), statement, args...)
		return cause
	})
	if err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// count answers how many rows a table has.
func count(t *testing.T, db *sqldb.DB, table string) int {
	t.Helper()
	var n int
	if err := db.Row(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func project(t *testing.T, db *sqldb.DB, name string) int64 {
	t.Helper()
	p, err := index.FindProject(t.Context(), db, name)
	if err != nil {
		t.Fatal(err)
	}
	return p.ID
}

func TestAUserIsReadAsHeWasMade(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now().Truncate(time.Microsecond)}
	a := open(t, databaseAt(t, w.time), w)
	made, err := a.CreateUser(t.Context(), access.UserSpec{
		Name: "Jöe 1", Password: joesPassword, Admin: true, Profile: access.Profile{Email: "joe@example.com", RealName: "Joe Doe", Comment: "from sales"},
	})
	want := access.User{ID: 2, Name: "Jöe 1", Email: "joe@example.com", RealName: "Joe Doe", Comment: "from sales", Admin: true, Origin: access.FromHere, Created: w.time().UTC(), Changed: w.time().UTC()}
	if err != nil || made != want {
		t.Errorf("made %+v, want %+v, %v", made, want, err)
	}
	for what, find := range map[string]func() (access.User, error){
		"number": func() (access.User, error) { return a.User(t.Context(), made.ID) },
		"name":   func() (access.User, error) { return a.UserByName(t.Context(), "Jöe 1") },
	} {
		if found, cause := find(); cause != nil || found != want {
			t.Errorf("by %s: %+v, %v", what, found, cause)
		}
	}
	if who := mustLogin(t, a, "Jöe 1", joesPassword); !who.Admin || who.User != 2 {
		t.Errorf("%+v", who)
	}
	if admin, cause := a.User(t.Context(), 1); cause != nil || admin.Origin != access.FromHere || !admin.Admin || admin.AdminByGroup || admin.Gone {
		t.Errorf("the first administrator: %+v, %v", admin, cause)
	}
	for _, name := range []string{"nobody", "jöe 1", "Jöe 1 ", "", "x\x00", strings.Repeat("x", 300)} {
		if _, err = a.UserByName(t.Context(), name); !fail.Is(err, fail.NotFound) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if _, err = a.User(t.Context(), 99); !fail.Is(err, fail.NotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestUsersThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	cases := map[string]access.UserSpec{}
	for _, name := range []string{"", " joe", "joe ", "a:b", "a,b", `a"b`, "a~b", "a#b", "a%b", "a$b", "robot$x", "a\x00b", "a\nb", "a\xff", "adm\u200bin", "joe\u00a0x", strings.Repeat("x", 256)} {
		cases["name "+name] = access.UserSpec{Name: name, Password: joesPassword}
	}
	for _, secret := range []string{"", "Short1a", "nouppercase1", "NOLOWERCASE1", "NoDigitAtAll", strings.Repeat("Aa1", 50), "havn_pat_Abc1", "Control1\x07a"} {
		cases["password "+secret] = access.UserSpec{Name: "joe", Password: secret}
	}
	for _, p := range []access.Profile{
		{Email: "joe"},
		{Email: "Joe <joe@example.com>"},
		{Email: "a b@example.com"},
		{Email: "joe@example.com\x00"},
		{Email: strings.Repeat("x", 250) + "@example.com"},
		{RealName: "a\x00"},
		{RealName: "50%"},
		{RealName: strings.Repeat("x", 256)},
		{Comment: strings.Repeat("x", 256)},
		{Comment: "a\x00"},
	} {
		cases[fmt.Sprintf("%q", p)] = access.UserSpec{Name: "joe", Password: joesPassword, Profile: p}
	}
	for what, s := range cases {
		if _, err := a.CreateUser(t.Context(), s); !fail.Is(err, fail.Invalid) || fail.HintOf(err) == "" {
			t.Errorf("%q: %v", what, err)
		}
	}
	if _, err := a.CreateUser(t.Context(), access.UserSpec{Name: "admin", Password: joesPassword}); !fail.Is(err, fail.Exists) {
		t.Errorf("a second administrator: %v", err)
	}
	if _, total, err := a.Users(t.Context(), access.UserQuery{}); err != nil || total != 1 {
		t.Errorf("%d users, %v", total, err)
	}
}

func TestStrangersRegisterOnlyWhereTheyMay(t *testing.T) {
	t.Parallel()
	policy := access.DefaultPolicy()
	db := database(t)
	a, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, AdminPassword: password, Cost: cheap, Policy: func() access.Policy { return policy }})
	if err != nil {
		t.Fatal(err)
	}
	spec := access.UserSpec{Name: "joe", Password: joesPassword, Admin: true}
	if _, err = a.Register(t.Context(), spec, here); !fail.Is(err, fail.Denied) {
		t.Errorf("by default: %v", err)
	}
	policy.SelfRegistration = true
	if u, cause := a.Register(t.Context(), spec, here); cause != nil || u.Admin {
		t.Errorf("%+v, %v", u, cause)
	}
	if _, err = a.Register(t.Context(), access.UserSpec{Name: "weak", Password: "short"}, here); !fail.Is(err, fail.Invalid) {
		t.Errorf("with a weak password: %v", err)
	}
	for i := range 2 * access.FreePerAddress { // a program that makes accounts
		spec.Name = fmt.Sprint("joe", i)
		if _, err = a.Register(t.Context(), spec, here); err != nil {
			break
		}
	}
	if !fail.Is(err, fail.Exhausted) || fail.RetryAfterOf(err) == 0 {
		t.Errorf("many from one address: %v", err)
	}
	if _, err = a.Register(t.Context(), spec, "198.51.100.7"); err != nil {
		t.Errorf("from another address: %v", err)
	}
}

func TestWhatOneChangesOfHimselfCostsNobodyElseAHash(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	joe := makeUser(t, a, "joe")
	enter := func() {
		t.Helper()
		if _, err := a.Authenticate(t.Context(), "admin", password, here); err != nil {
			t.Fatal(err)
		}
	}
	enter()
	before := a.HashesMade()
	if _, err := a.UpdateProfile(t.Context(), joe.ID, access.Profile{Email: "joe@example.com", RealName: "Joe"}); err != nil {
		t.Fatal(err)
	}
	if _, err := a.SetCLISecret(t.Context(), joe.ID, ""); err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(t.Context(), "joe"); err != nil {
		t.Fatal(err)
	}
	enter()
	if n := a.HashesMade() - before; n != 0 {
		t.Errorf("%d hashes", n)
	}
}

func TestAProfileIsItsUsersOwn(t *testing.T) {
	t.Parallel()
	db := database(t)
	a := open(t, db, &watch{now: time.Now()})
	session := beginAs(t, a, "admin", password)
	p := access.Profile{Email: "root@example.com", RealName: "Root", Comment: "x"}
	for range 2 { // the administrator has no profile at first
		changed, err := a.UpdateProfile(t.Context(), administrator.User, p)
		if got := (access.Profile{Email: changed.After.Email, RealName: changed.After.RealName, Comment: changed.After.Comment}); err != nil || got != p {
			t.Errorf("%+v, %v", changed, err)
		}
	}
	if who, err := a.Check(t.Context(), session); err != nil || !who.Admin { // a profile is no credential
		t.Errorf("the session of before: %+v, %v", who, err)
	}
	if _, err := a.UpdateProfile(t.Context(), administrator.User, access.Profile{Email: "x"}); !fail.Is(err, fail.Invalid) {
		t.Errorf("a wrong address: %v", err)
	}
	if _, err := a.UpdateProfile(t.Context(), 99, p); !fail.Is(err, fail.NotFound) {
		t.Errorf("nobody's: %v", err)
	}
}

func TestAPasswordIsChangedByWhoKnowsTheOldOne(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	joe := makeUser(t, a, "joe")
	session := beginAs(t, a, "joe", joesPassword)
	_, token, err := a.CreateUserToken(t.Context(), joe.ID, "laptop", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	change := func(old, next string) error {
		_, changeErr := a.ChangePassword(t.Context(), joe.ID, old, next, here)
		return changeErr
	}
	const next = "Joes password 2"
	eve, err := a.SignIn(t.Context(), access.FromLDAP, person("eve"), "")
	if err != nil {
		t.Fatal(err)
	}
	for what, try := range map[string]func() (access.Changed[access.User], error){
		"set": func() (access.Changed[access.User], error) { return a.SetPassword(t.Context(), eve.User, next) },
		"changed": func() (access.Changed[access.User], error) {
			return a.ChangePassword(t.Context(), eve.User, next, next, here)
		},
		"profile": func() (access.Changed[access.User], error) {
			return a.UpdateProfile(t.Context(), eve.User, access.Profile{})
		},
	} {
		if _, err = try(); !fail.Is(err, fail.Conflict) {
			t.Errorf("%s for somebody of a directory: %v", what, err)
		}
	}
	if err = change("Wrong one 1", next); !fail.Is(err, fail.Denied) {
		t.Errorf("without the old one: %v", err)
	}
	if err = change(joesPassword, joesPassword); !fail.Is(err, fail.Invalid) {
		t.Errorf("to the old one: %v", err)
	}
	if err = change(joesPassword, "weak"); !fail.Is(err, fail.Invalid) {
		t.Errorf("to a weak one: %v", err)
	}
	mustLogin(t, a, "joe", joesPassword)
	if err = change(joesPassword, next); err != nil {
		t.Fatal(err)
	}
	refused(t, a, "joe", joesPassword, "with the old password")
	mustLogin(t, a, "joe", next)
	mustLogin(t, a, "joe", token)
	if _, err = a.Check(t.Context(), session); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("the session of before: %v", err)
	}
	for range access.FreePerUser {
		if err = change("Wrong one 1", next); !fail.Is(err, fail.Denied) {
			t.Fatal(err)
		}
	}
	if err = change(next, "Joes password 3"); !fail.Is(err, fail.Exhausted) { // a guesser with a stolen session
		t.Errorf("after many guesses: %v", err)
	}
	w.move(time.Hour)
	if err = change(next, "Joes password 3"); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

func TestTheFirstAdministratorStays(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	if _, err := a.SetAdmin(t.Context(), administrator.User, false); !fail.Is(err, fail.Denied) {
		t.Errorf("no administrator any more: %v", err)
	}
	if _, err := a.DeleteUser(t.Context(), administrator.User); !fail.Is(err, fail.Denied) {
		t.Errorf("deleted: %v", err)
	}
	if who := mustLogin(t, a, "admin", password); !who.Admin {
		t.Errorf("%+v", who)
	}
}

func TestAnAdministratorIsMadeAndUnmade(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	joe := makeUser(t, a, "joe")
	before := tokenOf(t, a, "joe", joesPassword)
	changed, err := a.SetAdmin(t.Context(), joe.ID, true)
	if err != nil || changed.Before.Admin || !changed.After.Admin {
		t.Errorf("%+v, %v", changed, err)
	}
	admin := tokenOf(t, a, "joe", joesPassword)
	for what, raw := range map[string]string{"before": before, "as an administrator": admin} {
		if c, verifyErr := a.Verify(t.Context(), raw); verifyErr != nil || c.Identity.Admin != (raw == admin) {
			t.Errorf("the token of %s: %+v, %v", what, c, verifyErr)
		}
	}
	if _, err = a.SetAdmin(t.Context(), joe.ID, false); err != nil {
		t.Fatal(err)
	}
	if c, verifyErr := a.Verify(t.Context(), admin); !fail.Is(verifyErr, fail.Unauthenticated) {
		t.Errorf("the administrator's token still counts: %+v, %v", c, verifyErr)
	}
	if who := mustLogin(t, a, "joe", joesPassword); who.Admin {
		t.Errorf("%+v", who)
	}
	if _, err = a.SetAdmin(t.Context(), 99, true); !fail.Is(err, fail.NotFound) {
		t.Errorf("nobody: %v", err)
	}
}

func TestADeletedUserLeavesNothingButHisProjects(t *testing.T) {
	t.Parallel()
	db := database(t)
	a := open(t, db, &watch{now: time.Now()})
	joe := makeUser(t, a, "joe")
	beginAs(t, a, "joe", joesPassword)
	raw := tokenOf(t, a, "joe", joesPassword)
	if _, _, err := a.CreateUserToken(t.Context(), joe.ID, "laptop", time.Time{}); err != nil {
		t.Fatal(err)
	}
	for i := range 450 { // more than one step takes
		run(t, db, "INSERT INTO user_groups (id, origin, k, name, created_at) VALUES (?, 'ldap', ?, 'g', 1)", i+1, fmt.Sprint("cn=", i))
		run(t, db, "INSERT INTO group_users (user_id, group_id) VALUES (?, ?)", joe.ID, i+1)
	}
	if _, err := a.AddMember(t.Context(), project(t, db, "secret"), access.MemberSpec{User: joe.ID, Role: access.Guest}); err != nil {
		t.Fatal(err)
	}
	run(t, db, "UPDATE project_details SET owner = ?", joe.ID)
	gone, err := a.DeleteUser(t.Context(), joe.ID)
	if err != nil || gone.Name != "joe" || gone.Disabled {
		t.Errorf("%+v, %v", gone, err)
	}
	for table, want := range map[string]int{"sessions": 0, "user_tokens": 0, "group_users": 0, "members": 0, "profiles": 0, "users": 1, "projects": 2, "user_groups": 450, "project_details WHERE owner IS NOT NULL": 0} {
		if n := count(t, db, table); n != want {
			t.Errorf("%d in %s, want %d", n, table, want)
		}
	}
	refused(t, a, "joe", joesPassword, "deleted")
	if _, err = a.Verify(t.Context(), raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("his token: %v", err)
	}
	if _, err = a.DeleteUser(t.Context(), joe.ID); !fail.Is(err, fail.NotFound) {
		t.Errorf("again: %v", err)
	}
	next := makeUser(t, a, "joe")
	if next.ID == joe.ID {
		t.Errorf("the next of his name is he: %+v", next)
	}
	if _, err = a.Verify(t.Context(), tokenOf(t, a, "joe", joesPassword)); err != nil {
		t.Errorf("the token of the next of his name: %v", err)
	}
}

func TestAUserIsListedByWhatIsKnownOfHim(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	for i, name := range []string{"bob", "Alice", "eve", "al_ice", "100%er"} {
		name = strings.ReplaceAll(name, "%", "")
		if _, err := a.CreateUser(t.Context(), access.UserSpec{Name: name, Password: joesPassword, Admin: i == 2, Profile: access.Profile{Email: fmt.Sprintf("%d@example.com", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		query access.UserQuery
		want  string
		total int64
	}{
		"all":              {access.UserQuery{}, "100er Alice admin al_ice bob eve", 6},
		"from the last":    {access.UserQuery{Down: true, Page: access.Page{Limit: 2}}, "eve bob", 6},
		"by number":        {access.UserQuery{Order: access.ByID}, "admin bob Alice eve al_ice 100er", 6},
		"the second page":  {access.UserQuery{Order: access.ByID, Page: access.Page{Offset: 4, Limit: 4}}, "al_ice 100er", 6},
		"behind the end":   {access.UserQuery{Page: access.Page{Offset: 100}}, "", 6},
		"a name":           {access.UserQuery{Name: "bob"}, "bob", 1},
		"a part":           {access.UserQuery{Part: "ALI"}, "Alice", 1},
		"a part with _":    {access.UserQuery{Part: "l_i"}, "al_ice", 1},
		"a part with %":    {access.UserQuery{Part: "%"}, "", 0},
		"a part with !":    {access.UserQuery{Part: "!"}, "", 0},
		"a quote":          {access.UserQuery{Part: "' OR 1=1 --"}, "", 0},
		"NUL":              {access.UserQuery{Part: "\x00"}, "", 0},
		"not UTF-8":        {access.UserQuery{Name: "\xff"}, "", 0},
		"an address":       {access.UserQuery{Email: "2@EXAMPLE"}, "eve", 1},
		"administrators":   {access.UserQuery{Admins: true}, "admin eve", 2},
		"local ones":       {access.UserQuery{Origin: access.FromHere, Part: "b"}, "bob", 1},
		"of the directory": {access.UserQuery{Origin: access.FromLDAP}, "", 0},
	} {
		page, total, err := a.Users(t.Context(), c.query)
		var got []string
		for _, u := range page {
			got = append(got, u.Name)
		}
		if err != nil || strings.Join(got, " ") != c.want || total != c.total {
			t.Errorf("%s: %v of %d, %v, want %s of %d", what, got, total, err, c.want, c.total)
		}
	}
}

func TestARobotIsListedWhereItBelongs(t *testing.T) {
	t.Parallel()
	db := database(t)
	a := open(t, db, &watch{now: time.Now()})
	for _, s := range []access.RobotSpec{{Name: "b"}, {Name: "a"}, {Name: "c", Project: "secret"}, {Name: "a", Project: "library"}} {
		s.Permissions = pusher("secret")
		if s.Project != "" {
			s.Permissions = pusher(s.Project)
		}
		makeRobot(t, a, s)
	}
	for what, c := range map[string]struct {
		query access.RobotQuery
		want  []string
	}{
		"the system's": {access.RobotQuery{}, []string{"robot$a", "robot$b"}},
		"a project's":  {access.RobotQuery{Project: project(t, db, "secret")}, []string{"robot$secret+c"}},
		"all":          {access.RobotQuery{Every: true, Order: access.ByID}, []string{"robot$b", "robot$a", "robot$secret+c", "robot$library+a"}},
		"of a name":    {access.RobotQuery{Every: true, Name: "a", Order: access.ByID}, []string{"robot$a", "robot$library+a"}},
		"of a part":    {access.RobotQuery{Every: true, Part: "C"}, []string{"robot$secret+c"}},
		"of nothing":   {access.RobotQuery{Project: 99}, nil},
	} {
		page, total, err := a.Robots(t.Context(), c.query)
		var got []string
		for _, r := range page {
			got = append(got, r.Name)
			if len(r.Permissions) != 2 {
				t.Errorf("%s has %d permissions", r.Name, len(r.Permissions))
			}
		}
		if err != nil || !slices.Equal(got, c.want) || total != int64(len(c.want)) {
			t.Errorf("%s: %v of %d, %v", what, got, total, err)
		}
	}
}

func TestAUserWhoseCommitIsNotKnownOfIsMadeOnce(t *testing.T) {
	t.Parallel()
	a := open(t, unsure(t, "user.create"), &watch{now: time.Now()})
	joe := makeUser(t, a, "joe")
	if found, err := a.UserByName(t.Context(), "joe"); err != nil || !reflect.DeepEqual(found, joe) || joe.ID != 2 {
		t.Errorf("%+v, %v", found, err)
	}
}
