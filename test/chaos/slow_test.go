package chaos

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/havn-registry/havn/test/request"
)

const (
	// slowClients is how many there are of those that push, and of those that pull: their bodies are under way for so long that faults strike them.
	slowClients = 2
	// slowBodies is how many different ones each of them sends, again and again: so what the store holds stays bounded, and what is sent a second time is garbage for the sweep.
	slowBodies          = 3
	slowLeast, slowMost = 20 << 20, 40 << 20
	// slowRate is how many bytes go in a second, and slowPiece how many at once.
	slowRate, slowPiece = 2 << 20, 64 << 10
	// slowTime is how long one request may take, with all that fails: less than what is unfinished in the store is left alone.
	slowTime  = safeTime - time.Minute
	slowRepo  = "chaos/slow"
	slowPause = time.Second
)

// body is a blob that is made of random numbers again whenever it is needed, and never held.
type body struct {
	seed   [32]byte
	size   int64
	digest string

	mu   sync.Mutex
	sent bool // it is acknowledged
}

func newBodies() []*body {
	var all []*body
	for range slowBodies {
		b := &body{seed: [32]byte([]byte(fmt.Sprintf("%-32.32s", fmt.Sprint(rand.Uint64(), rand.Uint64())))), size: slowLeast + rand.Int64N(slowMost-slowLeast)}
		hash := sha256.New()
		if _, err := io.Copy(hash, b.from(0)); err != nil {
			panic(err) // of numbers
		}
		b.digest = fmt.Sprintf("sha256:%x", hash.Sum(nil))
		all = append(all, b)
	}
	return all
}

// from answers its bytes from one on.
func (b *body) from(at int64) io.Reader {
	all := rand.NewChaCha8(b.seed)
	if _, err := io.CopyN(io.Discard, all, at); err != nil {
		panic(err) // of numbers
	}
	return io.LimitReader(all, b.size-at)
}

// first reports whether it is acknowledged for the first time.
func (b *body) first() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	before := b.sent
	b.sent = true
	return !before
}

func (b *body) acknowledged() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.sent
}

// paced passes on what it reads, as fast as a slow network does.
type paced struct {
	ctx context.Context
	in  io.Reader
}

// Read reads a little, and waits.
func (p paced) Read(b []byte) (int, error) {
	n, err := p.in.Read(b[:min(len(b), slowPiece)])
	pause(p.ctx, time.Duration(n)*time.Second/slowRate)
	return n, err
}

