package sweep

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/registry"
)

// Defaults of Config.
const (
	DefaultUploadTime  = 7 * 24 * time.Hour
	DefaultInterval    = time.Minute
	DefaultOrphanAge   = 24 * time.Hour
	DefaultOrphanEvery = 24 * time.Hour
)

const (
	duty = "sweep"
	// doneTime is how long a finished upload is remembered, so that a repeated PUT gets its answer again.
	doneTime = time.Hour
	// opTime is how long an operation's id is kept: no transaction is run again that late.
	opTime = time.Hour
	// nodeTime is how long an ended incarnation is kept, for people to look at.
	nodeTime = 30 * 24 * time.Hour
	// atOnce bounds one step; a step that was full is done again at once.
	atOnce = 200
	// rowsAtOnce bounds steps that only delete rows.
	rowsAtOnce = 1000
	// objectsAtOnce bounds one look at the store's list.
	objectsAtOnce = 5000
)

// Config says what is swept and when.
type Config struct {
	Registry *registry.Registry
	Node     *cluster.Node
	Log      *slog.Logger          // nil: discarded
	Clock    func() time.Time      // nil: the system's
	Metrics  prometheus.Registerer // nil: none

	UploadTime  time.Duration // an upload without progress for so long is given up; 0: the default
	Interval    time.Duration // between two sweeps, give or take a tenth; 0: the default
	OrphanAge   time.Duration // an object that no row names goes when it is so old; 0: the default
	OrphanEvery time.Duration // between two walks over the store's list; 0: the default
}

// Sweeper does the duty. One Run at a time.
type Sweeper struct {
	Config
	walked  time.Time // when the last walk over the store's list ended
	at      string    // where the walk stands
	removed *prometheus.CounterVec
	success prometheus.Gauge
}

// New makes a sweeper.
func New(c Config) *Sweeper {
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the clock of the package where no other is given
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.UploadTime = orDefault(c.UploadTime, DefaultUploadTime)
	c.Interval = orDefault(c.Interval, DefaultInterval)
	c.OrphanAge = orDefault(c.OrphanAge, DefaultOrphanAge)
	c.OrphanEvery = orDefault(c.OrphanEvery, DefaultOrphanEvery)
	s := &Sweeper{
		Config:  c,
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_swept_total", Help: "Things that the sweep removed, by kind."}, []string{"kind"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{Name: "havn_sweep_last_success_timestamp_seconds", Help: "When a sweep of this node ended without an error last."}),
	}
	if c.Metrics != nil {
		c.Metrics.MustRegister(s.removed, s.success)
	}
	return s
}

func orDefault(v, other time.Duration) time.Duration {
	if v == 0 {
		return other
	}
	return v
}

// Run sweeps every now and then until the context ends. Errors are logged, and the next sweep goes on where this one stopped.
func (s *Sweeper) Run(ctx context.Context) error {
	for {
		pause := s.Interval - s.Interval/10 + rand.N(s.Interval/5) //nolint:forbidigo // spreads nodes; no result depends on it
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		if err := s.Once(ctx); err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "sweep not finished", "error", err, "hint", fail.HintOf(err))
		}
	}
}

// Once sweeps, if the duty is this node's.
func (s *Sweeper) Once(ctx context.Context) error {
	claim, ok, err := s.Node.Claim(ctx, duty)
	if err != nil || !ok {
		return err
	}
	now := s.Clock()
	for _, step := range []struct {
		what string
		full int
		do   func() (int, error)
	}{
		{"uploads given up", atOnce, func() (int, error) { return s.Registry.ExpireUploads(ctx, false, now.Add(-s.UploadTime), atOnce) }},
		{"finished uploads", atOnce, func() (int, error) { return s.Registry.ExpireUploads(ctx, true, now.Add(-doneTime), atOnce) }},
		{"operation ids", rowsAtOnce, func() (int, error) { return s.Registry.ForgetOps(ctx, claim.Hold, now.Add(-opTime), rowsAtOnce) }},
		{"pull counts", rowsAtOnce, func() (int, error) { return s.Registry.FoldPulls(ctx, claim.Hold, rowsAtOnce) }},
		{"ended incarnations", rowsAtOnce, func() (int, error) {
			n, cause := s.Node.Forget(ctx, now.Add(-nodeTime), rowsAtOnce)
			return int(n), cause
		}},
	} {
		for {
			n, cause := step.do()
			s.count(ctx, step.what, n)
			if cause != nil {
				return fmt.Errorf("sweep %s: %w", step.what, cause)
			}
			if n < step.full || ctx.Err() != nil {
				break
			}
		}
	}
	if err = s.bury(ctx, claim); err != nil {
		return err
	}
	if err = s.walk(ctx, now); err != nil {
		return err
	}
	s.success.Set(float64(s.Clock().Unix()))
	return nil
}

func (s *Sweeper) count(ctx context.Context, what string, n int) {
	if n > 0 {
		s.removed.WithLabelValues(what).Add(float64(n))
		s.Log.DebugContext(ctx, "swept", "what", what, "count", n)
	}
}

func (s *Sweeper) bury(ctx context.Context, claim *cluster.Claim) error {
	for after := int64(0); ; {
		n, last, err := s.Registry.BuryDead(ctx, claim.Hold, after, atOnce)
		s.count(ctx, "dead contents", n)
		if err != nil {
			return fmt.Errorf("sweep dead contents: %w", err)
		}
		if last == 0 {
			return nil
		}
		if err = ctx.Err(); err != nil {
			return err
		}
		after = last
	}
}

// walk looks at a part of the store's list, once in OrphanEvery from its start to its end. Only a store that belongs to this database is looked at.
func (s *Sweeper) walk(ctx context.Context, now time.Time) error {
	if s.at == "" && now.Sub(s.walked) < s.OrphanEvery {
		return nil
	}
	if _, err := s.Registry.Identify(ctx); err != nil {
		return fmt.Errorf("sweep objects without rows: %w", err)
	}
	found, err := s.Registry.SweepOrphans(ctx, s.at, now.Add(-s.OrphanAge), objectsAtOnce)
	s.count(ctx, "objects without rows", found.Deleted)
	if err != nil {
		return fmt.Errorf("sweep objects without rows: %w", err)
	}
	if s.at = found.Last; s.at == "" {
		s.walked = now
	}
	return nil
}
