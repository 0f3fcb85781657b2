package index

import (
	"context"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Project is a row of projects.
type Project struct {
	ID     int64
	Name   string
	Public bool
}

// FindProject finds a project.
func FindProject(ctx context.Context, q sqldb.Querier, name string) (Project, error) {
	p := Project{Name: name}
	err := q.Row(ctx, "SELECT id, public FROM projects WHERE name = ?", name).Scan(&p.ID, &p.Public)
	return p, err
}

// AddProject makes a project unless there is one of its name, and answers the id of the one that is there.
func AddProject(ctx context.Context, tx *sqldb.Tx, p Project) (int64, error) {
	_, err := tx.InsertIgnore(ctx, "projects", []string{"id", "name", "public", "created_at"}, p.ID, p.Name, p.Public, sqldb.Micros(tx.Now()))
	if err != nil {
		return 0, err
	}
	found, err := FindProject(ctx, tx, p.Name)
	return found.ID, err
}

// Repository is a row of repositories.
type Repository struct {
	ID       int64
	PushedAt int64 // 0 until a manifest is pushed
}

// RepositoryByName finds a repository.
func RepositoryByName(ctx context.Context, q sqldb.Querier, name oci.Name) (Repository, error) {
	var r Repository
	err := q.Row(ctx, "SELECT id, pushed_at FROM repositories WHERE name = ?", name.String()).Scan(&r.ID, &r.PushedAt)
	return r, err
}

// InsertRepository adds a repository to a project. No manifest was pushed to it yet.
func InsertRepository(ctx context.Context, tx *sqldb.Tx, id, project int64, name oci.Name, now int64) error {
	_, err := tx.Exec(ctx, "INSERT INTO repositories (id, project_id, name, created_at, pushed_at) VALUES (?, ?, ?, ?, 0)", id, project, name.String(), now)
	return err
}

// SetPushed notes when a repository was last pushed to.
func SetPushed(ctx context.Context, tx *sqldb.Tx, repo, now int64) error {
	_, err := tx.Exec(ctx, "UPDATE repositories SET pushed_at = ? WHERE id = ?", now, repo)
	return err
}

// RaisePushed is SetPushed in a way that its row changes, so that of two transactions that do it one sees what the other did.
func RaisePushed(ctx context.Context, tx *sqldb.Tx, repo, now int64) error {
	_, err := tx.Exec(ctx, "UPDATE repositories SET pushed_at = "+tx.Engine().Greatest("pushed_at + 1", "?")+" WHERE id = ?", now, repo)
	return err
}

// RepositoryNames lists up to limit names behind last, in the order of their bytes: of those that a manifest was pushed to.
func RepositoryNames(ctx context.Context, q sqldb.Querier, last string, limit int) ([]string, error) {
	return names(ctx, q, "SELECT name FROM repositories WHERE name > ? AND pushed_at > 0 ORDER BY name LIMIT ?", last, limit)
}

// Projects are some of them: all, or the public ones, if asked for, and the named ones.
type Projects struct {
	All, Public bool
	Names       []string // so many as an engine takes parameters at most
}

// condition answers what a row p of projects must meet, in parentheses, and its parameters.
func (v Projects) condition() (cond string, args []any) {
	if v.All {
		return "(1 = 1)", nil
	}
	cond = "(1 = 0"
	if v.Public {
		cond, args = "(p.public = ?", []any{true}
	}
	if len(v.Names) > 0 {
		cond += " OR p.name IN (" + marks(len(v.Names)) + ")"
		for _, name := range v.Names {
			args = append(args, name)
		}
	}
	return cond + ")", args
}

// VisibleRepositoryNames is RepositoryNames for the public projects, if asked for, and the named ones.
func VisibleRepositoryNames(ctx context.Context, q sqldb.Querier, public bool, projects []string, last string, limit int) ([]string, error) {
	cond, args := Projects{Public: public, Names: projects}.condition()
	args = append(args, last, limit)
	return names(ctx, q, "SELECT r.name FROM repositories r JOIN projects p ON p.id = r.project_id WHERE "+cond+" AND r.name > ? AND r.pushed_at > 0 ORDER BY r.name LIMIT ?", args...)
}
