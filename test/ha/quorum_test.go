package ha

import (
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// noQuorum takes two of three servers away: pushes are refused, soon and with a time to come again, pulls by digest of what a node served lately go on, and all of it works again when the
// servers are back.
func noQuorum(t *testing.T, g *lab.Galera, all []*harness.Server) {
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
}
