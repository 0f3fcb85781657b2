package sqldb

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

//go:embed migrations
var migrationFiles embed.FS

// migration is one file of migrations/ENGINE: statements that each may run twice, because nodes may start at once, and a node
// may die in the middle on an engine whose definitions are not transactional.
//
// A file NUMBER_NAME_beside_N.sql says that programs which know N migrations, or more, go on well beside it: nodes of the version before serve, and start again, in
// the middle of an upgrade, and an upgrade can be taken back. Without that, programs that don't know it refuse the schema.
type migration struct {
	version    int
	name       string
	statements []string
}

// schemaTable keeps which migrations are done. It is the same text on every engine.
const schemaTable = `CREATE TABLE IF NOT EXISTS schema_migrations (
	version BIGINT NOT NULL PRIMARY KEY,
	name VARCHAR(255) NOT NULL,
	applied_at BIGINT NOT NULL
)`

// CheckTables begins the names of the tables that `havn db check` makes, which are Havn's own though they are in no migration: one that was killed leaves them behind.
const CheckTables = "havn_check_"

// Migrate brings the schema up to date. Several nodes may do so at once. A schema newer than this program is fail.Unsupported.
func (db *DB) Migrate(ctx context.Context) error {
	steps, err := migrations(db.engine)
	if err != nil {
		return err
	}
	var done, at int64
	err = db.Row(ctx, schemaVersion).Scan(&done, &at)
	switch {
	case fail.Is(err, fail.Unavailable):
		return err
	case err == nil && done >= int64(len(steps)):
		// Nothing is to be defined: on Galera even a definition that changes nothing ends transactions on every node.
		return known(ctx, db, done, steps)
	case err != nil && db.engine != SQLite:
		if err = db.ours(ctx); err != nil {
			return err
		}
	}
	return db.again(ctx, "migrate", func() error { return db.store.migrate(ctx, steps, db.cfg.Clock()) })
}

// schemaVersion also reads a column that no other application's table of this name has.
const schemaVersion = "SELECT COALESCE(MAX(version), 0), COALESCE(MAX(applied_at), 0) FROM schema_migrations"

// schema looks whether this program can use the tables that are there.
func (db *DB) schema(ctx context.Context) Finding {
	steps, err := migrations(db.engine)
	var done, at int64
	if err == nil {
		err = db.Row(ctx, schemaVersion).Scan(&done, &at)
	}
	if err != nil && db.engine != SQLite && !fail.Is(err, fail.Unavailable) {
		if err = db.ours(ctx); err == nil {
			return Finding{OK: true, What: "its tables are not there yet: the first start makes them"}
		}
	}
	if err == nil {
		err = known(ctx, db, done, steps)
	}
	if err == nil && done >= int64(len(steps)) {
		err = db.Ping(ctx)
	}
	switch {
	case err != nil:
		return Finding{What: "read its tables: " + err.Error(), Hint: fail.HintOf(err)}
	case done < int64(len(steps)):
		return Finding{OK: true, What: fmt.Sprintf("its tables are at version %d: the next start brings them to %d", done, len(steps))}
	}
	return Finding{OK: true, What: "its tables can be read"}
}

// ours refuses a database that has tables, and our list of migrations not among them: a table of another application that is called like one of ours would be taken for it. Nodes that start at
// once don't see each other's tables without that list, because it is made first.
func (db *DB) ours(ctx context.Context) error {
	name, tables := "table_name", "information_schema.tables WHERE table_schema = DATABASE()"
	if db.engine == Postgres {
		// The standard's list leaves out what other users own.
		name, tables = "tablename::text", "pg_tables WHERE schemaname = current_schema()"
	}
	var one, list string
	err := db.Row(ctx, "SELECT MIN("+name+"), COALESCE(MAX(CASE WHEN "+name+" = 'schema_migrations' THEN "+name+" END), '') FROM "+tables+
		" AND LEFT("+name+", ?) <> ? HAVING COUNT(*) > 0", len(CheckTables), CheckTables).Scan(&one, &list)
	if fail.Is(err, fail.NotFound) || err == nil && list != "" && db.listed(ctx) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for other tables in the database: %w", err)
	}
	return fail.E(fail.Conflict, nil, "the database %s has tables of another application (%s)", db.cfg.Database, one).
		Hint("give Havn a database of its own: database.name")
}

