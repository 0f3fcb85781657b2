package tags

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/registry/registrytest"
	"github.com/havn-registry/havn/test/request"
)

// The blobs of every image that is moved, to be pushed to the repository before: the manifests differ by an annotation.
var (
	Config = []byte(`{"moved":true}`)
	Layer  = []byte("moved")
)

// Do sends one request to a node, once, as request.Do does.
type Do func(ctx context.Context, method, path, kind string, body []byte, want ...int) (request.Answer, error)

// Group is some tags of a repository, each with its history. Its methods are safe for concurrent use.
type Group struct {
	repo, name string
	numbers    atomic.Int64 // what the manifests are numbered by
	under      sync.WaitGroup

	mu        sync.Mutex
	digests   map[string]int // of the manifests, by number
	histories []*registrytest.TagHistory
}

// New makes a group of n tags that nobody has pushed yet: the name is theirs alone.
func New(repo, name string, n int) *Group {
	g := &Group{repo: repo, name: name, digests: map[string]int{}}
	for range n {
		g.histories = append(g.histories, registrytest.NewTagHistory())
	}
	return g
}

// Begin says that a client is about to do something with the tags, and End that it has done it: Wait waits for all who have begun.
func (g *Group) Begin() { g.under.Add(1) }

// End ends what Begin began.
func (g *Group) End() { g.under.Done() }

// Wait waits until all who have begun something have ended it.
func (g *Group) Wait() { g.under.Wait() }

// Move moves a tag to a manifest of its own, once. A client is a number that one goroutine has for itself. If it is not answered, or is told to try again, the move may take effect at any
// time after it was begun.
func (g *Group) Move(ctx context.Context, do Do, client, which int) error {
	number := int(g.numbers.Add(1))
	text := request.Image(g.name+" "+strconv.Itoa(number), Config, Layer)
	g.mu.Lock()
	g.digests[request.Digest(text)] = number
	g.mu.Unlock()
	begun := time.Now()
	_, err := do(ctx, http.MethodPut, g.path(which), request.Manifest, text, http.StatusCreated)
	switch {
	case err == nil:
		g.histories[which].Moved(client, begun, number)
	case request.Passes(err):
		g.histories[which].Lost(begun, number)
	}
	return err
}

// Look reads a tag, once. A read that fails says nothing of the tag.
func (g *Group) Look(ctx context.Context, do Do, client, which int) error {
	begun := time.Now()
	got, err := do(ctx, http.MethodGet, g.path(which), "", nil, http.StatusOK, http.StatusNotFound)
	if err != nil {
		return err
	}
	number := 0
	if got.Status == http.StatusOK {
		g.mu.Lock()
		var known bool
		number, known = g.digests[request.Digest(got.Text)]
		g.mu.Unlock()
		if !known {
			return &request.Refused{Request: "a manifest that nobody pushed: GET " + g.path(which), Answer: got}
		}
	}
	g.histories[which].Saw(client, begun, number)
	return nil
}

func (g *Group) path(which int) string {
	return "/v2/" + g.repo + "/manifests/" + g.name + "-" + strconv.Itoa(which)
}

// Operations is how many there were, of all tags.
func (g *Group) Operations() int {
	n := 0
	for _, h := range g.histories {
		n += h.Len()
	}
	return n
}

// Check answers, for each tag, what registrytest.TagHistory.Check says of its history.
func (g *Group) Check(limit time.Duration) []error {
	var all []error
	for _, h := range g.histories {
		all = append(all, h.Check(limit))
	}
	return all
}
