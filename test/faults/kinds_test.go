package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/request"
)

// upload is one that a client goes on with, piece by piece.
type upload struct {
	repo, location string // the location that was answered last
	sent           []byte // all that was acknowledged
	maybe          []byte // and what was sent behind it, without an answer
}

// acknowledged counts what clients were told, of every kind.
func (l *ledger) acknowledged() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.images) + len(l.deleted) + l.sent
}

// advances waits until each client may have been told something.
func (l *ledger) advances(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(harness.Patience); l.acknowledged() < before+pushers/4; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nothing was acknowledged within %s", harness.Patience)
		}
	}
}

// clients runs some until the context ends or they are cut off.
func (l *ledger) clients(ctx context.Context, s *harness.Server, n int, seed uint64, run func(ctx context.Context, c *client, source *rand.Rand, number int) error) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			c := &client{s.HTTP(), s.URL}
			defer c.http.CloseIdleConnections()
			source := rand.New(rand.NewPCG(seed, uint64(i)))
			for ctx.Err() == nil {
				if err := run(ctx, c, source, i); err != nil {
					l.mu.Lock()
					l.cut++
					if !l.explained(err) {
						l.wrong = append(l.wrong, err.Error())
					}
					l.mu.Unlock()
					return
				}
			}
		})
	}
	all.Wait()
}

// tagging gives more tags to images that are there, and takes every third away again.
func (l *ledger) tagging(ctx context.Context, s *harness.Server, n int, seed uint64) {
	l.mu.Lock()
	var there []image
	for _, m := range l.images {
		there = append(there, m)
	}
	l.mu.Unlock()
	l.clients(ctx, s, n, seed, func(ctx context.Context, c *client, source *rand.Rand, _ int) error {
		m := there[source.IntN(len(there))]
		l.mu.Lock()
		l.next++
		m.tag = fmt.Sprintf("t%d", l.next)
		name := m.repo + ":" + m.tag
		l.begun[name] = m
		l.mu.Unlock()
		path := "/v2/" + m.repo + "/manifests/" + m.tag
		if _, err := c.do(ctx, http.MethodPut, path, request.Manifest, m.manifest, http.StatusCreated); err != nil {
			return err
		}
		if source.IntN(3) > 0 {
			l.mu.Lock()
			l.images[name] = m
			l.mu.Unlock()
			return nil
		}
		if _, err := c.do(ctx, http.MethodDelete, path, "", nil, http.StatusAccepted); err != nil {
			return err
		}
		l.mu.Lock()
		l.deleted[name] = true
		l.mu.Unlock()
		return nil
	})
}

// pieces sends uploads piece by piece, without an end.
func (l *ledger) pieces(ctx context.Context, s *harness.Server, n int, seed uint64) {
	mine := make([]*upload, n)
	l.clients(ctx, s, n, seed, func(ctx context.Context, c *client, source *rand.Rand, number int) error {
		u := mine[number]
		if u == nil {
			repo := fmt.Sprintf("faults/app%d", number%repositories)
			begun, err := c.do(ctx, http.MethodPost, "/v2/"+repo+"/blobs/uploads/", "", nil, http.StatusAccepted)
			if err != nil {
				return err
			}
			u = &upload{repo: repo, location: begun.Location}
			mine[number] = u
		}
		piece := noise(source, 1+source.IntN(4<<10))
		l.mu.Lock()
		u.maybe = piece
		l.mu.Unlock()
		a, err := c.do(ctx, http.MethodPatch, u.location, request.Octets, piece, http.StatusAccepted)
		if err != nil {
			return err
		}
		l.mu.Lock()
		if len(u.sent) == 0 {
			l.uploads = append(l.uploads, u)
		}
		u.location, u.sent, u.maybe = a.Location, append(u.sent, piece...), nil
		l.sent++
		l.mu.Unlock()
		return nil
	})
}

// checkPieces goes on with every upload where it stands, and ends it: what was acknowledged must be part of the blob, and what was sent behind it may be.
func (l *ledger) checkPieces(t *testing.T, c *client) {
	t.Helper()
	for _, u := range l.uploads {
		a, err := c.do(t.Context(), http.MethodGet, u.location, "", nil, http.StatusNoContent)
		if err != nil {
			t.Errorf("an upload of which %d bytes were acknowledged: %v", len(u.sent), err)
			continue
		}
		_, end, _ := strings.Cut(a.Range, "-")
		last, err := strconv.Atoi(end)
		whole := append(append([]byte{}, u.sent...), u.maybe...)
		if err != nil || last+1 < len(u.sent) || last+1 > len(whole) {
			t.Errorf("an upload stands at %q, after %d bytes were acknowledged and %d more sent: %v", a.Range, len(u.sent), len(u.maybe), err)
			continue
		}
		digest := request.Digest(whole)
		if _, err = c.do(t.Context(), http.MethodPut, a.Location+"?digest="+digest, request.Octets, whole[last+1:], http.StatusCreated); err != nil {
			t.Errorf("the end of an upload that stood at %q: %v", a.Range, err)
			continue
		}
		l.blobs[digest] = u.repo
	}
	l.uploads = nil
}
