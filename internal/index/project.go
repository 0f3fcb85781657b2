package index

import (
	"context"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Project is what repositories belong to: the first segment of their names.
type Project struct {
	ID     int64
	Name   string
	Public bool
}

// Repository is a place for manifests and blobs.
type Repository struct {
	ID        int64
	ProjectID int64
	Name      oci.Name
	Pushed    bool // a manifest was pushed into it; before, it is not shown
}

// FindProject answers NotFound for an absent one.
func FindProject(ctx context.Context, q sqldb.Querier, name string) (Project, error) {
	p := Project{Name: name}
	err := q.Row(ctx, "SELECT id, public FROM projects WHERE name = ?", name).Scan(&p.ID, &p.Public)
	return p, err
}

// AddProject makes the project unless it is there, and answers its id.
func AddProject(ctx context.Context, tx *sqldb.Tx, p Project) (int64, error) {
	_, err := tx.InsertIgnore(ctx, "projects", []string{"id", "name", "public", "created_at"}, p.ID, p.Name, p.Public, micros(tx.Now()))
	if err != nil {
		return 0, err
	}
	found, err := FindProject(ctx, tx, p.Name)
	return found.ID, err
}

// FindRepository answers NotFound for an absent one.
func FindRepository(ctx context.Context, q sqldb.Querier, name oci.Name) (Repository, error) {
	r := Repository{Name: name}
	var pushed int64
	err := q.Row(ctx, "SELECT id, project_id, pushed_at FROM repositories WHERE name = ?", name.String()).Scan(&r.ID, &r.ProjectID, &pushed)
	r.Pushed = pushed > 0
	return r, err
}

// AddRepository makes the repository unless it is there, and answers its id.
func AddRepository(ctx context.Context, tx *sqldb.Tx, r Repository) (int64, error) {
	_, err := tx.InsertIgnore(ctx, "repositories", []string{"id", "project_id", "name", "created_at", "pushed_at"},
		r.ID, r.ProjectID, r.Name.String(), micros(tx.Now()), 0)
	if err != nil {
		return 0, err
	}
	found, err := FindRepository(ctx, tx, r.Name)
	return found.ID, err
}

// RaisePushed records a push: the value grows by at least one, so that two transactions that push into a repository, or one that deletes it, collide.
func RaisePushed(ctx context.Context, tx *sqldb.Tx, repo int64) (bool, error) {
	n, err := tx.Exec(ctx, "UPDATE repositories SET pushed_at = "+tx.Engine().Greatest("pushed_at + 1", "?")+" WHERE id = ?", micros(tx.Now()), repo)
	return n > 0, err
}

// Visible says which repositories a list holds.
type Visible struct {
	All      bool     // every one
	Public   bool     // those of public projects
	Projects []string // those of these projects
}

// ListRepositories answers up to limit names greater than after, in binary order.
func ListRepositories(ctx context.Context, q sqldb.Querier, v Visible, after string, limit int) ([]string, error) {
	query := "SELECT r.name FROM repositories r"
	args := []any{after}
	where := " WHERE r.name > ? AND r.pushed_at > 0"
	if !v.All {
		query += " JOIN projects p ON p.id = r.project_id"
		var any []string
		if v.Public {
			any = append(any, "p.public = TRUE")
		}
		if len(v.Projects) > 0 {
			any = append(any, "p.name IN ("+marks(len(v.Projects))+")")
			for _, name := range v.Projects {
				args = append(args, name)
			}
		}
		if len(any) == 0 {
			return nil, nil
		}
		where += " AND (" + strings.Join(any, " OR ") + ")"
	}
	return texts(ctx, q, query+where+" ORDER BY r.name LIMIT ?", append(args, limit)...)
}

// marks answers n placeholders.
func marks(n int) string { return "?" + strings.Repeat(", ?", n-1) }

// texts reads a column of text.
func texts(ctx context.Context, q sqldb.Querier, query string, args ...any) ([]string, error) {
	var all []string
	for row, err := range q.Rows(ctx, query, args...) {
		if err != nil {
			return nil, err
		}
		var s string
		if err = row.Scan(&s); err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// digests reads a column of digests.
func digests(ctx context.Context, q sqldb.Querier, query string, args ...any) ([]oci.Digest, error) {
	var all []oci.Digest
	for row, err := range q.Rows(ctx, query, args...) {
		if err != nil {
			return nil, err
		}
		var b []byte
		if err = row.Scan(&b); err != nil {
			return nil, err
		}
		d, err := oci.DigestFromBytes(b)
		if err != nil {
			return nil, err
		}
		all = append(all, d)
	}
	return all, nil
}

// isAbsent reports whether a row was asked for that is not there.
func isAbsent(err error) bool { return fail.Is(err, fail.NotFound) }

// micros writes a time for the database.
func micros(t time.Time) int64 { return sqldb.Micros(t) }
