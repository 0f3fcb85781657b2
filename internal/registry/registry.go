package registry

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Config says what a Registry works on. DB and Blobs are required; zero values of the rest are replaced by defaults where a default is named.
type Config struct {
	DB      *sqldb.DB
	Blobs   *blob.Store
	Log     *slog.Logger          // nil: discarded
	Clock   func() time.Time      // nil: the system's
	Metrics prometheus.Registerer // nil: none

	CreateOnPush bool         // a push of one who may makes a missing project
	DefaultQuota func() int64 // what new projects may have, in bytes, or Unlimited; nil: that
	QuotasOff    func() bool  // quotas hold nobody back, as of now; they are counted all the same. nil: they do
	SparseIndex  bool         // children of an index may be absent

	QuotaSlice           int64         // bytes that a node takes of a quota in advance, if there is plenty; default 64 MiB, below 0: none
	QuotaIdle            time.Duration // how long a node keeps what it took of a quota and nobody uses, and how often it looks; default 1 s
	MaxUploadsPerSubject int           // bodies of uploads that one subject sends to this node at once; default 256
	SafeTime             time.Duration // how long what a push was told of is kept from review; default 24 h
	DeadGrace            time.Duration // how long objects that were served stay after their blob; default 24 h
	MaxObjectBytes       int64         // an object ends here; default 512 MiB
	LowDiskBytes         int64         // pushes are refused when less room is left in the store; 0: off
	SettleTime           time.Duration // how long the rows of what came may take, after the client's body ended and the store has its bytes; default 1 min
	NodeID               int64         // this incarnation, for the pull counts
	Shared               Shared        // bytes of manifests for all nodes; nil: none
	NotePulls            func() Notes  // what is noted of pulls, as of now; nil: all
	StaleTags            time.Duration // how old what this node knows of a tag may be, to be answered while the database is out of reach; 0: no such answers

	// Lost answers why the database has been out of reach for longer than a failover takes, nil if it has not. nil: DB's own; where set, for tests, this process is not taken for the only one that
	// writes.
	Lost func() error

	// Fault, where set, is asked before and after each step that writes; an error means that the step "did not happen", or that it is said to have failed. For tests.
	Fault func(step string) error
}

const (
	defaultMaxUploads     = 256
	defaultSafeTime       = 24 * time.Hour
	defaultMaxObjectBytes = 512 << 20
	// maxOpenUploads bounds the upload sessions of a subject, idle ones too, so that nobody fills the database with them. It is far above what clients that break
	// off leave in a day.
	maxOpenUploads = 10_000
	// maxObjects bounds the objects of a blob: at 512 MiB that is 5 TB, and a client that sends in smaller chunks than it was asked to is stopped before its
	// list of objects is a burden.
	maxObjects = 10_000
	// defaultSettleTime is longer than a failover of the database.
	defaultSettleTime = time.Minute
)

func (c *Config) setDefaults() {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the clock of the package where no other is given
	}
	if c.MaxUploadsPerSubject <= 0 {
		c.MaxUploadsPerSubject = defaultMaxUploads
	}
	if c.QuotaSlice == 0 {
		c.QuotaSlice = defaultSlice
	}
	c.QuotaSlice = max(0, c.QuotaSlice)
	if c.QuotaIdle <= 0 {
		c.QuotaIdle = defaultQuotaIdle
	}
	if c.MaxObjectBytes <= 0 {
		c.MaxObjectBytes = defaultMaxObjectBytes
	}
	if c.SettleTime <= 0 {
		c.SettleTime = defaultSettleTime
	}
	for _, d := range []*time.Duration{&c.SafeTime, &c.DeadGrace} {
		if *d <= 0 {
			*d = defaultSafeTime
		}
	}
}

// Registry is safe for concurrent use, by several processes on one database and store.
type Registry struct {
	cfg       Config
	db        *sqldb.DB
	blobs     *blob.Store
	recent    *recent
	shared    *shared
	pulls     *pulls
	prepared  *prepared
	grants    grants
	senders   senders
	manifests manifestRoom
	suspects  suspects
	room      room
	memory    memory
	stale     stale
	stored    stored
	metrics   *metrics
}

// New makes a Registry on a migrated database, and the public project library if it is absent.
func New(ctx context.Context, cfg Config) (*Registry, error) {
	cfg.setDefaults()
	exact := cfg.DB.Sole() && cfg.Lost == nil
	if cfg.Lost == nil {
		cfg.Lost = cfg.DB.Lost
	}
	if cfg.NotePulls == nil {
		cfg.NotePulls = func() Notes { return Notes{Count: true, Time: true} }
	}
	if cfg.QuotasOff == nil {
		cfg.QuotasOff = func() bool { return false }
	}
	r := &Registry{
		cfg: cfg, db: cfg.DB, blobs: cfg.Blobs, recent: newRecent(exact, cfg.Clock), stale: stale{clock: cfg.Clock, log: cfg.Log}, shared: newShared(cfg), pulls: newPulls(), prepared: newPrepared(),
		senders: senders{limit: cfg.MaxUploadsPerSubject, now: map[string]int{}}, metrics: newMetrics(cfg.Metrics),
	}
	r.memory.on = cfg.Blobs.Patience() > 0 && !cfg.Blobs.Resends()
	r.memory.left.Store(keepAll)
	if err := r.EnsureProject(ctx, Project{Name: oci.DefaultProject, Public: true}); err != nil {
		return nil, err
	}
	return r, nil
}

