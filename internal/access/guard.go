package access

import (
	"net/netip"
	"sync"
	"time"
)

// guard slows guesses down: for each user and address together, and, more patiently, for each address alone. Never for a user alone: whoever knows a name could
// lock its owner out. It knows what this process saw.
type guard struct {
	clock func() time.Time
	mu    sync.Mutex
	held  map[guardKey]failures
}

type guardKey struct{ name, addr string } // name "" stands for the address alone

type failures struct {
	count int
	last  time.Time
}

const (
	freePerUser    = 5  // failures before a user's guesser at one address waits
	freePerAddress = 50 // failures before all logins of an address wait: many people may share it
	longestWait    = 5 * time.Minute
	// forgetAfter is when failures are forgotten; it is longer than the longest wait.
	forgetAfter = 15 * time.Minute
	// guardMost bounds the table. Beyond it the oldest half goes.
	guardMost = 20_000
)

func newGuard(clock func() time.Time) *guard {
	return &guard{clock: clock, held: map[guardKey]failures{}}
}

// network answers what counts as one address: a whole /64 of IPv6, which one client has.
func network(addr string) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil || ip.Unmap().Is4() {
		return addr
	}
	prefix, err := ip.Prefix(64)
	if err != nil {
		return addr
	}
	return prefix.String()
}

// wait answers how long this user at this address has to wait; 0: not at all.
func (g *guard) wait(name, addr string) time.Duration {
	addr = network(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(g.left(guardKey{name, addr}, freePerUser), g.left(guardKey{"", addr}, freePerAddress))
}

func (g *guard) left(k guardKey, free int) time.Duration {
	f, ok := g.held[k]
	if !ok || f.count < free {
		return 0
	}
	wait := min(time.Second<<min(f.count-free, 16), longestWait)
	return max(0, f.last.Add(wait).Sub(g.clock()))
}

func (g *guard) failed(name, addr string) {
	addr = network(addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	if len(g.held) >= guardMost {
		g.forget(now)
	}
	for _, k := range []guardKey{{name, addr}, {"", addr}} {
		f := g.held[k]
		if now.Sub(f.last) > forgetAfter {
			f.count = 0
		}
		g.held[k] = failures{f.count + 1, now}
	}
}

// forget drops what is old, and if that is not enough, everything but the worst.
func (g *guard) forget(now time.Time) {
	for k, f := range g.held {
		if now.Sub(f.last) > forgetAfter {
			delete(g.held, k)
		}
	}
	for k, f := range g.held {
		if len(g.held) < guardMost/2 {
			return
		}
		if f.count < freePerUser {
			delete(g.held, k)
		}
	}
	if len(g.held) >= guardMost {
		clear(g.held)
	}
}

func (g *guard) succeeded(name, addr string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.held, guardKey{name, network(addr)})
}
