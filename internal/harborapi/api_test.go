package harborapi_test

import (
	"flag"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/harborapi"
)

var update = flag.Bool("update", false, "write docs/harbor-api.md")

const tablePath = "../../docs/harbor-api.md"

func TestTheTableInTheDocumentationIsThatOfTheCode(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(tablePath)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- generated from here -->\n", "<!-- to here -->\n"
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		t.Fatalf("%s has no place for the table", tablePath)
	}
	want := before + begin + harborapi.Table() + end + after
	if *update {
		if err = os.WriteFile(tablePath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s is not what the code does: go test ./internal/harborapi -run Documentation -update", tablePath)
	}
}

func TestTheDocumentHasEveryOperationOfHarborAndSaysOfEachWhoMay(t *testing.T) {
	t.Parallel()
	all := harborapi.Operations()
	harbors := 0
	for _, o := range all {
		if !o.Own {
			harbors++
		}
	}
	if harbors != 208 { // 203 of Harbor 2.13, and 5 that 2.12 still had
		t.Errorf("%d operations of Harbor, want 208", harbors)
	}
	seen := map[string]bool{}
	known := access.Operations()
	for _, o := range all {
		if seen[o.ID] || o.Tag == "" {
			t.Errorf("%s: twice, or without a tag", o.ID)
		}
		seen[o.ID] = true
		if (o.Access == "") != (o.Never != "" || o.Later != "") || o.Later != "" && o.Never != "" {
			t.Errorf("%s: access %q, later %q, never %q", o.ID, o.Access, o.Later, o.Never)
		}
		if o.Works() == (o.Later != "" || o.Never != "") {
			t.Errorf("%s works and does not", o.ID)
		}
		scope, permission, _ := strings.Cut(o.Access, " ")
		switch scope {
		case "", "open", "login", "system", "register":
		case "project":
			if !slices.ContainsFunc(known, func(k access.Operation) bool { return k.String() == permission }) {
				t.Errorf("%s needs %s, which is not in the matrix", o.ID, permission)
			}
			if !strings.Contains(o.Path, "{project_name}") && !strings.Contains(o.Path, "{project_name_or_id}") {
				t.Errorf("%s needs a permission in a project, and its path names none", o.ID)
			}
		default:
			t.Errorf("%s: access %q", o.ID, o.Access)
		}
	}
}

func TestEverySettingIsInTheDocument(t *testing.T) {
	t.Parallel()
	for _, k := range config.LiveKeys() {
		kind := map[config.LiveKind]string{config.LiveText: "string", config.LiveNumber: "integer", config.LiveBool: "boolean"}[k.Kind]
		if !regexp.MustCompile(`(?m)^        ` + k.Name + `: \{type: ` + kind + `\b`).Match(harborapi.Document()) {
			t.Errorf("the schema Configurations has no %s of type %s", k.Name, kind)
		}
	}
}

func TestPathsAndMethodsThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"", "/", "/nothing", "/projects/x/y/z", "/api/v1/projects", "/api/v2.0/../../etc/passwd", "/projects/%2e%2e/%2e%2e", "/ping/x"} {
		s.get(path).is(http.StatusNotFound, "NOT_FOUND")
	}
	s.do(http.MethodPut, "/retentions/", map[string]any{}).is(http.StatusNotImplemented, "NOT_IMPLEMENTED").says("createRetention") // Terraform's provider tries it after POST
	s.do(http.MethodPatch, "/projects/library/immutabletagrules", nil).is(http.StatusMethodNotAllowed)
	s.do(http.MethodPost, "/ping", nil).is(http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED").has("Allow", "GET, HEAD")
	s.do(http.MethodDelete, "/configurations", nil).is(http.StatusMethodNotAllowed).has("Allow", "GET, HEAD, PUT")
	s.do("FETCH", "/api/version", nil).is(http.StatusMethodNotAllowed).has("Allow", "GET, HEAD")
	for _, path := range []string{"/ping", "/ping/", "//ping"} { // as Harbor takes them
		if a := s.get(path, nobody).is(http.StatusOK); string(a.body) != "Pong" {
			t.Errorf("%s answers %q", path, a.body)
		}
	}
	s.do(http.MethodHead, "/ping", nil).is(http.StatusOK).has("Content-Length", "4")
	s.get("/api/version", nobody).is(http.StatusOK).says(`{"version":"v2.0"}`)
}

func TestTheReferenceNamesEveryOperationAndNeedsNothingElse(t *testing.T) {
	t.Parallel()
	s := start(t)
	page := s.get(harborapi.Devcenter, nobody).is(http.StatusOK).has("Content-Type", "text/html; charset=utf-8")
	for _, o := range harborapi.Operations() {
		page.says(`<details id="` + o.ID + `">`)
	}
	page.says("repository_name").says("Without its project").says(`<details id="schema-Repository">`).says("Markdown that people wrote").says("Needs <code>project artifact:list</code>")
	if regexp.MustCompile(`(src|href)="?(https?:)?//|<script`).Match(page.body) {
		t.Error("the reference takes something from elsewhere")
	}
	s.get(harborapi.Devcenter+"/openapi.yaml", nobody).is(http.StatusOK).says("openapi: 3.0.3")
}
