package registry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/oci"
)

// remembered answers what this node knows while the database is out of reach, nil if that does not count: a digest always, a tag if it was seen within Config.StaleTags. That the database did not
// answer one question is not enough for a tag: it must have been gone for longer than a failover takes.
func (r *Registry) remembered(ctx context.Context, name oci.Name, ref oci.Reference, known *Manifest, at time.Time) *Manifest {
	m := *known
	m.Outage = true
	if ref.IsDigest() {
		r.metrics.outage.Inc()
		return &m
	}
	m.Age = max(0, r.cfg.Clock().Sub(at))
	if r.recent.exact || m.Age > r.cfg.StaleTags || r.cfg.StaleTags <= 0 || r.cfg.Lost() == nil {
		return nil
	}
	r.metrics.stale.Inc()
	r.stale.answered(ctx, name, ref, m.Age)
	return &m
}

// staleLogEvery is how often stale answers are logged: a node may give thousands in a second.
const staleLogEvery = time.Second

// stale logs answers that may be stale: the first, and at most one a second with how many there were.
type stale struct {
	clock func() time.Time
	log   *slog.Logger

	mu   sync.Mutex
	last time.Time
	n    int
}

func (s *stale) answered(ctx context.Context, name oci.Name, ref oci.Reference, age time.Duration) {
	s.mu.Lock()
	s.n++
	now, n := s.clock(), s.n
	due := s.last.IsZero() || now.Sub(s.last) >= staleLogEvery
	if due {
		s.last, s.n = now, 0
	}
	s.mu.Unlock()
	if due {
		s.log.WarnContext(ctx, "a tag is answered as it was: the database is out of reach", "repository", name.String(), "tag", ref.String(), "age", age.Round(time.Millisecond).String(), "answers", n)
	}
}
