package docs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// top is the folder of the checkout, seen from this package.
const top = "../.."

// others are programs that the documentation names and that are not ours to prove, or that other tests run.
var others = []string{"cd", "docker", "git", "go build", "go test", "go vet"}

// asking are the commands that ask a server as somebody who is logged in.
var asking = []string{"login", "logout", "token", "project", "user", "robot", "member", "repo", "artifact", "tag", "quota", "label", "audit"}

// command is one simple command of the documentation.
type command struct {
	page string
	dir  string // where it is given, seen from the top
	argv []string
}

func (c command) String() string { return c.page + ": " + strings.Join(c.argv, " ") }

var (
	prompt = regexp.MustCompile(`(?m)^\$ (.+)$`)
	span   = regexp.MustCompile("`((?:havn|make|go|cd)(?: [^`\n]*)?)`")
	join   = regexp.MustCompile(`\s*(?:&&|;|\|)\s*`)
	word   = regexp.MustCompile(`'[^']*'|"[^"]*"|\S+`)
)

// commands answers what the pages tell their readers to type: after a prompt, and between backquotes.
func commands(t *testing.T) []command {
	t.Helper()
	pages, err := filepath.Glob(filepath.Join(top, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"README.md", "CONTRIBUTING.md", "SECURITY.md"} {
		pages = append(pages, filepath.Join(top, name))
	}
	var all []command
	seen := map[string]bool{}
	for _, page := range pages {
		text, readErr := os.ReadFile(page)
		if readErr != nil {
			t.Fatal(readErr)
		}
		for _, kind := range []*regexp.Regexp{prompt, span} {
			for _, found := range kind.FindAllStringSubmatch(string(text), -1) {
				if seen[found[1]] || strings.Contains(found[1], "…") { // what has a gap is no command yet
					continue
				}
				seen[found[1]] = true
				all = append(all, simple(filepath.Base(page), found[1])...)
			}
		}
	}
	if len(all) < 20 {
		t.Fatalf("only %d commands found: the pages are written in another way than this test reads them", len(all))
	}
	return all
}

// simple takes a line apart. Where its result goes does not matter here.
func simple(page, line string) []command {
	line, _, _ = strings.Cut(line, " > ")
	var all []command
	dir := ""
	for _, part := range join.Split(line, -1) {
		argv := word.FindAllString(part, -1)
		for i := range argv {
			argv[i] = strings.Trim(argv[i], `'"`)
		}
		if len(argv) == 0 {
			continue
		}
		if argv[0] == "cd" && len(argv) == 2 && argv[1] != "havn" { // havn is the clone, the top itself
			dir = argv[1]
		}
		all = append(all, command{page, dir, argv})
	}
	return all
}

// havn answers the arguments of the program, if the command runs it.
func (c command) havn() ([]string, bool) {
	switch {
	case c.argv[0] == "havn":
		return c.argv[1:], true
	case len(c.argv) > 2 && c.argv[1] == "run" && c.argv[2] == "./cmd/havn":
		return c.argv[3:], true
	}
	return nil, false
}

// execute runs a program and answers its exit code and what it wrote.
func execute(t *testing.T, dir string, env []string, argv ...string) (int, string) {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%s: %v", strings.Join(argv, " "), err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

func TestTheCommandsOfTheProgramWork(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{})
	program := harness.Binary(t)
	env := []string{"HAVN_DATA_DIR=" + s.Data, "HAVN_HTTP_ADDR=" + s.Addr}
	harborCfg(t, s.Data)
	run := func(c command, args []string) {
		if code, out := execute(t, s.Data, env, append([]string{program}, args...)...); code != 0 {
			t.Errorf("%s: exit code %d\n%s", c, code, out)
		}
	}
	var later []func() // what wants a server that is stopped
	for _, c := range commands(t) {
		args, ok := c.havn()
		switch {
		case !ok:
		case len(args) == 0 || args[0] == "key", args[0] == "admin", slices.Equal(args, []string{"store", "confirm"}):
			later = append(later, func() { run(c, args) })
		case args[0] == "lab" && len(args) > 1, slices.Contains(asking, args[0]):
			// The tests of deployment, and those of the program itself, run them. Here: is there such a command, with such flags?
			code, out := execute(t, s.Data, env, append(append([]string{program}, args...), "--help")...)
			if code != 0 || !strings.Contains(out, "havn "+strings.Join(args[:min(2, len(args))], " ")) {
				t.Errorf("%s: exit code %d\n%s", c, code, out)
			}
		case args[0] == "serve":
			later = append(later, func() { serve(t, c, append([]string{program}, args...)) })
		default:
			run(c, args)
		}
	}
	s.Finish(t)
	for _, check := range later {
		check()
	}
}

// harborCfg puts a harbor.cfg where the reader of the documentation has his.
func harborCfg(t *testing.T, dir string) {
	t.Helper()
	text := "hostname = registry.example.com\nui_url_protocol = http\nharbor_admin_password = correct-horse-7\ndb_host = mysql\nredis_url = redis:6379\n" +
		"registry_storage_provider_name = filesystem\nregistry_storage_provider_config = rootdirectory: " + filepath.Join(dir, "blobs") + "\n"
	if err := os.WriteFile(filepath.Join(dir, "harbor.cfg"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serve runs a command that does not end by itself, until it says that it is ready.
func serve(t *testing.T, c command, argv []string) {
	t.Helper()
	dir := t.TempDir()
	harborCfg(t, dir)
	p := harness.Launch(t, harness.Spawn{Name: "documented", Dir: dir, Env: append(os.Environ(), "HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_DATA_DIR="+filepath.Join(dir, "data")), Argv: argv})
	p.Await(t, func() error {
		if !strings.Contains(p.Log(), "msg=ready") {
			return errors.New("a line that says ready")
		}
		return nil
	})
	if err := p.Stop(t); err != nil {
		t.Errorf("%s: %v", c, err)
	}
}

func TestTheOtherCommandsExist(t *testing.T) {
	t.Parallel()
	for _, c := range commands(t) {
		_, ours := c.havn()
		pair := strings.Join(c.argv[:min(2, len(c.argv))], " ")
		switch {
		case ours, slices.Contains(others, c.argv[0]), slices.Contains(others, pair):
		case c.argv[0] == "make":
			if code, out := execute(t, top, []string{"MAKEFLAGS=", "MAKELEVEL="}, append(c.argv, "-n")...); code != 0 {
				t.Errorf("%s: %s", c, out)
			}
		case pair == "go run" && len(c.argv) > 2:
			folder(t, c)
		default:
			t.Errorf("%s: teach this test how to try it, or name its program in others", c)
		}
	}
}

// folder looks whether there is a program to run, in the folder of the command or, for tests, in theirs, and whether it knows the flags.
func folder(t *testing.T, c command) {
	t.Helper()
	for _, dir := range []string{c.dir, "test"} {
		at := filepath.Join(top, dir)
		if _, err := os.Stat(filepath.Join(at, c.argv[2], "main.go")); err != nil {
			continue
		}
		if strings.Contains(strings.Join(c.argv, " "), " -") { // flags first, then the question for help: it is answered if they are known
			if code, out := execute(t, at, nil, append(c.argv, "-h")...); code != 0 {
				t.Errorf("%s: exit code %d\n%s", c, code, out)
			}
		}
		return
	}
	t.Errorf("%s: no such program", c)
}
