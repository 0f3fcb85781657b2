package arch_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	root   = "../.."
	module = "github.com/havn-registry/havn"
)

// room is one row of the table in docs/architecture.md.
type room struct {
	level   int
	name    string   // below internal/, or cmd/havn
	imports []string // the same form
}

// source is one non-test file of the module.
type source struct {
	dir, file string
	doc       bool
	generated bool
	lines     int
	imports   []string
	tree      *ast.File
}

func TestImportsAreThoseOfTheTable(t *testing.T) {
	t.Parallel()
	rooms := table(t)
	used := map[string]map[string]bool{}
	for _, s := range sources(t) {
		if used[s.dir] == nil {
			used[s.dir] = map[string]bool{}
		}
		for _, i := range s.imports {
			if inner, ok := strings.CutPrefix(i, module+"/internal/"); ok {
				used[s.dir][inner] = true
			}
		}
	}
	for dir, imports := range used {
		r, ok := rooms[dir]
		if !ok {
			t.Errorf("package %s has no row in docs/architecture.md", dir)
			continue
		}
		for i := range imports {
			if !slices.Contains(r.imports, i) {
				t.Errorf("%s imports %s, which its row in docs/architecture.md does not name", dir, i)
			}
			if rooms[i].level >= r.level && path.Dir(dir) != i {
				t.Errorf("%s (level %d) imports %s (level %d): arrows point to lower levels only", dir, r.level, i, rooms[i].level)
			}
		}
		for _, i := range r.imports {
			if !imports[i] {
				t.Errorf("docs/architecture.md lets %s import %s, which it does not: take it out of the row", dir, i)
			}
		}
	}
	for name := range rooms {
		if used[name] == nil {
			t.Errorf("docs/architecture.md has a row for %s, which is not there", name)
		}
	}
}

