package chaos

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"
)

const (
	// shortTime is for how long faults happen without CHAOS_TIME: a part of the kinds has room in it, another one with each seed.
	shortTime = 150 * time.Second
	// briefHang is how long a process hangs in a short run, longHang in a long one: longer than any time-out that would hide it.
	briefHang = 6 * time.Second
	longHang  = 20 * time.Second
	// after is how many pushes must be acknowledged after a fault is made good, before the next one.
	after = 8
	// longestGap is how long nothing may be acknowledged under a fault that pushes go on under, on the most loaded machine: more is not "a slow request" any more.
	longestGap = time.Minute
)

// plan is what a run is to be.
type plan struct {
	duration, hang time.Duration
	seed           uint64  // of the order of the faults, and of whom they strike
	kinds          []fault // that are tried
	store          string  // of blobs: one of the stores
}

// planned reads CHAOS_TIME (such as 1h; short without it), CHAOS_HANG (for how long a process hangs), CHAOS_FAULTS (an expression for the names of the kinds), CHAOS_SEED, which
// repeats the faults of another run, and CHAOS_STORE (s3 or swift; else the seed says which).
func planned(t *testing.T) plan {
	t.Helper()
	p := plan{duration: shortTime, hang: briefHang, seed: uint64(time.Now().UnixNano())}
	var err error
	if given := os.Getenv("CHAOS_TIME"); given != "" {
		if p.duration, err = time.ParseDuration(given); err != nil {
			t.Fatalf("CHAOS_TIME: %v", err)
		}
		p.hang = longHang
	}
	if given := os.Getenv("CHAOS_HANG"); given != "" {
		if p.hang, err = time.ParseDuration(given); err != nil {
			t.Fatalf("CHAOS_HANG: %v", err)
		}
	}
	if given := os.Getenv("CHAOS_SEED"); given != "" {
		if p.seed, err = strconv.ParseUint(given, 10, 64); err != nil {
			t.Fatalf("CHAOS_SEED: %v", err)
		}
	}
	p.store = stores[p.seed%uint64(len(stores))]
	if given := os.Getenv("CHAOS_STORE"); given != "" {
		if p.store = given; !slices.Contains(stores, given) {
			t.Fatalf("CHAOS_STORE: %q is none of %v", given, stores)
		}
	}
	names, err := regexp.Compile(os.Getenv("CHAOS_FAULTS"))
	if err != nil {
		t.Fatalf("CHAOS_FAULTS: %v", err)
	}
	for _, f := range faults {
		if names.MatchString(f.name) {
			p.kinds = append(p.kinds, f)
		}
	}
	t.Logf("CHAOS_SEED=%d CHAOS_STORE=%s", p.seed, p.store)
	return p
}

// TestChaos lets one kind of fault after the other happen, in an order by chance, each once before any comes again, until the time is over; then it reads everything that was
// acknowledged. CHAOS_REPORT names a file for the report, which is written however the run ends.
func TestChaos(t *testing.T) {
	p := planned(t)
	d := deploy(t, p)
	l := d.load(t.Context())
	r := &report{plan: p, begun: time.Now()}
	defer r.write(t, l)
	defer l.end()
	l.more(t, after)
	for ended := r.begun.Add(p.duration); time.Now().Before(ended); {
		for _, n := range d.chance.Perm(len(p.kinds)) {
			r.outcomes = append(r.outcomes, d.try(t, l, p.kinds[n], p.hang))
			if time.Now().After(ended) {
				break
			}
		}
	}
	l.end()
	for n := range d.nodes {
		d.look(n)
	}
	if d.swept["dead contents"] == 0 {
		d.wrong = append(d.wrong, "the sweep removed no dead content, and clients pushed the same again and again")
	}
	r.wrong = d.wrong
	for _, wrong := range r.wrong {
		t.Error(wrong)
	}
	r.audit = l.audit(t, auditTime+time.Duration(auditShare*float64(p.duration)))
}

// try lets one fault happen under load, and waits until pushes go on after it.
func (d *deployment) try(t *testing.T, l *traffic, f fault, hang time.Duration) outcome {
	t.Helper()
	time.Sleep(time.Duration(d.chance.Int64N(int64(time.Second)))) // the moment is by chance
	l.seen.reset()
	before, o := l.seen.pushes(), outcome{fault: f.name, at: time.Now()}
	t.Logf("%s: %s", o.at.UTC().Format(time.TimeOnly), f.name)
	hold := f.hold
	if f.hang {
		hold = hang
	}
	l.storm.begins(f)
	end := f.begin(t, d)
	time.Sleep(hold)
	if f.served {
		l.more(t, 1) // without the help of what comes next
	}
	need(t, end())
	if f.ofStore() {
		l.storm.ends()
	}
	d.settle(t)
	l.storm.ends()
	l.more(t, after)
	moved := l.turn()
	o.gap, o.retries = l.seen.reset()
	l.last(t, moved)
	o.tags = judge(moved)
	o.pushes, o.took = l.seen.pushes()-before, time.Since(o.at)
	o.wrong = l.seen.faulty()
	if f.served && o.gap > longestGap {
		o.wrong = append(o.wrong, fmt.Sprintf("no push was acknowledged for %s", o.gap))
	}
	o.wrong = append(o.wrong, o.tags.illegal...)
	for _, wrong := range o.wrong {
		t.Errorf("%s: %s", f.name, wrong)
	}
	for _, unchecked := range o.tags.unchecked {
		t.Log(unchecked)
	}
	t.Log(o)
	return o
}
