package sqldb

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	defined  = regexp.MustCompile(`(?i)^CREATE TABLE IF NOT EXISTS (\w+)`)
	cascade  = regexp.MustCompile(`(?i)\bCASCADE\b|\bON (DELETE|UPDATE) SET\b`)
	refers   = regexp.MustCompile(`(?i)\bREFERENCES\b`)
	restrict = regexp.MustCompile(`(?i)\bREFERENCES \w+ ?\([^)]*\) ON DELETE RESTRICT\b`)
	texts    = regexp.MustCompile(`(?i)^\s*\w+ (VARCHAR\(\d+\)|TEXT|CHAR\(\d+\))`)
)

// TestTheTablesKeepTheRulesThatAllEnginesNeed reads the migrations. Galera replicates rows by their primary key, and only InnoDB's; its nodes don't certify what a key does by itself; names are
// compared byte by byte.
func TestTheTablesKeepTheRulesThatAllEnginesNeed(t *testing.T) {
	t.Parallel()
	for _, e := range []Engine{SQLite, MySQL, Postgres} {
		steps, err := migrations(e)
		if err != nil {
			t.Fatal(err)
		}
		tables := 0
		for _, step := range steps {
			for _, statement := range step.statements {
				if cascade.MatchString(statement) {
					t.Errorf("%s, %s: a key changes rows by itself:\n%s", e, step.name, statement)
				}
				if len(refers.FindAllString(statement, -1)) != len(restrict.FindAllString(statement, -1)) {
					t.Errorf("%s, %s: a key does not say RESTRICT:\n%s", e, step.name, statement)
				}
				name := defined.FindStringSubmatch(statement)
				if name == nil {
					continue
				}
				tables++
				if !strings.Contains(strings.ToUpper(statement), "PRIMARY KEY") {
					t.Errorf("%s: %s has no primary key", e, name[1])
				}
				collation(t, e, name[1], statement)
			}
		}
		if tables < 20 {
			t.Errorf("%s: %d tables were found", e, tables)
		}
	}
}

func collation(t *testing.T, e Engine, table, statement string) {
	t.Helper()
	switch e {
	case MySQL:
		if !strings.HasSuffix(statement, "ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin") {
			t.Errorf("%s: %s is not InnoDB with binary collation and rows for long keys", e, table)
		}
	case Postgres:
		for line := range strings.Lines(statement) {
			if texts.MatchString(line) && !strings.Contains(line, `COLLATE "C"`) {
				t.Errorf("%s: %s has a text that is not compared byte by byte: %s", e, table, line)
			}
		}
	case SQLite: // it compares bytes unless it is told otherwise
		if strings.Contains(strings.ToUpper(statement), "COLLATE") {
			t.Errorf("%s: %s has a collation", e, table)
		}
	}
}

// locks are what another node of a cluster knows nothing of.
var locks = regexp.MustCompile(`(?i)\b(GET_LOCK|RELEASE_LOCK|LOCK\s+TABLES?)\b`)

func TestNoLockIsTakenThatOtherNodesDoNotSee(t *testing.T) {
	t.Parallel()
	const top = "../.."
	files := 0
	for _, dir := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(top, dir), func(path string, entry fs.DirEntry, err error) error {
			sources := strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, ".sql")
			if err != nil || entry.IsDir() || !sources {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			files++
			if found := locks.Find(text); found != nil {
				t.Errorf("%s has %s", path, found)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if files < 200 {
		t.Errorf("%d files were read", files)
	}
}
