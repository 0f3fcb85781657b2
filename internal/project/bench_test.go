package project_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/project"
	"github.com/havn-registry/havn/internal/sqldb"
)

// BenchmarkPageOfAMember lists 100 of 10,000 projects for one who is a member of 2,000, of half of them through a group, with how many there are in all.
func BenchmarkPageOfAMember(b *testing.B) {
	db, err := sqldb.Open(b.Context(), sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(b.TempDir(), "havn.db")})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if closeErr := db.Close(); closeErr != nil {
			b.Error(closeErr)
		}
	})
	if err = db.Migrate(b.Context()); err != nil {
		b.Fatal(err)
	}
	fill(b, db)
	p := project.New(db, nil)
	for _, c := range []struct {
		name  string
		query project.Query
	}{
		{"first", project.Query{}},
		{"last", project.Query{Offset: 2900}},
		{"latest", project.Query{Order: project.ByCreation, Down: true}},
		{"changed", project.Query{Order: project.ByChange, Down: true}},
		{"repositories", project.Query{Order: project.ByRepositories, Down: true}},
		{"part", project.Query{Part: "roject-00"}},
		{"all", project.Query{Viewer: project.Viewer{All: true}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			if !c.query.Viewer.All {
				c.query.Viewer.User = 1
			}
			var took []time.Duration
			for b.Loop() {
				begun := time.Now()
				page, total, listErr := p.List(b.Context(), c.query)
				if listErr != nil || len(page) == 0 || total < 100 {
					b.Fatal(len(page), total, listErr)
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
		})
	}
}

func fill(b *testing.B, db *sqldb.DB) {
	b.Helper()
	const all, atOnce = 10_000, 500
	run := func(tx *sqldb.Tx, into string, columns int, row func(i int) []any) error {
		mark := "(?" + strings.Repeat(", ?", columns-1) + ")"
		for from := 1; from <= all; from += atOnce {
			var args []any
			rows := 0
			for i := from; i < from+atOnce; i++ {
				if r := row(i); r != nil {
					args = append(args, r...)
					rows++
				}
			}
			if rows == 0 {
				continue
			}
			if _, err := tx.Exec(b.Context(), "INSERT INTO "+into+" VALUES "+mark+strings.Repeat(", "+mark, rows-1), args...); err != nil {
				return err
			}
		}
		return nil
	}
	member := func(group bool) func(int) []any {
		return func(i int) []any {
			if i%5 != 0 || (i%2 == 0) != group {
				return nil
			}
			if group {
				return []any{i, i, nil, 1, 3, 1, 1}
			}
			return []any{i, i, 1, nil, 3, 1, 1}
		}
	}
	err := db.Tx(b.Context(), "test.fill", func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(b.Context(), "INSERT INTO users (id, name, password_hash, admin, disabled, created_at, changed_at) VALUES (1, 'user', '', 0, 0, 1, 1)"); err != nil {
			return err
		}
		if _, err := tx.Exec(b.Context(), "INSERT INTO user_groups (id, origin, k, name, created_at) VALUES (1, 'ldap', 'k', 'group', 1)"); err != nil {
			return err
		}
		if _, err := tx.Exec(b.Context(), "INSERT INTO group_users (user_id, group_id) VALUES (1, 1)"); err != nil {
			return err
		}
		for _, step := range []struct {
			into    string
			columns int
			row     func(int) []any
		}{
			{"projects (id, name, public, created_at)", 4, func(i int) []any { return []any{i, fmt.Sprintf("project-%05d", i*7919%all), i%8 == 0, i} }},
			{"project_details (project, owner, changed_at)", 3, func(i int) []any { return []any{i, 1, i * 31 % all} }},
			{"project_metadata (project, k, v)", 3, func(i int) []any { return []any{i, "auto_scan", "true"} }},
			{"repositories (id, project_id, name, created_at, pushed_at)", 5, func(i int) []any { return []any{i, i*i%all + 1, fmt.Sprint("r", i), 1, 1} }},
			{"members (id, project, user_id, group_id, role, created_at, changed_at)", 7, member(false)},
			{"members (id, project, user_id, group_id, role, created_at, changed_at)", 7, member(true)},
		} {
			if err := run(tx, step.into, step.columns, step.row); err != nil {
				return fmt.Errorf("%s: %w", step.into, err)
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
}
