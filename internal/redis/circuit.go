package redis

import (
	"sync/atomic"
	"time"
)

const (
	// parts is into how many circuits the slots of a cluster are cut: a dead master takes few keys of others with it, and few circuits have to learn of it.
	parts = 16
	// A failure weighs failureWeight, and a success takes 1 away: at tripWeight the circuit opens. That is after three failures in a row, or when more than a third
	// of the operations fail.
	failureWeight = 2
	tripWeight    = 3 * failureWeight
	// A circuit that opens again soon after it closed, because probes are answered in time and requests are not, stays open for longer each time, up to restMost.
	soon     = 10 * time.Second
	restMost = time.Second
)

// circuit knows whether a part of Redis answers. While it is open nobody asks that part but the probe.
type circuit struct {
	probes []string // keys that are in this part: at its beginning and its end, since two masters may share it
	open   atomic.Bool
	weight atomic.Int32
	since  atomic.Int64 // when it opened, in nanoseconds of the clock
	closed atomic.Int64 // when it closed, likewise; 0: never
	rest   atomic.Int64 // how long it stays open at least, in nanoseconds
}

// newCircuits makes the circuits of a mode, all open: the first probe closes them, so that no request waits for a connection to be made.
func newCircuits(mode Mode, prefix string, now time.Time) []*circuit {
	n := 1
	if mode == Cluster {
		n = parts
	}
	each := slots / n
	ends := map[int]bool{}
	for i := range n {
		ends[i*each], ends[(i+1)*each-1] = true, true
	}
	keys := keysAt(prefix, ends)
	all := make([]*circuit, n)
	for i := range all {
		all[i] = &circuit{probes: []string{keys[i*each], keys[(i+1)*each-1]}}
		all[i].trip(now)
	}
	return all
}

// failed counts a failure and reports whether it opened the circuit.
func (c *circuit) failed(now time.Time) bool {
	return c.weight.Add(failureWeight) >= tripWeight && c.trip(now)
}

func (c *circuit) succeeded() {
	for {
		w := c.weight.Load()
		if w == 0 || c.weight.CompareAndSwap(w, w-1) {
			return
		}
	}
}

// trip opens the circuit; false: it was open.
func (c *circuit) trip(now time.Time) bool {
	if !c.open.CompareAndSwap(false, true) {
		return false
	}
	rest := time.Duration(0)
	if closed := c.closed.Load(); closed != 0 && now.Sub(time.Unix(0, closed)) < soon {
		rest = min(max(2*time.Duration(c.rest.Load()), 2*probeEvery), restMost)
	}
	c.rest.Store(int64(rest))
	c.since.Store(now.UnixNano())
	return true
}

func (c *circuit) close(now time.Time) {
	c.weight.Store(0)
	c.closed.Store(now.UnixNano())
	c.open.Store(false)
}

// rested reports whether an open circuit may be probed.
func (c *circuit) rested(now time.Time) bool {
	return c.openFor(now) >= time.Duration(c.rest.Load())
}

// openFor answers how long the circuit has been open; 0: it is closed.
func (c *circuit) openFor(now time.Time) time.Duration {
	if !c.open.Load() {
		return 0
	}
	return max(1, now.Sub(time.Unix(0, c.since.Load())))
}