func TestForeignPackagesStayInTheirRooms(t *testing.T) {
	t.Parallel()
	only := map[string][]string{
		"database/sql":                             {"sqldb", "lab"},
		"modernc.org/sqlite":                       {"sqldb"},
		"github.com/go-sql-driver/mysql":           {"sqldb", "lab"},
		"github.com/jackc/pgx/v5":                  {"sqldb"},
		"github.com/redis/rueidis":                 {"redis"},
		"github.com/golang-jwt/jwt/v5":             {"access"},
		"github.com/go-ldap/ldap/v3":               {"access/ldap"},
		"github.com/go-asn1-ber/asn1-ber":          {"access/ldap"},
		"golang.org/x/crypto/argon2":               {"access"},
		"github.com/coreos/go-oidc/v3":             {"access/oidc"},
		"golang.org/x/oauth2":                      {"access/oidc"},
		"github.com/spf13/cobra":                   {"cmd/havn"},
		"github.com/goccy/go-yaml":                 {"config", "harborapi"},
		"go.opentelemetry.io/otel/sdk":             {"server"},
		"github.com/aws/aws-sdk-go-v2":             {"blob/s3"},
		"github.com/aws/smithy-go":                 {"blob/s3"},
		"github.com/Azure/azure-sdk-for-go":        {"blob/azure"},
		"github.com/ncw/swift/v2":                  {"blob/swift"},
		"github.com/ceph/go-ceph":                  {"blob/rados"},
		module + "/internal/access/ldap":           {"server"},
		module + "/internal/blob/rados":            {"server"},
		module + "/internal/blob/azure":            {"server"},
		module + "/internal/blob/swift":            {"server"},
		module + "/internal/blob/s3":               {"server"},
		module + "/internal/blob/filesystem":       {"server"},
		module + "/internal/blob/memory":           {"server"},
		module + "/internal/blob/readcache":        {"server"},
		"net/http/pprof":                           {"server"},
		"github.com/prometheus/client_golang/prom": {"server"},
	}
	for _, s := range sources(t) {
		for _, i := range s.imports {
			for pkg, rooms := range only {
				exact := i == pkg || strings.HasPrefix(i, pkg+"/") || (strings.HasSuffix(pkg, "/prom") && strings.HasPrefix(i, pkg+"http"))
				if exact && !slices.Contains(rooms, s.dir) {
					t.Errorf("%s imports %s, which belongs to %s alone", s.file, i, strings.Join(rooms, ", "))
				}
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	t.Parallel()
	doc := map[string]bool{}
	for _, s := range sources(t) {
		doc[s.dir] = doc[s.dir] || s.doc
		if s.lines > 500 && !s.generated {
			t.Errorf("%s has %d lines; a file is one noun of at most 500", s.file, s.lines)
		}
		for _, word := range []string{"util", "utils", "common", "types", "models", "helpers", "manager"} {
			if path.Base(s.dir) == word {
				t.Errorf("package %s: a package is named for what it is, and %q says nothing", s.dir, word)
			}
		}
		for _, d := range s.tree.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function: effects belong where the program is put together", s.file)
			}
		}
	}
	for dir, has := range doc {
		if !has {
			t.Errorf("package %s has no doc comment", dir)
		}
	}
}

func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "docs/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^\s*(?:require )?([a-z0-9.\-]+\.[a-z]+/\S+) v\S+$`)
	named := map[string]bool{}
	for _, m := range direct.FindAllStringSubmatch(string(mod), -1) {
		named[m[1]] = true
		if !strings.Contains(string(text), "`"+m[1]+"`") {
			t.Errorf("docs/dependencies.md does not say why %s is needed", m[1])
		}
	}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)`").FindAllStringSubmatch(string(text), -1) {
		if !named[m[1]] {
			t.Errorf("docs/dependencies.md explains %s, which go.mod does not require", m[1])
		}
	}
}

// table reads the rows `| level | package | purpose | may import |` of docs/architecture.md.
func table(t *testing.T) map[string]room {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, "docs/architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("(?m)^\\| (\\d) \\| `([a-z0-9/]+)` \\| [^|]+ \\| ([^|]+) \\|$")
	rooms := map[string]room{}
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		level, cause := strconv.Atoi(m[1])
		if cause != nil {
			t.Fatal(cause)
		}
		r := room{level: level, name: m[2]}
		for _, i := range strings.Split(m[3], ",") {
			if i = strings.TrimSpace(i); i != "-" {
				r.imports = append(r.imports, i)
			}
		}
		rooms[r.name] = r
	}
	if len(rooms) < 10 {
		t.Fatalf("docs/architecture.md has %d rows that can be read, which can't be all", len(rooms))
	}
	return rooms
}

// sources parses every non-test file below internal/ and cmd/. Packages that exist for tests alone (…test, arch) are left out.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	for _, top := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join(root, top), func(p string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() || !strings.HasSuffix(p, ".go") || strings.HasSuffix(p, "_test.go"):
				return nil
			}
			dir := strings.TrimPrefix(filepath.ToSlash(filepath.Dir(p)), root+"/")
			dir = strings.TrimPrefix(dir, "internal/")
			if strings.HasSuffix(dir, "test") || dir == "arch" {
				return nil
			}
			s, err := parse(p, dir)
			all = append(all, s)
			return err
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if len(all) == 0 {
		t.Fatal("no source found: the test looks in the wrong place")
	}
	return all
}

func parse(p, dir string) (source, error) {
	text, err := os.ReadFile(p)
	if err != nil {
		return source{}, err
	}
	tree, err := parser.ParseFile(token.NewFileSet(), p, text, parser.ParseComments)
	if err != nil {
		return source{}, err
	}
	s := source{dir: dir, file: p, doc: tree.Doc != nil, generated: ast.IsGenerated(tree), lines: strings.Count(string(text), "\n"), tree: tree}
	for _, i := range tree.Imports {
		name, cause := strconv.Unquote(i.Path.Value)
		if cause != nil {
			return source{}, cause
		}
		s.imports = append(s.imports, name)
	}
	return s, nil
}