// listed reports whether the list of migrations is ours.
func (db *DB) listed(ctx context.Context) bool {
	var done, at int64
	return db.Row(ctx, schemaVersion).Scan(&done, &at) == nil
}

// beside ends the name of a migration that leaves programs alone which know so many.
var beside = regexp.MustCompile(`_beside_([0-9]+)$`)

// known refuses a schema of a newer program, unless each migration that is new leaves this program alone.
func known(ctx context.Context, q Querier, done int64, steps []migration) error {
	if done <= int64(len(steps)) {
		return nil
	}
	for row, err := range q.Rows(ctx, "SELECT name FROM schema_migrations WHERE version > ? ORDER BY version LIMIT 1000", len(steps)) {
		var name string
		if err == nil {
			err = row.Scan(&name)
		}
		if err != nil {
			return fmt.Errorf("read the newer migrations: %w", err)
		}
		m := beside.FindStringSubmatch(name)
		if m == nil {
			return tooNew(done, steps)
		}
		if least, numErr := strconv.Atoi(m[1]); numErr != nil || least > len(steps) {
			return tooNew(done, steps)
		}
	}
	return nil
}

func tooNew(done int64, steps []migration) error {
	return fail.E(fail.Unsupported, nil, "the schema is at version %d, this program knows %d", done, len(steps)).
		Hint("start the newer version of havn again")
}

// migrations reads the embedded files of an engine, in order.
func migrations(e Engine) ([]migration, error) {
	files, err := fs.Glob(migrationFiles, path.Join("migrations", string(e), "*.sql"))
	if err != nil || len(files) == 0 {
		return nil, fail.E(fail.Internal, err, "migrations of %s", e)
	}
	steps := make([]migration, 0, len(files))
	for i, f := range files {
		text, readErr := fs.ReadFile(migrationFiles, f)
		if readErr != nil {
			return nil, fail.E(fail.Internal, readErr, "migration %s", f)
		}
		name := strings.TrimSuffix(path.Base(f), ".sql")
		number, _, _ := strings.Cut(name, "_")
		version, numErr := strconv.Atoi(number)
		if numErr != nil || version != i+1 {
			return nil, fail.E(fail.Internal, numErr, "migration %s is not number %d", f, i+1)
		}
		steps = append(steps, migration{version: version, name: name, statements: split(string(text))})
	}
	return steps, nil
}

// split cuts a file at the semicolons that end lines, and drops comment lines.
func split(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		if trimmed := strings.TrimSpace(line); trimmed != "" && !strings.HasPrefix(trimmed, "--") {
			lines = append(lines, strings.TrimRight(line, " \t\r\n"))
		}
	}
	var statements []string
	for s := range strings.SplitSeq(strings.Join(lines, "\n")+"\n", ";\n") {
		if s = strings.TrimSpace(s); s != "" {
			statements = append(statements, s)
		}
	}
	return statements
}

// apply runs the migrations that are not done on a session; each is noted when its last statement is through.
func apply(ctx context.Context, s *session, steps []migration, now int64) error {
	if _, err := s.exec(ctx, schemaTable, nil); err != nil {
		return err
	}
	var done, at int64
	if err := s.scanRow(ctx, schemaVersion, nil, []any{&done, &at}); err != nil {
		return err
	}
	if err := known(ctx, &reader{s: s}, done, steps); err != nil {
		return err
	}
	for _, step := range steps[min(done, int64(len(steps))):] {
		for _, statement := range step.statements {
			// Exists, NotFound: an index that an earlier run made, or dropped, or another node.
			if _, err := s.exec(ctx, statement, nil); err != nil && (s.d.engine != MySQL || !fail.Is(err, fail.Exists) && !fail.Is(err, fail.NotFound)) {
				return fmt.Errorf("migration %s: %w", step.name, err)
			}
		}
		_, err := s.exec(ctx, s.d.insertIgnore("schema_migrations", []string{"version", "name", "applied_at"}), []any{step.version, step.name, now})
		if err != nil && (s.d.engine != MySQL || !fail.Is(err, fail.Exists)) {
			return fmt.Errorf("migration %s: %w", step.name, err)
		}
	}
	return nil
}
