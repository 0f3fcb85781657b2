package scale

import (
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the database that is filled

	"github.com/havn-registry/havn/test/harness"
)

// The registry: one repository with many tags, many repositories with some, one manifest for each tag.
const (
	deepTags    = 100_000
	otherRepos  = 900
	otherTags   = 1_000
	deepRepo    = "library/deep"
	totalPushed = deepTags + otherRepos*otherTags
	// rowsAtOnce is how many rows one statement inserts: enough that the time goes into rows, below SQLite's 32,766 parameters.
	rowsAtOnce = 200
)

// tagName sorts as it counts.
func tagName(i int) string { return fmt.Sprintf("v%06d", i) }

func repoName(i int) string { return fmt.Sprintf("library/repo-%04d", i) }

const sha256Byte = 1 // how digests of this algorithm begin in the database

// manifestOf makes a manifest that differs from every other in an annotation, and its digest as the database has it.
func manifestOf(repo string, tag int) (body, digest []byte) {
	body = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",`+
		`"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},`+
		`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%d}],`+
		`"annotations":{"org.opencontainers.image.title":"%s:%d"}}`,
		hex.EncodeToString(configDigest()[1:]), len(config), hex.EncodeToString(layerDigest()[1:]), len(layer), repo, tag)
	return body, digestOf(body)
}

// The two blobs that all manifests share.
const (
	config = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`
	layer  = "a layer that all the images share"
)

func configDigest() []byte { return digestOf([]byte(config)) }

func layerDigest() []byte { return digestOf([]byte(layer)) }

func digestOf(content []byte) []byte {
	sum := sha256.Sum256(content)
	return append([]byte{sha256Byte}, sum[:]...)
}

// filler inserts rows into one table, many with one statement.
type filler struct {
	tx      *sql.Tx
	table   string
	columns int
	stmt    *sql.Stmt
	args    []any
	err     error
}

func newFiller(tx *sql.Tx, table string, columns ...string) *filler {
	f := &filler{tx: tx, table: table + " (" + strings.Join(columns, ", ") + ")", columns: len(columns)}
	f.stmt, f.err = tx.Prepare(f.statement(rowsAtOnce))
	return f
}

func (f *filler) statement(rows int) string {
	row := "(" + strings.TrimSuffix(strings.Repeat("?,", f.columns), ",") + "),"
	return "INSERT INTO " + f.table + " VALUES " + strings.TrimSuffix(strings.Repeat(row, rows), ",")
}

func (f *filler) add(values ...any) {
	f.args = append(f.args, values...)
	if f.err == nil && len(f.args) == rowsAtOnce*f.columns {
		_, f.err = f.stmt.Exec(f.args...)
		f.args = f.args[:0]
	}
}

func (f *filler) finish() error {
	if f.err == nil && len(f.args) > 0 {
		_, f.err = f.tx.Exec(f.statement(len(f.args)/f.columns), f.args...)
	}
	if f.stmt != nil {
		f.err = errors.Join(f.err, f.stmt.Close())
	}
	if f.err != nil {
		return fmt.Errorf("fill %s: %w", f.table, f.err)
	}
	return nil
}

// fill writes the rows into the database of a registry that is stopped, that has the two blobs and the first tag in the
// repository deepRepo. Nothing is flushed and no key is checked while it does; that is checked at the end.
func fill(t *testing.T, path string) {
	t.Helper()
	began := time.Now()
	db, err := sql.Open("sqlite", "file:"+path+"?"+url.Values{"_pragma": {
		"journal_mode(delete)", "journal_mode(off)", "synchronous(off)", "foreign_keys(0)", "cache_size(-128000)", "locking_mode(exclusive)",
	}}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	if err = fillAll(db); err != nil {
		t.Fatal(err)
	}
	var broken int
	if err = db.QueryRow("SELECT COUNT(*) FROM pragma_foreign_key_check('tags')").Scan(&broken); err != nil || broken > 0 {
		t.Fatalf("%d tags refer to nothing (%v)", broken, err)
	}
	if err = db.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("filled in %s", time.Since(began).Round(100*time.Millisecond))
}

func fillAll(db *sql.DB) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	if err = fillRepositories(tx); err != nil {
		return errors.Join(err, tx.Rollback())
	}
	return tx.Commit()
}

func fillRepositories(tx *sql.Tx) error {
	var project, deep int64
	now := time.Now().UnixMicro()
	row := tx.QueryRow("SELECT project_id, id FROM repositories WHERE name = ?", deepRepo)
	if err := row.Scan(&project, &deep); err != nil {
		return fmt.Errorf("repository %s: %w", deepRepo, err)
	}
	if err := fillTags(tx, deep, deepRepo, 1, deepTags, now); err != nil {
		return err
	}
	for i := range otherRepos {
		id := int64(1000 + i)
		if _, err := tx.Exec("INSERT INTO repositories (id, project_id, name, created_at, pushed_at) VALUES (?, ?, ?, ?, ?)", id, project, repoName(i), now, now); err != nil {
			return err
		}
		for _, blob := range [][]byte{configDigest(), layerDigest()} {
			if _, err := tx.Exec("INSERT INTO repo_blobs (repo, digest, linked_at) VALUES (?, ?, ?)", id, blob, now); err != nil {
				return err
			}
		}
		if err := fillTags(tx, id, repoName(i), 0, otherTags, now); err != nil {
			return err
		}
	}
	return nil
}

func fillTags(tx *sql.Tx, repo int64, name string, from, to int, now int64) error {
	type pushed struct{ body, digest []byte }
	all := make([]pushed, to-from)
	tags := newFiller(tx, "tags", "repo", "name", "digest", "moved_at")
	for i := range all {
		all[i].body, all[i].digest = manifestOf(name, from+i)
		tags.add(repo, tagName(from+i), all[i].digest, now)
	}
	// In the order of the key, so that a page is written once.
	slices.SortFunc(all, func(a, b pushed) int { return bytes.Compare(a.digest, b.digest) })
	manifests := newFiller(tx, "manifests", "repo", "digest", "media_type", "artifact_type", "size", "body", "pushed_at")
	blobs := newFiller(tx, "manifest_blobs", "repo", "manifest", "digest")
	one, other := configDigest(), layerDigest()
	if bytes.Compare(one, other) > 0 {
		one, other = other, one
	}
	for _, m := range all {
		manifests.add(repo, m.digest, "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.config.v1+json", len(m.body), m.body, now)
		blobs.add(repo, m.digest, one)
		blobs.add(repo, m.digest, other)
	}
	return errors.Join(tags.finish(), manifests.finish(), blobs.finish())
}

// server is a registry with all of it, running.
func server(t *testing.T) *harness.Server {
	t.Helper()
	s := harness.Start(t, harness.Options{})
	push(t, s)
	s.Finish(t)
	fill(t, s.Data+"/havn.db")
	s.Again(t)
	return s
}
