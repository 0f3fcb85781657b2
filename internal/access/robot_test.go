package access_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

var administrator = access.Identity{Subject: "admin", Admin: true, User: 1}

func permissions(in string, texts ...string) []access.Permission {
	var all []access.Permission
	for _, text := range texts {
		operation, deny := strings.CutPrefix(text, "not ")
		resource, action, _ := strings.Cut(operation, ":")
		all = append(all, access.Permission{In: in, Operation: access.Operation{Resource: resource, Action: action}, Deny: deny})
	}
	return all
}

func pusher(in string) []access.Permission {
	return permissions(in, "repository:pull", "repository:push")
}

func makeRobot(t *testing.T, a *access.Access, s access.RobotSpec) (access.Robot, string) {
	t.Helper()
	if s.Days == 0 {
		s.Days = access.Forever
	}
	if s.Name == "" {
		s.Name = "ci"
	}
	r, secret, err := a.CreateRobot(t.Context(), administrator, s)
	if err != nil {
		t.Fatal(err)
	}
	return r, secret
}

// login answers who logs in from an address of his own, so that nobody is slowed down.
func login(t *testing.T, a *access.Access, name, password string) (access.Identity, error) {
	t.Helper()
	return a.Authenticate(t.Context(), name, password, fmt.Sprint("192.0.2.", sqldb.NewToken()))
}

func mustLogin(t *testing.T, a *access.Access, name, password string) access.Identity {
	t.Helper()
	who, err := login(t, a, name, password)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return who
}

func refused(t *testing.T, a *access.Access, name, password, when string) {
	t.Helper()
	if who, err := login(t, a, name, password); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("%s %s: %+v, %v", name, when, who, err)
	}
}

// granted answers what of pull, push and delete somebody is granted on an application of a project.
func granted(t *testing.T, a *access.Access, who access.Identity, project string) string {
	t.Helper()
	all, err := a.Grant(t.Context(), who, parse(t, "repository:"+project+"/app:pull,push,delete"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		return ""
	}
	return strings.Join(all[0].Actions, ",")
}

func TestRobotsLogInByTheirWholeNamesAndDoWhatTheyWereGiven(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	of, secret := makeRobot(t, a, access.RobotSpec{Project: "secret", Permissions: pusher("secret")})
	all, allSecret := makeRobot(t, a, access.RobotSpec{Permissions: append(append(pusher("secret"), permissions(access.EveryProject, "repository:pull")...), permissions(access.System, "project:list")...)})
	if of.Name != "robot$secret+ci" || all.Name != "robot$ci" || len(secret) != 43 || secret == allSecret {
		t.Fatalf("%s with %q, %s with %q", of.Name, secret, all.Name, allSecret)
	}
	who := mustLogin(t, a, of.Name, secret)
	if who.Subject != of.Name || who.Robot != of.ID || who.User != 0 || who.Admin {
		t.Errorf("the project's robot is %+v", who)
	}
	if got := granted(t, a, who, "secret"); got != "pull,push" {
		t.Errorf("in its project: %s", got)
	}
	if got := granted(t, a, who, "library"); got != "pull" { // as everybody
		t.Errorf("in a public project: %s", got)
	}
	everywhere := mustLogin(t, a, all.Name, allSecret)
	if in, elsewhere := granted(t, a, everywhere, "secret"), granted(t, a, everywhere, "library"); in != "pull,push" || elsewhere != "pull" {
		t.Errorf("the system's robot: %s and %s", in, elsewhere)
	}
	for o, want := range map[string]bool{"project:list": true, "project:create": false} {
		if may, err := a.MaySystem(t.Context(), everywhere, permissions("", o)[0].Operation); err != nil || may != want {
			t.Errorf("%s in the system: %v, %v", o, may, err)
		}
	}
	for name, with := range map[string]string{
		"robot$secret+ci": allSecret, "robot$ci": secret, "robot$library+ci": secret, "robot$secret+c": secret, "ci": secret, "secret+ci": secret, "robot$": secret, "robot$+ci": secret, "robot$secret+": secret,
		"robot$secret+ci ": secret, "Robot$ci": allSecret,
	} {
		refused(t, a, name, with, "with another's secret, or by a name that is not its own")
	}
	refused(t, a, of.Name, "", "without a secret")
}

func TestARobotsSecretIsCheapToCheckAndStoredAsAKeyedHash(t *testing.T) {
	t.Parallel()
	db := database(t)
	a := open(t, db, &watch{now: time.Now()})
	r, secret := makeRobot(t, a, access.RobotSpec{Permissions: pusher("secret")})
	before := a.HashesMade()
	mustLogin(t, a, r.Name, secret)
	refused(t, a, r.Name, "wrong", "with a wrong secret")
	refused(t, a, "robot$absent", secret, "that there is not")
	if n := a.HashesMade() - before; n != 0 {
		t.Errorf("%d slow hashes", n)
	}
	var stored []byte
	if err := db.Row(t.Context(), "SELECT secret FROM robots").Scan(&stored); err != nil || len(stored) != 32 || strings.Contains(string(stored), secret) {
		t.Errorf("stored: %q, %v", stored, err)
	}
	// A row's hash is of no use in another row.
	other, _ := makeRobot(t, a, access.RobotSpec{Name: "other", Permissions: pusher("secret")})
	err := db.Tx(t.Context(), "test.copy", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(t.Context(), "UPDATE robots SET secret = ? WHERE id = ?", stored, other.ID)
		return cause
	})
	if err != nil {
		t.Fatal(err)
	}
	refused(t, a, other.Name, secret, "with the hash of another robot's secret")
}

