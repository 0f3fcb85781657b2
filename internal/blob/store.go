package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/fail"
)

// An operation that can be repeated is tried again while the store is Unavailable, with pauses of firstPause, then ten times as long up to longestPause: without
// Patience attempts times, which is enough for a file system that was slow once; with it at least leastAttempts times, and until it is over.
const (
	attempts      = 3
	leastAttempts = 2
	firstPause    = 20 * time.Millisecond
	longestPause  = time.Second
)

// StoreConfig says what a Store needs besides its driver.
type StoreConfig struct {
	Metrics prometheus.Registerer // nil: none
	Clock   func() time.Time      // nil: the machine's
	// Patience is how long a store that is Unavailable is tried again. 0: hardly, as suits a directory. See RemotePatience.
	Patience time.Duration
	// Stall is how long the store may move no byte until what it does is broken off, and tried again where that is possible; four times as long for a write.
	// 0: for ever. See RemoteStall.
	Stall time.Duration
	Cache Cache // nil: none
}

// Object is one piece of a blob.
type Object struct {
	Name string
	Size int64 // bytes
}

// Store keeps objects in whatever its driver drives. It is safe for concurrent use.
type Store struct {
	driver Driver
	opener Opener // nil if objects are no files
	spacer Spacer // nil if room is not known
	signer Signer // nil if objects have no URLs
	cache  Cache  // nil if there is none
	tidier Tidier // nil if writers that die leave nothing but objects
	clock  func() time.Time

	patience, stall time.Duration

	took    *prometheus.HistogramVec
	failed  *prometheus.CounterVec
	resumed prometheus.Counter
}

// NewStore puts a store in front of a driver.
func NewStore(d Driver, c StoreConfig) *Store {
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the default of the package's own clock
	}
	s := &Store{
		driver: d, cache: c.Cache, clock: c.Clock, patience: c.Patience, stall: c.Stall,
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "havn_store_seconds", Help: "Time that the blob store took, by operation.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"operation"}),
		failed:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_store_errors_total", Help: "Errors of the blob store, by operation and kind."}, []string{"operation", "kind"}),
		resumed: prometheus.NewCounter(prometheus.CounterOpts{Name: "havn_store_resumed_total", Help: "Reads of the blob store that broke off and went on where they were."}),
	}
	if opener, ok := d.(Opener); ok {
		s.opener = opener
	}
	if spacer, ok := d.(Spacer); ok {
		s.spacer = spacer
	}
	if signer, ok := d.(Signer); ok {
		s.signer = signer
	}
	if tidier, ok := d.(Tidier); ok {
		s.tidier = tidier
	}
	if c.Metrics != nil {
		c.Metrics.MustRegister(s.took, s.failed, s.resumed)
	}
	return s
}

// observe counts an operation when it ends.
func (s *Store) observe(operation string, begin time.Time, err error) {
	s.took.WithLabelValues(operation).Observe(s.clock().Sub(begin).Seconds())
	if err != nil && !fail.Is(err, fail.NotFound) {
		s.failed.WithLabelValues(operation, fail.KindOf(err).String()).Inc()
	}
}

// again runs an operation that can be repeated, and measures each try.
func (s *Store) again(ctx context.Context, operation string, try func(context.Context) error) error {
	t := s.Tries()
	for {
		begin := s.clock()
		err := try(ctx)
		s.observe(operation, begin, err)
		if !fail.Is(err, fail.Unavailable) || !t.Another(ctx) {
			return err
		}
	}
}

// Tries counts the tries of one thing that fails because the store is Unavailable.
type Tries struct {
	store *Store
	begin time.Time
	n     int
	pause time.Duration
}

// Tries begins to count; the first try is made.
func (s *Store) Tries() Tries { return Tries{store: s, begin: s.clock(), pause: firstPause} }

