package docs

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
)

const (
	// home and address are what the README says, where a test says something else: this checkout, and an address that is free.
	home    = "https://github.com/havn-registry/havn"
	address = "127.0.0.1:5000"
	// compiling is what the first start may take on a busy machine: all of the program is compiled in its new place.
	compiling = 10 * time.Minute
)

var (
	console  = regexp.MustCompile("(?s)```console\n(.*?)```")
	shown    = regexp.MustCompile(`shown this once:\s+([A-Z2-7]{26})\n`)
	changing = regexp.MustCompile(`\b[A-Z2-7]{26}\b|\btime=\S+|127\.0\.0\.1:\d+`) // from run to run
)

// terminal is what the README shows of one: what is typed, and what is answered.
type terminal struct{ typed, answered []string }

// quickStart reads the terminals of the section of that name.
func quickStart(t *testing.T) (all []terminal) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Quick start\n")
	section, _, _ = strings.Cut(section, "\n## ")
	for _, found := range console.FindAllStringSubmatch(section, -1) {
		var one terminal
		for line := range strings.Lines(found[1]) {
			line = strings.TrimSpace(line)
			if typed, ok := strings.CutPrefix(line, "$ "); ok {
				one.typed = append(one.typed, typed)
			} else if line != "" {
				one.answered = append(one.answered, line)
			}
		}
		all = append(all, one)
	}
	if len(all) != 2 {
		t.Fatalf("the quick start of the README has %d terminals, and this test knows 2", len(all))
	}
	return all
}

// inTerminal is a command line in a terminal, as a user sits before one.
func inTerminal(line string) []string {
	return []string{"script", "--quiet", "--return", "--flush", "--command", "set -e; " + line, os.DevNull}
}

// TestTheQuickStartWorksAsWritten clones this checkout and types what the README says, in one terminal and in another, with a real Docker engine. What is not committed is not tried.
func TestTheQuickStartWorksAsWritten(t *testing.T) {
	t.Parallel()
	steps := quickStart(t)
	sh, docker := harness.DockerEngine(t)
	sh.Feed(t, busybox(t), docker("import", "-", "busybox")...)
	newUser(t, sh)

	server := harness.Launch(t, harness.Spawn{
		Name: "quick-start", Dir: sh.Home, Env: append(sh.Environ(), "HAVN_HTTP_ADDR=127.0.0.1:0"), Isolated: true, Argv: inTerminal(strings.Join(steps[0].typed, "; ")),
	})
	for deadline := time.Now().Add(compiling); !strings.Contains(server.Log(), "msg=ready"); {
		select {
		case <-server.Ended():
			t.Fatal("it ended before it was ready")
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatalf("it was not ready within %s", compiling)
		}
	}
	log := strings.ReplaceAll(server.Log(), "\r\n", "\n")
	for _, line := range steps[0].answered {
		if !strings.Contains(changing.ReplaceAllString(log, "…"), changing.ReplaceAllString(line, "…")+"\n") {
			t.Errorf("the README shows a line that does not come: %s", line)
		}
	}
	password, listens := shown.FindStringSubmatch(log), regexp.MustCompile(`msg=listening addr=(\S+)`).FindStringSubmatch(log)
	if password == nil || listens == nil {
		t.Fatalf("no password, or no address:\n%s", log)
	}
	for _, line := range steps[1].typed {
		out := sh.Feed(t, password[1]+"\n", inTerminal(strings.ReplaceAll(line, address, listens[1]))...)
		t.Logf("$ %s\n%s", line, out)
	}
	for who, want := range map[string]int{"admin": http.StatusOK, "nobody": http.StatusUnauthorized} {
		if got := pull(t, "http://"+listens[1]+"/v2/team/busybox/manifests/1", who, password[1]); got != want {
			t.Errorf("%s asks for what was pushed: status %d, want %d", who, got, want)
		}
	}
}

// newUser lets the shell find git's clone here, docker under its name, and what Go has fetched before.
func newUser(t *testing.T, sh *harness.Shell) {
	t.Helper()
	checkout, err := filepath.Abs(top)
	if err != nil {
		t.Fatal(err)
	}
	sh.Write(t, ".gitconfig", fmt.Sprintf("[url %q]\n\tinsteadOf = %s\n[safe]\n\tdirectory = *\n", "file://"+checkout, home))
	if err = errors.Join(os.Mkdir(sh.Path("bin"), 0o700), os.Symlink("/usr/bin/docker", sh.Path("bin", "docker"))); err != nil {
		t.Fatal(err)
	}
	sh.Env = append(sh.Env, "PATH="+sh.Path("bin")+":"+os.Getenv("PATH"), "SHELL=/bin/bash")
	var known map[string]string
	code, out := execute(t, top, nil, "go", "env", "-json", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOSUMDB", "GONOSUMDB", "GOTOOLCHAIN")
	if err = json.Unmarshal([]byte(out), &known); code != 0 || err != nil {
		t.Fatalf("go env: %s", out)
	}
	for k, v := range known {
		sh.Env = append(sh.Env, k+"="+v)
	}
}

// busybox is the file system of an image with one program.
func busybox(t *testing.T) string {
	t.Helper()
	harness.Need(t, "busybox-static")
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	err = w.WriteHeader(&tar.Header{Name: "bin/busybox", Mode: 0o755, Size: int64(len(program))})
	if err == nil {
		_, err = w.Write(program)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// pull asks for a manifest and answers the status.
func pull(t *testing.T, url, who, password string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if who == harness.User {
		req.SetBasicAuth(who, password)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err = res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	return res.StatusCode
}