func TestARobotIsReadAsItWasMade(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now().Truncate(time.Microsecond)}
	a := open(t, databaseAt(t, w.time), w)
	given := append(permissions("secret", "not repository:delete", "artifact:delete", "repository:pull"), permissions(access.System, "user:list")...)
	made, secret, err := a.CreateRobot(t.Context(), administrator, access.RobotSpec{Name: "c.i-1", Secret: "Of their own 1", Description: "builds\nand more", Days: 30, Disabled: true, Permissions: given})
	if err != nil || secret != "Of their own 1" {
		t.Fatalf("%q, %v", secret, err)
	}
	want := access.Robot{
		ID: 1, Name: "robot$c.i-1", Description: "builds\nand more", Disabled: true, Days: 30, Expires: w.time().Add(30 * 24 * time.Hour).UTC(), Creator: access.Creator{ID: 1},
		Created: w.time().UTC(), Changed: w.time().UTC(),
		Permissions: slices.Concat(permissions(access.System, "user:list"), permissions("secret", "artifact:delete", "not repository:delete", "repository:pull")),
	}
	found, err := a.Robot(t.Context(), made.ID)
	if err != nil || !reflect.DeepEqual(found, want) || !reflect.DeepEqual(made, want) {
		t.Errorf("made %+v, found %+v, want %+v, %v", made, found, want, err)
	}
	if _, err = a.Robot(t.Context(), 7); !fail.Is(err, fail.NotFound) {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestRobotsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	makeRobot(t, a, access.RobotSpec{Name: "there", Permissions: pusher("secret")})
	fine := access.RobotSpec{Name: "fine", Days: 1, Permissions: pusher("secret")}
	with := func(change func(s *access.RobotSpec)) access.RobotSpec {
		s := fine
		change(&s)
		return s
	}
	cases := map[string]struct {
		spec access.RobotSpec
		kind fail.Kind
	}{
		"taken":               {with(func(s *access.RobotSpec) { s.Name = "there" }), fail.Exists},
		"no project":          {with(func(s *access.RobotSpec) { s.Project, s.Permissions = "absent", pusher("absent") }), fail.NotFound},
		"of no project":       {with(func(s *access.RobotSpec) { s.Permissions = pusher("absent") }), fail.NotFound},
		"no permission":       {with(func(s *access.RobotSpec) { s.Permissions = nil }), fail.Invalid},
		"unknown permission":  {with(func(s *access.RobotSpec) { s.Permissions = permissions("secret", "repository:own") }), fail.Invalid},
		"wildcard":            {with(func(s *access.RobotSpec) { s.Permissions = permissions("secret", "*:*") }), fail.Invalid},
		"system's in project": {with(func(s *access.RobotSpec) { s.Permissions = permissions("secret", "user:create") }), fail.Invalid},
		"project's in system": {with(func(s *access.RobotSpec) { s.Permissions = permissions(access.System, "repository:pull") }), fail.Invalid},
		"twice":               {with(func(s *access.RobotSpec) { s.Permissions = append(pusher("secret"), pusher("secret")...) }), fail.Invalid},
		"allowed and not": {with(func(s *access.RobotSpec) {
			s.Permissions = permissions("secret", "repository:pull", "not repository:pull")
		}), fail.Invalid},
		"elsewhere":            {with(func(s *access.RobotSpec) { s.Project, s.Permissions = "secret", pusher("library") }), fail.Invalid},
		"everywhere":           {with(func(s *access.RobotSpec) { s.Project, s.Permissions = "secret", pusher(access.EveryProject) }), fail.Invalid},
		"nowhere":              {with(func(s *access.RobotSpec) { s.Permissions = pusher("") }), fail.Invalid},
		"0 days":               {with(func(s *access.RobotSpec) { s.Days = 0 }), fail.Invalid},
		"-2 days":              {with(func(s *access.RobotSpec) { s.Days = -2 }), fail.Invalid},
		"for ages":             {with(func(s *access.RobotSpec) { s.Days = 1 << 40 }), fail.Invalid},
		"weak secret":          {with(func(s *access.RobotSpec) { s.Secret = "password" }), fail.Invalid},
		"control in secret":    {with(func(s *access.RobotSpec) { s.Secret = "Password1\n" }), fail.Invalid},
		"long description":     {with(func(s *access.RobotSpec) { s.Description = strings.Repeat("ä", 1025) }), fail.Invalid},
		"NUL in description":   {with(func(s *access.RobotSpec) { s.Description = "a\x00b" }), fail.Invalid},
		"too many permissions": {with(func(s *access.RobotSpec) { s.Permissions = make([]access.Permission, 4001) }), fail.Invalid},
	}
	for _, name := range []string{"", "CI", "c+i", "c$i", "c/i", "c i", " ci", "ci ", "-ci", "ci-", "c--i", "c\x00i", "c\ni", "c'i", "c%i", "ci;--", "ć", "c\xff", strings.Repeat("x", 300)} {
		cases["named "+name] = struct {
			spec access.RobotSpec
			kind fail.Kind
		}{with(func(s *access.RobotSpec) { s.Name = name }), fail.Invalid}
	}
	for what, c := range cases {
		if _, secret, err := a.CreateRobot(t.Context(), administrator, c.spec); !fail.Is(err, c.kind) || secret != "" {
			t.Errorf("%q: %q, %v", what, secret, err)
		}
	}
	if _, _, err := a.CreateRobot(t.Context(), administrator, fine); err != nil {
		t.Errorf("a fine one: %v", err)
	}
}

