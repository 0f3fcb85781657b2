package access

import (
	"context"
	"encoding/hex"
	"sync"
	"time"
)

// Guesses counts wrong passwords for all nodes together, by the same rules as each node does (FreePerUser and so on). Addresses and pairs, which are users at
// addresses, are named by hashes. It may forget what it counted, and may not answer: then that is an error within milliseconds, and each node's own count is what
// there is. It is safe for concurrent use.
type Guesses interface {
	// Wait answers how long the guesser of a pair has to wait; 0: not at all.
	Wait(ctx context.Context, address, pair string) (time.Duration, error)
	// Begin counts a guess as a failure until it is known better, or answers how long to wait instead.
	Begin(ctx context.Context, address, pair string) (time.Duration, error)
	// Right takes back what a guess cost, and all failures of its pair.
	Right(ctx context.Context, address, pair string) error
	// Unknown takes back what a guess cost, because nobody found out whether it was right.
	Unknown(ctx context.Context, address, pair string) error
}

// tally is this node's guard and what all nodes count together, if there is such a thing. Every guess is counted in both, so that the one goes on when the other is lost.
//
// What all count may hear of a guess, and then not that it was right: it is told with the next request of the same user at the same address, before it is asked. Or some logins in a row, at the moments
// at which Redis does not answer in time, would look like a guesser's.
//
// Sites (see guard) are counted by each node alone.
type tally struct {
	own *guard
	all Guesses // nil: there is none

	mu   sync.Mutex
	owed map[guess]bool // guesses to be taken back, true: because they were right
}

// owedMost bounds what is owed, to some 100 KB. What is beyond it is forgotten after ForgetAfter.
const owedMost = 1000

func newTally(own *guard, all Guesses) *tally {
	return &tally{own: own, all: all, owed: map[guess]bool{}}
}

func (k guardKey) String() string { return hex.EncodeToString(k[:]) }

func guessOf(name, addr string) guess {
	return guess{pairKey(name, addr), keyOf(network(addr)), keyOf(site(addr))}
}

// wait answers how long this user at this address has to wait; 0: not at all.
func (t *tally) wait(ctx context.Context, name, addr string) time.Duration {
	wait := t.own.wait(name, addr)
	if wait > 0 || t.all == nil {
		return wait
	}
	at := guessOf(name, addr)
	if !t.settle(ctx, at) {
		return 0
	}
	return known(t.all.Wait(ctx, at.addr.String(), at.pair.String()))
}

// begin counts a guess, or answers how long to wait instead.
func (t *tally) begin(ctx context.Context, name, addr string) (guess, time.Duration) {
	at, wait := t.own.begin(name, addr)
	if wait > 0 || t.all == nil || !t.settle(ctx, at) {
		return at, wait
	}
	if wait = known(t.all.Begin(ctx, at.addr.String(), at.pair.String())); wait > 0 {
		t.own.unknown(at)
	}
	return at, wait
}

// known is the wait if somebody could say it.
func known(wait time.Duration, err error) time.Duration {
	if err != nil {
		return 0
	}
	return wait
}

// right takes back what a guess cost, and all failures of its user at its address.
func (t *tally) right(ctx context.Context, at guess) {
	t.own.right(at)
	t.takeBack(ctx, at, true)
}

// unknown takes back what a guess cost, because nobody found out whether it was right.
func (t *tally) unknown(ctx context.Context, at guess) {
	t.own.unknown(at)
	t.takeBack(ctx, at, false)
}

// settle takes back what is owed of a user at an address, and reports whether nothing is owed any more.
func (t *tally) settle(ctx context.Context, at guess) bool {
	t.mu.Lock()
	right, owed := t.owed[at]
	delete(t.owed, at)
	t.mu.Unlock()
	return !owed || t.takeBack(ctx, at, right)
}

// takeBack takes a guess back from what all nodes count, and reports whether that was heard: if not, it is owed. The client may be gone.
func (t *tally) takeBack(ctx context.Context, at guess, right bool) bool {
	if t.all == nil {
		return true
	}
	tell := t.all.Unknown
	if right {
		tell = t.all.Right
	}
	if err := tell(context.WithoutCancel(ctx), at.addr.String(), at.pair.String()); err == nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if before, owed := t.owed[at]; owed || len(t.owed) < owedMost {
		t.owed[at] = right || before
	}
	return false
}
