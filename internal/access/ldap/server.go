package ldap

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// A server that failed is not asked for restFirst, twice as long after each further failure, up to restMost; after that by one request at a time, as long as others answer.
	restFirst = 5 * time.Second
	restMost  = time.Minute
	// idleLife is how long a connection stays open that nobody needs, if others are used.
	idleLife = time.Minute
	// idlePing is after how long without a question a connection is tried before it is used: servers and firewalls end those that are silent, not always audibly.
	idlePing = 10 * time.Second
	// pingTime is what such a try may take; a server that needs longer gets a new connection.
	pingTime = time.Second
	// connectionLife ends connections, so that names are looked up again and a changed password of the search account is noticed.
	connectionLife = 10 * time.Minute
	// kindLife is how long it is believed which kind of directory a server is.
	kindLife = time.Hour
)

// server is one of the directory's servers: what is known of it, and connections to it on which the search account is logged in. It is safe for concurrent use.
type server struct {
	address
	plan *plan

	mu       sync.Mutex
	idle     []*conn
	closed   bool
	failures int
	until    time.Time // when it may be asked again, after a failure
	ad       bool
	learned  time.Time // when ad was, zero: never
}

// ready reports whether the server is to be asked as if it were well. One that failed is, once its rest is over: the caller tries it, and others leave it alone for as long again.
func (s *server) ready(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failures == 0 {
		return true
	}
	if now.Before(s.until) {
		return false
	}
	s.until = now.Add(rest(s.failures))
	return true
}

func rest(failures int) time.Duration {
	return min(restMost, restFirst<<min(failures-1, 10))
}

// failed keeps others from asking for a while, and closes what is open.
func (s *server) failed(ctx context.Context, err error) {
	s.mu.Lock()
	s.failures++
	pause := rest(s.failures)
	s.until = s.plan.Clock().Add(pause)
	first := s.failures == 1
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
	if first {
		s.plan.Log.WarnContext(ctx, "LDAP server failed", "server", s.url, "error", err, "hint", fail.HintOf(s.plan.unavailable(s.address, err)), "rests", pause)
	}
}

func (s *server) succeeded(ctx context.Context) {
	s.mu.Lock()
	back := s.failures > 0
	s.failures = 0
	s.mu.Unlock()
	if back {
		s.plan.Log.InfoContext(ctx, "LDAP server answers again", "server", s.url)
	}
}

// get answers a connection on which the search account is logged in. used: it was in use before, and may have broken since.
func (s *server) get(ctx context.Context) (c *conn, used bool, err error) {
	for {
		if c = s.take(); c == nil {
			c, err = s.open(ctx)
			return c, false, err
		}
		now := s.plan.Clock()
		fresh := !c.lib.IsClosing() && now.Sub(c.born) < connectionLife
		if fresh && (now.Sub(c.idle) < idlePing || c.ping(ctx, min(pingTime, s.plan.Timeout)) == nil) {
			return c, true, nil
		}
		c.close()
	}
}

func (s *server) take() *conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.idle)
	if n == 0 {
		return nil
	}
	c := s.idle[n-1]
	s.idle = s.idle[:n-1]
	return c
}

// put gives back a connection that works. The one that was used last is used next, so that those that are too many grow old.
func (s *server) put(c *conn) {
	now := s.plan.Clock()
	c.idle = now
	var over []*conn
	s.mu.Lock()
	s.idle = append(s.idle, c)
	for len(s.idle) > 0 && (s.closed || now.Sub(s.idle[0].idle) > idleLife) {
		over, s.idle = append(over, s.idle[0]), s.idle[1:]
	}
	s.mu.Unlock()
	for _, c = range over {
		c.close()
	}
}

// open makes a connection, logs the search account in, and asks what kind of directory this is where that is not known yet.
func (s *server) open(ctx context.Context) (*conn, error) {
	c, err := connect(ctx, s.address, s.plan)
	if err != nil {
		return nil, err
	}
	if s.plan.SearchDN != "" {
		err = at(stepBind, c.bind(ctx, s.plan.SearchDN, s.plan.SearchPassword))
	}
	if err == nil && s.plan.Nested == NestedAuto && s.plan.Clock().Sub(s.knownSince()) >= kindLife {
		var ad bool
		if ad, err = c.isAD(ctx); !away(err) {
			s.learn(ad) // whoever does not say is none
			err = nil
		}
		err = at(stepLearn, err)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

func (s *server) knownSince() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.learned
}

func (s *server) learn(ad bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ad, s.learned = ad, s.plan.Clock()
}

// chains reports whether the server itself finds groups in groups.
func (s *server) chains() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.plan.Nested == NestedChain || s.plan.Nested == NestedAuto && s.ad
}

// ask runs questions on a connection of the search account.
func (s *server) ask(ctx context.Context, questions func(ctx context.Context, c *conn) error) error {
	for {
		c, used, err := s.get(ctx)
		if err == nil {
			if err = questions(ctx, c); !broken(err) {
				s.put(c)
			} else {
				c.close()
			}
		}
		switch {
		case !away(err):
			s.succeeded(ctx)
			return err
		case ctx.Err() != nil: // the caller gave up: that says nothing of the server
			return err
		case used && broken(err) && !errors.Is(err, context.DeadlineExceeded):
			continue // it broke while nobody used it, for whatever reason: a new one tells
		}
		s.failed(ctx, err)
		return err
	}
}

// check asks the server whether this is somebody's password, on a connection that is used for nothing else.
func (s *server) check(ctx context.Context, dn, password string) error {
	c, err := connect(ctx, s.address, s.plan)
	if err == nil {
		err = at(stepLogin, c.bind(ctx, dn, password))
		c.close()
	}
	switch {
	case !away(err):
		s.succeeded(ctx)
	case ctx.Err() == nil:
		s.failed(ctx, err)
	}
	return err
}

// close closes connections that nobody uses, now and later.
func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}
