package docs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
)

// looseness is how much systemd may find open in the unit, of 100: what is left is the network, which a registry needs, and the host's own users and root directory.
const looseness = "20"

// theUnit answers the text of the unit.
func theUnit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(top, "deploy", "havn.service"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// settings answers all values that the unit gives a key.
func settings(unit, key string) (all []string) {
	for line := range strings.Lines(unit) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			all = append(all, value)
		}
	}
	return all
}

func TestSystemdTakesTheUnitAndFindsItHardened(t *testing.T) {
	t.Parallel()
	text := theUnit(t)
	const program = "ExecStart=/usr/local/bin/havn "
	if !strings.Contains(text, "\n"+program) {
		t.Fatalf("the unit does not start %s", program)
	}
	unit := filepath.Join(t.TempDir(), "havn.service")
	if err := os.WriteFile(unit, []byte(strings.Replace(text, program, "ExecStart="+harness.Binary(t)+" ", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{
		{"systemd-analyze", "verify", "--man=no", unit},
		{"systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=" + looseness, unit},
	} {
		code, out := execute(t, top, nil, argv...)
		if code != 0 || argv[1] == "verify" && out != "" {
			t.Errorf("%s: exit code %d\n%s", strings.Join(argv, " "), code, out)
		}
	}
}

// TestSystemdRestartsANodeThatPanickedOrHung ends the program as Go's runtime does in a panic, and as systemd's watchdog does: by SIGABRT. Go makes exit code 2 of that unless it is told otherwise, and the unit
// takes 2 for a configuration that can't be used, after which nothing is started again.
func TestSystemdRestartsANodeThatPanickedOrHung(t *testing.T) {
	t.Parallel()
	unit := theUnit(t)
	if got := settings(unit, "Restart"); !slices.Equal(got, []string{"on-failure"}) {
		t.Fatalf("Restart=%v", got)
	}
	env := slices.DeleteFunc(settings(unit, "Environment"), func(pair string) bool { return strings.HasPrefix(pair, "HAVN_DATA_DIR=") })
	s := harness.Start(t, harness.Options{Env: env})
	s.Signal(t, syscall.SIGABRT)
	select {
	case <-s.Ended():
	case <-time.After(harness.Patience):
		t.Fatal("it goes on after SIGABRT")
	}
	var exit *exec.ExitError
	if err := s.Stop(t); !errors.As(err, &exit) {
		t.Fatalf("it ended with %v", err)
	}
	code := exit.ExitCode() // -1: by a signal
	if code == 0 || slices.Contains(strings.Fields(strings.Join(settings(unit, "RestartPreventExitStatus"), " ")), strconv.Itoa(code)) {
		t.Errorf("it ended with exit code %d, after which systemd does not start it again", code)
	}
}

// TestSystemdStartsANodeUntilItsDatabaseIsThere: after a power cut the database comes up later than Havn, by minutes.
func TestSystemdStartsANodeUntilItsDatabaseIsThere(t *testing.T) {
	t.Parallel()
	unit := theUnit(t)
	if got := settings(unit, "StartLimitIntervalSec"); !slices.Equal(got, []string{"0"}) {
		t.Errorf("StartLimitIntervalSec=%v: systemd gives up after some starts", got)
	}
	env := []string{
		"HAVN_DATA_DIR=" + t.TempDir(), "HAVN_HTTP_ADDR=127.0.0.1:0",
		"HAVN_DATABASE_ENGINE=mysql", "HAVN_DATABASE_HOSTS=127.0.0.1:1", "HAVN_DATABASE_USER=havn", "HAVN_DATABASE_PASSWORD=havn",
	}
	code, out := execute(t, top, env, harness.Binary(t), "serve")
	if code != 1 || slices.Contains(settings(unit, "RestartPreventExitStatus"), "1") || !strings.Contains(out, "127.0.0.1:1") {
		t.Errorf("without its database it ends with %d\n%s", code, out)
	}
}
