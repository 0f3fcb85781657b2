package access_test

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// Lookup makes the test's directory a Searcher.
func (d *directory) Lookup(_ context.Context, name string) (access.Person, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p, ok := d.people[strings.ToLower(name)]
	if d.fails != nil {
		return access.Person{}, d.fails
	}
	if !ok {
		return access.Person{}, fail.E(fail.NotFound, nil, "%s", name)
	}
	p.Groups, p.Admin = nil, false
	return p, nil
}

// Group knows groups below cn=, however they are written.
func (d *directory) Group(_ context.Context, key string) (access.Group, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key = strings.ToLower(key)
	name, ok := strings.CutPrefix(key, "cn=")
	switch {
	case d.fails != nil:
		return access.Group{}, d.fails
	case !ok:
		return access.Group{}, fail.E(fail.Invalid, nil, "%s", key)
	case name == "absent":
		return access.Group{}, fail.E(fail.NotFound, nil, "%s", key)
	}
	return access.Group{Key: key, Name: name}, nil
}

func TestUsersAndGroupsBecomeMembers(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	secret := project(t, s.db, "secret")
	joe := makeUser(t, s.Access, "joe")
	s.dir.set(person("eve", "cn=devs"))
	named, err := s.CreateGroup(t.Context(), access.FromLDAP, "CN=Ops", "operators")
	if err != nil || named.Key != "cn=ops" || named.Name != "operators" {
		t.Fatalf("%+v, %v", named, err)
	}
	if _, err = s.CreateGroup(t.Context(), access.FromOIDC, "sre", ""); err != nil {
		t.Fatal(err)
	}
	for i, c := range []struct {
		spec access.MemberSpec
		want access.Member
	}{
		{access.MemberSpec{User: joe.ID, Role: access.Guest}, access.Member{User: joe.ID, Name: "joe", Role: access.Guest}},
		{access.MemberSpec{UserName: "admin", Role: access.Maintainer}, access.Member{User: 1, Name: "admin", Role: access.Maintainer}},
		{access.MemberSpec{UserName: "Eve", Role: access.LimitedGuest}, access.Member{User: 3, Name: "eve", Role: access.LimitedGuest}}, // taken in before he logs in
		{access.MemberSpec{Group: named.ID, Role: access.ProjectAdmin}, access.Member{Group: named.ID, Name: "operators", Role: access.ProjectAdmin}},
		{access.MemberSpec{GroupKey: "CN=Devs", Role: access.Developer}, access.Member{Group: 3, Name: "devs", Role: access.Developer}},
		{access.MemberSpec{GroupKey: "cn=qa", GroupName: "testers", Role: access.Guest}, access.Member{Group: 4, Name: "testers", Role: access.Guest}},
		{access.MemberSpec{GroupName: "sre", Role: access.Guest}, access.Member{Group: 2, Name: "sre", Role: access.Guest}},
		{access.MemberSpec{GroupName: "new ones", Origin: access.FromOIDC, Role: access.Guest}, access.Member{Group: 5, Name: "new ones", Role: access.Guest}},
	} {
		m, addErr := s.AddMember(t.Context(), secret, c.spec)
		c.want.ID, c.want.Project, c.want.Created, c.want.Changed = int64(i+1), secret, s.w.time().UTC(), s.w.time().UTC()
		if addErr != nil || m != c.want {
			t.Errorf("%+v: %+v, want %+v, %v", c.spec, m, c.want, addErr)
		}
		if _, addErr = s.AddMember(t.Context(), secret, c.spec); !fail.Is(addErr, fail.Exists) {
			t.Errorf("%+v again: %v", c.spec, addErr)
		}
	}
	eve := mustLogin(t, s.Access, "eve", ldapPassword)
	if got := granted(t, s.Access, eve, "secret"); eve.User != 3 || got != "pull,push" { // her own role, and that of her group
		t.Errorf("%+v is granted %s", eve, got)
	}
	page, total, err := s.Members(t.Context(), access.MemberQuery{Project: secret})
	var names []string
	for _, m := range page {
		names = append(names, m.Name)
	}
	if err != nil || total != 8 || strings.Join(names, ",") != "admin,devs,eve,joe,new ones,operators,sre,testers" {
		t.Errorf("%v of %d, %v", names, total, err)
	}
	if page, total, err = s.Members(t.Context(), access.MemberQuery{Project: secret, Part: "E", Page: access.Page{Offset: 1, Limit: 2}}); err != nil || total != 7 || len(page) != 2 || page[0].Name != "eve" {
		t.Errorf("%+v of %d, %v", page, total, err)
	}
	if page, total, err = s.Members(t.Context(), access.MemberQuery{Project: project(t, s.db, "library")}); err != nil || total != 0 || len(page) != 0 {
		t.Errorf("of another project: %+v of %d, %v", page, total, err)
	}
}

func TestMembersThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	secret := project(t, s.db, "secret")
	for range 2 {
		if _, err := s.CreateGroup(t.Context(), access.FromOIDC, fmt.Sprint("key", count(t, s.db, "user_groups")), "twice"); err != nil {
			t.Fatal(err)
		}
	}
	for what, c := range map[string]struct {
		project int64
		spec    access.MemberSpec
		kind    fail.Kind
	}{
		"no role":            {secret, access.MemberSpec{User: 1}, fail.Invalid},
		"unknown role":       {secret, access.MemberSpec{User: 1, Role: 6}, fail.Invalid},
		"nobody":             {secret, access.MemberSpec{Role: access.Guest}, fail.Invalid},
		"absent user":        {secret, access.MemberSpec{User: 99, Role: access.Guest}, fail.NotFound},
		"absent group":       {secret, access.MemberSpec{Group: 99, Role: access.Guest}, fail.NotFound},
		"absent name":        {secret, access.MemberSpec{UserName: "nobody", Role: access.Guest}, fail.NotFound},
		"a robot":            {secret, access.MemberSpec{UserName: "robot$ci", Role: access.Guest}, fail.NotFound},
		"absent key":         {secret, access.MemberSpec{GroupKey: "cn=absent", Role: access.Guest}, fail.NotFound},
		"no key":             {secret, access.MemberSpec{GroupKey: "(*)", Role: access.Guest}, fail.Invalid},
		"NUL in the key":     {secret, access.MemberSpec{GroupKey: "cn=\x00", Role: access.Guest}, fail.Invalid},
		"unknown origin":     {secret, access.MemberSpec{GroupKey: "x", Origin: "uaa", Role: access.Guest}, fail.Invalid},
		"absent group name":  {secret, access.MemberSpec{GroupName: "absent", Role: access.Guest}, fail.NotFound},
		"NUL in the name":    {secret, access.MemberSpec{GroupName: "\x00", Role: access.Guest}, fail.Invalid},
		"two of a name":      {secret, access.MemberSpec{GroupName: "twice", Role: access.Guest}, fail.Conflict},
		"absent project":     {99, access.MemberSpec{User: 1, Role: access.Guest}, fail.NotFound},
		"the name of robots": {secret, access.MemberSpec{UserName: "a\x00", Role: access.Guest}, fail.NotFound},
	} {
		if m, err := s.AddMember(t.Context(), c.project, c.spec); !fail.Is(err, c.kind) {
			t.Errorf("%s: %+v, %v", what, m, err)
		}
	}
	s.dir.fail(fail.E(fail.Unavailable, nil, "no answer"))
	for _, spec := range []access.MemberSpec{{UserName: "eve", Role: access.Guest}, {GroupKey: "cn=x", Role: access.Guest}} {
		if _, err := s.AddMember(t.Context(), secret, spec); !fail.Is(err, fail.Unavailable) {
			t.Errorf("without the directory: %v", err)
		}
	}
	alone, _ := fresh(t)
	if _, err := alone.AddMember(t.Context(), 1, access.MemberSpec{GroupKey: "cn=x", Role: access.Guest}); !fail.Is(err, fail.Conflict) {
		t.Errorf("where there is no directory: %v", err)
	}
	if n := count(t, s.db, "members"); n != 0 {
		t.Errorf("%d members", n)
	}
}

