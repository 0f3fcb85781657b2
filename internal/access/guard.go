package access

import (
	"crypto/sha256"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// guard slows guesses down: for each user and address together by waits that double, and for each address alone by an allowance that refills. Never for a user
// alone: whoever knows a name could lock its owner out. A guess is counted when it begins, so that many at once are not cheaper than one after another. It knows
// what this process saw.
//
// With IPv6 an address is a /64, which every client has, and the /48 around it, which every tunnel gives away and most sites have, has an allowance too: SiteShare of those of an
// address. Pairs are not counted by /48, or one machine of a site would lock out the others.
type guard struct {
	clock func() time.Time
	mu    sync.Mutex
	pairs map[guardKey]failures
	// allowances holds, for each address and site, when its allowance will be whole again. One that is not there has all of it.
	allowances map[guardKey]time.Time
}

// guardKey is a hash: names come from strangers, and would take room.
type guardKey [16]byte

type failures struct {
	count int
	last  time.Time
}

// How fast passwords may be guessed.
const (
	FreePerUser = 5 // failures before a user's guesser at one address waits
	LongestWait = 5 * time.Minute
	// ForgetAfter is when failures are forgotten; it is longer than the longest wait.
	ForgetAfter = 15 * time.Minute
	// An address may fail FreePerAddress times at once, and then once each Refill. Many people may share it, and one program that has an old password must not
	// lock them out: it waits for LongestWait between its guesses, much longer than a Refill.
	FreePerAddress = 50
	Refill         = 10 * time.Second
	// SiteShare is how many times as much a /48 of IPv6 may fail, and as quickly gets back, as one address: it may be a company with many networks, and may be one guesser.
	SiteShare = 8
)

// guardMost bounds each table, to some 3 MB. Beyond it the least of it goes.
const guardMost = 20_000

func newGuard(clock func() time.Time) *guard {
	return &guard{clock: clock, pairs: map[guardKey]failures{}, allowances: map[guardKey]time.Time{}}
}

// network answers what counts as one address: a whole /64 of IPv6, which one client has.
func network(addr string) string { return within(addr, 64) }

// site answers what an address is a part of: the /48 of IPv6. Of IPv4 it is the address itself.
func site(addr string) string { return within(addr, 48) }

// within answers the network of so many bits that an address of IPv6 is in, and one of IPv4 as it is.
func within(addr string, bits int) string {
	ip, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	prefix, err := ip.WithZone("").Prefix(bits)
	if err != nil {
		return addr
	}
	return prefix.String()
}

func keyOf(text string) guardKey {
	sum := sha256.Sum256([]byte(text))
	return guardKey(sum[:len(guardKey{})])
}

// pairKey joins with a byte that is in no address. Directories take names for one that differ in case and spaces: a guesser does not get more guesses by writing them in other ways.
func pairKey(name, addr string) guardKey {
	return keyOf(network(addr) + "\x00" + strings.ToLower(strings.ToUpper(strings.Join(strings.Fields(name), " "))))
}

// wait answers how long this user at this address has to wait; 0: not at all.
func (g *guard) wait(name, addr string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pairWait(pairKey(name, addr), g.clock())
}

func (g *guard) pairWait(k guardKey, now time.Time) time.Duration {
	f, ok := g.pairs[k]
	if !ok || f.count < FreePerUser {
		return 0
	}
	wait := min(time.Second<<min(f.count-FreePerUser, 16), LongestWait)
	return max(0, f.last.Add(wait).Sub(now))
}

// guess is an attempt that was counted as a failure until it is known better.
type guess struct{ pair, addr, site guardKey }

// costs answers what a guess takes of the allowances that it is charged to.
func (at guess) costs() map[guardKey]time.Duration {
	if at.site == at.addr {
		return map[guardKey]time.Duration{at.addr: Refill}
	}
	return map[guardKey]time.Duration{at.addr: Refill, at.site: Refill / SiteShare}
}

// begin counts a guess, or answers how long to wait instead.
func (g *guard) begin(name, addr string) (guess, time.Duration) {
	at := guessOf(name, addr)
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	wait, after := g.pairWait(at.pair, now), at.costs()
	for k, cost := range after {
		whole := g.allowances[k]
		if whole.Before(now) {
			whole = now
		}
		whole = whole.Add(cost)
		wait = max(wait, whole.Sub(now)-FreePerAddress*Refill)
		after[k] = whole.Sub(now)
	}
	if wait > 0 {
		return guess{}, wait
	}
	g.makeRoom(now)
	f := g.pairs[at.pair]
	if now.Sub(f.last) > ForgetAfter {
		f.count = 0
	}
	g.pairs[at.pair] = failures{f.count + 1, now}
	for k, rest := range after {
		g.allowances[k] = now.Add(rest)
	}
	return at, 0
}

// right takes back what a guess cost, and all failures of its user at its address.
func (g *guard) right(at guess) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.pairs, at.pair)
	g.giveBack(at)
}

// unknown takes back what a guess cost, because nobody found out whether it was right.
func (g *guard) unknown(at guess) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.pairs[at.pair]; f.count > 1 {
		g.pairs[at.pair] = failures{f.count - 1, f.last}
	} else {
		delete(g.pairs, at.pair)
	}
	g.giveBack(at)
}

func (g *guard) giveBack(at guess) {
	for k, cost := range at.costs() {
		if whole, ok := g.allowances[k]; ok {
			g.allowances[k] = whole.Add(-cost)
		}
	}
}

// makeRoom keeps both tables bounded: what is over goes first, then pairs that do not wait yet, then anything.
func (g *guard) makeRoom(now time.Time) {
	if len(g.pairs) >= guardMost {
		dropHalf(g.pairs,
			func(f failures) bool { return now.Sub(f.last) > ForgetAfter },
			func(f failures) bool { return f.count < FreePerUser })
	}
	if len(g.allowances) >= guardMost {
		dropHalf(g.allowances, func(whole time.Time) bool { return !whole.After(now) })
	}
}

// dropHalf deletes all that the first of its tests finds; then, while more than half of the bound is left, what the next ones find, and at last whatever comes first.
func dropHalf[V any](table map[guardKey]V, tests ...func(V) bool) {
	tests = append(tests, func(V) bool { return true })
	for i, test := range tests {
		for k, v := range table {
			if i > 0 && len(table) <= guardMost/2 {
				return
			}
			if test(v) {
				delete(table, k)
			}
		}
	}
}
