package ha

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// health is what `havn status --output json` says.
type health struct {
	Status string
	Nodes  []struct {
		Incarnation, Addr, Version, State string
		Since                             time.Time
	}
	Database struct{ Servers []dbServer }
	Stores   map[string][]struct{ Node, Status string }
	Findings []struct{ Subject, Status, Text, Hint string }
}

// dbServer is a server of the database.
type dbServer struct {
	Addr, State, Why string
	Since            time.Time
	Vitals           []struct{ Name, Value string }
}

// wrong reports whether something is said to be wrong.
func (h health) wrong(text string) bool {
	for _, f := range h.Findings {
		if f.Status == "wrong" && strings.Contains(f.Subject+" "+f.Text, text) {
			return true
		}
	}
	return false
}

// states answers how many nodes and servers of the database are in which state.
func (h health) states() string {
	var all []string
	for _, n := range h.Nodes {
		all = append(all, "node "+n.State)
	}
	for _, s := range h.Database.Servers {
		all = append(all, "server "+s.State)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// monitor is a machine that serves nothing and has the configuration of the nodes.
type monitor struct{ env []string }

func (m monitor) run(t *testing.T, args ...string) (out string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), args...)
	cmd.Env = append([]string{"HAVN_DATA_DIR=" + t.TempDir()}, m.env...)
	text, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("havn %s: %v", strings.Join(args, " "), err)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// await asks until the exit code is this one and the health is as wanted.
func (m monitor) await(t *testing.T, what string, code int, want func(health) bool) health {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		out, got := m.run(t, "status", "--output", "json")
		var h health
		need(t, json.Unmarshal([]byte(out), &h))
		if got == code && want(h) {
			t.Logf("%s: %s, %s", what, h.Status, h.states())
			return h
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: exit code %d, want %d:\n%s", what, got, code, out)
		}
	}
}

// status watches three nodes and three servers with `havn status` while some of them are taken away.
func status(t *testing.T, g *lab.Galera) {
	const name = "status"
	need(t, g.Nodes[0].CreateDatabase(t.Context(), name))
	blobs := filepath.Join(t.TempDir(), "blobs")
	var all []*harness.Server
	for range 3 {
		all = append(all, harness.Start(t, harness.Options{Env: database("mysql", name, g.Hosts(0), blobs)}))
	}
	m := monitor{database("mysql", name, g.Hosts(0)[:1], blobs)}
	const well = "node serving, node serving, node serving, server fit, server fit, server fit"
	h := m.await(t, "all is well", 0, func(h health) bool { return h.states() == well && len(h.Stores["blobs"]) == 3 })
	for _, s := range h.Database.Servers {
		text := fmt.Sprint(s.Vitals)
		for _, want := range []string{"{wsrep_cluster_size 3}", "{wsrep_cluster_status Primary}", "{wsrep_ready ON}", "{wsrep_local_state_comment Synced}", "wsrep_flow_control_paused"} {
			if !strings.Contains(text, want) {
				t.Errorf("server %s says %s, want %s", s.Addr, text, want)
			}
		}
	}
	m.await(t, "the nodes know since when", 0, func(h health) bool {
		return len(h.Database.Servers) == 3 && !slices.ContainsFunc(h.Database.Servers, func(s dbServer) bool { return s.Since.IsZero() })
	})
	text, code := m.run(t, "status")
	if code != 0 || !strings.Contains(text, "The registry is good.") || !strings.Contains(text, "wsrep_cluster_size=3") {
		t.Errorf("%d\n%s", code, text)
	}
	list, code := m.run(t, "node", "list")
	if code != 0 || strings.Count(list, "  serving  ") != 3 {
		t.Errorf("%d\n%s", code, list)
	}
	if _, code = m.run(t, "node", "forget", h.Nodes[0].Incarnation); code != 1 {
		t.Errorf("a node that serves was forgotten: %d", code)
	}

	all[2].Kill(t)
	m.await(t, "a node was killed", 1, func(h health) bool { return h.wrong("has not said that it is alive") })
	h = m.await(t, "the others found out", 1, func(h health) bool { return h.wrong("is dead since") })
	for _, n := range h.Nodes {
		if n.State != "dead" {
			continue
		}
		if out, forgot := m.run(t, "node", "forget", n.Incarnation); forgot != 0 {
			t.Errorf("forget: %d %s", forgot, out)
		}
	}
	m.await(t, "it is forgotten", 0, func(h health) bool { return len(h.Nodes) == 2 })

	g.Nodes[2].Kill()
	m.await(t, "a server was killed", 1, func(h health) bool { return strings.HasSuffix(h.states(), "server down, server fit, server fit") })
	// The others name it no more, and this machine was told of one server alone: the nodes know it.
	m.await(t, "a server was killed, and the cluster forgot it", 1, func(h health) bool {
		return strings.HasSuffix(h.states(), "server down, server fit, server fit") && strings.Count(fmt.Sprint(h.Database.Servers), "{wsrep_cluster_size 2}") == 2
	})
	g.Nodes[1].Kill()
	h = m.await(t, "no quorum", 2, func(h health) bool { return strings.Contains(h.states(), "server unfit") })
	if !h.wrong("has no quorum") || !h.wrong("no server of the database can be written to") {
		t.Errorf("%+v", h.Findings)
	}
	need(t, g.Nodes[1].Start(t.Context()))
	need(t, g.Nodes[2].Start(t.Context()))
	m.await(t, "all servers are back", 0, func(h health) bool { return strings.HasSuffix(h.states(), "server fit, server fit, server fit") })
}
