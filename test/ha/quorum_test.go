package ha

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// noQuorum takes two of three servers away: pushes are refused, soon and with a time to come again, pulls by digest of what a node served lately go on, and all of it works again when the
// servers are back. By tag nothing is pulled meanwhile, but from the node that may answer stale tags.
func noQuorum(t *testing.T, g *lab.Galera, all []*harness.Server, stale *harness.Server) {
	m := newImage("ha/quorum", "1")
	var clients []*client
	for i, s := range all {
		c := newClient(s)
		c.logIn(t, m.repo)
		if i == 0 {
			need(t, c.push(t.Context(), m))
		}
		need(t, c.check(t.Context(), m, m.tag, digestOf(m.manifest)))
		clients = append(clients, c)
	}
	guesses := prepareStale(t, clients[0], stale)
	g.Nodes[0].Kill()
	g.Nodes[1].Kill()
	other := newImage(m.repo, "2")
	for _, c := range clients {
		mustBeUnavailable(t, c.push(t.Context(), other))
	}
	// From now on nobody waits for what can't come.
	for i, c := range clients {
		begun := time.Now()
		mustBeUnavailable(t, c.push(t.Context(), other))
		_, err := c.get(t.Context(), "/v2/"+m.repo+"/manifests/"+m.tag)
		mustBeUnavailable(t, err)
		if err = c.check(t.Context(), m, digestOf(m.manifest)); err != nil {
			t.Errorf("node %d, what it served lately: %v", i, err)
		}
		// Who a user is only the database knows: nobody is told that the password is wrong.
		_, err = (&client{http: c.http, url: c.url, user: "somebody"}).get(t.Context(), "/service/token?service=harbor-registry")
		mustBeUnavailable(t, err)
		t.Logf("node %d: refused and served within %s", i, time.Since(begun).Round(time.Millisecond))
	}
	guesses.whileAway(t)
	// Two that were killed without a majority left: the one that lived takes part again as soon as they are back. If the three were one cluster when both died,
	// that takes both: neither becomes ready alone.
	var back sync.WaitGroup
	for _, n := range g.Nodes[:2] {
		back.Go(func() {
			if err := n.Start(t.Context()); err != nil {
				t.Errorf("%v\n%s", err, fail.HintOf(err))
			}
		})
	}
	back.Wait()
	deadline := time.Now().Add(patience)
	for _, c := range clients {
		for {
			err := c.push(t.Context(), other)
			if err == nil {
				break
			}
			if mustBeUnavailable(t, err); t.Failed() || time.Now().After(deadline) {
				t.Fatalf("with all servers back: %v", err)
			}
			time.Sleep(50 * time.Millisecond)
		}
		need(t, c.check(t.Context(), m, m.tag))
		need(t, c.check(t.Context(), other, other.tag))
	}
	guesses.whenBack(t, clients[0])
}

// guesser is a node that may answer tags as they were, and what it knows of some.
type guesser struct {
	*client
	server *harness.Server
	pusher *client // with the right to push
	known  image   // moved by another node before this one read it last
	unread image   // pushed by another node, and never read through this one
	own    image   // read through this node, then moved through it
}

// prepareStale lets such a node read some tags, which others push and move.
func prepareStale(t *testing.T, other *client, s *harness.Server) *guesser {
	const repo = "ha/quorum"
	g := &guesser{client: newClient(s), server: s, pusher: newClient(s), known: newImage(repo, "moved"), unread: newImage(repo, "unread"), own: newImage(repo, "own")}
	g.pusher.logIn(t, repo)
	g.logInFor(t, repo, "pull")
	before := newImage(repo, g.known.tag)
	need(t, other.push(t.Context(), before))
	need(t, g.check(t.Context(), before, before.tag))
	need(t, other.push(t.Context(), g.known))
	need(t, g.check(t.Context(), g.known, g.known.tag))
	need(t, other.push(t.Context(), g.unread))
	before = newImage(repo, g.own.tag)
	need(t, other.push(t.Context(), before))
	need(t, g.check(t.Context(), before, before.tag))
	need(t, g.pusher.push(t.Context(), g.own))
	return g
}

// tag asks for a tag and answers the digest that the node says, and how old the answer is: 0 for one of now.
func (g *guesser) tag(t *testing.T, method string, m image) (digest string, age int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, g.url+"/v2/"+m.repo+"/manifests/"+m.tag, nil)
	need(t, err)
	r.Header.Set("Authorization", "Bearer "+g.token)
	res, err := g.http.Do(r)
	need(t, err)
	body, err := io.ReadAll(res.Body)
	need(t, errors.Join(err, res.Body.Close()))
	if res.StatusCode != http.StatusOK || method == http.MethodGet && digestOf(body) != res.Header.Get("Docker-Content-Digest") {
		t.Fatalf("%s of tag %s: %s %s", method, m.tag, res.Status, body)
	}
	if text := res.Header.Get("Havn-Stale"); text != "" {
		age, err = strconv.Atoi(text)
		need(t, err)
		if age < 1 || !strings.HasPrefix(res.Header.Get("Warning"), "299 - ") {
			t.Errorf("%s of tag %s: %v", method, m.tag, res.Header)
		}
	}
	return res.Header.Get("Docker-Content-Digest"), age
}

func (g *guesser) whileAway(t *testing.T) {
	t.Helper()
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		if digest, age := g.tag(t, method, g.known); digest != digestOf(g.known.manifest) || age == 0 {
			t.Errorf("%s: digest %s of %d s ago, want %s", method, digest, age, digestOf(g.known.manifest))
		}
	}
	// The image of a stale tag is pulled whole.
	need(t, g.check(t.Context(), g.known, g.known.tag))
	if !strings.Contains(g.server.Log(), "a tag is answered as it was: the database is out of reach") {
		t.Error("the log says nothing of it")
	}
	for _, m := range []image{g.unread, g.own} {
		_, err := g.get(t.Context(), "/v2/"+m.repo+"/manifests/"+m.tag)
		mustBeUnavailable(t, err)
	}
	// Who may push is told nothing that can't be kept for a push, and nothing can be pushed.
	mustBeUnavailable(t, g.pusher.push(t.Context(), g.known))
	_, err := (&client{http: g.http, url: g.url}).get(t.Context(), "/v2/"+g.known.repo+"/manifests/"+g.known.tag)
	mustBeUnavailable(t, err)
	_, err = (&client{http: g.http, url: g.url, token: g.token + "x"}).get(t.Context(), "/v2/"+g.known.repo+"/manifests/"+g.known.tag)
	var r *refused
	if !errors.As(err, &r) || r.status != http.StatusUnauthorized {
		t.Errorf("with a token that is none: %v", err)
	}
}

// whenBack moves the tag through another node. This one may take a moment to see that the database is back: until then it says that it guesses.
func (g *guesser) whenBack(t *testing.T, other *client) {
	t.Helper()
	now := newImage(g.known.repo, g.known.tag)
	need(t, other.push(t.Context(), now))
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		digest, age := g.tag(t, http.MethodGet, now)
		if age == 0 {
			if digest != digestOf(now.manifest) {
				t.Errorf("a tag that was moved is answered as %s, without a word", digest)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the database is back, and tags are still answered as they were")
		}
	}
}
