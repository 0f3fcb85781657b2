package index

import (
	"context"

	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Repository is a row of repositories.
type Repository struct {
	ID       int64
	Name     string
	Quota    int64 // the project that it is in, if that has a quota; else 0
	PushedAt int64 // 0 until a manifest is pushed
}

// RepositoryByName finds a repository.
func RepositoryByName(ctx context.Context, q sqldb.Querier, name oci.Name) (Repository, error) {
	r := Repository{Name: name.String()}
	err := q.Row(ctx, "SELECT r.id, r.pushed_at, COALESCE(q.project, 0) FROM repositories r LEFT JOIN quotas q ON q.project = r.project_id WHERE r.name = ?", r.Name).Scan(&r.ID, &r.PushedAt, &r.Quota)
	return r, err
}

// RepositoriesOf lists up to limit repositories of a project behind a name, whether a manifest was pushed to them or not, in the order of the names' bytes. Their quota is not told.
func RepositoriesOf(ctx context.Context, q sqldb.Querier, project int64, after string, limit int) ([]Repository, error) {
	var all []Repository
	for row, err := range q.Rows(ctx, "SELECT id, name, pushed_at FROM repositories WHERE project_id = ? AND name > ? ORDER BY name LIMIT ?", project, after, limit) {
		var r Repository
		if err == nil {
			err = row.Scan(&r.ID, &r.Name, &r.PushedAt)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
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

// DeleteRepository removes a repository. What is in it makes it a Conflict.
func DeleteRepository(ctx context.Context, tx *sqldb.Tx, repo int64) error {
	_, err := tx.Exec(ctx, "DELETE FROM repositories WHERE id = ?", repo)
	return err
}

// Note reads what people wrote about a repository, "" if nothing.
func Note(ctx context.Context, q sqldb.Querier, name oci.Name) (string, error) {
	var note *string
	err := q.Row(ctx, "SELECT n.description FROM repositories r LEFT JOIN repository_notes n ON n.repo = r.id WHERE r.name = ?", name.String()).Scan(&note)
	if err != nil || note == nil {
		return "", err
	}
	return *note, nil
}

// SetNote keeps what people wrote about a repository; "" removes it.
func SetNote(ctx context.Context, tx *sqldb.Tx, repo int64, note string) error {
	if note == "" {
		_, err := tx.Exec(ctx, "DELETE FROM repository_notes WHERE repo = ?", repo)
		return err
	}
	e := tx.Engine()
	_, err := tx.Exec(ctx, e.Upsert("repository_notes", []string{"repo", "description"}, []string{"repo"}, "description = "+e.New("description")), repo, note)
	return err
}