// Another reports whether to try again, after a pause.
func (t *Tries) Another(ctx context.Context) bool {
	t.n++
	s := t.store
	if s.patience == 0 && t.n >= attempts || s.patience > 0 && t.n >= leastAttempts && s.clock().Sub(t.begin)+t.pause > s.patience || ctx.Err() != nil {
		return false
	}
	timer := time.NewTimer(t.pause)
	defer timer.Stop()
	t.pause = min(10*t.pause, longestPause)
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Patience answers how long the store is tried again while it is Unavailable: 0 for one on this machine.
func (s *Store) Patience() time.Duration { return s.patience }

// Put writes an object from r, durably, and answers its size: see Driver.Put. It is not tried again: the bytes are gone.
func (s *Store) Put(ctx context.Context, name string, size int64, r io.Reader) (Written, error) {
	begin := s.clock()
	w, err := s.put(ctx, name, size, r)
	s.observe("put", begin, err)
	if err != nil {
		return w, fmt.Errorf("write object %s: %w", name, err)
	}
	return w, nil
}

// Stat answers an object's size and time, or NotFound.
func (s *Store) Stat(ctx context.Context, name string) (info Info, err error) {
	err = s.again(ctx, "stat", func(ctx context.Context) error {
		return s.bounded(ctx, func(ctx context.Context) (tryErr error) {
			info, tryErr = s.driver.Stat(ctx, name)
			return tryErr
		})
	})
	return info, err
}

// Delete removes an object; one that is absent is no error.
func (s *Store) Delete(ctx context.Context, name string) error {
	remove := func(ctx context.Context) error { return s.driver.Delete(ctx, name) }
	if err := s.again(ctx, "delete", func(ctx context.Context) error { return s.bounded(ctx, remove) }); err != nil {
		return fmt.Errorf("delete object %s: %w", name, err)
	}
	if s.cache != nil {
		s.cache.Forget(name)
	}
	return nil
}

// get opens an object from off for reading.
func (s *Store) get(ctx context.Context, name string, off, n int64) (r io.ReadCloser, err error) {
	err = s.again(ctx, "get", func(ctx context.Context) (tryErr error) {
		r, tryErr = s.open(ctx, name, off, n)
		return tryErr
	})
	return r, err
}

// List answers the objects with names greater than after, in order: see Driver.List.
func (s *Store) List(ctx context.Context, after string) iter.Seq2[Info, error] {
	return s.list(ctx, after)
}

// Space answers the free and total bytes; ok is false where the store does not know.
func (s *Store) Space(ctx context.Context) (free, total int64, ok bool, err error) {
	if s.spacer == nil {
		return 0, 0, false, nil
	}
	err = s.bounded(ctx, func(ctx context.Context) (boundedErr error) {
		free, total, boundedErr = s.spacer.Space(ctx)
		return boundedErr
	})
	return free, total, err == nil, err
}

// CanSign reports whether objects can have URLs.
func (s *Store) CanSign() bool { return s.signer != nil }

// Resends reports whether a write that fails has been tried again as long as makes sense: see Resender.
func (s *Store) Resends() bool {
	_, ok := s.driver.(Resender)
	return ok
}

// SignGet answers a URL that reads an object for so long: see Signer. Unsupported where objects have none.
func (s *Store) SignGet(ctx context.Context, name string, life time.Duration) (url string, err error) {
	if s.signer == nil {
		return "", fail.E(fail.Unsupported, nil, "the blob store gives no URLs")
	}
	err = s.again(ctx, "sign", func(ctx context.Context) error {
		return s.bounded(ctx, func(ctx context.Context) (tryErr error) {
			url, tryErr = s.signer.SignGet(ctx, name, life)
			return tryErr
		})
	})
	if err != nil {
		return "", fmt.Errorf("sign a URL of object %s: %w", name, err)
	}
	return url, nil
}

// Tidy removes what writers that died before a time left beside objects whose names are not known, and answers how many pieces: see Tidier.
func (s *Store) Tidy(ctx context.Context, before time.Time, known Known) (int, error) {
	if s.tidier == nil {
		return 0, nil
	}
	n, err := s.tidier.Tidy(ctx, before, known)
	if err != nil {
		return n, fmt.Errorf("tidy the store up: %w", err)
	}
	return n, nil
}

// small reads an object of at most maxMark bytes.
func (s *Store) small(ctx context.Context, name string) ([]byte, error) {
	r, err := s.open(ctx, name, 0, -1)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxMark))
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return nil, fail.E(s.kindOf(err), err, "read object %s", name)
	}
	return text, nil
}

// kindOf answers the kind of an error that came out of an object's reader. What is cut off is worth another try, whatever the driver makes of it.
func (s *Store) kindOf(err error) fail.Kind {
	if errors.Is(err, errStalled) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fail.Unavailable
	}
	return s.driver.Classify(err)
}
