package sqldb

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

//go:embed migrations
var migrationFiles embed.FS

// migration is one file of migrations/ENGINE: statements that each may run twice, because nodes may start at once, and a node
// may die in the middle on an engine whose definitions are not transactional.
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

// Migrate brings the schema up to date. Several nodes may do so at once. A schema newer than this program is fail.Unsupported.
func (db *DB) Migrate(ctx context.Context) error {
	steps, err := migrations(db.engine)
	if err != nil {
		return err
	}
	var done int64
	err = db.Row(ctx, schemaVersion).Scan(&done)
	switch {
	case fail.Is(err, fail.Unavailable):
		return err
	case err == nil && done >= int64(len(steps)):
		// Nothing is to be defined: on Galera even a definition that changes nothing ends transactions on every node.
		return known(done, steps)
	}
	return db.again(ctx, "migrate", func() error { return db.store.migrate(ctx, steps, db.cfg.Clock()) })
}

const schemaVersion = "SELECT COALESCE(MAX(version), 0) FROM schema_migrations"

// known refuses a schema of a newer program.
func known(done int64, steps []migration) error {
	if done > int64(len(steps)) {
		return fail.E(fail.Unsupported, nil, "the schema is at version %d, this program knows %d", done, len(steps)).
			Hint("start the newer version of havn again")
	}
	return nil
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
	var done int64
	if err := s.scanRow(ctx, schemaVersion, nil, []any{&done}); err != nil {
		return err
	}
	if err := known(done, steps); err != nil {
		return err
	}
	for _, step := range steps[done:] {
		for _, statement := range step.statements {
			if _, err := s.exec(ctx, statement, nil); err != nil {
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