// Pusher is who pushes. What may be pushed where is decided before; here it only counts whether a missing project is made.
type Pusher struct {
	Subject   string
	MayCreate bool // an administrator: a missing project is made, private
}

// step runs one step that writes, with the faults of a test before and after.
func (r *Registry) step(name string, do func() error) error {
	if r.cfg.Fault == nil {
		return do()
	}
	if err := r.cfg.Fault(name + ": not applied"); err != nil {
		return fail.E(fail.Unavailable, err, "%s", name)
	}
	if err := do(); err != nil {
		return err
	}
	if err := r.cfg.Fault(name + ": applied"); err != nil {
		return fail.E(fail.Unavailable, err, "%s", name)
	}
	return nil
}

func (r *Registry) tx(ctx context.Context, name string, fn func(tx *sqldb.Tx) error) error {
	return r.step(name, func() error { return r.db.Tx(ctx, name, fn) })
}

func (r *Registry) relaxed(ctx context.Context, name string, fn func(tx *sqldb.Tx) error) error {
	return r.step(name, func() error { return r.db.TxRelaxed(ctx, name, fn) })
}

// keyTries bounds the tries of a transaction that a foreign key forbade: it looks first, so each try needs another deletion or push at the same moment.
const keyTries = 5

// change is tx for what readers of a repository may have read: nothing is answered from memory meanwhile. tags are those that it moves; nil: it may be any.
func (r *Registry) change(ctx context.Context, repo oci.Name, tags []oci.Tag, name string, fn func(tx *sqldb.Tx) error) error {
	r.recent.beginWrite(repo, tags)
	defer r.recent.endWrite(repo)
	return r.keyed(ctx, name, fn)
}

// keyed is tx for functions that look before they insert a child or delete a parent. A foreign key that forbids it although the function looked is a race with
// another node: the next look sees what it is.
func (r *Registry) keyed(ctx context.Context, name string, fn func(tx *sqldb.Tx) error) error {
	return looked(func() error { return r.tx(ctx, name, fn) })
}

// keyedRelaxed is keyed for rows whose loss is harmless.
func (r *Registry) keyedRelaxed(ctx context.Context, name string, fn func(tx *sqldb.Tx) error) error {
	return looked(func() error { return r.relaxed(ctx, name, fn) })
}

// looked runs such a transaction.
func looked(run func() error) error {
	for n := 1; ; n++ {
		err := run()
		if n >= keyTries || fail.CodeOf(err) != sqldb.CodeFK {
			return err
		}
	}
}

func micros(t time.Time) int64 { return sqldb.Micros(t) }

type metrics struct {
	pushes   *prometheus.CounterVec
	received prometheus.Counter
	lost     prometheus.Counter
	repeated prometheus.Counter
	dropped  prometheus.Counter
	hit      prometheus.Counter
	miss     prometheus.Counter
	outage   prometheus.Counter
	stale    prometheus.Counter

	redirected, through prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		pushes:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_pushes_total", Help: "Blobs and manifests committed, by kind."}, []string{"kind"}),
		received: prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_upload_bytes_total", Help: "Bytes of blobs received, committed or not."}),
		lost:     prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_upload_lost_total", Help: "Objects that were written in vain because another request was faster."}),
		repeated: prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_upload_repeated_total", Help: "Objects that the blob store did not take and that were written again, under another name."}),
		dropped:  prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_pull_counts_dropped_total", Help: "Pulls that were not counted because too many different ones waited."}),
	}
	hits := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_recent_total", Help: "Look-ups of manifests answered from memory or not; outage: of manifests and blobs by digest, from memory alone because the database was out of reach; stale: the same by tag."}, []string{"result"})
	m.hit, m.miss, m.outage, m.stale = hits.WithLabelValues("hit"), hits.WithLabelValues("miss"), hits.WithLabelValues("outage"), hits.WithLabelValues("stale")
	redirects := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "havn_blob_redirects_total", Help: "Pulls of blobs by clients that may be sent to the store: sent there or served through this node.",
	}, []string{"result"})
	m.redirected, m.through = redirects.WithLabelValues("redirected"), redirects.WithLabelValues("through")
	if reg != nil {
		reg.MustRegister(redirects, m.pushes, m.received, m.lost, m.repeated, m.dropped, hits)
	}
	return m
}
