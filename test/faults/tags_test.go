package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/request"
	"github.com/havn-registry/havn/test/tags"
)

const (
	// tagKills is how often the server is killed while tags are moved; tagMoves is how much must be answered before each.
	tagKills = 15
	tagMoves = 60
	// tagCheck is what the checker gets for the history of one tag.
	tagCheck = 2 * time.Minute
)

// TestTagsAreLinearizableAcrossKillNine keeps tags, and what clients saw of them, over many lives of the server.
func TestTagsAreLinearizableAcrossKillNine(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, harness.Options{})
	source := rand.New(rand.NewPCG(11, 11))
	moved := tags.New("faults/moved", "moved", 2)
	do := func(int) tags.Do {
		c, url := s.HTTP(), s.URL
		return func(ctx context.Context, method, path, kind string, body []byte, want ...int) (request.Answer, error) {
			return request.Do(ctx, c, method, url+path, kind, body, want...)
		}
	}
	for _, data := range [][]byte{tags.Config, tags.Layer} {
		_, err := do(0)(t.Context(), http.MethodPost, "/v2/faults/moved/blobs/uploads/?digest="+request.Digest(data), request.Octets, data, http.StatusCreated)
		must(t, err)
	}
	answered := 0
	for range tagKills {
		m := moved.Start(t.Context(), time.Millisecond, do)
		s.Await(t, func() error {
			if n := m.Acknowledged(); n < tagMoves {
				return fmt.Errorf("%d operations are answered, want %d", n, tagMoves)
			}
			return nil
		})
		time.Sleep(time.Duration(source.IntN(50)) * time.Millisecond)
		s.Kill(t)
		must(t, m.End())
		answered += m.Acknowledged()
		s.Again(t)
	}
	must(t, moved.Judge(t.Context(), tagCheck, do(0)))
	t.Logf("%d operations on tags, %d of them answered, over %d kills", moved.Operations(), answered, tagKills)
}
