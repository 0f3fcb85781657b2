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
	names  names
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
	s.names.begin()
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
func (s *Store) Stat(ctx context.Context, name string) (Info, error) {
	begin := s.clock()
	info, err := s.driver.Stat(ctx, name)
	s.observe("stat", begin, err)
	return info, err
}

// Delete removes an object; one that is absent is no error.
func (s *Store) Delete(ctx context.Context, name string) error {
	begin := s.clock()
	err := s.driver.Delete(ctx, name)
	s.observe("delete", begin, err)
	if err != nil {
		return fmt.Errorf("delete object %s: %w", name, err)
	}
	return nil
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

// ID answers the store's id, or NotFound if it has none yet.
func (s *Store) ID(ctx context.Context) (string, error) {
	r, err := s.driver.Get(ctx, idObject, 0, -1)
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
	return strings.TrimSpace(string(text)), nil
}

// SetID gives the store its id. One that has an id keeps it: Exists.
func (s *Store) SetID(ctx context.Context, id string) error {
	if _, err := s.driver.Put(ctx, idObject, int64(len(id)), bytes.NewReader([]byte(id))); err != nil {
		return fmt.Errorf("write the store's id: %w", err)
	}
	return nil
}
