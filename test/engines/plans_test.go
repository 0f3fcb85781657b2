package engines

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
	"github.com/havn-registry/havn/internal/sqldb/sqldbtest"
)

const (
	// many rows are in each table; touched is what a query that wants up to wanted of them may look at.
	many, wanted, touched = 20_000, 10, 500
)

func TestNoQueryOnMariaDBReadsWhatItDoesNotAnswer(t *testing.T) {
	t.Parallel()
	m, err := lab.StartMariaDB(t.Context(), "")
	need(t, err)
	stopAfter(t, m.Stop)
	plans(t, sqldb.Config{Engine: sqldb.MySQL, Hosts: []string{m.Host}, User: lab.User, Password: lab.Password, Database: lab.Database}, "ANALYZE TABLE %s", ranOnMariaDB)
}

func TestNoQueryOnPostgreSQLReadsWhatItDoesNotAnswer(t *testing.T) {
	t.Parallel()
	p, err := lab.StartPostgres(t.Context(), "")
	need(t, err)
	stopAfter(t, p.Stop)
	plans(t, sqldb.Config{Engine: sqldb.Postgres, Hosts: []string{p.Host}, User: lab.User, Password: lab.Password, Database: lab.Database}, "ANALYZE %s", ranOnPostgres)
}

func TestNoQueryOnSQLiteReadsWhatItDoesNotAnswer(t *testing.T) {
	t.Parallel()
	plans(t, sqldb.Config{Engine: sqldb.SQLite, Path: filepath.Join(t.TempDir(), "havn.db")}, "ANALYZE %s", plannedOnSQLite)
}

// spy runs each query once more, and hands on how.
type spy struct {
	sqldb.Querier
	t    *testing.T
	look func(query string, args []any)
}

func (s spy) Row(ctx context.Context, query string, args ...any) sqldb.Row {
	s.look(query, args)
	return s.Querier.Row(ctx, query, args...)
}

func (s spy) Rows(ctx context.Context, query string, args ...any) iter.Seq2[sqldb.Scanner, error] {
	s.look(query, args)
	return s.Querier.Rows(ctx, query, args...)
}

