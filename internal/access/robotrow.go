package access

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// findPlaces answers the numbers of a robot's project and of all places of its permissions, as scopes in the database. NotFound for a project that is not there.
func findPlaces(ctx context.Context, tx *sqldb.Tx, project string, all []Permission) (map[string]int64, error) {
	places := map[string]int64{"": systemScope, System: systemScope, EveryProject: everyScope}
	names := []string{project}
	for _, p := range all {
		names = append(names, p.In)
	}
	slices.Sort(names)
	names = slices.DeleteFunc(slices.Compact(names), func(name string) bool { _, known := places[name]; return known })
	for part := range slices.Chunk(names, rowsAtOnce) {
		args := make([]any, len(part))
		for i, name := range part {
			args[i] = name
		}
		for row, err := range tx.Rows(ctx, "SELECT id, name FROM projects WHERE name IN (?"+strings.Repeat(", ?", len(part)-1)+")", args...) {
			if err != nil {
				return nil, err
			}
			var id int64
			var name string
			if err = row.Scan(&id, &name); err != nil {
				return nil, err
			}
			places[name] = id
		}
	}
	for _, name := range names {
		if places[name] == 0 {
			return nil, fail.E(fail.NotFound, nil, "project %s", name)
		}
	}
	return places, nil
}

// readRobots reads the robots of a condition on r, without their permissions.
func (a *Access) readRobots(ctx context.Context, q sqldb.Querier, condition string, args ...any) ([]Robot, error) {
	prefix := a.robotPrefix()
	all := []Robot{}
	for row, err := range q.Rows(ctx, `SELECT r.id, r.name, COALESCE(p.id, 0), COALESCE(p.name, ''), r.description, r.disabled, r.duration, r.expires_at, r.creator_type, r.creator, r.created_at, r.changed_at
		FROM robots r LEFT JOIN projects p ON p.id = r.project WHERE `+condition, args...) {
		if err != nil {
			return nil, err
		}
		var r Robot
		var name, kind string
		var expires *int64
		var created, changed int64
		if err = row.Scan(&r.ID, &name, &r.ProjectID, &r.Project, &r.Description, &r.Disabled, &r.Days, &expires, &kind, &r.Creator.ID, &created, &changed); err != nil {
			return nil, err
		}
		r.Name = RobotName(prefix, r.Project, name)
		r.Creator.Robot = kind == robotSecret
		r.Expires, r.Created, r.Changed = orZero(expires), sqldb.FromMicros(created), sqldb.FromMicros(changed)
		all = append(all, r)
	}
	return all, nil
}

// readPermissions reads the permissions of robots, which are some.
func readPermissions(ctx context.Context, q sqldb.Querier, robots []Robot) error {
	if len(robots) == 0 {
		return nil
	}
	at, args := map[int64]int{}, make([]any, len(robots))
	for i := range robots {
		at[robots[i].ID], args[i] = i, robots[i].ID
	}
	for row, err := range q.Rows(ctx, `SELECT o.robot, o.scope, COALESCE(p.name, ''), o.resource, o.action, o.effect FROM robot_permissions o LEFT JOIN projects p ON p.id = o.project
		WHERE o.robot IN (?`+strings.Repeat(", ?", len(args)-1)+`)`, args...) {
		if err != nil {
			return err
		}
		var robot, scope int64
		var p Permission
		var effect string
		if err = row.Scan(&robot, &scope, &p.In, &p.Resource, &p.Action, &effect); err != nil {
			return err
		}
		switch scope {
		case systemScope:
			p.In = System
		case everyScope:
			p.In = EveryProject
		}
		p.Deny = effect == effectDeny
		robots[at[robot]].Permissions = append(robots[at[robot]].Permissions, p)
	}
	for i := range robots {
		slices.SortFunc(robots[i].Permissions, func(x, y Permission) int {
			return cmp.Or(cmp.Compare(x.In, y.In), cmp.Compare(x.Resource, y.Resource), cmp.Compare(x.Action, y.Action))
		})
	}
	return nil
}

// without answers the permissions that are not among others.
func without(all, others []Permission) []Permission {
	known := make(map[Permission]bool, len(others))
	for _, p := range others {
		known[p] = true
	}
	var left []Permission
	for _, p := range all {
		if !known[p] {
			left = append(left, p)
		}
	}
	return left
}

func insertPermissions(ctx context.Context, tx *sqldb.Tx, robot int64, all []Permission, places map[string]int64) error {
	for part := range slices.Chunk(all, rowsAtOnce) {
		var args []any
		for _, p := range part {
			effect, scope := effectAllow, places[p.In]
			if p.Deny {
				effect = effectDeny
			}
			project := orNull(scope)
			if scope == everyScope {
				project = nil
			}
			args = append(args, robot, scope, project, p.Resource, p.Action, effect)
		}
		_, err := tx.Exec(ctx, "INSERT INTO robot_permissions (robot, scope, project, resource, action, effect) VALUES (?, ?, ?, ?, ?, ?)"+strings.Repeat(", (?, ?, ?, ?, ?, ?)", len(part)-1), args...)
		if err != nil {
			return err
		}
	}
	return nil
}

func deletePermissions(ctx context.Context, tx *sqldb.Tx, robot int64, all []Permission, places map[string]int64) error {
	for part := range slices.Chunk(all, rowsAtOnce) {
		args := []any{robot}
		for _, p := range part {
			args = append(args, places[p.In], p.Resource, p.Action)
		}
		if _, err := tx.Exec(ctx, "DELETE FROM robot_permissions WHERE robot = ? AND (scope, resource, action) IN ((?, ?, ?)"+strings.Repeat(", (?, ?, ?)", len(part)-1)+")", args...); err != nil {
			return err
		}
	}
	return nil
}
