// Package accesstest is the suite that access passes on every engine.
package accesstest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

const (
	password = "A password 1"
	admin    = "admin"
)

// Cheap is a cost of passwords that keeps tests quick.
var Cheap = access.Cost{Passes: 1, MemoryKiB: 64}

var administrator = access.Identity{Subject: admin, Admin: true, User: 1}

// Run runs the suite. fresh makes an empty database for a part of it.
func Run(t *testing.T, fresh func(t *testing.T) sqldbtest.Opener) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"robots", robots},
		{"users and their secrets", users},
		{"people of a directory", people},
		{"members and groups", members},
		{"sessions", sessions},
		{"revocations", revocations},
		{"keys of tokens", keys},
		{"One of many makes what has one name", oneName},
		{"Who is deleted gets nothing any more", deletions},
		{"A robot is changed and deleted at once", robotRaces},
		{"First logins at once make one account", firstLogins},
		{"Revocations are seen in their order", revocationOrder},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t, fresh(t))) })
	}
}

// world is some nodes on one database; where one process writes, it is one node several times.
type world struct {
	t     *testing.T
	db    *sqldb.DB
	nodes []*access.Access
	dir   *directory
}

// directory answers the one person whom a test describes, whatever he is called.
type directory struct {
	person func(name string) access.Person
}

func (d *directory) Login(_ context.Context, name, given string) (access.Person, error) {
	if d.person == nil || given != password {
		return access.Person{}, fail.E(fail.Unauthenticated, nil, "wrong")
	}
	return d.person(name), nil
}

func (d *directory) Find(_ context.Context, subject string) (access.Person, error) {
	if d.person == nil {
		return access.Person{}, fail.E(fail.NotFound, nil, "%s", subject)
	}
	return d.person(subject), nil
}

func open(t *testing.T, opener sqldbtest.Opener) *world {
	t.Helper()
	w := &world{t: t, dir: &directory{}}
	w.db = sqldbtest.Open(t, opener())
	for i := range 3 {
		db := w.db
		if i > 0 && !w.db.Sole() {
			db = sqldbtest.Open(t, opener())
		}
		sealer, err := seal.Open(t.Context(), db, "the secret of all nodes")
		w.ok(err)
		a, _, err := access.New(t.Context(), access.Config{DB: db, Seal: sealer, AdminPassword: password, Cost: Cheap, Provider: func() access.Provider { return w.dir }})
		w.ok(err)
		w.nodes = append(w.nodes, a)
	}
	for _, name := range []string{"one", "two"} {
		w.ok(w.db.Tx(t.Context(), "test.project", func(tx *sqldb.Tx) error {
			_, err := index.AddProject(t.Context(), tx, index.Project{Name: name})
			return err
		}))
	}
	return w
}

func (w *world) node(i int) *access.Access { return w.nodes[i%len(w.nodes)] }

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// is wants an error of a kind.
func (w *world) is(err error, kind fail.Kind) {
	w.t.Helper()
	if !fail.Is(err, kind) {
		w.t.Errorf("%v, want %s", err, kind)
	}
}

// login logs in at a node, from an address of its own.
func (w *world) login(i int, name, secret string) (access.Identity, error) {
	return w.node(i).Authenticate(w.t.Context(), name, secret, sqldb.NewToken())
}

func (w *world) enter(i int, name, secret string) access.Identity {
	w.t.Helper()
	who, err := w.login(i, name, secret)
	w.ok(err)
	return who
}

func (w *world) token(i int, name, secret string) string {
	w.t.Helper()
	token, err := w.node(i).Issue(w.t.Context(), w.enter(i, name, secret), access.DefaultService, nil)
	w.ok(err)
	return token.Raw
}

func (w *world) user(name string) access.User {
	w.t.Helper()
	u, err := w.node(0).CreateUser(w.t.Context(), access.UserSpec{Name: name, Password: password, Profile: access.Profile{Email: name + "@example.com", RealName: "Ünïcode", Comment: "x"}})
	w.ok(err)
	return u
}

func (w *world) project(name string) int64 {
	w.t.Helper()
	p, err := index.FindProject(w.t.Context(), w.db, name)
	w.ok(err)
	return p.ID
}

func (w *world) count(what string) int {
	w.t.Helper()
	var n int
	w.ok(w.db.Row(w.t.Context(), "SELECT COUNT(*) FROM "+what).Scan(&n))
	return n
}

// pull is a permission in a place.
func pull(in string) access.Permission {
	return access.Permission{In: in, Operation: access.Operation{Resource: "repository", Action: "pull"}}
}

// pushOne is a permission to push.
var pushOne = access.Permission{In: "one", Operation: access.Operation{Resource: "repository", Action: "push"}}

// granted answers what of pull and push somebody is granted in a project.
func (w *world) granted(i int, who access.Identity, project string) string {
	w.t.Helper()
	all, err := w.node(i).Grant(w.t.Context(), who, []access.Scope{{Type: "repository", Name: project + "/app", Actions: []string{"pull", "push"}}})
	w.ok(err)
	if len(all) == 0 {
		return ""
	}
	return fmt.Sprint(all[0].Actions)
}

// soon waits for what must come.
func (w *world) soon(what string, holds func() bool) {
	w.t.Helper()
	for end := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("%s did not come", what)
		}
	}
}
