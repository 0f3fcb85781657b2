package registry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// wholeContent looks whether the store has the objects of a blob's content, of the sizes that their rows say. If not, the blob is marked as damaged: it counts as absent for
// pushes, and the next one replaces its content.
func (r *Registry) wholeContent(ctx context.Context, d oci.Digest, content int64) (bool, error) {
	rows, err := index.Objects(ctx, r.db, content)
	if err != nil {
		return false, fmt.Errorf("look at the blob that is there: %w", err)
	}
	for _, o := range rows {
		info, statErr := r.blobs.Stat(ctx, o.Name)
		if statErr == nil && info.Size == o.Size {
			continue
		}
		if statErr != nil && !fail.Is(statErr, fail.NotFound) {
			return false, fmt.Errorf("look at the blob that is there: %w", statErr)
		}
		r.cfg.Log.ErrorContext(ctx, "a blob is damaged: an object of it is not in the store, or of another size; the next push of it mends it",
			"digest", d.String(), "object", o.Name, "bytes", info.Size, "want", o.Size)
		return false, r.markDamaged(ctx, d, content)
	}
	return true, nil
}

// markDamaged notes that the objects of a blob's content are not what they should be.
func (r *Registry) markDamaged(ctx context.Context, d oci.Digest, content int64) error {
	err := r.tx(ctx, "blob.damaged", func(tx *sqldb.Tx) error {
		return index.SetDamaged(ctx, tx, d, content, micros(tx.Now()))
	})
	r.recent.forget()
	if err != nil {
		return fmt.Errorf("mark blob %s as damaged: %w", d, err)
	}
	return nil
}

const (
	// suspectTime is for how long a blob that a pull could not read is not looked at again.
	suspectTime = time.Minute
	// suspectPatience bounds such a look, which a client waits for who gets an error anyway.
	suspectPatience = 5 * time.Second
	// maxSuspects bounds how many are remembered.
	maxSuspects = 1000
)

// suspects remembers the blobs that pulls could not read.
type suspects struct {
	mu   sync.Mutex
	seen map[oci.Digest]time.Time
}

// due reports whether a blob is to be looked at now.
func (s *suspects) due(d oci.Digest, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.seen[d]; ok && now.Sub(at) < suspectTime {
		return false
	}
	if s.seen == nil || len(s.seen) >= maxSuspects {
		s.seen = map[oci.Digest]time.Time{}
	}
	s.seen[d] = now
	return true
}

// suspect looks at a blob that a pull could not read, so that clients that push it are not told that it is there.
func (r *Registry) suspect(ctx context.Context, d oci.Digest) {
	if !r.suspects.due(d, r.cfg.Clock()) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), suspectPatience)
	defer cancel()
	there, err := index.BlobByDigest(ctx, r.db, d)
	if err == nil && !there.Damaged {
		_, err = r.wholeContent(ctx, d, there.Content)
	}
	if err != nil && !fail.Is(err, fail.NotFound) {
		r.cfg.Log.WarnContext(ctx, "a blob that could not be read was not looked at", "digest", d.String(), "error", err)
	}
}