func TestAMembersRoleIsChangedAndTakenInItsOwnProjectAlone(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	secret, library := project(t, s.db, "secret"), project(t, s.db, "library")
	makeUser(t, s.Access, "joe")
	m, err := s.AddMember(t.Context(), secret, access.MemberSpec{UserName: "joe", Role: access.Guest})
	if err != nil {
		t.Fatal(err)
	}
	s.w.move(time.Minute)
	changed, err := s.SetMemberRole(t.Context(), secret, m.ID, access.Developer)
	after := m
	after.Role, after.Changed = access.Developer, s.w.time().UTC()
	if err != nil || !reflect.DeepEqual(changed, access.Changed[access.Member]{Before: m, After: after}) {
		t.Errorf("%+v, %v", changed, err)
	}
	if got := granted(t, s.Access, mustLogin(t, s.Access, "joe", joesPassword), "secret"); got != "pull,push" {
		t.Errorf("granted %s", got)
	}
	for what, try := range map[string]func() error{
		"read":    func() error { _, e := s.Member(t.Context(), library, m.ID); return e },
		"changed": func() error { _, e := s.SetMemberRole(t.Context(), library, m.ID, access.Guest); return e },
		"removed": func() error { _, e := s.RemoveMember(t.Context(), library, m.ID); return e },
		"absent":  func() error { _, e := s.RemoveMember(t.Context(), secret, 99); return e },
	} {
		if err = try(); !fail.Is(err, fail.NotFound) {
			t.Errorf("%s through another project: %v", what, err)
		}
	}
	if _, err = s.SetMemberRole(t.Context(), secret, m.ID, 0); !fail.Is(err, fail.Invalid) {
		t.Errorf("no role: %v", err)
	}
	if gone, removeErr := s.RemoveMember(t.Context(), secret, m.ID); removeErr != nil || gone != after {
		t.Errorf("%+v, %v", gone, removeErr)
	}
	if got := granted(t, s.Access, mustLogin(t, s.Access, "joe", joesPassword), "secret"); got != "" {
		t.Errorf("granted %s", got)
	}
}

func TestRolesInManyProjectsAreOnesOwnAndThoseOfOnesGroups(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	secret, library := project(t, s.db, "secret"), project(t, s.db, "library")
	s.dir.set(person("joe", "cn=a", "cn=b"))
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	for _, spec := range []access.MemberSpec{{User: joe.User, Role: access.Guest}, {GroupKey: "cn=a", Role: access.Maintainer}, {GroupKey: "cn=b", Role: access.Guest}, {UserName: "admin", Role: access.ProjectAdmin}} {
		if _, err := s.AddMember(t.Context(), secret, spec); err != nil {
			t.Fatal(err)
		}
	}
	for user, want := range map[int64]map[int64][]access.Role{
		joe.User: {secret: {access.Maintainer, access.Guest}}, administrator.User: {secret: {access.ProjectAdmin}}, 99: {}, 0: {},
	} {
		if got, err := s.RolesIn(t.Context(), user, []int64{secret, library, 99}); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("user %d: %v, %v", user, got, err)
		}
	}
	if got, err := s.RolesIn(t.Context(), joe.User, nil); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAGroupIsRenamedAndDeletedWithItsMemberships(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	secret := project(t, s.db, "secret")
	s.dir.set(person("joe", "cn=a"))
	joe := mustLogin(t, s.Access, "joe", ldapPassword)
	m, err := s.AddMember(t.Context(), secret, access.MemberSpec{GroupKey: "cn=a", Role: access.Developer})
	if err != nil {
		t.Fatal(err)
	}
	changed, err := s.RenameGroup(t.Context(), m.Group, "developers")
	if err != nil || changed.Before.Name != "a" || changed.After.Name != "developers" {
		t.Errorf("%+v, %v", changed, err)
	}
	s.w.move(time.Hour)
	mustLogin(t, s.Access, "joe", ldapPassword)
	if g, findErr := s.Group(t.Context(), m.Group); findErr != nil || g != changed.After {
		t.Errorf("after a login it is %+v, %v", g, findErr)
	}
	for i := range 450 { // more than one step takes
		run(t, s.db, "INSERT INTO users (id, name, password_hash, admin, disabled, created_at, changed_at) VALUES (?, ?, '', ?, ?, 1, 1)", 1000+i, fmt.Sprint("u", i), false, false)
		run(t, s.db, "INSERT INTO group_users (user_id, group_id) VALUES (?, ?)", 1000+i, m.Group)
	}
	gone, err := s.DeleteGroup(t.Context(), m.Group)
	if err != nil || gone != changed.After || count(t, s.db, "group_users") != 0 || count(t, s.db, "members") != 0 {
		t.Errorf("%+v, %d of it, %v", gone, count(t, s.db, "group_users"), err)
	}
	if got := granted(t, s.Access, joe, "secret"); got != "" {
		t.Errorf("granted %s", got)
	}
	for what, try := range map[string]func() error{
		"read":    func() error { _, e := s.Group(t.Context(), m.Group); return e },
		"renamed": func() error { _, e := s.RenameGroup(t.Context(), m.Group, "x"); return e },
		"deleted": func() error { _, e := s.DeleteGroup(t.Context(), m.Group); return e },
	} {
		if err = try(); !fail.Is(err, fail.NotFound) {
			t.Errorf("%s when it is gone: %v", what, err)
		}
	}
	s.w.move(time.Hour)
	mustLogin(t, s.Access, "joe", ldapPassword)
	if got := s.joined(joe.User); !slices.Equal(got, []string{"cn=a"}) {
		t.Errorf("in %v", got)
	}
}

func TestGroupsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	s := withDirectory(t)
	if _, err := s.CreateGroup(t.Context(), access.FromOIDC, "there", ""); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		origin, key, name string
		kind              fail.Kind
	}{
		"unknown origin":  {"uaa", "x", "x", fail.Invalid},
		"local":           {access.FromHere, "x", "x", fail.Invalid},
		"no key":          {access.FromOIDC, "", "x", fail.Invalid},
		"spaces":          {access.FromOIDC, " x", "x", fail.Invalid},
		"NUL":             {access.FromOIDC, "x\x00", "x", fail.Invalid},
		"NUL in the name": {access.FromOIDC, "x", "x\x00", fail.Invalid},
		"a long key":      {access.FromOIDC, strings.Repeat("x", 701), "x", fail.Invalid},
		"a long name":     {access.FromOIDC, "x", strings.Repeat("x", 256), fail.Invalid},
		"taken":           {access.FromOIDC, "there", "again", fail.Exists},
		"absent":          {access.FromLDAP, "cn=absent", "", fail.NotFound},
		"no DN":           {access.FromLDAP, "absent", "", fail.Invalid},
	} {
		if g, err := s.CreateGroup(t.Context(), c.origin, c.key, c.name); !fail.Is(err, c.kind) {
			t.Errorf("%s: %+v, %v", what, g, err)
		}
	}
	if _, err := s.RenameGroup(t.Context(), 1, ""); !fail.Is(err, fail.Invalid) {
		t.Errorf("renamed to nothing: %v", err)
	}
	for what, c := range map[string]struct {
		query access.GroupQuery
		want  int64
	}{
		"all": {access.GroupQuery{}, 1}, "a part": {access.GroupQuery{Part: "HER"}, 1}, "another part": {access.GroupQuery{Part: "x"}, 0},
		"origin": {access.GroupQuery{Origin: access.FromLDAP}, 0}, "key": {access.GroupQuery{Key: "there"}, 1},
	} {
		if page, total, err := s.Groups(t.Context(), c.query); err != nil || total != c.want || len(page) != int(c.want) {
			t.Errorf("%s: %+v of %d, %v", what, page, total, err)
		}
	}
}

func TestAMemberWhoseCommitIsNotKnownOfIsMadeOnce(t *testing.T) {
	t.Parallel()
	a := open(t, unsure(t, "member.add"), &watch{now: time.Now()})
	if m, err := a.AddMember(t.Context(), 1, access.MemberSpec{User: 1, Role: access.Guest}); err != nil || m.ID != 1 {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAGroupWhoseCommitIsNotKnownOfIsMadeOnce(t *testing.T) {
	t.Parallel()
	a := open(t, unsure(t, "group.create"), &watch{now: time.Now()})
	if g, err := a.CreateGroup(t.Context(), access.FromOIDC, "devs", ""); err != nil || g.ID != 1 {
		t.Errorf("%+v, %v", g, err)
	}
}
