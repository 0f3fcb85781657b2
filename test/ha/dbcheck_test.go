package ha

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// report is what `havn db check --output json` says.
type report struct {
	OK       bool
	Findings []struct{ Subject, Status, Text, Hint string }
}

// checkDatabase runs `havn db check`, and answers what it says and its exit code.
func checkDatabase(t *testing.T, engine string, hosts []string, env ...string) (r report, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), "db", "check", "--rounds", "10", "--output", "json")
	cmd.Env = append(append(database(engine, lab.Database, hosts, ""), "HAVN_DATA_DIR="+t.TempDir()), env...)
	out, err := cmd.Output()
	if jsonErr := json.Unmarshal(out, &r); jsonErr != nil {
		t.Fatalf("%s: %v", out, jsonErr)
	}
	if err != nil {
		code = cmd.ProcessState.ExitCode()
	}
	for _, f := range r.Findings {
		t.Logf("%s: %s: %s (%s)", f.Status, f.Subject, f.Text, f.Hint)
	}
	return r, code
}

func (r report) has(status, text string) bool {
	for _, f := range r.Findings {
		if f.Status == status && strings.Contains(f.Text, text) {
			return true
		}
	}
	return false
}

func checkSound(t *testing.T, g *lab.Galera) {
	r, code := checkDatabase(t, "mysql", g.Hosts(0))
	if !r.OK || code != 0 {
		t.Errorf("ok %v, exit code %d", r.OK, code)
	}
	for _, text := range []string{"a Galera cluster of 3 nodes", "what one of 3 servers acknowledged is found", "two take one claim: exactly one", "names are compared byte by byte", "its clock is this machine's"} {
		if !r.has("ok", text) {
			t.Errorf("it does not say %q", text)
		}
	}
	// The lab's servers flush nothing.
	if !r.has("warning", "innodb_flush_log_at_trx_commit is 2") {
		t.Error("it does not warn of commits that are not flushed")
	}
	left, err := g.Nodes[1].Ask(t.Context(), "SET SESSION wsrep_sync_wait = 7; SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'havn_check%'")
	if need(t, err); left != "" {
		t.Errorf("left behind: %s", left)
	}
}

func TestDatabaseCheckFindsServersThatAreNoCluster(t *testing.T) {
	t.Parallel()
	var hosts []string
	var last *lab.MariaDB
	for range 2 {
		m, err := lab.StartMariaDB(t.Context(), "")
		need(t, err)
		t.Cleanup(func() { need(t, m.Stop()) })
		hosts, last = append(hosts, m.Host), m
	}
	t.Run("one that is broken off leaves nothing behind", func(t *testing.T) { checkBrokenOff(t, last) })
	if r, code := checkDatabase(t, "mysql", hosts); r.OK || code != 1 || !r.has("wrong", "neither is a node of a Galera cluster") {
		t.Errorf("ok %v, exit code %d", r.OK, code)
	}
	r, code := checkDatabase(t, "mysql", hosts[:1], "HAVN_DATABASE_PASSWORD=wrong")
	if r.OK || code != 1 || !r.has("wrong", "Access denied") || !strings.Contains(fmt.Sprint(r.Findings), "database.password") {
		t.Errorf("with a wrong password: ok %v, exit code %d", r.OK, code)
	}
}

// checkBrokenOff presses Ctrl-C once the tables are there.
func checkBrokenOff(t *testing.T, m *lab.MariaDB) {
	tables := func() string {
		t.Helper()
		all, err := m.Ask(t.Context(), "SELECT table_name FROM information_schema.tables WHERE table_name LIKE 'havn_check%'")
		need(t, err)
		return all
	}
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), "db", "check", "--rounds", "10000")
	cmd.Env = append(database("mysql", lab.Database, []string{m.Host}, ""), "HAVN_DATA_DIR="+t.TempDir())
	need(t, cmd.Start())
	for end := time.Now().Add(answerTime); !strings.Contains(tables(), "_name"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Errorf("no tables after %s", answerTime)
			break
		}
	}
	need(t, cmd.Process.Signal(os.Interrupt))
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
	if left := tables(); left != "" {
		t.Errorf("left behind: %s", left)
	}
}
