package index

import (
	"context"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Project is a row of projects.
type Project struct {
	ID     int64
	Name   string
	Public bool
	Owner  int64 // the user that made it; 0: nobody that is known
}

// FindProject finds a project, without its owner.
func FindProject(ctx context.Context, q sqldb.Querier, name string) (Project, error) {
	p := Project{Name: name}
	err := q.Row(ctx, "SELECT id, public FROM projects WHERE name = ?", name).Scan(&p.ID, &p.Public)
	return p, err
}

// ProjectName finds a project's name by its number.
func ProjectName(ctx context.Context, q sqldb.Querier, id int64) (string, error) {
	var name string
	err := q.Row(ctx, "SELECT name FROM projects WHERE id = ?", id).Scan(&name)
	return name, err
}

// AddProject makes a project under the next number unless there is one of its name, and answers the id of the one that is there.
func AddProject(ctx context.Context, tx *sqldb.Tx, p Project) (int64, error) {
	found, err := FindProject(ctx, tx, p.Name)
	if !fail.Is(err, fail.NotFound) {
		return found.ID, err
	}
	now := sqldb.Micros(tx.Now())
	if p.ID, err = NextNumber(ctx, tx, NumberProject); err != nil {
		return 0, err
	}
	first, err := tx.InsertIgnore(ctx, "projects", []string{"id", "name", "public", "created_at"}, p.ID, p.Name, p.Public, now)
	if err != nil {
		return 0, err
	}
	if !first { // another transaction was faster, on an engine that lets this one see it
		found, err = FindProject(ctx, tx, p.Name)
		return found.ID, err
	}
	var owner any
	if p.Owner != 0 {
		owner = p.Owner
	}
	_, err = tx.Exec(ctx, "INSERT INTO project_details (project, owner, changed_at) VALUES (?, ?, ?)", p.ID, owner, now)
	return p.ID, err
}

// Viewer is who looks at lists of projects and repositories. The zero Viewer sees what is public.
type Viewer struct {
	All   bool  // sees all
	User  int64 // sees the projects of his own memberships and of those of his groups too
	Robot int64 // sees the projects too in which it may pull, or list repositories
}

// condition answers what a row p of projects must meet, in parentheses, and its parameters.
func (v Viewer) condition() (cond string, args []any) {
	if v.All {
		return "(1 = 1)", nil
	}
	cond, args = "(p.public = ?", []any{true}
	if v.User != 0 {
		cond += ` OR EXISTS (SELECT 1 FROM members m WHERE m.user_id = ? AND m.project = p.id)
			OR EXISTS (SELECT 1 FROM group_users g JOIN members m ON m.group_id = g.group_id WHERE g.user_id = ? AND m.project = p.id)`
		args = append(args, v.User, v.User)
	}
	if v.Robot != 0 {
		cond += ` OR EXISTS (SELECT 1 FROM robot_permissions o WHERE o.robot = ? AND o.scope IN (-1, p.id) AND o.resource IN ('repository', '*') AND o.action IN ('pull', 'list', '*') AND o.effect <> 'deny')`
		args = append(args, v.Robot)
	}
	return cond + ")", args
}