func TestNobodyGivesARobotMoreThanHeMayHimself(t *testing.T) {
	t.Parallel()
	db := database(t)
	a := open(t, db, &watch{now: time.Now()})
	everybody := people(t, db, "secret")
	n := 0
	try := func(who access.Identity, project string, all []access.Permission) error {
		n++
		_, _, err := a.CreateRobot(t.Context(), who, access.RobotSpec{Name: fmt.Sprint("robot", n), Project: project, Days: access.Forever, Permissions: all})
		return err
	}
	for name, who := range everybody {
		role := roleOf(name)
		for _, o := range access.RobotOperations(false) {
			err := try(who, "secret", []access.Permission{{In: "secret", Operation: o}})
			if may := role.May(o) || name == "administrator"; may && err != nil || !may && !fail.Is(err, fail.Denied) {
				t.Errorf("%s gives %s: %v", name, o, err)
			}
		}
		if name == "administrator" {
			continue
		}
		for _, all := range [][]access.Permission{pusher("library"), permissions("library", "repository:pull"), pusher(access.EveryProject), permissions(access.System, "project:list")} {
			if err := try(who, "", all); !fail.Is(err, fail.Denied) {
				t.Errorf("%s gives %v: %v", name, all, err)
			}
		}
		if err := try(who, "absent", pusher("absent")); !fail.Is(err, fail.Denied) {
			t.Errorf("%s in no project: %v", name, err)
		}
	}
}

