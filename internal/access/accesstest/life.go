package accesstest

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

func robots(t *testing.T, w *world) {
	ctx, a := t.Context(), w.node(0)
	spec := access.RobotSpec{Name: "ci", Project: "one", Days: 30, Description: "of\nöne", Permissions: []access.Permission{pull("one"), pushOne}}
	r, secret, err := a.CreateRobot(ctx, administrator, spec)
	w.ok(err)
	_, _, err = w.node(1).CreateRobot(ctx, administrator, spec)
	w.is(err, fail.Exists)
	system, systemSecret, err := a.CreateRobot(ctx, administrator, access.RobotSpec{Name: "ci", Days: access.Forever, Permissions: []access.Permission{pull(access.EveryProject), {In: "two", Operation: access.Operation{Resource: "repository", Action: "pull"}, Deny: true}, {In: access.System, Operation: access.Operation{Resource: "project", Action: "list"}}}})
	w.ok(err)
	for i := range w.nodes {
		who, everywhere := w.enter(i, r.Name, secret), w.enter(i, system.Name, systemSecret)
		if in, out, all, but := w.granted(i, who, "one"), w.granted(i, who, "two"), w.granted(i, everywhere, "one"), w.granted(i, everywhere, "two"); in != "[pull push]" || out != "" || all != "[pull]" || but != "" {
			t.Errorf("granted %s, %s, %s and %s", in, out, all, but)
		}
		may, mayErr := w.node(i).MaySystem(ctx, everywhere, access.Operation{Resource: "project", Action: "list"})
		if w.ok(mayErr); !may {
			t.Error("the system's robot may not list projects")
		}
		_, err = w.login(i, r.Name+" ", secret)
		w.is(err, fail.Unauthenticated)
	}
	// A robot makes robots within its own bounds.
	who := w.enter(1, system.Name, systemSecret)
	_, _, err = w.node(1).CreateRobot(ctx, who, access.RobotSpec{Name: "child", Days: 1, Permissions: []access.Permission{pull("one")}})
	w.ok(err)
	for _, p := range []access.Permission{pull(access.EveryProject), pull("two"), pushOne} {
		_, _, err = w.node(1).CreateRobot(ctx, who, access.RobotSpec{Name: "more", Days: 1, Permissions: []access.Permission{p}})
		w.is(err, fail.Denied)
	}
	changed, err := w.node(2).UpdateRobot(ctx, administrator, r.ID, access.RobotSpec{Days: access.Forever, Permissions: []access.Permission{pushOne}})
	if w.ok(err); changed.Before.Description != "of\nöne" || changed.Before.Days != 30 || !changed.After.Expires.IsZero() || !slices.Equal(changed.After.Permissions, []access.Permission{pushOne}) {
		t.Errorf("%+v", changed)
	}
	next, err := w.node(1).SetRobotSecret(ctx, r.ID, "")
	w.ok(err)
	if got := w.granted(1, w.enter(1, r.Name, next), "one"); got != "[push]" {
		t.Errorf("granted %s", got)
	}
	page, total, err := w.node(2).Robots(ctx, access.RobotQuery{Every: true, Part: "C", Order: access.ByChange, Down: true, Page: access.Page{Offset: 1, Limit: 1}})
	if w.ok(err); total != 3 || len(page) != 1 || len(page[0].Permissions) == 0 {
		t.Errorf("%+v of %d", page, total)
	}
	for _, id := range []int64{r.ID, system.ID} {
		_, err = w.node(0).DeleteRobot(ctx, id)
		w.ok(err)
		_, err = w.node(1).Robot(ctx, id)
		w.is(err, fail.NotFound)
	}
	if n := w.count("robot_permissions"); n != 1 {
		t.Errorf("%d permissions are left", n)
	}
}