// plans looks what the queries of requests and sweeps read on large tables. It fails where one reads more than it answers by far: such a query is quick in every other
// test, and stops a registry that has grown.
func plans(t *testing.T, cfg sqldb.Config, analyze string, rows func(t *testing.T, q sqldb.Querier, query string, args []any) (int, string)) {
	db := sqldbtest.Open(t, cfg)
	fillTables(t, db)
	for _, table := range []string{
		"repositories", "contents", "objects", "blobs", "repo_blobs", "manifests", "manifest_blobs", "manifest_children", "tags", "uploads", "dead", "ops", "pulls",
		"projects", "project_details", "members", "labels", "manifest_labels", "quotas", "quota_charges", "quota_holds",
	} {
		run(t, db, fmt.Sprintf(analyze, table))
	}
	ctx := t.Context()
	name, err := oci.ParseName("library/r")
	need(t, err)
	tag, err := oci.ParseReference("t10000")
	need(t, err)
	base, child, middle := digestNumber(0), digestNumber(1), digestNumber(many/2)
	for what, query := range map[string]func(q sqldb.Querier) error{
		"pull by tag": func(q sqldb.Querier) error {
			_, cause := index.FindManifest(ctx, q, name, tag, oci.Digest{}, oci.MaxManifestBytes)
			return cause
		},
		"pull a blob":        func(q sqldb.Querier) error { _, _, cause := index.FindBlob(ctx, q, name, base); return cause },
		"page of tags":       func(q sqldb.Querier) error { _, cause := index.TagNames(ctx, q, name, "t15000", wanted); return cause },
		"tags of a manifest": func(q sqldb.Querier) error { _, cause := index.TagsOf(ctx, q, 1, middle, wanted); return cause },
		"awaited manifests": func(q sqldb.Querier) error {
			_, cause := index.Awaited(ctx, q, 1, []oci.Digest{base, middle}, wanted)
			return cause
		},
		"page of the catalogue": func(q sqldb.Querier) error {
			_, cause := index.RepositoryNames(ctx, q, "other/r15000", wanted)
			return cause
		},
		"page of referrers": func(q sqldb.Querier) error {
			_, _, cause := index.Referrers(ctx, q, name, base, "", middle.Bytes(), wanted, 1<<20)
			return cause
		},
		"sizes of blobs": func(q sqldb.Querier) error {
			_, cause := index.LinkSizes(ctx, q, 1, []oci.Digest{base, middle})
			return cause
		},
		"sizes of manifests": func(q sqldb.Querier) error {
			_, cause := index.ManifestSizes(ctx, q, 1, []oci.Digest{base, middle})
			return cause
		},
		"users of a blob":    func(q sqldb.Querier) error { _, cause := index.Users(ctx, q, 1, base, wanted); return cause },
		"parents of a child": func(q sqldb.Querier) error { _, cause := index.Parents(ctx, q, 1, child, wanted); return cause },
		"repositories of a blob": func(q sqldb.Querier) error {
			_, cause := index.LinkedRepositories(ctx, q, base, index.Viewer{All: true}, wanted)
			return cause
		},
		"objects of a content": func(q sqldb.Querier) error { _, cause := index.Objects(ctx, q, many/2); return cause },
		"unsettled objects":    func(q sqldb.Querier) error { _, _, cause := index.HasUnsettled(ctx, q, many/2, 1); return cause },
		"names of objects": func(q sqldb.Querier) error {
			_, cause := index.KnownNames(ctx, q, []string{"o1", "o2", "o3"})
			return cause
		},
		"an upload":            func(q sqldb.Querier) error { _, cause := index.FindUpload(ctx, q, name, "u17"); return cause },
		"uploads of a subject": func(q sqldb.Querier) error { _, cause := index.CountUploads(ctx, q, "somebody", wanted); return cause },
		"idle uploads":         func(q sqldb.Querier) error { _, cause := index.IdleUploads(ctx, q, wanted, wanted); return cause },
		"done uploads": func(q sqldb.Querier) error {
			_, cause := index.DoneUploads(ctx, q, many/2+wanted, wanted)
			return cause
		},
		"dead contents": func(q sqldb.Querier) error {
			_, cause := index.DeadContents(ctx, q, wanted, index.Dead{}, wanted)
			return cause
		},
		"use of a content":        func(q sqldb.Querier) error { _, cause := index.IsReferred(ctx, q, many/2); return cause },
		"old operations":          func(q sqldb.Querier) error { _, cause := index.OldOps(ctx, q, many, wanted); return cause },
		"appended pulls":          func(q sqldb.Querier) error { _, cause := index.Pulls(ctx, q, wanted); return cause },
		"manifests":               func(q sqldb.Querier) error { _, cause := index.Manifests(ctx, q, 1, wanted); return cause },
		"indexes":                 func(q sqldb.Querier) error { _, cause := index.Indexes(ctx, q, 1, wanted); return cause },
		"uploads of a repository": func(q sqldb.Querier) error { _, cause := index.UploadsOf(ctx, q, 1, wanted); return cause },
		"links of a repository":   func(q sqldb.Querier) error { _, cause := index.Links(ctx, q, 1, wanted); return cause },
		"repositories of a project": func(q sqldb.Querier) error {
			_, cause := index.RepositoriesOf(ctx, q, 2, "other/r15000", wanted)
			return cause
		},
		"labels of manifests": func(q sqldb.Querier) error {
			_, cause := index.LabelsOf(ctx, q, 1, []oci.Digest{base, middle})
			return cause
		},
		"page of labels": func(q sqldb.Querier) error {
			_, cause := index.Labels(ctx, q, index.LabelFilter{Project: 2}, index.LabelsByName, false, 0, wanted)
			return cause
		},
		"the quota of a repository": func(q sqldb.Querier) error { _, cause := index.LimitedProject(ctx, q, many/2); return cause },
		"what a project has": func(q sqldb.Querier) error {
			_, cause := index.Charges(ctx, q, 2, middle.Bytes(), wanted)
			return cause
		},
		"what a slice has":    func(q sqldb.Querier) error { _, cause := index.SliceCharges(ctx, q, 7, wanted); return cause },
		"uploads of a slice":  func(q sqldb.Querier) error { _, cause := index.SliceHolds(ctx, q, 7, wanted); return cause },
		"who has a blob":      func(q sqldb.Querier) error { _, cause := index.CountHaving(ctx, q, 1, middle); return cause },
		"quotas that are due": func(q sqldb.Querier) error { _, cause := index.DueQuotas(ctx, q, 2, 1, wanted); return cause },
		"use of a quota":      func(q sqldb.Querier) error { _, cause := index.FindUsage(ctx, q, 2); return cause },
		"page of artifacts": func(q sqldb.Querier) error {
			page, cause := index.PageOfArtifacts(ctx, q, index.Artifacts{Repo: 5}, listing.Ask{Page: 2, Size: wanted}, 1<<10)
			if cause == nil && (len(page) != wanted || page[0].PushedAt != many-wanted) {
				t.Errorf("%d artifacts", len(page))
			}
			return cause
		},
		"page of artifacts with tags, the first pushed first": func(q sqldb.Querier) error {
			some := true
			page, cause := index.PageOfArtifacts(ctx, q, index.Artifacts{Repo: 5, Tagged: &some}, listing.Ask{Page: 1, Size: wanted, Order: []listing.Order{{Field: "push_time"}}}, 1<<10)
			if cause == nil && len(page) != wanted {
				t.Errorf("%d artifacts", len(page))
			}
			return cause
		},
		"members by role": func(q sqldb.Querier) error { _, cause := index.CountMembers(ctx, q, 1); return cause },
	} {
		t.Run(what, func(t *testing.T) {
			need(t, db.View(ctx, "test.plan", func(q sqldb.Querier) error {
				return query(spy{q, t, func(text string, args []any) {
					if n, plan := rows(t, q, text, args); n > touched {
						t.Errorf("%d rows are read by %s\n%s", n, text, plan)
					}
				}})
			}))
		})
	}
	listPlans(t, db, rows)
}

