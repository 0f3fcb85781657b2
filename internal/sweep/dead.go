package sweep

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/registry"
)

// deadWalk is a way through the dead contents whose grace is over. It goes on from sweep to sweep: however many can't be deleted, those behind them get their turn.
type deadWalk struct {
	after   registry.DeadMark
	refused error // the first that can't be deleted
}

// buryDead buries some of the dead. That one can't be deleted is told at the end of the way.
func (s *Sweeper) buryDead(ctx context.Context, claim *cluster.Claim, now time.Time) (n int, more bool, err error) {
	w := &s.dead
	n, w.after, err = s.Registry.BuryDead(ctx, claim.Hold, now, w.after, atOnce)
	if w.after != (registry.DeadMark{}) {
		if w.refused == nil {
			w.refused = err
		}
		return n, true, nil
	}
	if err == nil {
		err = w.refused
	}
	w.refused = nil
	return n, false, err
}