func users(t *testing.T, w *world) {
	ctx := t.Context()
	joe := w.user("joe")
	for _, name := range []string{"joe", "admin"} {
		_, err := w.node(1).CreateUser(ctx, access.UserSpec{Name: name, Password: password})
		w.is(err, fail.Exists)
	}
	if found, err := w.node(2).UserByName(ctx, "joe"); err != nil || found != joe || found.RealName != "Ünïcode" {
		t.Errorf("%+v, %v", found, err)
	}
	for _, name := range []string{"JOE", "joe "} {
		_, err := w.node(1).UserByName(ctx, name)
		w.is(err, fail.NotFound)
	}
	_, token, err := w.node(1).CreateUserToken(ctx, joe.ID, "laptop", time.Now().Add(time.Hour))
	w.ok(err)
	_, _, err = w.node(2).CreateUserToken(ctx, joe.ID, "laptop", time.Time{})
	w.is(err, fail.Exists)
	cli, err := w.node(2).SetCLISecret(ctx, joe.ID, "")
	w.ok(err)
	cli2, err := w.node(0).SetCLISecret(ctx, joe.ID, "Chosen by 1")
	w.ok(err)
	for _, secret := range []string{token, cli2, password} {
		w.enter(0, "joe", secret)
	}
	_, err = w.login(1, "joe", cli)
	w.is(err, fail.Unauthenticated)
	held, err := w.node(1).UserTokens(ctx, joe.ID)
	if w.ok(err); len(held) != 2 || held[0].Used.IsZero() {
		t.Errorf("%+v", held)
	}
	_, err = w.node(2).DeleteUserToken(ctx, joe.ID, held[0].ID)
	w.ok(err)
	_, err = w.node(0).UpdateProfile(ctx, joe.ID, access.Profile{Email: "new@example.com", RealName: "New", Comment: strings.Repeat("ä", 255)})
	w.ok(err)
	_, err = w.node(0).UpdateProfile(ctx, 1, access.Profile{RealName: "First"})
	w.ok(err)
	_, err = w.node(1).ChangePassword(ctx, joe.ID, password, "A password 2", "192.0.2.1")
	w.ok(err)
	_, err = w.node(2).SetAdmin(ctx, joe.ID, true)
	w.ok(err)
	if who := w.enter(1, "joe", "A password 2"); !who.Admin {
		t.Errorf("%+v", who)
	}
	for _, q := range []access.UserQuery{{Part: "JO"}, {Email: "NEW@"}, {Name: "joe"}, {Origin: access.FromHere, Part: "o"}, {Admins: true, Order: access.ByCreation, Down: true, Page: access.Page{Limit: 1}}} {
		page, _, listErr := w.node(1).Users(ctx, q)
		if w.ok(listErr); len(page) != 1 || page[0].Name != "joe" || page[0].Email != "new@example.com" || !page[0].Admin {
			t.Errorf("%+v: %+v", q, page)
		}
	}
	for _, text := range []string{"%", "_", "!", "'", `\`} {
		page, total, listErr := w.node(2).Users(ctx, access.UserQuery{Part: text})
		if w.ok(listErr); len(page) != 0 || total != 0 {
			t.Errorf("%q is in %+v", text, page)
		}
	}
	_, err = w.node(2).DeleteUser(ctx, joe.ID)
	w.ok(err)
	if n := w.count("user_tokens") + w.count("profiles WHERE user_id <> 1"); n != 0 {
		t.Errorf("%d rows of his are left", n)
	}
}

func people(t *testing.T, w *world) {
	ctx := t.Context()
	describe := func(change func(p *access.Person), groups ...string) {
		w.dir.person = func(string) access.Person {
			p := access.Person{Subject: "uid=joe,ou=people", Name: "joe", Email: "joe@example.com", RealName: "Joe"}
			for _, g := range groups {
				p.Groups = append(p.Groups, access.Group{Key: g, Name: "the " + g})
			}
			if change != nil {
				change(&p)
			}
			return p
		}
	}
	var many []string
	for i := range 450 {
		many = append(many, fmt.Sprintf("cn=%03d", i))
	}
	describe(nil, many...)
	who := w.enter(0, "joe", password)
	if n := w.count("group_users"); n != 450 {
		t.Errorf("in %d groups", n)
	}
	describe(func(p *access.Person) { p.Subject, p.Admin, p.Email = "uid=joe,ou=elsewhere", true, "new@example.com" }, many[400:]...)
	if next := w.enter(1, "joe", password); next.User != who.User || !next.Admin || w.count("group_users") != 50 {
		t.Errorf("%+v in %d groups", next, w.count("group_users"))
	}
	describe(func(p *access.Person) { p.Subject, p.Name = "uid=joe,ou=elsewhere", "joseph" })
	if next := w.enter(2, "joseph", password); next.User != who.User || next.Subject != "joseph" || next.Admin || w.count("group_users") != 0 {
		t.Errorf("%+v in %d groups", next, w.count("group_users"))
	}
	u, err := w.node(0).UserOf(ctx, access.FromLDAP, "uid=joe,ou=elsewhere")
	if w.ok(err); u.ID != who.User || u.Email != "joe@example.com" || u.Gone {
		t.Errorf("%+v", u)
	}
	_, token, err := w.node(1).CreateUserToken(ctx, u.ID, "laptop", time.Time{})
	w.ok(err)
	refresh := func(want access.Refreshed) {
		t.Helper()
		w.ok(w.db.Tx(ctx, "test.old", func(tx *sqldb.Tx) error {
			_, cause := tx.Exec(ctx, "UPDATE profiles SET seen_at = 1")
			return cause
		}))
		got, refreshErr := w.node(2).RefreshGroups(ctx)
		if w.ok(refreshErr); got != want {
			t.Errorf("refreshed %+v, want %+v", got, want)
		}
	}
	known := w.dir.person
	w.dir.person = nil
	refresh(access.Refreshed{Gone: 1})
	_, err = w.login(0, "joseph", token)
	w.is(err, fail.Unauthenticated)
	w.dir.person = known
	refresh(access.Refreshed{Told: 1})
	w.enter(0, "joseph", token)
	// An identity provider's people, with what it gave for the next time.
	sub := access.Person{Subject: "https://idp sub", Name: "sub", Groups: []access.Group{{Key: "of the provider"}}}
	for i := range w.nodes {
		signed, signErr := w.node(i).SignIn(ctx, access.FromOIDC, sub, strings.Repeat("token", 2000))
		if w.ok(signErr); signed.Subject != "sub" {
			t.Errorf("%+v", signed)
		}
	}
	for _, subject := range []string{"https://idp other", "https://idp sub "} {
		_, err = w.node(1).SignIn(ctx, access.FromOIDC, access.Person{Subject: subject, Name: "sub"}, "")
		if !fail.Is(err, fail.Exists) && !fail.Is(err, fail.Invalid) {
			t.Errorf("%q: %v", subject, err)
		}
	}
}

func members(t *testing.T, w *world) {
	ctx, one := t.Context(), w.project("one")
	joe := w.user("joe")
	g, err := w.node(0).CreateGroup(ctx, access.FromOIDC, "devs", "Developers")
	w.ok(err)
	_, err = w.node(1).CreateGroup(ctx, access.FromOIDC, "devs", "")
	if w.is(err, fail.Exists); fail.HintOf(err) != fmt.Sprint("it is number ", g.ID) {
		t.Errorf("a second group: %v (%s)", err, fail.HintOf(err))
	}
	_, err = w.node(1).RenameGroup(ctx, g.ID, "Dévs")
	w.ok(err)
	m, err := w.node(2).AddMember(ctx, one, access.MemberSpec{UserName: "joe", Role: access.Guest})
	w.ok(err)
	_, err = w.node(0).AddMember(ctx, one, access.MemberSpec{User: joe.ID, Role: access.Guest})
	w.is(err, fail.Exists)
	_, err = w.node(0).AddMember(ctx, one, access.MemberSpec{GroupName: "Dévs", Role: access.Developer})
	w.ok(err)
	_, err = w.node(0).AddMember(ctx, 99, access.MemberSpec{User: joe.ID, Role: access.Guest})
	w.is(err, fail.NotFound)
	_, err = w.node(1).SetMemberRole(ctx, one, m.ID, access.Maintainer)
	w.ok(err)
	_, err = w.node(1).SetMemberRole(ctx, w.project("two"), m.ID, access.Maintainer)
	w.is(err, fail.NotFound)
	roles, err := w.node(2).RolesIn(ctx, joe.ID, []int64{one, w.project("two")})
	if w.ok(err); len(roles) != 1 || !slices.Equal(roles[one], []access.Role{access.Maintainer}) {
		t.Errorf("%v", roles)
	}
	page, total, err := w.node(0).Members(ctx, access.MemberQuery{Project: one})
	if w.ok(err); total != 2 || page[0].Name != "Dévs" || page[1].Role != access.Maintainer {
		t.Errorf("%+v of %d", page, total)
	}
	for name, want := range map[string]int64{"joe": 1, "jo": 0, "' OR 1=1": 0} {
		if page, total, err = w.node(0).Members(ctx, access.MemberQuery{Project: one, Name: name}); err != nil || total != want || int64(len(page)) != want {
			t.Errorf("members called %s: %v, %d, %v", name, page, total, err)
		}
	}
	if page, total, err = w.node(0).Members(ctx, access.MemberQuery{Project: one, Part: "JO", Page: access.Page{Offset: 1}}); err != nil || total != 1 || len(page) != 0 {
		t.Errorf("%+v of %d, %v", page, total, err)
	}
	groups, total, err := w.node(1).Groups(ctx, access.GroupQuery{Origin: access.FromOIDC, Part: "VS"})
	if w.ok(err); total != 1 || groups[0].Key != "devs" {
		t.Errorf("%+v", groups)
	}
	_, err = w.node(1).RemoveMember(ctx, one, m.ID)
	w.ok(err)
	_, err = w.node(2).DeleteGroup(ctx, g.ID)
	if w.ok(err); w.count("members") != 0 {
		t.Errorf("%d members", w.count("members"))
	}
}

func sessions(t *testing.T, w *world) {
	ctx := t.Context()
	joe := w.user("joe")
	var cookies []string
	for i := range w.nodes {
		cookie, err := w.node(i).Begin(ctx, w.enter(i, "joe", password), "192.0.2.1", "Ünïcode\x00")
		w.ok(err)
		cookies = append(cookies, cookie)
	}
	for i, cookie := range cookies {
		if who, err := w.node(i+1).Check(ctx, cookie); err != nil || who.User != joe.ID {
			t.Errorf("%+v, %v", who, err)
		}
	}
	all, err := w.node(2).Sessions(ctx, joe.ID)
	if w.ok(err); len(all) != 3 || all[0].Agent != "Ünïcode" {
		t.Errorf("%+v", all)
	}
	w.ok(w.node(1).End(ctx, cookies[0]))
	_, err = w.node(1).Check(ctx, cookies[0])
	w.is(err, fail.Unauthenticated)
	w.ok(w.node(0).EndSessions(ctx, joe.ID, cookies[1]))
	_, err = w.node(0).Check(ctx, cookies[2])
	w.is(err, fail.Unauthenticated)
	_, err = w.node(0).Check(ctx, cookies[1])
	w.ok(err)
	_, err = w.node(2).SetPassword(ctx, joe.ID, "A password 2")
	w.ok(err)
	_, err = w.node(2).Check(ctx, cookies[1])
	w.is(err, fail.Unauthenticated)
	n, err := w.node(0).ForgetSessions(ctx, func(context.Context, *sqldb.Tx) error { return nil }, time.Now().Add(24*time.Hour), 10)
	if w.ok(err); n != 1 || w.count("sessions") != 0 {
		t.Errorf("%d forgotten, %d left", n, w.count("sessions"))
	}
}

// revocations lets one node revoke what others must refuse, at once where they run.
func revocations(t *testing.T, w *world) {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, len(w.nodes))
	for _, a := range w.nodes {
		go func() { ended <- a.Run(ctx) }()
	}
	w.user("joe")
	r, secret, err := w.node(0).CreateRobot(ctx, administrator, access.RobotSpec{Name: "ci", Days: 1, Permissions: []access.Permission{pull("one")}})
	w.ok(err)
	for who, with := range map[string]string{"joe": password, r.Name: secret} {
		var tokens []string
		for i := range w.nodes {
			tokens = append(tokens, w.token(i, who, with))
		}
		other := w.token(0, admin, password)
		w.ok(w.node(1).Revoke(ctx, who))
		for i, a := range w.nodes {
			for _, raw := range tokens {
				w.soon(fmt.Sprintf("the end of a token of %s at node %d", who, i), func() bool {
					_, verifyErr := a.Verify(ctx, raw)
					return fail.Is(verifyErr, fail.Unauthenticated)
				})
			}
			if _, err = a.Verify(ctx, other); err != nil {
				t.Errorf("somebody else's token at node %d: %v", i, err)
			}
			next := w.token(i, who, with)
			for j, b := range w.nodes {
				if _, err = b.Verify(ctx, next); err != nil {
					t.Errorf("the next token of node %d at node %d: %v", i, j, err)
				}
			}
		}
	}
	n, err := w.node(0).ForgetRevocations(ctx, func(context.Context, *sqldb.Tx) error { return nil }, time.Now().Add(72*time.Hour), 10)
	if w.ok(err); n != 2 {
		t.Errorf("%d forgotten", n)
	}
	stop()
	for range w.nodes {
		w.ok(<-ended)
	}
}

// keys rotates and revokes the key of tokens under nodes that run.
func keys(t *testing.T, w *world) {
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, len(w.nodes))
	for _, a := range w.nodes {
		go func() { ended <- a.Run(ctx) }()
	}
	sealer, err := seal.Open(ctx, w.db, "the secret of all nodes")
	w.ok(err)
	conf := access.Config{DB: w.db, Seal: sealer, Clock: time.Now}
	verified := func(i int, raw string) bool {
		_, verifyErr := w.node(i).Verify(ctx, raw)
		if verifyErr != nil {
			w.is(verifyErr, fail.Unauthenticated)
		}
		return verifyErr == nil
	}
	everywhere := func(what, raw string) {
		t.Helper()
		for i := range w.nodes {
			if !verified(i, raw) {
				t.Errorf("%s is refused at node %d", what, i)
			}
		}
	}
	old := w.token(0, admin, password)
	for _, revoke := range []bool{false, true} {
		done, rotateErr := access.RotateKey(ctx, conf, revoke)
		w.ok(rotateErr)
		for i := range w.nodes {
			fresh := ""
			w.soon(fmt.Sprintf("the new key at node %d", i), func() bool {
				fresh = w.token(i, admin, password)
				head, _, _ := strings.Cut(fresh, ".")
				text, decodeErr := base64.RawURLEncoding.DecodeString(head)
				w.ok(decodeErr)
				return strings.Contains(string(text), done.New)
			})
			everywhere("a token of the new key", fresh)
		}
		if !revoke {
			everywhere("a token of the old key", old)
			continue
		}
		for i := range w.nodes {
			w.soon(fmt.Sprintf("the end of a revoked key's token at node %d", i), func() bool { return !verified(i, old) })
		}
	}
	stop()
	for range w.nodes {
		w.ok(<-ended)
	}
}
