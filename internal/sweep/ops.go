package sweep

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
)

// seenOps are operations that were old when the sweep looked.
type seenOps struct {
	ids  []string
	at   time.Time // when they had been seen
	more bool      // there may have been more
}

// forgetOps removes the operations that were old at an earlier look, once that is long enough ago, and looks anew.
func (s *Sweeper) forgetOps(ctx context.Context, claim *cluster.Claim, before time.Time) (n int, more bool, err error) {
	seen := &s.ops
	if len(seen.ids) > 0 && s.Clock().Sub(seen.at) < opWatch {
		return 0, seen.more, nil
	}
	for len(seen.ids) > 0 {
		part := seen.ids[:min(rowsAtOnce, len(seen.ids))]
		if err = s.Registry.ForgetOps(ctx, claim.Hold, part); err != nil {
			return n, false, err
		}
		n, seen.ids = n+len(part), seen.ids[len(part):]
	}
	ids, err := s.Registry.OldOps(ctx, before, opsAtOnce)
	if err != nil {
		return n, false, err
	}
	*seen = seenOps{ids: ids, at: s.Clock(), more: len(ids) == opsAtOnce}
	return n, seen.more, nil
}
