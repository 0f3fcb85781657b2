package registrytest

import (
	"testing"

	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Member makes a user who is a guest of projects that are there.
func (w *World) Member(t *testing.T, projects ...string) registry.Viewer {
	t.Helper()
	id := w.user(t)
	for _, p := range projects {
		w.insert(t, "INSERT INTO members (id, project, user_id, role, created_at, changed_at) VALUES (?, ?, ?, 3, 1, 1)", sqldb.NewID(), w.projectID(t, p), id)
	}
	return registry.Viewer{User: id}
}

// GroupMember makes a user who is a guest of projects through a group.
func (w *World) GroupMember(t *testing.T, projects ...string) registry.Viewer {
	t.Helper()
	id, group := w.user(t), sqldb.NewID()
	w.insert(t, "INSERT INTO user_groups (id, origin, k, name, created_at) VALUES (?, 'ldap', ?, 'group', 1)", group, sqldb.NewToken())
	w.insert(t, "INSERT INTO group_users (user_id, group_id) VALUES (?, ?)", id, group)
	for _, p := range projects {
		w.insert(t, "INSERT INTO members (id, project, group_id, role, created_at, changed_at) VALUES (?, ?, ?, 3, 1, 1)", sqldb.NewID(), w.projectID(t, p), group)
	}
	return registry.Viewer{User: id}
}

// Robot makes a robot that may pull of projects.
func (w *World) Robot(t *testing.T, projects ...string) registry.Viewer {
	t.Helper()
	id := sqldb.NewID()
	w.insert(t, "INSERT INTO robots (id, scope, name, description, secret, disabled, duration, creator_type, creator, created_at, changed_at) VALUES (?, 0, ?, '', ?, ?, -1, '', 0, 1, 1)",
		id, sqldb.NewToken(), []byte{1}, false)
	for _, p := range projects {
		project := w.projectID(t, p)
		w.insert(t, "INSERT INTO robot_permissions (robot, scope, project, resource, action, effect) VALUES (?, ?, ?, 'repository', 'pull', 'allow')", id, project, project)
	}
	return registry.Viewer{Robot: id}
}

func (w *World) user(t *testing.T) int64 {
	t.Helper()
	id := sqldb.NewID()
	w.insert(t, "INSERT INTO users (id, name, password_hash, admin, disabled, created_at, changed_at) VALUES (?, ?, '', ?, ?, 1, 1)", id, sqldb.NewToken(), false, false)
	return id
}

func (w *World) projectID(t *testing.T, name string) int64 {
	t.Helper()
	p, err := index.FindProject(t.Context(), w.DB, name)
	if err != nil {
		t.Fatal(err)
	}
	return p.ID
}

func (w *World) insert(t *testing.T, statement string, args ...any) {
	t.Helper()
	err := w.DB.Tx(t.Context(), "test.insert", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(t.Context(), statement, args...)
		return cause
	})
	if err != nil {
		t.Fatal(err)
	}
}
