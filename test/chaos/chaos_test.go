package chaos

import (
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

const (
	// briefHang is how long a process hangs in a short run, longHang in a long one: longer than any time-out that would hide it.
	briefHang = 6 * time.Second
	longHang  = 20 * time.Second
	// after is how many pushes must be acknowledged after a fault is made good, before the next one.
	after = 8
)

// TestChaos lets each kind of fault happen once, in an order by chance; with CHAOS_TIME (such as 1h) again and again until that is over. CHAOS_REPORT names a file for the report.
func TestChaos(t *testing.T) {
	duration, hang := time.Duration(0), briefHang
	if given := os.Getenv("CHAOS_TIME"); given != "" {
		var err error
		if duration, err = time.ParseDuration(given); err != nil {
			t.Fatalf("CHAOS_TIME: %v", err)
		}
		hang = longHang
	}
	d := deploy(t)
	l := d.load(t.Context())
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			l.stop()
			l.wg.Wait()
		}
	}
	defer stop()
	l.more(t, after)
	r := &report{begun: time.Now(), hang: hang}
	for ended := r.begun.Add(duration); len(r.outcomes) == 0 || time.Now().Before(ended); {
		for _, n := range rand.Perm(len(faults)) {
			o := d.try(t, l, faults[n], hang)
			t.Log(o)
			r.outcomes = append(r.outcomes, o)
			if duration > 0 && time.Now().After(ended) {
				break
			}
		}
	}
	stop()
	r.end(t, l)
}

// try lets one fault happen under load, and waits until pushes go on after it.
func (d *deployment) try(t *testing.T, l *traffic, f fault, hang time.Duration) outcome {
	t.Helper()
	time.Sleep(time.Duration(rand.Int64N(int64(time.Second)))) // the moment is by chance
	l.seen.reset()
	l.turn()
	before, o := l.seen.pushes(), outcome{fault: f.name, at: time.Now()}
	hold := f.hold
	if f.hang {
		hold = hang
	}
	end := f.begin(t, d)
	time.Sleep(hold)
	if f.served {
		l.more(t, 1) // without the help of what comes next
	}
	need(t, end())
	d.supervise(t)
	l.more(t, after)
	o.tags = l.turn().check()
	o.gap, o.retries = l.seen.reset()
	o.pushes = l.seen.pushes() - before
	o.wrong = l.seen.faulty()
	for _, illegal := range o.tags.illegal {
		o.wrong = append(o.wrong, "not linearizable: "+illegal)
	}
	for _, wrong := range o.wrong {
		t.Errorf("%s: %s", f.name, wrong)
	}
	return o
}

// more waits until some more pushes are acknowledged.
func (l *traffic) more(t *testing.T, n int) {
	t.Helper()
	want, deadline := l.seen.pushes()+n, time.Now().Add(patience)
	for l.seen.pushes() < want {
		if time.Now().After(deadline) {
			t.Fatalf("%d pushes are acknowledged, and no more come for %s; the last: %v", l.seen.pushes(), patience, l.seen.recent())
		}
		time.Sleep(5 * time.Millisecond)
	}
}
