package deployment

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// patience bounds waits for what must come, on a loaded machine.
const patience = 3 * time.Minute

func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// status is what `havn lab status --output json` says.
type status struct {
	State        string
	URL          string
	User         string
	PasswordFile string `json:"password_file"`
	CAFile       string `json:"ca_file"`
	ConfigFile   string `json:"config_file"`
	Nodes        []string
	Parts        []struct{ Name, Kind, State, Note string }
}

// deployed is a lab that runs.
type deployed struct {
	dir      string
	urls     []string // of the balancer, then of each node
	password string
	status   // as it was when it was up
}

// up starts a lab as a user does, in the foreground, and waits until it is up. It ends with the test at the latest.
func up(t *testing.T, flags ...string) (*deployed, *harness.Process) {
	t.Helper()
	d := place(t)
	begun := time.Now()
	p := harness.Launch(t, harness.Spawn{
		Name: "lab", Dir: d.dir, Env: os.Environ(), Argv: append([]string{harness.Binary(t), "lab", "up", "--addr", "127.0.0.1:0", "--dir", d.dir}, flags...),
	})
	p.Await(t, func() error {
		if out, code := d.try(t, "lab", "status"); code != 0 {
			return fmt.Errorf("havn lab status: %d %s", code, out)
		}
		return nil
	})
	t.Logf("it is up after %s", time.Since(begun).Round(100*time.Millisecond))
	d.learn(t)
	if log := p.Log(); !strings.Contains(log, d.password) || !strings.Contains(log, d.urls[0]) {
		t.Errorf("it does not say where to push and with which password:\n%s", log)
	}
	return d, p
}

// place makes room for a lab, and sees to it that nothing is left at the end.
func place(t *testing.T) *deployed {
	t.Helper()
	harness.NeedRoot(t)
	d := &deployed{dir: harness.Folder(t)}
	need(t, os.Chmod(d.dir, 0o755)) // the services' accounts go through it
	d.dir = filepath.Join(d.dir, "lab")
	need(t, os.Mkdir(d.dir, 0o755))
	t.Cleanup(func() {
		if out, code := d.try(t, "lab", "down"); code != 0 {
			t.Errorf("havn lab down: %d %s", code, out)
		}
	})
	return d
}

// learn asks the lab how it is used.
func (d *deployed) learn(t *testing.T) {
	t.Helper()
	d.status = d.ask(t)
	d.urls = append([]string{d.URL}, d.Nodes...)
	text, err := os.ReadFile(d.PasswordFile)
	need(t, err)
	d.password = strings.TrimSpace(string(text))
}

// try runs havn, and answers what it says and its exit code.
func (d *deployed) try(t testing.TB, args ...string) (string, int) {
	t.Helper()
	if args[0] == "lab" {
		args = append(args, "--dir", d.dir)
	}
	cmd := exec.Command(harness.Binary(t), args...)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("havn %s: %v", strings.Join(args, " "), err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// run runs havn, which must succeed.
func (d *deployed) run(t *testing.T, args ...string) string {
	t.Helper()
	out, code := d.try(t, args...)
	if code != 0 {
		t.Fatalf("havn %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// ask asks the lab how it is.
func (d *deployed) ask(t *testing.T) (s status) {
	t.Helper()
	out, code := d.try(t, "lab", "status", "--output", "json")
	if err := json.Unmarshal([]byte(out), &s); err != nil {
		t.Fatalf("havn lab status: %d %s", code, out)
	}
	if whole := s.State == "whole"; whole != (code == 0) {
		t.Errorf("the lab is %s, exit code %d", s.State, code)
	}
	return s
}

// whole waits until every part is up, and Havn too finds all well.
func (d *deployed) whole(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{{"lab", "status"}, {"status", "--config", d.ConfigFile}} {
		for deadline := time.Now().Add(patience); ; time.Sleep(200 * time.Millisecond) {
			out, code := d.try(t, args...)
			if code == 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("havn %s: exit code %d\n%s", strings.Join(args, " "), code, out)
			}
		}
	}
}

// state answers how a part is.
func (d *deployed) state(t *testing.T, name string) string {
	t.Helper()
	s := d.ask(t)
	for _, p := range s.Parts {
		if p.Name == name {
			return p.State
		}
	}
	t.Fatalf("no part %s in %v", name, s.Parts)
	return ""
}

// addr answers the address of a server without its scheme.
func addr(url string) string { return url[strings.Index(url, "://")+3:] }

// signed asks as the lab's administrator.
type signed struct {
	password string
	http.Transport
}

func (s *signed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth(harness.User, s.password)
	return s.Transport.RoundTrip(r)
}

// client answers one that knows the password. It waits longer for an answer than any fault lasts here.
func (d *deployed) client() *http.Client {
	return &http.Client{Transport: &signed{password: d.password}, Timeout: time.Minute}
}

// gone checks that a lab left nothing: no directory, no process, no table of the firewall.
func (d *deployed) gone(t *testing.T) {
	t.Helper()
	if _, err := os.Stat(d.dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", d.dir, err)
	}
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	need(t, err)
	for _, name := range all {
		// Who ended since the list was made is gone too.
		if text, readErr := os.ReadFile(name); readErr == nil && strings.Contains(string(text), d.dir+"/") {
			t.Errorf("a process is left: %q", text)
		}
	}
	out, err := exec.Command("nft", "list", "tables").CombinedOutput()
	need(t, err)
	if strings.Contains(string(out), "havn_lab_") {
		t.Errorf("the firewall still has %s", out)
	}
}

func TestTheLabSaysWhatIsAmiss(t *testing.T) {
	d := place(t)
	mine := filepath.Join(d.dir, "mine")
	need(t, os.WriteFile(mine, nil, 0o600))
	if out, code := d.try(t, "lab", "up"); code != 1 || !strings.Contains(out, "holds something, and no lab") {
		t.Errorf("somebody's directory: %d %s", code, out)
	}
	need(t, os.Remove(mine))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	need(t, err)
	t.Cleanup(func() { need(t, l.Close()) })
	if out, code := d.try(t, "lab", "up", "--addr", l.Addr().String()); code != 1 || !strings.Contains(out, "address already in use") {
		t.Errorf("somebody's address: %d %s", code, out)
	}
	d.gone(t)
}
