package chaos

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
)

// report is what a run says of itself.
type report struct {
	plan
	begun    time.Time
	outcomes []outcome
	wrong    []string // of the nodes
	audit    *audit   // nil: the run broke off before
}

// write ends the run: it says what the audit found, and writes the report.
func (r *report) write(t *testing.T, l *traffic) {
	t.Helper()
	if r.audit != nil {
		for _, text := range r.audit.faults() {
			t.Errorf("after all: %s", text)
		}
		if r.audit.left > 0 {
			t.Errorf("there was no time for %d of %d readings of the audit", r.audit.left, int(r.audit.reads.Load())+r.audit.left)
		}
	}
	text := r.text(t, l)
	t.Log("\n" + text)
	if file := os.Getenv("CHAOS_REPORT"); file != "" {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
	}
}

// totals of all faults.
type totals struct {
	operations, checked, unchecked, illegal, retries, wrong int

	kinds map[string][]outcome
}

func (r *report) totals() totals {
	sum := totals{kinds: map[string][]outcome{}}
	for _, o := range r.outcomes {
		sum.kinds[o.fault] = append(sum.kinds[o.fault], o)
		sum.operations += o.tags.operations
		sum.checked += o.tags.checked
		sum.unchecked += len(o.tags.unchecked)
		sum.illegal += len(o.tags.illegal)
		sum.retries += o.retries
		sum.wrong += len(o.wrong) - len(o.tags.illegal)
	}
	return sum
}

func (r *report) text(t *testing.T, l *traffic) string {
	t.Helper()
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	sum := r.totals()
	images, blobs, gone := l.seen.all()
	l.seen.mu.Lock()
	pulls, kinds := l.seen.pulls, maps.Clone(l.seen.kinds)
	l.seen.mu.Unlock()
	p("# Chaos: %s of faults, %s", r.duration, r.begun.UTC().Format(time.DateOnly))
	p("")
	p("%d nodes of Havn on three Galera nodes, a Redis Cluster of six, and a Ceph with two OSDs and radosgw (%s), all on one machine of %d cores; %d clients push images (pieces of one blob through different", nodes, r.store, runtime.NumCPU(), pushers)
	p("nodes) and delete some, %d pull what was acknowledged, %d move tags and read them, %d push and %d pull %d to %d MiB slowly. The sweep runs all the time. What hangs or is cut off is so for %s. One fault at a time, in an order by chance (CHAOS_SEED=%d).", pullers, movers, slowClients, slowClients, slowLeast>>20, slowMost>>20, r.hang, r.seed)
	p("There is no balancer that would keep clients away from a node that does not answer: they choose one by chance, give it %s, and keep away for %s from one that did not answer.", attemptTime, avoidTime)
	p("")
	for _, version := range versions(t, l.d) {
		p("- %s", version)
	}
	p("")
	result, last := "passed", outcome{at: r.begun}
	if len(r.outcomes) > 0 {
		last = r.outcomes[len(r.outcomes)-1]
	}
	switch {
	case r.audit == nil:
		result = "**broke off**; nothing was audited"
	case t.Failed():
		result = "**failed**"
	}
	p("Result: %s. Faults happened for %s.", result, last.at.Add(last.took).Sub(r.begun).Round(time.Second))
	p("")
	p("| | |")
	p("|---|---|")
	p("| faults | %d of %d kinds (there are %d) |", len(r.outcomes), len(sum.kinds), len(faults))
	p("| acknowledged images that were not deleted; their blobs; tags, manifests and blobs that were deleted | %d; %d; %d |", len(images), len(blobs), len(gone))
	p("| swept by then | %s |", byKind(l.d.swept))
	p("| pulls of images under load; operations on moved tags | %d; %d |", pulls, sum.operations)
	p("| requests that clients sent again | %d (%s) |", sum.retries, byKind(kinds))
	p("| errors that no retry hides | %d |", sum.wrong)
	p("| histories of tags: checked; not linearizable (stale reads); not decided within %s | %d; %d; %d |", checkTime, sum.checked, sum.illegal, sum.unchecked)
	p("| nodes that ended because they had hung too long; that ended otherwise, panicked or did not sweep | %d; %d |", l.d.given, len(r.wrong))
	p("| Galera nodes that ended by themselves, because they had missed too much, and daemons of Ceph, and were started again | %d; %d |", l.d.anew, l.d.daemons)
	p("| times that Ceph took nothing of a plain client either, and its OSDs and gateway were started again | %d |", l.d.stuck)
	if a := r.audit; a != nil {
		p("| audited through each of the %d nodes: images, blobs, what was deleted | %d, %d, %d (%d readings in %s; not reached: %d) |", nodes, a.images, a.blobs, a.gone, a.reads.Load(), a.took.Round(time.Second), a.left)
		p("| lost or different; stale tags; back after deletion; not readable | %d; %d; %d; %d |", len(a.lost), len(a.stale), len(a.back), len(a.wrong))
	}
	p("")
	r.gaps(p, sum)
	r.failures(p)
	return b.String()
}

// gaps writes the table of the faults.
func (r *report) gaps(p func(string, ...any), sum totals) {
	p("Longest gap between two acknowledged pushes of all clients, in seconds. Where pushes can't go on while a fault lasts, it is counted from the beginning of the fault to when what failed was back.")
	p("")
	p("| fault | times | median | longest | requests sent again | pushes go on while it lasts |")
	p("|---|---|---|---|---|---|")
	var untried []string
	for _, f := range faults {
		all := sum.kinds[f.name]
		if len(all) == 0 {
			untried = append(untried, f.name)
			continue
		}
		slices.SortFunc(all, func(a, b outcome) int { return int(a.gap - b.gap) })
		served, retries := "no", 0
		if f.served {
			served = "yes"
		}
		for _, o := range all {
			retries += o.retries
		}
		p("| %s | %d | %.1f | %.1f | %d | %s |", f.name, len(all), all[len(all)/2].gap.Seconds(), all[len(all)-1].gap.Seconds(), retries, served)
	}
	if len(untried) > 0 {
		p("")
		p("Not tried in this run: %s.", strings.Join(untried, "; "))
	}
}

// failures writes what was wrong.
func (r *report) failures(p func(string, ...any)) {
	for _, o := range r.outcomes {
		for _, text := range o.wrong {
			p("")
			p("- %s, %s: `%.2000s`", o.at.UTC().Format(time.RFC3339), o.fault, text)
		}
	}
	for _, text := range r.wrong {
		p("")
		p("- `%.2000s`", text)
	}
	if r.audit != nil {
		for _, text := range r.audit.faults() {
			p("")
			p("- after all: `%.2000s`", text)
		}
	}
}

func byKind(kinds map[string]int) string {
	var all []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		all = append(all, fmt.Sprintf("%s: %d", kind, kinds[kind]))
	}
	return strings.Join(all, ", ")
}

// versions answers what ran.
func versions(t *testing.T, d *deployment) []string {
	t.Helper()
	var all []string
	for _, program := range [][]string{{harness.Binary(t), "version"}, {"mariadb", "--version"}, {"redis-server", "--version"}, {"ceph", "--version"}, {"uname", "-sr"}} {
		out, err := exec.Command(program[0], program[1:]...).CombinedOutput()
		first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		if err != nil {
			first = fmt.Sprintf("%s: %v", program[0], err)
		}
		all = append(all, first)
	}
	galera, err := d.galera.Nodes[0].Ask(t.Context(), "SHOW STATUS LIKE 'wsrep_provider_version'")
	if err != nil {
		galera = err.Error()
	}
	return append(all, strings.ReplaceAll(galera, "\t", " "))
}
