package sweep

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/access"
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
	DefaultListAtOnce  = 5000
)

// Never is an OrphanEvery that leaves the store's list alone.
const Never = time.Duration(-1)

const (
	duty = "sweep"
	// doneTime is how long a finished upload is remembered, so that a repeated PUT gets its answer again.
	doneTime = time.Hour
	// opTime is how long an operation's id is kept: no transaction is run again that late.
	opTime = time.Hour
	// opWatch is how long the sweep has seen an operation's id, by its own clock, before it goes. How old the id says that it is depends on the clock of whoever wrote it, and one that was far
	// behind may have been put right since. It is longer than what may pass between the first and the last run of a transaction: see doubtTime in sqldb.
	opWatch = time.Minute
	// epochEvery is the time between two epochs of the blob store. A backup of the database that is older is known for one; and it is long enough for every copy of a database to look at the store
	// in between, at its own interval.
	epochEvery = time.Hour
	// opsAtOnce bounds the ids that are seen at once: 1.3 MB.
	opsAtOnce = 20_000
	// nodeTime is how long an ended incarnation is kept, for people to look at.
	nodeTime = 30 * 24 * time.Hour
	// atOnce bounds one batch; rowsAtOnce one that only deletes rows.
	atOnce     = 200
	rowsAtOnce = 1000
	// batches bounds how often a chore that is not done begins anew before the others get their turn.
	batches = 50
	// shortPause is between two sweeps of which the first left something to do: long enough that a backlog does not take the store and the database from the clients.
	shortPause = 10 * time.Second
	// firstPause is the longest pause before the first sweep: a node that is started often still sweeps.
	firstPause = time.Minute
)

// Config says what is swept and when.
type Config struct {
	Registry *registry.Registry
	Access   *access.Access // nil: what it leaves is left
	Node     *cluster.Node
	Log      *slog.Logger          // nil: discarded
	Clock    func() time.Time      // nil: the system's
	Metrics  prometheus.Registerer // nil: none

	UploadTime  time.Duration // an upload without progress for so long is given up; 0: the default
	Interval    time.Duration // between two sweeps, give or take a tenth; 0: the default
	OrphanAge   time.Duration // an object that no row names goes when it is so old; 0: the default
	OrphanEvery time.Duration // between two walks over the store's list; 0: the default; Never
	LostAtStart error         // why nothing is deleted from the store, as the start saw it; nil: it is this database's
	ListAtOnce  int           // how much of the store's list one sweep looks at; 0: the default
}

// Sweeper does the duty. It is not safe for concurrent use: one Run at a time.
type Sweeper struct {
	Config
	walk    walk
	ops     seenOps
	epoch   seenEpoch
	dead    deadWalk
	lost    atomic.Pointer[error]
	removed *prometheus.CounterVec
	failed  *prometheus.CounterVec
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
	c.ListAtOnce = orDefault(c.ListAtOnce, DefaultListAtOnce)
	s := &Sweeper{
		Config:  c,
		removed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_swept_total", Help: "Things that the sweep removed, by kind."}, []string{"kind"}),
		failed:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_sweep_errors_total", Help: "Errors of the sweep, by what it was to remove."}, []string{"kind"}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{Name: "havn_sweep_last_success_timestamp_seconds", Help: "When a sweep of this node ended without an error last."}),
	}
	if c.Metrics != nil {
		c.Metrics.MustRegister(s.removed, s.failed, s.success)
	}
	s.tell(c.LostAtStart)
	return s
}

// Lost answers why nothing is deleted from the blob store, nil if that is not so: as the start saw it, and from then on as the node does whose duty the sweep is. That the store is away is not told: it may be back by now. It is safe for concurrent use.
func (s *Sweeper) Lost() error { return *s.lost.Load() }

func orDefault[T int | time.Duration](v, other T) T {
	if v == 0 {
		return other
	}
	return v
}

// Run sweeps every now and then until the context ends. Errors are logged, and the next sweep goes on where this one stopped.
func (s *Sweeper) Run(ctx context.Context) error {
	pause := min(s.Interval, firstPause)
	for {
		timer := time.NewTimer(pause - pause/10 + rand.N(pause/5+1)) //nolint:forbidigo // spreads nodes; no result depends on it
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		more, err := s.sweep(ctx)
		if err != nil && ctx.Err() == nil {
			s.Log.WarnContext(ctx, "sweep not finished", "error", err, "hint", fail.HintOf(err))
		}
		if pause = s.Interval; more && err == nil {
			pause = min(s.Interval, shortPause)
		}
	}
}

// Once sweeps, if the duty is this node's.
func (s *Sweeper) Once(ctx context.Context) error {
	_, err := s.sweep(ctx)
	return err
}

// chore is a part of the duty.
type chore struct {
	what string
	// do does a bounded part of it, and answers how many things went and whether there may be more.
	do func(context.Context) (n int, more bool, err error)
	// slow: one part is enough for one sweep.
	slow bool
	// deletes: it deletes from the blob store, which must be this database's.
	deletes bool
}

