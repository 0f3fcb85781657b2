package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/server"
)

// exitDown is status's alone: monitoring tells it from degraded. A configuration that can't be used gives the same code, and wakes the same people.
const exitDown = 2

func (p *program) status() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "How the nodes and their stores are, since when, and what to do",
		Long: `Look at every node of this registry, the servers of its database, the blob store and Redis: the state of each, since when, and what to do.
Nothing is changed. On SQLite there is one node, and the running process is asked. Where nodes share a database, any machine that has their configuration
can look: each server of the database is asked from here, and the nodes have written down there what they see of the blob store and of Redis.

A node is silent when it has not said that it is alive for 15 s, and dead when the others took over what it did. Warnings, of settings that risk something or
of versions that are mixed, do not change the exit code.

Exit codes:
  0  all is well (warnings may be shown)
  1  degraded: it works, and something is broken or has no spare any more
  2  down: pushes or pulls fail; or the command line or the configuration can't be used`,
		Example: "  havn status\n  havn status --config /etc/havn/havn.yaml --output json",
		Args:    noArguments,
	}
	return p.looking(cmd, func(ctx context.Context, c *config.Config, asJSON bool) (err error) {
		h := server.Look(ctx, c)
		if asJSON {
			err = p.printJSON(h)
		} else {
			err = p.print(statusText(h))
		}
		switch {
		case err != nil:
			return err
		case h.Level == server.LevelDegraded:
			return outcome{code: exitFailed}
		case h.Level == server.LevelDown:
			return outcome{code: exitDown}
		}
		return nil
	})
}

// table writes rows of cells in columns.
func table(b *strings.Builder, rows [][]string) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	for _, cells := range rows {
		if _, err := fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t")); err != nil {
			panic(err) // a strings.Builder takes everything
		}
	}
	if err := w.Flush(); err != nil {
		panic(err) // likewise
	}
}

func nodeTable(b *strings.Builder, all []server.NodeState) {
	rows := [][]string{{"NODE", "ADDRESS", "VERSION", "STATE", "SINCE", "LAST BEAT", "SKEW", "INCARNATION"}}
	for _, n := range all {
		beat := "-"
		if !n.LastBeat.IsZero() {
			beat = fmt.Sprintf("%s ago", (time.Duration(n.BeatAge) * time.Second))
		}
		rows = append(rows, []string{n.Name(), n.Addr, n.Version, n.State, since(n.Since), beat, fmt.Sprintf("%d ms", n.Skew), fmt.Sprint(n.Incarnation)})
	}
	table(b, rows)
}

func since(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

func statusText(h server.Health) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The registry is %s.\n\n", h.Level)
	if len(h.Nodes) > 0 {
		nodeTable(&b, h.Nodes)
		b.WriteString("\n")
	}
	rows := [][]string{{"STORE", "STATE", "SINCE", "SEEN BY", ""}}
	rows = append(rows, databaseRows(h.Database, serving(h.Nodes))...)
	for _, s := range h.Stores["blobs"] {
		rows = append(rows, []string{"blobs", s.Status, since(s.Since), s.Node})
	}
	for _, s := range h.Stores["redis"] {
		rows = append(rows, []string{s.Kind, s.Status, since(s.Since), s.Node})
	}
	for _, r := range h.Redis {
		place := r.Role
		if r.Slots != "" {
			place += " of slots " + r.Slots
		}
		rows = append(rows, []string{"redis " + r.Addr, r.State, since(r.Since), names(r.SeenBy, serving(h.Nodes)), place})
	}
	table(&b, rows)
	if len(h.Findings) > 0 {
		b.WriteString("\n")
	}
	b.WriteString(findingsText(h.Findings))
	return b.String()
}

func databaseRows(d server.DatabaseState, serving int) [][]string {
	if len(d.Servers) == 0 {
		return [][]string{{"database " + d.Engine, d.Status, since(d.Since)}}
	}
	var rows [][]string
	for _, s := range d.Servers {
		by := "this machine"
		if s.SeenBy != "" {
			by = s.SeenBy
		}
		var notes []string
		if len(s.Writers) > 0 {
			notes = append(notes, "written to by "+names(s.Writers, serving))
		}
		for _, v := range s.Vitals {
			notes = append(notes, v.Name+"="+v.Value)
		}
		rows = append(rows, []string{"database " + s.Addr, s.State, since(s.Since), by, strings.Join(notes, " ")})
	}
	return rows
}

// names lists nodes, shortly if all are meant.
func names(nodes []string, serving int) string {
	if len(nodes) == serving && serving > 1 {
		return "all nodes"
	}
	return strings.Join(nodes, ", ")
}

func serving(nodes []server.NodeState) int {
	n := 0
	for _, one := range nodes {
		if one.Serves() {
			n++
		}
	}
	return n
}