// pushSlowly pushes one image after the other, of which each has one of some large layers.
func (l *traffic) pushSlowly(ctx context.Context, c *client, n int, bodies []*body) {
	config := fmt.Appendf(nil, `{"slow":%d}`, n)
	for number := 0; ctx.Err() == nil; number++ {
		b := bodies[number%len(bodies)]
		text := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},`+
			`"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":%d}]}`, request.Manifest, request.Digest(config), len(config), b.digest, b.size)
		m := image{slowRepo, fmt.Sprintf("t%d-%d", n, number%len(bodies)), request.Digest(config), b.digest, request.Digest(text)}
		if c.pushBody(ctx, m.repo, b) != nil || c.pushBlob(ctx, m.repo, config) != nil || c.pushManifest(ctx, m.repo, m.tag, text) != nil {
			continue // written down, or the traffic ends
		}
		if b.first() {
			l.seen.blob(m.repo, b.digest)
			l.seen.pushed(m)
		}
		pause(ctx, slowPause)
	}
}

// pushBody sends a blob as an upload, in one or more pieces, each through another node. A piece that breaks off goes on, through any node, where the registry says that it is: what it
// took once it must not have lost.
func (c *client) pushBody(ctx context.Context, repo string, b *body) error {
	var at string
	err := c.again(ctx, func() error {
		got, err := c.once(ctx, http.MethodPost, "", "/v2/"+repo+"/blobs/uploads/", "", nil, http.StatusAccepted)
		at = got.Location
		return err
	})
	sent, moved := int64(0), time.Now()
	for err == nil && sent < b.size {
		piece := b.size - sent
		if rand.IntN(2) == 0 {
			piece = (piece + 1) / 2
		}
		got, sendErr := c.stream(ctx, http.MethodPatch, request.Path(at), io.LimitReader(b.from(sent), piece), piece, http.StatusAccepted)
		if sendErr == nil {
			at, sent, moved = got.Location, sent+piece, time.Now()
			continue
		}
		if err = c.breaks(ctx, sendErr, moved); err != nil {
			return err
		}
		before := sent
		if at, sent, err = c.where(ctx, at); err == nil && sent < before {
			err = fmt.Errorf("upload %s is at byte %d, and %d were acknowledged", at, sent, before)
			c.seen.wrong(err)
		}
		if sent > before {
			moved = time.Now()
		}
	}
	if err != nil {
		return err
	}
	return c.again(ctx, func() error {
		_, endErr := c.once(ctx, http.MethodPut, "", request.Path(at)+"?digest="+b.digest, "", nil, http.StatusCreated)
		return endErr
	})
}

// breaks decides about a piece that broke off: nil if it is to go on where it is. A node that was cut off may have taken another part of the same piece than this client knows of.
func (c *client) breaks(ctx context.Context, err error, moved time.Time) error {
	var r *request.Refused
	switch {
	case ctx.Err() != nil:
		return err
	case !request.Passes(err) && (!errors.As(err, &r) || r.Status != http.StatusRequestedRangeNotSatisfiable):
	case time.Since(moved) > clientPatience:
		err = fmt.Errorf("not moved for %s: %w", clientPatience, err)
	default:
		c.unknown++
		c.seen.retried(err)
		pause(ctx, retryPause)
		return nil
	}
	c.seen.wrong(err)
	return err
}

// where asks any node how far an upload is, and where it goes on.
func (c *client) where(ctx context.Context, at string) (location string, sent int64, err error) {
	err = c.again(ctx, func() error {
		got, askErr := c.once(ctx, http.MethodGet, "", request.Path(at), "", nil, http.StatusNoContent)
		if askErr != nil {
			return askErr
		}
		location, sent = got.Location, 0
		if got.Range == "0-0" {
			return nil // nothing: nobody sends a single byte
		}
		if _, scanErr := fmt.Sscanf(got.Range, "0-%d", &sent); scanErr != nil {
			return &request.Refused{Request: "the Range of an upload: GET " + at, Answer: got}
		}
		sent++
		return nil
	})
	return location, sent, err
}

// stream sends a body slowly, through any node.
func (c *client) stream(ctx context.Context, method, path string, in io.Reader, size int64, want int) (got request.Answer, err error) {
	bounded, cancel := context.WithTimeout(ctx, slowTime)
	defer cancel()
	err = c.at(ctx, "", func(node string) (answered bool, doErr error) {
		var answer io.ReadCloser
		got, answer, doErr = request.Send(bounded, c.http, method, node+path, request.Octets, paced{bounded, in}, size, want)
		if doErr == nil {
			doErr = answer.Close()
		}
		return got.Status != 0, doErr
	})
	return got, err
}

// pullSlowly pulls one large layer after the other. While nothing but the store fails a pull that has begun must not break off: the node waits, and goes on where it was.
func (l *traffic) pullSlowly(ctx context.Context, c *client, n int, bodies []*body) {
	for number := n; ctx.Err() == nil; number++ {
		b := bodies[number%len(bodies)]
		if b.acknowledged() {
			l.pullBody(ctx, c, b)
		}
		pause(ctx, slowPause)
	}
}

func (l *traffic) pullBody(ctx context.Context, c *client, b *body) {
	path, hash := "/v2/"+slowRepo+"/blobs/"+b.digest, sha256.New()
	stream, err := c.open(ctx, path)
	if err != nil {
		return // written down, or the traffic ends
	}
	begun := time.Now()
	size, err := io.Copy(hash, paced{ctx, stream})
	err = errors.Join(err, stream.Close())
	digest := fmt.Sprintf("sha256:%x", hash.Sum(nil))
	switch {
	case ctx.Err() != nil:
	case err != nil && l.storm.spares(begun):
		l.seen.wrong(fmt.Errorf("%s: broken off after %s and %d of %d bytes, and nothing but the store failed: %w", path, time.Since(begun), size, b.size, err))
	case err != nil:
		l.seen.retried(err)
	case digest != b.digest:
		l.seen.wrong(fmt.Errorf("%s: %d bytes with digest %s", path, size, digest))
	default:
		l.seen.pulled()
	}
}

// opened is an answer that is read for as long as it takes, up to slowTime.
type opened struct {
	io.ReadCloser
	cancel context.CancelFunc
}

// Close ends the request too.
func (o opened) Close() error {
	defer o.cancel()
	return o.ReadCloser.Close()
}

// open asks for a body, again and again until one begins to come.
func (c *client) open(ctx context.Context, path string) (stream io.ReadCloser, err error) {
	err = c.again(ctx, func() error {
		bounded, cancel := context.WithTimeout(ctx, slowTime)
		late := time.AfterFunc(attemptTime, cancel)
		doErr := c.at(ctx, "", func(node string) (answered bool, sendErr error) {
			var got request.Answer
			got, stream, sendErr = request.Send(bounded, c.http, http.MethodGet, node+path, "", nil, 0, http.StatusOK)
			return got.Status != 0, sendErr
		})
		if !late.Stop() && doErr == nil {
			doErr = errors.Join(context.DeadlineExceeded, stream.Close())
		}
		if doErr != nil {
			cancel()
			return doErr
		}
		stream = opened{stream, cancel}
		return nil
	})
	return stream, err
}

const (
	// storeAway and storeHangs are for how long a store may be away, or hang, without a pull under way breaking off: a node tries for ten seconds, from when it sees that something is wrong.
	storeAway  = 8 * time.Second
	storeHangs = 22 * time.Second
	// lateEnd is how long after another fault a node may still end, that learns then that it was declared dead.
	lateEnd = 15 * time.Second
)

// storm is what fails now, as far as pulls under way are concerned.
type storm struct {
	mu    sync.Mutex
	other bool      // something fails that is not the store
	until time.Time // when it did last
	store time.Time // since when the store fails, zero: it does not
	most  time.Duration
}

// begins notes a fault before it happens.
func (s *storm) begins(f fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.ofStore() {
		s.other = true
		return
	}
	s.store, s.most = time.Now(), storeAway
	if f.hang {
		s.most = storeHangs
	}
}

// ends notes that what failed is made good.
func (s *storm) ends() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); s.other || !s.store.IsZero() && now.Sub(s.store) > s.most {
		s.until = now
	}
	s.other, s.store = false, time.Time{}
}

// spares reports whether a pull that began at a time, and broke off now, should have gone on.
func (s *storm) spares(begun time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	away := !s.store.IsZero() && time.Since(s.store) > s.most
	return !s.other && !away && begun.After(s.until.Add(lateEnd))
}
