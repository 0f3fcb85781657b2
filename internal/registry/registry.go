package registry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Defaults of Config.
const (
	DefaultMaxObjectBytes = 512 << 20
	DefaultSafeTime       = 24 * time.Hour
	DefaultDeadGrace      = 24 * time.Hour
	DefaultMaxUploads     = 64
)

// maxObjects bounds the objects of one blob. At the default object size that is 5 TB; a client that sends smaller pieces than it was asked
// to (OCI-Chunk-Min-Length) meets it earlier.
const maxObjects = 10_000

// Config says what a Registry works on and how.
type Config struct {
	DB    *sqldb.DB
	Blobs *blob.Store
	Log   *slog.Logger     // nil: discarded
	Clock func() time.Time // nil: the system's

	Metrics prometheus.Registerer // nil: none

	CreateOnPush bool // a push by one who may makes a missing project
	SparseIndex  bool // an index may name manifests that are not there

	MaxUploadsPerSubject int           // bodies that one subject sends to this node at once; 0: the default
	MaxObjectBytes       int64         // where an object ends and the next begins; 0: the default
	LowDiskBytes         int64         // with less room than this in the store, pushes are refused; 0: never
	SafeTime             time.Duration // how long something that a push was told of stays, at least; 0: the default
	DeadGrace            time.Duration // how long the objects of dead contents stay readable; 0: the default
	NodeID               int64         // this node's incarnation, for the pull counts

	// Fault, where set, is asked before each step that writes to the blob store ("… before") and after it ("… after"). For tests.
	Fault func(step string) error
}

// Registry is the registry. It is safe for concurrent use, on any number of nodes at once.
type Registry struct {
	Config
	recent  *recent
	pulls   *pulls
	senders senders
	disk    disk
	metrics metrics
}

type metrics struct {
	pushed    *prometheus.CounterVec
	bytes     prometheus.Counter
	uploads   prometheus.Gauge
	cacheHits *prometheus.CounterVec
}

// New makes a registry on a database that is migrated. It makes the project library, public, if it is not there.
func New(ctx context.Context, c Config) (*Registry, error) {
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the clock of the package where no other is given
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.MaxUploadsPerSubject = orDefault(c.MaxUploadsPerSubject, DefaultMaxUploads)
	c.MaxObjectBytes = orDefault(c.MaxObjectBytes, DefaultMaxObjectBytes)
	c.SafeTime = orDefault(c.SafeTime, DefaultSafeTime)
	c.DeadGrace = orDefault(c.DeadGrace, DefaultDeadGrace)
	r := &Registry{Config: c, pulls: newPulls(), metrics: newMetrics(c.Metrics)}
	r.recent = newRecent(c.DB.Sole(), r.metrics.cacheHits)
	r.senders.limit = c.MaxUploadsPerSubject
	if err := r.EnsureProject(ctx, Project{Name: oci.DefaultProject, Public: true}); err != nil {
		return nil, err
	}
	return r, nil
}

func orDefault[T int | int64 | time.Duration](v, other T) T {
	if v == 0 {
		return other
	}
	return v
}

func newMetrics(to prometheus.Registerer) metrics {
	m := metrics{
		pushed:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_pushes_total", Help: "Blobs and manifests committed, by kind."}, []string{"kind"}),
		bytes:     prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_pushed_bytes_total", Help: "Bytes of blobs received."}),
		uploads:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "havn_uploads_receiving", Help: "Upload requests whose bodies are being received by this node."}),
		cacheHits: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_recent_total", Help: "Look-ups in the cache of recent answers, by result."}, []string{"result"}),
	}
	if to != nil {
		to.MustRegister(m.pushed, m.bytes, m.uploads, m.cacheHits)
	}
	return m
}

// Run writes the pull counts in batches until the context ends, and then once more.
func (r *Registry) Run(ctx context.Context) error { return r.flushPulls(ctx) }

// fault lets a test fail a step.
func (r *Registry) fault(step string) error {
	if r.Fault == nil {
		return nil
	}
	return r.Fault(step)
}

// senders counts the upload bodies that each subject sends to this node.
type senders struct {
	limit int
	mu    sync.Mutex
	now   map[string]int
}

// begin takes a place for a subject's upload body; the function that it answers gives it back.
func (s *senders) begin(subject string) (func(), error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now == nil {
		s.now = map[string]int{}
	}
	if s.now[subject] >= s.limit {
		return nil, fail.E(fail.Exhausted, nil, "%s sends %d uploads at once", subjectName(subject), s.limit).Code(oci.CodeTooManyRequests).
			RetryAfter(time.Second).Hint("wait for some to finish, or raise uploads.max_per_subject")
	}
	s.now[subject]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.now[subject]--; s.now[subject] == 0 {
			delete(s.now, subject)
		}
	}, nil
}

func subjectName(s string) string {
	if s == "" {
		return "anonymous"
	}
	return s
}

// disk remembers the room in the blob store for a moment: asking costs a system call or more.
type disk struct {
	mu   sync.Mutex
	at   time.Time
	free int64
	ok   bool
}

// diskAge is how long an answer counts: pushes at 1 GB/s fill no more than that much behind the watermark.
const diskAge = time.Second

// room refuses a push if the store is nearly full. Exhausted without a time to retry after means: no room.
func (r *Registry) room(ctx context.Context) error {
	if r.LowDiskBytes <= 0 {
		return nil
	}
	d := &r.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if now := r.Clock(); now.Sub(d.at) > diskAge || now.Before(d.at) {
		var err error
		if d.free, _, d.ok, err = r.Blobs.Space(ctx); err != nil {
			return err
		}
		d.at = now
	}
	if d.ok && d.free < r.LowDiskBytes {
		return fail.E(fail.Exhausted, nil, "the blob store has %d MiB left, less than the watermark of %d MiB", d.free>>20, r.LowDiskBytes>>20).Code(oci.CodeDenied).
			Hint("the operator must free space; pulls and deletes go on")
	}
	return nil
}
