// Package projecttest tests projects on any engine: Run is the suite that all pass.
package projecttest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/project"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

// Run runs the suite. fresh answers how to open an empty database, each time through another node of its cluster if there are several.
func Run(t *testing.T, fresh func(t *testing.T) sqldbtest.Opener) {
	t.Helper()
	for _, c := range []struct {
		name string
		run  func(t *testing.T, w *world)
	}{
		{"A project is made once", made},
		{"A list has what its viewer may see", seen},
		{"A list is filtered, sorted and paged", listed},
		{"Metadata are checked and kept in one form", metadata},
		{"Findings that are allowed are kept", allowlist},
		{"A project is deleted with all that belongs to it, and not with repositories", deleted},
		{"A deletion and a push do not both succeed", deletedOrPushed},
		{"What is pushed while a project is deleted stays", pushedMeanwhile},
		{"What is said to be unknown happens once", once},
		{"Labels mark manifests", labels},
		{"A repository is described", notes},
		{"Projects have quotas", quotas},
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, open(t, fresh(t))) })
	}
}

// world is a database with projects.
type world struct {
	*project.Projects
	registry *registry.Registry
	driver   blob.Driver
	db       *sqldb.DB
	open     sqldbtest.Opener
	faults   faults
}

// faults says of one commit that nobody knows whether it happened.
type faults struct {
	mu   sync.Mutex
	tx   string
	then func()
}

var errUnknown = errors.New("injected")

func (f *faults) ask(_ context.Context, p sqldb.FaultPoint, tx string) error {
	f.mu.Lock()
	then := f.then
	if p != sqldb.AfterCommit || tx != f.tx || then == nil {
		f.mu.Unlock()
		return nil
	}
	f.then = nil
	f.mu.Unlock()
	then()
	return errUnknown
}

// after lets something happen when the next transaction of a name was committed, which is then run again.
func (f *faults) after(tx string, then func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tx, f.then = tx, then
}

func open(t *testing.T, o sqldbtest.Opener) *world {
	t.Helper()
	w := &world{open: o, driver: memory.New(time.Now)}
	cfg := o()
	cfg.Fault = w.faults.ask
	w.db = sqldbtest.Open(t, cfg)
	w.join(t)
	// The one that every registry makes would be in every list.
	need(t, w.Delete(t.Context(), 1))
	return w
}

// join makes a registry and the projects on the world's database.
func (w *world) join(t *testing.T) {
	t.Helper()
	var err error
	w.registry, err = registry.New(t.Context(), registry.Config{DB: w.db, Blobs: blob.NewStore(w.driver, blob.StoreConfig{Clock: time.Now}), CreateOnPush: true})
	need(t, err)
	w.Projects = project.New(w.db, w.registry)
}

// another answers the projects as another node sees them.
func (w *world) another(t *testing.T) *world {
	t.Helper()
	if w.db.Sole() {
		return w
	}
	n := &world{db: sqldbtest.Open(t, w.open()), open: w.open, driver: w.driver}
	n.join(t)
	return n
}

func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func want(t *testing.T, err error, kind fail.Kind) {
	t.Helper()
	if !fail.Is(err, kind) {
		t.Fatalf("got %v (%v), want %v", err, fail.KindOf(err), kind)
	}
}

// make makes a project that has to be new.
func (w *world) make(t *testing.T, name string, public bool) int64 {
	t.Helper()
	set := map[string]string{}
	if public {
		set["public"] = "true"
	}
	id, err := w.Create(t.Context(), project.Create{Name: name, Metadata: set})
	need(t, err)
	return id
}

func (w *world) exec(t *testing.T, statement string, args ...any) {
	t.Helper()
	need(t, w.db.Tx(t.Context(), "test", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), statement, args...)
		return err
	}))
}

func (w *world) count(t *testing.T, query string, args ...any) (n int64) {
	t.Helper()
	need(t, w.db.Row(t.Context(), query, args...).Scan(&n))
	return n
}

// user makes a user and answers the number.
func (w *world) user(t *testing.T, name string) int64 {
	t.Helper()
	id := sqldb.NewID()
	w.exec(t, "INSERT INTO users (id, name, password_hash, admin, disabled, created_at, changed_at) VALUES (?, ?, '', ?, ?, 1, 1)", id, name, false, false)
	return id
}

func (w *world) member(t *testing.T, project, user int64, role int) {
	t.Helper()
	w.exec(t, "INSERT INTO members (id, project, user_id, role, created_at, changed_at) VALUES (?, ?, ?, ?, 1, 1)", sqldb.NewID(), project, user, role)
}

// groupMember makes a group with a user in it, and lets it be a member of a project.
func (w *world) groupMember(t *testing.T, project, user int64) {
	t.Helper()
	group := sqldb.NewID()
	w.exec(t, "INSERT INTO user_groups (id, origin, k, name, created_at) VALUES (?, 'ldap', ?, 'group', 1)", group, sqldb.NewToken())
	w.exec(t, "INSERT INTO group_users (user_id, group_id) VALUES (?, ?)", user, group)
	w.exec(t, "INSERT INTO members (id, project, group_id, role, created_at, changed_at) VALUES (?, ?, ?, 3, 1, 1)", sqldb.NewID(), project, group)
}

// robot makes a robot of a project, 0 for the system's, with a permission on a scope: -1 for all projects.
func (w *world) robot(t *testing.T, of, scope int64, resource, action, effect string) int64 {
	t.Helper()
	var project, permitted any
	if of > 0 {
		project = of
	}
	if scope > 0 {
		permitted = scope
	}
	id := sqldb.NewID()
	w.exec(t, "INSERT INTO robots (id, scope, project, name, description, secret, disabled, duration, creator_type, creator, created_at, changed_at) VALUES (?, ?, ?, ?, '', ?, ?, -1, '', 0, 1, 1)",
		id, of, project, sqldb.NewToken(), []byte{1}, false)
	w.exec(t, "INSERT INTO robot_permissions (robot, scope, project, resource, action, effect) VALUES (?, ?, ?, ?, ?, ?)", id, scope, permitted, resource, action, effect)
	return id
}

// repository makes a repository as a push does.
func (w *world) repository(ctx context.Context, name string, pushed bool) error {
	n, err := oci.ParseName(name)
	if err != nil {
		return err
	}
	id := sqldb.NewID()
	return w.db.Tx(ctx, "test.push", func(tx *sqldb.Tx) error {
		p, txErr := index.FindProject(ctx, tx, n.Project())
		if txErr != nil {
			return txErr
		}
		if txErr = index.InsertRepository(ctx, tx, id, p.ID, n, 1); txErr != nil || !pushed {
			return txErr
		}
		return index.SetPushed(ctx, tx, id, 1)
	})
}
