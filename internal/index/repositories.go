package index

import (
	"context"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

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

// VisibleRepositoryNames is RepositoryNames for the projects that a viewer may see.
func VisibleRepositoryNames(ctx context.Context, q sqldb.Querier, v Viewer, last string, limit int) ([]string, error) {
	cond, args := v.condition()
	args = append(args, last, limit)
	return names(ctx, q, "SELECT r.name FROM repositories r JOIN projects p ON p.id = r.project_id WHERE "+cond+" AND r.name > ? AND r.pushed_at > 0 ORDER BY r.name LIMIT ?", args...)
}
