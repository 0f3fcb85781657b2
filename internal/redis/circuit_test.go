package redis

import (
	"testing"
	"time"
)

func TestSlotsAreThoseOfTheSpecification(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int{
		"123456789": 0x31c3, "foo": 12182, "{user1000}.following": slotOf("user1000"), "foo{}{bar}": 8363, "foo{{bar}}zap": slotOf("{bar"), "foo{bar}{zap}": slotOf("bar"), "a{b": slotOf("a{b"),
	} {
		if got := slotOf(key); got != want%slots {
			t.Errorf("slot of %q is %d, want %d", key, got, want%slots)
		}
	}
}

func TestProbesAreAtBothEndsOfTheirCircuit(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Single, Cluster} {
		l := &link{mode: mode, circuits: newCircuits(mode, "havn:", time.Unix(1, 0))}
		for i, c := range l.circuits {
			if slotOf(c.probes[0]) != i*slots/len(l.circuits) || slotOf(c.probes[1]) != (i+1)*slots/len(l.circuits)-1 {
				t.Errorf("%s: circuit %d is probed at %d and %d", mode, i, slotOf(c.probes[0]), slotOf(c.probes[1]))
			}
			for _, key := range c.probes {
				if l.circuit(key) != c {
					t.Errorf("%s: %s is not in circuit %d", mode, key, i)
				}
			}
			if !c.open.Load() {
				t.Errorf("%s: circuit %d begins closed, and a request would wait for its connection", mode, i)
			}
		}
	}
}

func TestACircuitOpensAfterFewFailuresAndNotForOneInMany(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	c := newCircuits(Single, "", now)[0]
	c.close(now)
	for range 1000 {
		if c.failed(now) {
			t.Fatal("one failure in three opened it")
		}
		c.succeeded()
		c.succeeded()
	}
	n := 1
	for ; !c.failed(now); n++ {
		if n > 3 {
			t.Fatal("failures in a row do not open it")
		}
	}
	if n != 3 || c.openFor(now.Add(time.Second)) != time.Second {
		t.Errorf("opened after %d failures, for %s", n, c.openFor(now.Add(time.Second)))
	}
	c.close(now)
	n = 0
	for ; !c.open.Load(); n++ { // two masters share it, and one is dead
		if n > 20 {
			t.Fatal("every second operation fails, and it does not open")
		}
		c.failed(now)
		c.succeeded()
	}
}

func TestACircuitThatKeepsOpeningIsTriedLessOften(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	c := newCircuits(Single, "", now)[0]
	if !c.rested(now) {
		t.Error("the first probe has to wait")
	}
	c.close(now)
	now = now.Add(soon)
	c.trip(now)
	if !c.rested(now) {
		t.Error("one that was well for long has to wait")
	}
	before := time.Duration(0)
	for range 20 {
		c.close(now)
		now = now.Add(probeEvery)
		c.trip(now)
		rest := time.Duration(0)
		for ; !c.rested(now.Add(rest)); rest += time.Millisecond {
			if rest > restMost {
				t.Fatalf("it rests for more than %s", restMost)
			}
		}
		if rest < before || rest <= probeEvery {
			t.Fatalf("it rests for %s, and did for %s before", rest, before)
		}
		before, now = rest, now.Add(rest)
	}
	if before != restMost {
		t.Errorf("it rests for %s at last, want %s", before, restMost)
	}
}