func TestARobotMakesRobotsThatMayLessThanItself(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	own := slices.Concat(permissions(access.EveryProject, "repository:pull", "artifact:delete"), permissions("secret", "not artifact:delete", "tag:create"), permissions(access.System, "robot:create", "project:list"))
	r, secret := makeRobot(t, a, access.RobotSpec{Permissions: own})
	who := mustLogin(t, a, r.Name, secret)
	for i, c := range []struct {
		given []access.Permission
		kind  fail.Kind
	}{
		{permissions("secret", "repository:pull", "tag:create"), 0},
		{permissions("library", "repository:pull", "artifact:delete"), 0},
		{permissions(access.EveryProject, "repository:pull", "not repository:push"), 0},
		{permissions(access.System, "project:list", "not user:delete"), 0},
		{permissions("secret", "artifact:delete"), fail.Denied},
		{permissions("library", "tag:create"), fail.Denied},
		{permissions(access.EveryProject, "artifact:delete"), fail.Denied}, // but not in secret
		{permissions(access.EveryProject, "tag:create"), fail.Denied},
		{permissions(access.System, "project:create"), fail.Denied},
	} {
		made, _, err := a.CreateRobot(t.Context(), who, access.RobotSpec{Name: fmt.Sprint("child", i), Days: access.Forever, Permissions: c.given})
		if c.kind == 0 && (err != nil || made.Creator != (access.Creator{Robot: true, ID: r.ID})) || c.kind != 0 && !fail.Is(err, c.kind) {
			t.Errorf("%v: %+v, %v", c.given, made.Creator, err)
		}
	}
}