// listPlans looks at the queries that look at all projects: each looks at none more often than a few times, whoever sees how many of them.
func listPlans(t *testing.T, db *sqldb.DB, rows func(t *testing.T, q sqldb.Querier, query string, args []any) (int, string)) {
	ctx := t.Context()
	for _, v := range []index.Viewer{{}, {User: 1}, {All: true}} {
		f := index.ProjectFilter{Viewer: v}
		for what, query := range map[string]func(q sqldb.Querier) error{
			"by name": func(q sqldb.Querier) error {
				_, cause := index.Projects(ctx, q, f, index.ByName, false, 100, wanted)
				return cause
			},
			"by change": func(q sqldb.Querier) error {
				_, cause := index.Projects(ctx, q, f, index.ByChange, true, 0, wanted)
				return cause
			},
			"how many": func(q sqldb.Querier) error { _, cause := index.CountProjects(ctx, q, f); return cause },
			"with quota": func(q sqldb.Querier) error {
				_, cause := index.Usages(ctx, q, index.QuotasByUse, true, 0, wanted)
				return cause
			},
		} {
			t.Run(fmt.Sprintf("%+v %s", v, what), func(t *testing.T) {
				need(t, db.View(ctx, "test.plan", func(q sqldb.Querier) error {
					return query(spy{q, t, func(text string, args []any) {
						if n, plan := rows(t, q, text, args); n > 8*many {
							t.Errorf("%d rows are read of %d projects by %s\n%s", n, many, text, plan)
						}
					}})
				}))
			})
		}
	}
}

// ranOnMariaDB answers how many rows the storage engine was asked for.
func ranOnMariaDB(t *testing.T, q sqldb.Querier, query string, args []any) (int, string) {
	t.Helper()
	asked := func() (n int) {
		for row, err := range q.Rows(t.Context(), "SHOW SESSION STATUS LIKE 'Handler_read%'") {
			need(t, err)
			var name string
			var value int
			need(t, row.Scan(&name, &value))
			if name != "Handler_read_rnd_deleted" {
				n += value
			}
		}
		return n
	}
	asked() // its own table is read too
	before := asked()
	own := asked() - before
	before = asked()
	var plan string
	need(t, q.Row(t.Context(), "ANALYZE FORMAT=JSON "+query, args...).Scan(&plan))
	return asked() - before - own, plan
}

