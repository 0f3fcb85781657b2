package chaos

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// report is what a run says of itself.
type report struct {
	begun    time.Time
	hang     time.Duration
	outcomes []outcome
}

// end reads everything that was acknowledged through every node, and writes the report if one is wanted.
func (r *report) end(t *testing.T, l *traffic) {
	t.Helper()
	took := time.Since(r.begun)
	l.seen.mu.Lock()
	images, pulls, kinds := slices.Clone(l.seen.images), l.seen.pulls, fmt.Sprint(l.seen.kinds)
	l.seen.mu.Unlock()
	l.audit(t.Context(), images)
	lost := l.seen.faulty()
	for _, wrong := range lost {
		t.Errorf("after all: %s", wrong)
	}
	text := r.text(took, len(images), pulls, kinds, lost)
	t.Log("\n" + text)
	if file := os.Getenv("CHAOS_REPORT"); file != "" {
		need(t, os.WriteFile(file, []byte(text), 0o644))
	}
}

func (r *report) text(took time.Duration, images, pulls int, retried string, lost []string) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	var operations, unchecked, illegal, retries, wrong int
	kinds := map[string][]outcome{}
	for _, o := range r.outcomes {
		kinds[o.fault] = append(kinds[o.fault], o)
		operations += o.tags.operations
		unchecked += o.tags.unchecked
		illegal += len(o.tags.illegal)
		retries += o.retries
		wrong += len(o.wrong) - len(o.tags.illegal)
	}
	p("# Chaos: %s of faults, %s", took.Round(time.Second), r.begun.UTC().Format("2006-01-02"))
	p("")
	p("Three nodes of Havn on three Galera nodes, a Redis Cluster of six, and a Ceph with two OSDs and radosgw (S3), all on one machine; %d clients push images (pieces of one blob through", pushers)
	p("different nodes), %d pull what was acknowledged, %d move tags and read them. A hanging process hangs for %s. One fault at a time, in an order by chance.", pullers, 4*movedTags, r.hang)
	p("")
	p("- faults: %d of %d kinds", len(r.outcomes), len(kinds))
	p("- images pushed and acknowledged: %d; read afterwards, whole, through each of the three nodes: lost or different %d", images, len(lost))
	p("- pulls under load: %d; requests that clients sent again: %d (%s); errors that no retry hides: %d", pulls, retries, strings.TrimPrefix(retried, "map"), wrong)
	p("- operations on tags: %d; histories that are not linearizable: %d; too long to be checked: %d of %d", operations, illegal, unchecked, movedTags*len(r.outcomes))
	p("")
	p("Longest gap between two acknowledged pushes of all clients, in seconds. A fault of the store or of the quorum lasts for a while, and nothing can be acknowledged in that time: its gap is")
	p("counted from the beginning of the fault.")
	p("")
	p("| fault | times | median | longest | pushes go on while it lasts |")
	p("|---|---|---|---|---|")
	for _, f := range faults {
		all := kinds[f.name]
		if len(all) == 0 {
			continue
		}
		slices.SortFunc(all, func(a, b outcome) int { return int(a.gap - b.gap) })
		served := "no"
		if f.served {
			served = "yes"
		}
		p("| %s | %d | %.1f | %.1f | %s |", f.name, len(all), all[len(all)/2].gap.Seconds(), all[len(all)-1].gap.Seconds(), served)
	}
	for _, o := range r.outcomes {
		for _, text := range o.wrong {
			p("")
			p("- %s, %s: `%.2000s`", o.at.UTC().Format(time.RFC3339), o.fault, text)
		}
	}
	for _, text := range lost {
		p("")
		p("- after all: `%.2000s`", text)
	}
	return b.String()
}
