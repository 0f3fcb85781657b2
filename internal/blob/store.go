package blob

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/fail"
)

// idObject holds the store's id: a database compares it with its own before anything is swept.
const idObject = "havn-store-id"

// maxID bounds what is read of the id object.
const maxID = 256

// An operation that can be repeated is tried attempts times while the store is Unavailable, with pauses of firstPause, then ten times as long: enough for
// a dropped connection or a server that fails over at once, and short enough that a client still waits.
const (
	attempts   = 3
	firstPause = 20 * time.Millisecond
)

// StoreConfig says what a Store needs besides its driver.
type StoreConfig struct {
	Metrics prometheus.Registerer // nil: none
	Clock   func() time.Time      // nil: the machine's
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
	clock  func() time.Time
	took   *prometheus.HistogramVec
	failed *prometheus.CounterVec
}

// NewStore puts a store in front of a driver.
func NewStore(d Driver, c StoreConfig) *Store {
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the default of the package's own clock
	}
	s := &Store{
		driver: d,
		clock:  c.Clock,
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "havn_store_seconds", Help: "Time that the blob store took, by operation.", Buckets: prometheus.ExponentialBuckets(0.0005, 4, 9),
		}, []string{"operation"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_store_errors_total", Help: "Errors of the blob store, by operation and kind."}, []string{"operation", "kind"}),
	}
	if opener, ok := d.(Opener); ok {
		s.opener = opener
	}
	if spacer, ok := d.(Spacer); ok {
		s.spacer = spacer
	}
	if c.Metrics != nil {
		c.Metrics.MustRegister(s.took, s.failed)
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
func (s *Store) again(ctx context.Context, operation string, try func() error) error {
	pause := firstPause
	for left := attempts - 1; ; left-- {
		begin := s.clock()
		err := try()
		s.observe(operation, begin, err)
		if left == 0 || !fail.Is(err, fail.Unavailable) || ctx.Err() != nil {
			return err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause *= 10
	}
}

// Put writes an object from r, durably, and answers its size: see Driver.Put. It is not tried again: the bytes are gone.
func (s *Store) Put(ctx context.Context, name string, size int64, r io.Reader) (Written, error) {
	begin := s.clock()
	w, err := s.driver.Put(ctx, name, size, r)
	s.observe("put", begin, err)
	if err != nil {
		return w, fmt.Errorf("write object %s: %w", name, err)
	}
	return w, nil
}

// Stat answers an object's size and time, or NotFound.
func (s *Store) Stat(ctx context.Context, name string) (info Info, err error) {
	err = s.again(ctx, "stat", func() (tryErr error) {
		info, tryErr = s.driver.Stat(ctx, name)
		return tryErr
	})
	return info, err
}

// Delete removes an object; one that is absent is no error.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := s.again(ctx, "delete", func() error { return s.driver.Delete(ctx, name) }); err != nil {
		return fmt.Errorf("delete object %s: %w", name, err)
	}
	return nil
}

// get opens an object from off for reading.
func (s *Store) get(ctx context.Context, name string, off, n int64) (r io.ReadCloser, err error) {
	err = s.again(ctx, "get", func() (tryErr error) {
		r, tryErr = s.driver.Get(ctx, name, off, n)
		return tryErr
	})
	return r, err
}

// List answers the objects with names greater than after, in order: see Driver.List.
func (s *Store) List(ctx context.Context, after string) iter.Seq2[Info, error] {
	return s.driver.List(ctx, after)
}

// Space answers the free and total bytes; ok is false where the store does not know.
func (s *Store) Space(ctx context.Context) (free, total int64, ok bool, err error) {
	if s.spacer == nil {
		return 0, 0, false, nil
	}
	free, total, err = s.spacer.Space(ctx)
	return free, total, err == nil, err
}

// ID answers the store's id, or NotFound if it has none yet, or one whose writing was cut off.
func (s *Store) ID(ctx context.Context) (string, error) {
	r, err := s.get(ctx, idObject, 0, -1)
	if err != nil {
		return "", fmt.Errorf("read the store's id: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(r, maxID))
	if closeErr := r.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return "", fail.E(s.driver.Classify(err), err, "read the store's id")
	}
	id := strings.Trim(string(text), "\x00 \r\n")
	if id == "" {
		return "", fail.E(fail.NotFound, nil, "the store's id is empty: its writing was cut off")
	}
	return id, nil
}

// SetID gives the store its id. One that has an id keeps it: Exists.
func (s *Store) SetID(ctx context.Context, id string) error {
	put := func() error {
		_, err := s.driver.Put(ctx, idObject, int64(len(id)), bytes.NewReader([]byte(id)))
		return err
	}
	err := put()
	if fail.Is(err, fail.Exists) {
		if _, readErr := s.ID(ctx); fail.Is(readErr, fail.NotFound) {
			// What a crash left of an earlier try. If it is another node's, which writes at this moment, the two compare what is there afterwards.
			if err = s.driver.Delete(ctx, idObject); err == nil {
				err = put()
			}
		}
	}
	if err != nil {
		return fmt.Errorf("write the store's id: %w", err)
	}
	return nil
}