// ranOnPostgres answers how many rows the scans of a plan produced and dropped.
func ranOnPostgres(t *testing.T, q sqldb.Querier, query string, args []any) (int, string) {
	t.Helper()
	var text string
	need(t, q.Row(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+query, args...).Scan(&text))
	var plans []struct {
		Plan scan
		JIT  json.RawMessage
	}
	need(t, json.Unmarshal([]byte(text), &plans))
	if plans[0].JIT != nil {
		t.Errorf("compiled for milliseconds: %s\n%s", query, plans[0].JIT)
	}
	return plans[0].Plan.rows(), text
}

// scan is a node of a plan of PostgreSQL.
type scan struct {
	Rows    float64 `json:"Actual Rows"`
	Loops   float64 `json:"Actual Loops"`
	Dropped float64 `json:"Rows Removed by Filter"`
	Index   float64 `json:"Rows Removed by Index Recheck"`
	Plans   []scan
}

func (s scan) rows() int {
	n := int((s.Rows + s.Dropped + s.Index) * s.Loops)
	for _, p := range s.Plans {
		n += p.rows()
	}
	return n
}

// plannedOnSQLite answers as many rows as a table has where it is read whole or sorted.
func plannedOnSQLite(t *testing.T, q sqldb.Querier, query string, args []any) (int, string) {
	t.Helper()
	var steps []string
	n := 0
	for row, err := range q.Rows(t.Context(), "EXPLAIN QUERY PLAN "+query, args...) {
		need(t, err)
		var id, parent, unused int
		var step string
		need(t, row.Scan(&id, &parent, &unused, &step))
		if parent == 0 && (step == "SCAN page" || strings.Contains(step, "TEMP B-TREE") && strings.Contains(query, ") page JOIN")) {
			continue // what is on the page is looked up, and brought into its order again
		}
		steps = append(steps, step)
		// Rows in the order of the key, up to a limit, are a scan too, and so are those of a part of a query with a limit of its own (linked); the objects of one blob are sorted, because SQLite does not see that they are those of one.
		// Roles are grouped for one project.
		ordered := strings.Contains(query, "GROUP BY role") || strings.Contains(query, "FROM pulls ORDER BY id LIMIT") || strings.Contains(query, "ORDER BY o.seq")
		if !ordered && (strings.HasPrefix(step, "SCAN") && step != "SCAN CONSTANT ROW" && step != "SCAN live" && step != "SCAN linked" || strings.Contains(step, "TEMP B-TREE")) {
			n = many
		}
	}
	return n, strings.Join(steps, "\n")
}

func digestNumber(i int) oci.Digest { return oci.Sum(oci.SHA256, fmt.Append(nil, i)) }

