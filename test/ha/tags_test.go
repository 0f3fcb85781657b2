package ha

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/request"
	"github.com/havn-registry/havn/test/tags"
)

const (
	movedRepo = "ha/moved"
	// moverPause is between two operations of a client that moves tags; checkTime is what the checker gets for the history of one.
	moverPause = 30 * time.Millisecond
	checkTime  = 2 * time.Minute
)

// through sends requests to a node.
func through(s *harness.Server) tags.Do {
	c := s.HTTP()
	return func(ctx context.Context, method, path, kind string, body []byte, want ...int) (request.Answer, error) {
		return request.Do(ctx, c, method, s.URL+path, kind, body, want...)
	}
}

// moving is clients that move and read tags through all nodes.
type moving struct {
	tags    *tags.Group
	clients *tags.Movers
	nodes   []tags.Do
}

// moveTags begins to move tags.
func moveTags(t *testing.T, all []*harness.Server) *moving {
	t.Helper()
	moved := tags.New(movedRepo, fmt.Sprintf("m%d", time.Now().UnixNano()), 2)
	for _, data := range [][]byte{tags.Config, tags.Layer} {
		_, err := through(all[0])(t.Context(), http.MethodPost, "/v2/"+movedRepo+"/blobs/uploads/?digest="+request.Digest(data), request.Octets, data, http.StatusCreated)
		need(t, err)
	}
	var nodes []tags.Do
	for _, s := range all {
		nodes = append(nodes, through(s))
	}
	// A client's operations go to all nodes in turn.
	m := moved.Start(t.Context(), moverPause, func(n int) tags.Do {
		turn := n
		return func(ctx context.Context, method, path, kind string, body []byte, want ...int) (request.Answer, error) {
			turn++
			return nodes[turn%len(nodes)](ctx, method, path, kind, body, want...)
		}
	})
	return &moving{moved, m, nodes}
}

// more waits until some more operations are answered.
func (m *moving) more(t *testing.T, n int) {
	t.Helper()
	want := m.clients.Acknowledged() + n
	for deadline := time.Now().Add(patience); m.clients.Acknowledged() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d operations on tags are answered, and no more come", m.clients.Acknowledged())
		}
	}
}

// end ends the clients. What they saw must be what one register for each tag would have answered.
func (m *moving) end(t *testing.T) {
	t.Helper()
	need(t, m.clients.End())
	need(t, m.tags.Judge(t.Context(), checkTime, m.nodes...))
	t.Logf("%d operations on tags, %d of them answered", m.tags.Operations(), m.clients.Acknowledged())
}
