package index

import (
	"context"
	"strings"

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

// ProjectByID finds a project, without its owner.
func ProjectByID(ctx context.Context, q sqldb.Querier, id int64) (Project, error) {
	p := Project{ID: id}
	err := q.Row(ctx, "SELECT name, public FROM projects WHERE id = ?", id).Scan(&p.Name, &p.Public)
	return p, err
}

// InsertProject makes a project under the next number, and answers that; false: there is one of its name.
func InsertProject(ctx context.Context, tx *sqldb.Tx, p Project) (id int64, fresh bool, err error) {
	if _, err = FindProject(ctx, tx, p.Name); !fail.Is(err, fail.NotFound) {
		return 0, false, err
	}
	now := sqldb.Micros(tx.Now())
	if p.ID, err = NextNumber(ctx, tx, NumberProject); err != nil {
		return 0, false, err
	}
	fresh, err = tx.InsertIgnore(ctx, "projects", []string{"id", "name", "public", "created_at"}, p.ID, p.Name, p.Public, now)
	if err != nil || !fresh { // not fresh: another transaction was faster, on an engine that lets this one see it
		return 0, false, err
	}
	var owner any
	if p.Owner != 0 {
		owner = p.Owner
	}
	_, err = tx.Exec(ctx, "INSERT INTO project_details (project, owner, changed_at) VALUES (?, ?, ?)", p.ID, owner, now)
	return p.ID, true, err
}

// AddProject makes a project under the next number unless there is one of its name, and answers the id of the one that is there.
func AddProject(ctx context.Context, tx *sqldb.Tx, p Project) (int64, error) {
	id, fresh, err := InsertProject(ctx, tx, p)
	if err != nil || fresh {
		return id, err
	}
	found, err := FindProject(ctx, tx, p.Name)
	return found.ID, err
}

// SetPublic lets everybody pull from a project, or its members alone.
func SetPublic(ctx context.Context, tx *sqldb.Tx, id int64, public bool) error {
	_, err := tx.Exec(ctx, "UPDATE projects SET public = ? WHERE id = ?", public, id)
	return err
}

// TouchProject notes that something of a project was changed now: its row changes.
func TouchProject(ctx context.Context, tx *sqldb.Tx, id int64) error {
	e := tx.Engine()
	_, err := tx.Exec(ctx, e.Upsert("project_details", []string{"project", "changed_at"}, []string{"project"},
		"changed_at = "+e.Greatest("project_details.changed_at + 1", e.New("changed_at"))), id, sqldb.Micros(tx.Now()))
	return err
}

// Metadata reads what is set of some projects, by project and key.
func Metadata(ctx context.Context, q sqldb.Querier, projects []int64) (map[int64]map[string]string, error) {
	all := make(map[int64]map[string]string, len(projects))
	err := paddedIDs(projects, func(marks string, args []any) error {
		for row, err := range q.Rows(ctx, "SELECT project, k, v FROM project_metadata WHERE project IN ("+marks+")", args...) {
			var project int64
			var key, value string
			if err == nil {
				err = row.Scan(&project, &key, &value)
			}
			if err != nil {
				return err
			}
			if all[project] == nil {
				all[project] = map[string]string{}
			}
			all[project][key] = value
		}
		return nil
	})
	return all, err
}

// SetMetadata sets one key of a project.
func SetMetadata(ctx context.Context, tx *sqldb.Tx, project int64, key, value string) error {
	e := tx.Engine()
	_, err := tx.Exec(ctx, e.Upsert("project_metadata", []string{"project", "k", "v"}, []string{"project", "k"}, "v = "+e.New("v")), project, key, value)
	return err
}

// DeleteMetadata removes one key of a project.
func DeleteMetadata(ctx context.Context, tx *sqldb.Tx, project int64, key string) (int64, error) {
	return tx.Exec(ctx, "DELETE FROM project_metadata WHERE project = ? AND k = ?", project, key)
}

// InsertMember gives a user a role in a project that has no members yet.
func InsertMember(ctx context.Context, tx *sqldb.Tx, project, user int64, role int) error {
	id, err := NextNumber(ctx, tx, NumberMember)
	if err != nil {
		return err
	}
	now := sqldb.Micros(tx.Now())
	_, err = tx.Exec(ctx, "INSERT INTO members (id, project, user_id, role, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?)", id, project, user, role, now, now)
	return err
}

// CountRepositories counts a project's repositories that a manifest was pushed to.
func CountRepositories(ctx context.Context, q sqldb.Querier, project int64) (n int64, err error) {
	err = q.Row(ctx, "SELECT COUNT(*) FROM repositories WHERE project_id = ? AND pushed_at > 0", project).Scan(&n)
	return n, err
}

// CountMembers counts a project's members, users and groups, by role.
func CountMembers(ctx context.Context, q sqldb.Querier, project int64) (map[int]int64, error) {
	all := map[int]int64{}
	for row, err := range q.Rows(ctx, "SELECT role, COUNT(*) FROM members WHERE project = ? GROUP BY role", project) {
		var role int
		var n int64
		if err == nil {
			err = row.Scan(&role, &n)
		}
		if err != nil {
			return nil, err
		}
		all[role] = n
	}
	return all, nil
}

// ThinProject removes up to limit rows, or a few more, of what belongs to a project and may be much: its robots, what others may do in it, its members, its labels. It answers how many went: fewer than
// limit if none are left. The permissions of one robot are bounded by the kinds of things that there are, and count as one.
func ThinProject(ctx context.Context, tx *sqldb.Tx, project int64, limit int) (int, error) {
	gone := 0
	for _, step := range []struct {
		list    string
		removes []string // what has the ids that were listed
	}{
		{"SELECT id FROM robots WHERE project = ? LIMIT ?", []string{"robot_permissions WHERE robot IN", "robots WHERE id IN"}},
		{"SELECT DISTINCT robot FROM robot_permissions WHERE project = ? LIMIT ?", []string{"robot_permissions WHERE project = ? AND robot IN"}},
		{"SELECT id FROM members WHERE project = ? LIMIT ?", []string{"members WHERE id IN"}},
		{"SELECT id FROM labels WHERE project = ? LIMIT ?", []string{"labels WHERE id IN"}},
	} {
		if gone >= limit {
			return gone, nil
		}
		list, err := ids(ctx, tx, step.list, project, limit-gone)
		if err != nil {
			return gone, err
		}
		for _, what := range step.removes {
			var first []any
			if strings.Contains(what, "?") {
				first = []any{project}
			}
			if err = deleteIn(ctx, tx, what, first, list); err != nil {
				return gone, err
			}
		}
		gone += len(list)
	}
	return gone, nil
}

// DeleteProject removes a project and what is told of it. What else belongs to it makes it a Conflict.
func DeleteProject(ctx context.Context, tx *sqldb.Tx, project int64) (int64, error) {
	for _, from := range []string{"project_metadata", "project_details"} {
		if _, err := tx.Exec(ctx, "DELETE FROM "+from+" WHERE project = ?", project); err != nil {
			return 0, err
		}
	}
	return tx.Exec(ctx, "DELETE FROM projects WHERE id = ?", project)
}
