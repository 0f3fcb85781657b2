package sweep

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/registry"
)

// deadWalk is a way through the dead contents whose grace is over. It goes on from sweep to sweep: however many can't be deleted, those behind them get their turn.
type deadWalk struct {
	after   registry.DeadMark
	refused error // the first that can't be deleted
	passed  bool  // one was left behind because the store was said to be away
}

// buryDead buries some of the dead. That one can't be deleted is told at the end of the way.
//
// The store is said to be away where it is, and by some stores where it does not let go of a single object. So the sweep ends there, and the next one goes on behind it; it comes back to it in the same sweep in which it
// reaches the end, for by then the store may be back.
func (s *Sweeper) buryDead(ctx context.Context, claim *cluster.Claim, now time.Time) (n int, more bool, err error) {
	w, before := &s.dead, s.dead.after
	n, w.after, err = s.Registry.BuryDead(ctx, claim.Hold, now, before, atOnce)
	switch {
	case err != nil && w.after == before: // the dead could not be found
		return n, false, err
	case ctx.Err() != nil, fail.Is(err, fail.Unavailable), fail.CodeOf(err) == "claim":
		w.passed = true
		return n, false, err
	case w.after != (registry.DeadMark{}):
		if w.refused == nil {
			w.refused = err
		}
		return n, true, nil
	}
	if err == nil {
		err = w.refused
	}
	more = w.passed
	w.refused, w.passed = nil, false
	return n, more, err
}