// fillTables gives one repository many manifests, tags and referrers, all of the same blob, as children of as many indexes; and all else that is many.
func fillTables(t *testing.T, db *sqldb.DB) {
	base, child := digestNumber(0).Bytes(), digestNumber(1).Bytes()
	run(t, db, "INSERT INTO projects (id, name, public, created_at) VALUES (1, 'library', ?, 1), (2, 'other', ?, 1)", true, false)
	run(t, db, "INSERT INTO repositories (id, project_id, name, created_at, pushed_at) VALUES (1, 1, 'library/r', 1, 1)")
	each := func(table string, columns int, row func(i int) []any) {
		t.Helper()
		const atOnce = 250
		mark := "(?" + strings.Repeat(", ?", columns-1) + ")"
		for from := 0; from < many; from += atOnce {
			var args []any
			for i := range atOnce {
				args = append(args, row(from+i)...)
			}
			run(t, db, "INSERT INTO "+table+" VALUES "+mark+strings.Repeat(", "+mark, atOnce-1), args...)
		}
	}
	each("contents (id, created_at)", 2, func(i int) []any { return []any{i, 1} })
	each("objects (content, seq, name, size, created_at)", 5, func(i int) []any { return []any{i, 0, fmt.Sprint("o", i), 1, 1} })
	each("blobs (digest, content, size, created_at)", 4, func(i int) []any { return []any{digestNumber(i).Bytes(), i, 1, 1} })
	each("repo_blobs (repo, digest, linked_at)", 3, func(i int) []any { return []any{1, digestNumber(i).Bytes(), 1} })
	each("repositories (id, project_id, name, created_at, pushed_at)", 5, func(i int) []any { return []any{i + 2, 2, fmt.Sprintf("other/r%05d", i), 1, 1} })
	each("repo_blobs (repo, digest, linked_at)", 3, func(i int) []any { return []any{i + 2, base, 1} })
	each("manifests (repo, digest, media_type, artifact_type, subject, size, body, pushed_at)", 8, func(i int) []any {
		return []any{1, digestNumber(i).Bytes(), "m", "", base, 1, []byte("x"), 1}
	})
	each("manifests (repo, digest, media_type, artifact_type, subject, size, body, pushed_at)", 8, func(i int) []any {
		return []any{5, digestNumber(i).Bytes(), "m", "", nil, 1, []byte("x"), i + 1}
	})
	each("tags (repo, name, digest, moved_at)", 4, func(i int) []any { return []any{5, fmt.Sprintf("t%05d", i), digestNumber(i).Bytes(), 1} })
	each("manifest_blobs (repo, manifest, digest)", 3, func(i int) []any { return []any{1, digestNumber(i).Bytes(), base} })
	each("manifest_children (repo, parent, child)", 3, func(i int) []any { return []any{1, digestNumber(i).Bytes(), child} })
	each("tags (repo, name, digest, moved_at)", 4, func(i int) []any { return []any{1, fmt.Sprintf("t%05d", i), digestNumber(i).Bytes(), 1} })
	each("uploads (id, repo, subject, algorithm, off, seq, active_at, done_at)", 8, func(i int) []any {
		if i < many/2 {
			return []any{fmt.Sprint("u", i), 1, "somebody", 1, 0, 0, i, nil}
		}
		return []any{fmt.Sprint("u", i), 1, "somebody", 1, 0, 0, i, i}
	})
	// What is due has the highest ids, so that who goes by the ids alone goes through all the rest.
	each("dead (content, not_before)", 2, func(i int) []any { return []any{i, many - i} })
	each("projects (id, name, public, created_at)", 4, func(i int) []any { return []any{i + 3, fmt.Sprintf("p%05d", i), i%8 == 0, i} })
	each("project_details (project, changed_at)", 2, func(i int) []any { return []any{i + 3, i * 7919 % many} })
	run(t, db, "INSERT INTO users (id, name, password_hash, admin, disabled, created_at, changed_at) VALUES (1, 'user', '', ?, ?, 1, 1)", false, false)
	run(t, db, "INSERT INTO members (id, project, user_id, role, created_at, changed_at) SELECT id, id, 1, 3, 1, 1 FROM projects WHERE id % 5 = 0")
	each("labels (id, scope, project, name, description, color, created_at, changed_at)", 8, func(i int) []any { return []any{i + 1, 2, 2, fmt.Sprintf("l%05d", i), "", "", 1, 1} })
	each("manifest_labels (repo, digest, label)", 3, func(i int) []any { return []any{1, digestNumber(i).Bytes(), 1} })
	each("quotas (project, limit_bytes, held, counts, counted_at, changed_at)", 6, func(i int) []any { return []any{i + 2, 1, 1, 2, 1, i} })
	each("quota_charges (project, digest, size, repos, checked)", 5, func(i int) []any { return []any{2, digestNumber(i).Bytes(), 1, 1, 0} })
	run(t, db, "INSERT INTO quota_slices (id, project, node, bytes) VALUES (7, 2, 1, 100)")
	run(t, db, "UPDATE quota_charges SET slice = 7 WHERE digest = ?", digestNumber(many/2).Bytes())
	each("quota_holds (upload, project, bytes)", 3, func(i int) []any { return []any{fmt.Sprint("u", i), 3, 1} })
	each("ops (op, at)", 2, func(i int) []any { return []any{fmt.Sprint("op", i), i} })
	each("pulls (id, repo, digest, tag, node, at, n)", 7, func(i int) []any { return []any{i, 1, base, "", 1, 1, 1} })
}
