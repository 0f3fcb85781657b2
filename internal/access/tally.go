package access

import (
	"context"
	"encoding/hex"
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
type tally struct {
	own *guard
	all Guesses // nil: there is none
}

func (k guardKey) String() string { return hex.EncodeToString(k[:]) }

func guessOf(name, addr string) guess { return guess{pairKey(name, addr), keyOf(network(addr))} }

// wait answers how long this user at this address has to wait; 0: not at all.
func (t *tally) wait(ctx context.Context, name, addr string) time.Duration {
	wait := t.own.wait(name, addr)
	if wait > 0 || t.all == nil {
		return wait
	}
	at := guessOf(name, addr)
	return known(t.all.Wait(ctx, at.addr.String(), at.pair.String()))
}

// begin counts a guess, or answers how long to wait instead.
func (t *tally) begin(ctx context.Context, name, addr string) (guess, time.Duration) {
	at, wait := t.own.begin(name, addr)
	if wait > 0 || t.all == nil {
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

// right takes back what a guess cost, and all failures of its user at its address. What the others don't hear of, they forget by themselves.
func (t *tally) right(ctx context.Context, at guess) {
	t.own.right(at)
	if t.all == nil {
		return
	}
	if err := t.all.Right(context.WithoutCancel(ctx), at.addr.String(), at.pair.String()); err != nil {
		return
	}
}

// unknown takes back what a guess cost, because nobody found out whether it was right.
func (t *tally) unknown(ctx context.Context, at guess) {
	t.own.unknown(at)
	if t.all == nil {
		return
	}
	if err := t.all.Unknown(context.WithoutCancel(ctx), at.addr.String(), at.pair.String()); err != nil {
		return
	}
}
