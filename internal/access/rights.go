package access

import (
	"context"
	"fmt"
	"slices"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Rights is what somebody may do in a project.
type Rights struct {
	Project index.Project // as it is; its owner is not told
	Roles   []Role        // of a user, his own and those of his groups, from the one that may most; nil for robots

	admin bool
	robot []permission
}

// permission is one of a robot's; "*" stands for every resource, or every action.
type permission struct {
	Operation
	deny bool
}

// May reports whether something may be done.
func (r *Rights) May(o Operation) bool { return r.Project.Public && publicMay(o) || r.holds(o) }

// holds reports whether something may be done also if the project is not public.
func (r *Rights) holds(o Operation) bool {
	if r.admin {
		return true
	}
	for _, role := range r.Roles {
		if role.May(o) {
			return true
		}
	}
	may := false
	for _, p := range r.robot {
		if (p.Resource == o.Resource || p.Resource == anything) && (p.Action == o.Action || p.Action == anything) {
			if p.deny {
				return false
			}
			may = true
		}
	}
	return may
}

// Any reports whether there is anything that may be done: then the project may be known of.
func (r *Rights) Any() bool {
	return r.admin || r.Project.Public || len(r.Roles) > 0 || slices.ContainsFunc(r.robot, func(p permission) bool { return !p.deny })
}

// Role answers the role that may most, 0 for none.
func (r *Rights) Role() Role {
	if len(r.Roles) == 0 {
		return 0
	}
	return r.Roles[0]
}

// Effects of a robot's permission, as Harbor spells them.
const (
	effectAllow = "allow"
	effectDeny  = "deny"
)

// anything stands in a robot's permission for all resources or actions.
const anything = "*"

// Scopes of robots and of their permissions that are not a project's number.
const (
	systemScope = 0
	everyScope  = -1
)

// Rights answers what somebody may do in a project, as of now: one query. NotFound if there is no such project.
func (a *Access) Rights(ctx context.Context, who Identity, project string) (Rights, error) {
	var r Rights
	var err error
	switch {
	case who.Robot != 0:
		r, err = a.robotRights(ctx, who, project)
	case who.User != 0 && !who.Admin:
		r, err = a.memberRights(ctx, who, project)
	default:
		r.Project, err = index.FindProject(ctx, a.DB, project)
		r.admin = who.Admin
	}
	if fail.Is(err, fail.NotFound) {
		return Rights{}, fail.E(fail.NotFound, nil, "project %s", project)
	}
	if err != nil {
		return Rights{}, fmt.Errorf("find project %s: %w", project, err)
	}
	return r, nil
}

func (a *Access) memberRights(ctx context.Context, who Identity, project string) (Rights, error) {
	const query = `SELECT id, public, 0 FROM projects WHERE name = ?
		UNION SELECT p.id, p.public, m.role FROM projects p JOIN members m ON m.user_id = ? AND m.project = p.id WHERE p.name = ?
		UNION SELECT p.id, p.public, m.role FROM projects p JOIN group_users g ON g.user_id = ? JOIN members m ON m.group_id = g.group_id AND m.project = p.id WHERE p.name = ?`
	return a.readRights(ctx, project, query, []any{project, who.User, project, who.User, project}, func(r *Rights, row sqldb.Scanner) error {
		var role Role
		if err := row.Scan(&r.Project.ID, &r.Project.Public, &role); err != nil {
			return err
		}
		if role != 0 && !slices.Contains(r.Roles, role) {
			r.Roles = append(r.Roles, role)
		}
		return nil
	})
}

func (a *Access) robotRights(ctx context.Context, who Identity, project string) (Rights, error) {
	const query = `SELECT id, public, '', '', '' FROM projects WHERE name = ?
		UNION SELECT p.id, p.public, r.resource, r.action, r.effect FROM projects p JOIN robot_permissions r ON r.robot = ? AND r.scope = p.id WHERE p.name = ?
		UNION SELECT p.id, p.public, r.resource, r.action, r.effect FROM projects p JOIN robot_permissions r ON r.robot = ? AND r.scope = ? WHERE p.name = ?`
	return a.readRights(ctx, project, query, []any{project, who.Robot, project, who.Robot, everyScope, project}, func(r *Rights, row sqldb.Scanner) error {
		var p permission
		var effect string
		if err := row.Scan(&r.Project.ID, &r.Project.Public, &p.Resource, &p.Action, &effect); err != nil {
			return err
		}
		if p.Resource != "" {
			p.deny = effect == effectDeny
			r.robot = append(r.robot, p)
		}
		return nil
	})
}

// readRights reads the rows of one project, of which the first says that it is there.
func (a *Access) readRights(ctx context.Context, project, query string, args []any, scan func(*Rights, sqldb.Scanner) error) (Rights, error) {
	var r Rights
	for row, err := range a.DB.Rows(ctx, query, args...) {
		if err == nil {
			err = scan(&r, row)
		}
		if err != nil {
			return Rights{}, err
		}
	}
	if r.Project.ID == 0 {
		return Rights{}, fail.E(fail.NotFound, nil, "project %s", project)
	}
	r.Project.Name = project
	slices.SortFunc(r.Roles, func(x, y Role) int { return y.rank() - x.rank() })
	return r, nil
}
