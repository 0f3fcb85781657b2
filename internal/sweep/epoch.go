package sweep

import (
	"context"
	"fmt"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/fail"
)

// seenEpoch is the epoch of the blob store, and since when this process has seen it.
type seenEpoch struct {
	n  int64
	at time.Time
}

// holdStore makes sure that the blob store is this database's, and not that of a copy of it by now.
func (s *Sweeper) holdStore(ctx context.Context, claim *cluster.Claim) error {
	n, err := s.Registry.HoldStore(ctx, claim.Hold)
	if err != nil {
		return fmt.Errorf("look whose the blob store is: %w", err)
	}
	if s.epoch.n != n || s.epoch.at.IsZero() {
		s.epoch = seenEpoch{n, s.Clock()}
	}
	return nil
}

// tell keeps for Lost why nothing is deleted.
func (s *Sweeper) tell(lost error) {
	if fail.Is(lost, fail.Unavailable) {
		lost = nil
	}
	s.lost.Store(&lost)
}

// beginEpoch begins the next epoch when it is time. A disk that is full keeps it from being begun, and nothing from being deleted.
func (s *Sweeper) beginEpoch(ctx context.Context, claim *cluster.Claim) error {
	if s.epoch.n > 0 && s.Clock().Sub(s.epoch.at) < max(epochEvery, 2*s.Interval) {
		return nil
	}
	return s.Registry.BeginEpoch(ctx, claim.Hold)
}