func TestARobotIsChangedInPlace(t *testing.T) {
	t.Parallel()
	w := &watch{now: time.Now().Truncate(time.Microsecond)}
	db := databaseAt(t, w.time)
	a := open(t, db, w)
	r, secret := makeRobot(t, a, access.RobotSpec{Project: "secret", Permissions: pusher("secret")})
	w.move(time.Hour)
	next := access.RobotSpec{Description: "less", Days: 2, Permissions: permissions("secret", "repository:pull", "tag:list")}
	changed, err := a.UpdateRobot(t.Context(), administrator, r.ID, next)
	want := r
	want.Description, want.Days, want.Expires, want.Changed, want.Permissions = "less", 2, r.Created.Add(48*time.Hour), w.time().UTC(), next.Permissions
	if err != nil || !reflect.DeepEqual(changed, access.Changed[access.Robot]{Before: r, After: want}) {
		t.Errorf("%+v, want %+v, %v", changed.After, want, err)
	}
	if got := granted(t, a, mustLogin(t, a, r.Name, secret), "secret"); got != "pull" {
		t.Errorf("granted: %s", got)
	}
	everybody := people(t, db, "secret")
	for name, kind := range map[string]fail.Kind{"projectAdmin": 0, "guest": fail.Denied, "stranger": fail.Denied} {
		more := next
		more.Permissions = append(permissions("secret", "log:list"), next.Permissions...)
		if _, err = a.UpdateRobot(t.Context(), everybody[name], r.ID, next); err != nil {
			t.Errorf("%s gives nothing more: %v", name, err)
		}
		if _, err = a.UpdateRobot(t.Context(), everybody[name], r.ID, more); kind == 0 && err != nil || kind != 0 && !fail.Is(err, kind) {
			t.Errorf("%s gives more: %v", name, err)
		}
		if _, err = a.UpdateRobot(t.Context(), administrator, r.ID, next); err != nil {
			t.Fatal(err)
		}
	}
	for what, s := range map[string]access.RobotSpec{
		"nothing": {Days: 2}, "another project": {Days: 2, Permissions: pusher("library")}, "no time": {Permissions: next.Permissions},
	} {
		if _, err = a.UpdateRobot(t.Context(), administrator, r.ID, s); !fail.Is(err, fail.Invalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err = a.UpdateRobot(t.Context(), administrator, 99, next); !fail.Is(err, fail.NotFound) {
		t.Errorf("one that is not there: %v", err)
	}
	w.move(48 * time.Hour)
	refused(t, a, r.Name, secret, "after its time")
}

func TestARobotThatIsDisabledDeletedOrGivenAnotherSecretIsOut(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	r, secret := makeRobot(t, a, access.RobotSpec{Permissions: pusher("secret")})
	mustLogin(t, a, r.Name, secret)
	spec := access.RobotSpec{Days: access.Forever, Permissions: pusher("secret"), Disabled: true}
	if _, err := a.UpdateRobot(t.Context(), administrator, r.ID, spec); err != nil {
		t.Fatal(err)
	}
	refused(t, a, r.Name, secret, "while it is disabled")
	spec.Disabled = false
	if _, err := a.UpdateRobot(t.Context(), administrator, r.ID, spec); err != nil {
		t.Fatal(err)
	}
	mustLogin(t, a, r.Name, secret)
	made, err := a.SetRobotSecret(t.Context(), r.ID, "")
	if err != nil || made == secret {
		t.Fatalf("%q, %v", made, err)
	}
	refused(t, a, r.Name, secret, "with its old secret")
	mustLogin(t, a, r.Name, made)
	if _, err = a.SetRobotSecret(t.Context(), r.ID, "weak"); !fail.Is(err, fail.Invalid) {
		t.Errorf("a weak secret: %v", err)
	}
	if _, err = a.SetRobotSecret(t.Context(), r.ID, "Chosen by 1"); err != nil {
		t.Fatal(err)
	}
	mustLogin(t, a, r.Name, "Chosen by 1")
	gone, err := a.DeleteRobot(t.Context(), r.ID)
	if err != nil || gone.Name != r.Name || len(gone.Permissions) != 2 {
		t.Errorf("deleted %+v, %v", gone, err)
	}
	refused(t, a, r.Name, "Chosen by 1", "deleted")
	_, deleteErr := a.DeleteRobot(t.Context(), r.ID)
	_, secretErr := a.SetRobotSecret(t.Context(), r.ID, "")
	if !fail.Is(deleteErr, fail.NotFound) || !fail.Is(secretErr, fail.NotFound) {
		t.Errorf("again: %v, %v", deleteErr, secretErr)
	}
	again, _ := makeRobot(t, a, access.RobotSpec{Permissions: pusher("secret")})
	if again.ID == r.ID || again.Name != r.Name {
		t.Errorf("the next of its name: %+v", again)
	}
}

func TestARobotsExpiredTokenFinishesItsUploadOnlyWhileTheRobotIsThere(t *testing.T) {
	t.Parallel()
	a, w := fresh(t)
	r, secret := makeRobot(t, a, access.RobotSpec{Permissions: pusher("secret")})
	token, err := a.Issue(t.Context(), mustLogin(t, a, r.Name, secret), service, nil)
	if err != nil {
		t.Fatal(err)
	}
	w.move(2 * time.Hour)
	if c, cause := a.VerifyForUpload(t.Context(), token.Raw); cause != nil || !c.Expired || c.Identity.Subject != r.Name || c.Identity.Robot != r.ID {
		t.Errorf("%+v, %v", c, cause)
	}
	if _, err = a.UpdateRobot(t.Context(), administrator, r.ID, access.RobotSpec{Days: access.Forever, Permissions: pusher("secret"), Disabled: true}); err != nil {
		t.Fatal(err)
	}
	if _, err = a.VerifyForUpload(t.Context(), token.Raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("of a disabled robot: %v", err)
	}
	if _, err = a.DeleteRobot(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	if _, err = a.VerifyForUpload(t.Context(), token.Raw); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("of a deleted robot: %v", err)
	}
}

func TestRobotsGetNoRefreshToken(t *testing.T) {
	t.Parallel()
	a, _ := fresh(t)
	r, secret := makeRobot(t, a, access.RobotSpec{Permissions: pusher("secret")})
	if raw, err := a.IssueRefresh(t.Context(), mustLogin(t, a, r.Name, secret), service); raw != "" || err != nil {
		t.Errorf("%q, %v", raw, err)
	}
}

func TestRobotsOutliveTheKeyOfTokens(t *testing.T) {
	t.Parallel()
	db, w := database(t), &watch{now: time.Now()}
	a := open(t, db, w)
	r, secret := makeRobot(t, a, access.RobotSpec{Permissions: pusher("secret")})
	for _, revoke := range []bool{false, true} {
		if _, err := access.RotateKey(t.Context(), access.Config{Seal: sealed(t, db), DB: db, Clock: w.time}, revoke); err != nil {
			t.Fatal(err)
		}
		mustLogin(t, open(t, db, w), r.Name, secret)
	}
}

func TestThePrefixOfRobotsCanBeChanged(t *testing.T) {
	t.Parallel()
	policy := access.DefaultPolicy()
	db := database(t)
	a, _, err := access.New(t.Context(), access.Config{Seal: sealed(t, db), DB: db, AdminPassword: password, Cost: cheap, Policy: func() access.Policy { return policy }})
	if err != nil {
		t.Fatal(err)
	}
	r, secret := makeRobot(t, a, access.RobotSpec{Project: "secret", Permissions: pusher("secret")})
	policy.RobotPrefix = "ad"
	if again, cause := a.Robot(t.Context(), r.ID); cause != nil || again.Name != "adsecret+ci" {
		t.Errorf("now it is %s, %v", again.Name, cause)
	}
	mustLogin(t, a, "adsecret+ci", secret)
	refused(t, a, r.Name, secret, "by its old name")
	if who := mustLogin(t, a, "admin", password); !who.Admin || who.Robot != 0 { // who has a robot's prefix, and is none
		t.Errorf("the administrator is %+v", who)
	}
}

// unsure is a database that says of each transaction of a name once that nobody knows whether it was committed; it was.
func unsure(t *testing.T, name string) *sqldb.DB {
	t.Helper()
	var mu sync.Mutex
	said := false
	db, err := sqldb.Open(t.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db"), Fault: func(_ context.Context, p sqldb.FaultPoint, tx string) error {
		mu.Lock()
		defer mu.Unlock()
		if p != sqldb.AfterCommit || tx != name || said {
			return nil
		}
		said = true
		return errors.New("the connection broke")
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cause := db.Close(); cause != nil {
			t.Error(cause)
		}
		if !said {
			t.Errorf("no transaction %s", name)
		}
	})
	if err = db.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = db.Tx(t.Context(), "test.project", func(tx *sqldb.Tx) error {
		_, cause := index.AddProject(t.Context(), tx, index.Project{Name: "secret"})
		return cause
	})
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestARobotWhoseCommitIsNotKnownOfIsMadeOnce(t *testing.T) {
	t.Parallel()
	a := open(t, unsure(t, "robot.create"), &watch{now: time.Now()})
	r, secret := makeRobot(t, a, access.RobotSpec{Permissions: pusher("secret")})
	mustLogin(t, a, r.Name, secret)
	if r.ID != 1 {
		t.Errorf("it is number %d", r.ID)
	}
	if _, _, err := a.CreateRobot(t.Context(), administrator, access.RobotSpec{Name: "ci", Secret: secret, Days: 1, Permissions: pusher("secret")}); !fail.Is(err, fail.Exists) {
		t.Errorf("another of its name: %v", err)
	}
}

func FuzzRobotName(f *testing.F) {
	for _, seed := range []string{"robot$ci", "robot$library+ci", "robot$+", "robot$a+b+c", "admin", "robot$\x00"} {
		f.Add("robot$", seed)
	}
	f.Fuzz(func(t *testing.T, prefix, whole string) {
		project, name, ok := access.ParseRobotName(prefix, whole)
		if !ok {
			if project != "" || name != "" {
				t.Errorf("%q is none, and has %q and %q", whole, project, name)
			}
			return
		}
		if name == "" || strings.Contains(project, "+") || access.RobotName(prefix, project, name) != whole {
			t.Errorf("%q reads as %q of %q", whole, name, project)
		}
	})
}
