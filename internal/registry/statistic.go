package registry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/index"
)

const (
	// sumAtOnce bounds the blobs that one query sums: milliseconds, so that the sum of all never runs into the time that a query may take.
	sumAtOnce = 10_000
	// sumAge is how long the sum of more blobs than that counts: dashboards ask every few seconds.
	sumAge = time.Minute
)

// Statistic is how much a viewer sees. Bytes is of all blobs, each once, 0 for who does not see everything; where there are more than sumAtOnce, it is as of no more than sumAge ago, or, while
// another request sums them, as of the time before.
type Statistic struct {
	Public, Others index.Seen
	Bytes          int64
}

// Statistic counts what a viewer sees.
func (r *Registry) Statistic(ctx context.Context, v Viewer) (Statistic, error) {
	var s Statistic
	var err error
	if s.Public, s.Others, err = index.CountSeen(ctx, r.db, index.Viewer(v)); err == nil && v.All {
		s.Bytes, err = r.stored.bytes(ctx, r)
	}
	if err != nil {
		return Statistic{}, fmt.Errorf("count projects, repositories and bytes: %w", err)
	}
	return s, nil
}

// stored remembers how many bytes the blobs have, and lets one request at a time find out.
type stored struct {
	summing sync.Mutex // held by the one who sums

	mu    sync.Mutex
	known bool
	at    time.Time // when the sum was begun
	sum   int64
}

// last answers the last sum, and whether it still counts.
func (s *stored) last(now time.Time) (sum int64, known, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := now.Sub(s.at)
	return s.sum, s.known, s.known && age >= 0 && age < sumAge
}

func (s *stored) bytes(ctx context.Context, r *Registry) (int64, error) {
	sum, known, fresh := s.last(r.cfg.Clock())
	if fresh {
		return sum, nil
	}
	if !s.summing.TryLock() {
		if known {
			return sum, nil
		}
		s.summing.Lock() // of the first sum, all wait for the end
	}
	defer s.summing.Unlock()
	begun := r.cfg.Clock()
	if sum, _, fresh = s.last(begun); fresh {
		return sum, nil
	}
	sum, parts := int64(0), 0
	for behind, more := []byte{}, true; more; parts++ {
		part, last, err := index.SumBlobs(ctx, r.db, behind, sumAtOnce)
		if err != nil {
			return 0, err
		}
		sum += part
		behind, more = last, len(last) > 0
	}
	if parts > 1 { // else it is cheap enough to be exact
		s.mu.Lock()
		defer s.mu.Unlock()
		s.known, s.at, s.sum = true, begun, sum
	}
	return sum, nil
}
