package registry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// Shared keeps bytes for all nodes, under names that never mean anything else. It may lose anything and may answer anything: what comes from it is hashed. Get answers
// NotFound for what it does not have, and within milliseconds Unavailable where it can't say. Put does not wait, and may come to nothing; the value is not changed
// any more. It is safe for concurrent use.
type Shared interface {
	Get(ctx context.Context, key string) ([]byte, error)
	Put(key string, value []byte, life time.Duration)
}

const (
	// inlineBytes of a manifest come with its row: a row of less than half a page lies in one place in MariaDB, so that leaving its bytes out would save nothing. The
	// bytes of longer ones lie on pages of their own.
	inlineBytes = 8000
	// sharedLife is how long bytes that nobody asks for are kept.
	sharedLife = 24 * time.Hour
)

// shared is the second level of the cache of manifests' bytes, behind the node's own. Whether a repository has a manifest is never asked there.
type shared struct {
	store   Shared // nil: there is none
	results *prometheus.CounterVec
}

// newShared uses no Shared where this process is the only one: its database is as near.
func newShared(cfg Config) *shared {
	s := &shared{results: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "havn_shared_manifests_total", Help: "Look-ups of long manifests in the cache that nodes share: hit, miss, wrong (not the bytes that were asked for), error (nobody could say).",
	}, []string{"result"})}
	if !cfg.DB.Sole() {
		s.store = cfg.Shared
	}
	if cfg.Metrics != nil {
		cfg.Metrics.MustRegister(s.results)
	}
	return s
}

// inline answers how many bytes of a manifest are read with its row.
func (s *shared) inline() int64 {
	if s.store == nil {
		return oci.MaxManifestBytes
	}
	return inlineBytes
}

func sharedKey(d oci.Digest) string { return "manifest:" + d.String() }

// get answers a manifest's bytes, nil if they can't be had.
func (s *shared) get(ctx context.Context, d oci.Digest, size int64) []byte {
	if s.store == nil {
		return nil
	}
	body, err := s.store.Get(ctx, sharedKey(d))
	switch {
	case fail.Is(err, fail.NotFound):
		s.results.WithLabelValues("miss").Inc()
	case err != nil:
		s.results.WithLabelValues("error").Inc()
	case int64(len(body)) != size || oci.Sum(d.Algorithm(), body) != d:
		s.results.WithLabelValues("wrong").Inc()
	default:
		s.results.WithLabelValues("hit").Inc()
		return body
	}
	return nil
}

// put offers a manifest's bytes, those that would come with their row excepted.
func (s *shared) put(d oci.Digest, body []byte) {
	if s.store != nil && len(body) > inlineBytes {
		s.store.Put(sharedKey(d), body, sharedLife)
	}
}