// chores answers what there is to do with a claim on the duty. None of them needs another: their order is that in which things become removable. The review of links and blobs that
// nobody refers to belongs between uploads and dead contents, when it comes.
//
// now is the earliest of what the living nodes' clocks say: a node whose clock is ahead must not take from the others what they may still need, as the mark by which a transaction knows that
// it has run before.
func (s *Sweeper) chores(claim *cluster.Claim, now time.Time) []chore {
	full := func(limit int, do func(context.Context) (int, error)) func(context.Context) (int, bool, error) {
		return func(ctx context.Context) (int, bool, error) {
			n, err := do(ctx)
			return n, n >= limit, err
		}
	}
	all := []chore{
		{what: "uploads given up", do: full(atOnce, func(ctx context.Context) (int, error) {
			return s.Registry.ExpireUploads(ctx, false, now.Add(-s.UploadTime), atOnce)
		})},
		{what: "finished uploads", do: full(atOnce, func(ctx context.Context) (int, error) {
			return s.Registry.ExpireUploads(ctx, true, now.Add(-doneTime), atOnce)
		})},
		{what: "slices of quotas", do: full(atOnce, func(ctx context.Context) (int, error) { return s.Registry.ReturnSlices(ctx, claim.Hold, atOnce) })},
		{what: "new quotas", slow: true, do: func(ctx context.Context) (int, bool, error) {
			counted, err := s.Registry.CountNewQuotas(ctx, now, 1)
			return 0, counted > 0, err
		}},
		{what: "epochs", slow: true, deletes: true, do: func(ctx context.Context) (int, bool, error) { return 0, false, s.beginEpoch(ctx, claim) }},
		{what: "dead contents", deletes: true, do: func(ctx context.Context) (int, bool, error) { return s.buryDead(ctx, claim, now) }},
		{what: "objects without rows", slow: true, deletes: true, do: func(ctx context.Context) (int, bool, error) { return s.look(ctx, claim, now) }},
		{what: "pull counts", do: full(rowsAtOnce, func(ctx context.Context) (int, error) { return s.Registry.FoldPulls(ctx, claim.Hold, rowsAtOnce) })},
		{what: "operation ids", slow: true, do: func(ctx context.Context) (int, bool, error) { return s.forgetOps(ctx, claim, now.Add(-opTime)) }},
		{what: "ended incarnations", do: full(rowsAtOnce, func(ctx context.Context) (int, error) {
			n, err := s.Node.Forget(ctx, now.Add(-nodeTime), rowsAtOnce)
			return int(n), err
		})},
	}
	if s.Access == nil {
		return all
	}
	return append(all,
		chore{what: "sessions", do: full(rowsAtOnce, func(ctx context.Context) (int, error) {
			return s.Access.ForgetSessions(ctx, claim.Hold, now, rowsAtOnce)
		})},
		chore{what: "revocations", do: full(rowsAtOnce, func(ctx context.Context) (int, error) {
			return s.Access.ForgetRevocations(ctx, claim.Hold, now, rowsAtOnce)
		})})
}

// sweep does all chores, if the duty is this node's. One that fails keeps no other from being done. more says that something was left for the next time.
func (s *Sweeper) sweep(ctx context.Context) (more bool, err error) {
	claim, ok, err := s.Node.Claim(ctx, duty)
	if err != nil || !ok {
		if err == nil {
			s.tell(nil) // the node whose duty it is knows better
		}
		return false, err
	}
	now, err := s.Node.Earliest(ctx)
	if err != nil {
		return false, fmt.Errorf("look at the nodes' clocks: %w", err)
	}
	var failures []error
	lost := s.holdStore(ctx, claim)
	s.tell(lost)
	if lost != nil {
		s.failed.WithLabelValues("blob store").Inc()
		failures = append(failures, lost)
	}
	for _, c := range s.chores(claim, now) {
		if c.deletes && lost != nil {
			continue
		}
		left, cause := s.work(ctx, c)
		more = more || left
		if cause != nil {
			s.failed.WithLabelValues(c.what).Inc()
			failures = append(failures, fmt.Errorf("sweep %s: %w", c.what, cause))
		}
		if ctx.Err() != nil || fail.CodeOf(cause) == "claim" {
			break // the duty is another's, or the process is about to end
		}
	}
	if err = errors.Join(failures...); err == nil && ctx.Err() == nil {
		s.success.Set(float64(s.Clock().Unix()))
	}
	return more, err
}

// work does one chore, in some batches.
func (s *Sweeper) work(ctx context.Context, c chore) (more bool, err error) {
	sum := 0
	for range batches {
		var n int
		n, more, err = c.do(ctx)
		s.removed.WithLabelValues(c.what).Add(float64(n))
		sum += n
		if err != nil || !more || c.slow || ctx.Err() != nil {
			break
		}
	}
	if sum > 0 {
		s.Log.InfoContext(ctx, "swept", "what", c.what, "count", sum, "more", more)
	}
	return more, err
}
