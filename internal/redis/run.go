package redis

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// probeEvery is the pause between two looks at parts that do not answer: as soon as the cluster has a new master, it is used.
	probeEvery = 100 * time.Millisecond
	// probeTime is what a probe gives the library at least, for new connections too. It counts as well only if it took no longer than a request waits.
	probeTime = 250 * time.Millisecond
	probeLife = time.Minute
	// renewAfter is how long a part may be gone around before everything begins anew: addresses, mode, connections. Longer than any failover.
	renewAfter = 10 * time.Second
	renewPause = 10 * time.Second
	// wellAfter is how long nothing was gone around before the log says that all is well: what comes and goes is said once.
	wellAfter = 3 * time.Second
	// dialPause is the first pause between two tries to reach Redis at all; it doubles up to dialPauseMost.
	dialPause     = 100 * time.Millisecond
	dialPauseMost = 2 * time.Second
)

// Run connects, keeps looking at what does not answer and, more slowly, at every server, and writes what was put. It ends with the context; nothing is under way then.
func (c *Client) Run(ctx context.Context) error {
	var group errgroup.Group
	group.Go(func() error {
		c.keep(ctx)
		return nil
	})
	group.Go(func() error {
		c.survey(ctx)
		return nil
	})
	for range writers {
		group.Go(func() error {
			c.write(ctx)
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	l := c.link.Swap(nil)
	for range maxUnderWay { // those under way end, and none begins any more
		c.places <- struct{}{}
	}
	if l != nil {
		l.store.close()
	}
	c.helped.Wait()
	return nil
}

// keep has a link made, and another one when that does not help any more.
func (c *Client) keep(ctx context.Context) {
	pause := dialPause
	for wait(ctx, 0) {
		fresh, err := c.connect(ctx)
		switch {
		case err == nil:
			pause = dialPause
			for range 2 { // the first makes the connections, the second is quick
				c.probe(ctx, fresh)
			}
			c.use(ctx, fresh)
		case ctx.Err() != nil:
			return
		default:
			c.warn("Redis can't be used: everything goes on without it", err)
			if c.link.Load() == nil {
				wait(ctx, pause)
				pause = min(2*pause, dialPauseMost)
				continue
			}
		}
		c.watch(ctx, c.link.Load())
	}
}

// use makes a link the one that is used. Operations on the former one may still be under way: they end by their time. Closing one that hangs takes a second.
func (c *Client) use(ctx context.Context, l *link) {
	former := c.link.Swap(l)
	c.gauge(l)
	if former != nil {
		c.helped.Go(former.store.close)
	}
	switch open := openOf(l); {
	case open == 0:
		c.well(l)
	case ctx.Err() == nil:
		c.warn("not all of Redis can be used: requests go around that", c.lastError(), "mode", string(l.mode), "parts", len(l.circuits), "open", open)
	}
}

// lastError answers what went wrong last, which was at a probe: nothing else is done before a link is used.
func (c *Client) lastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return fail.E(fail.Unavailable, nil, "%s", c.reason).Hint("%s", c.hint)
}

// watch probes the open parts until the context ends or one of them has been open for so long that a new link is worth a try.
func (c *Client) watch(ctx context.Context, l *link) {
	begin := c.cfg.Clock()
	opened := begin // when a part was seen open last
	for wait(ctx, probeEvery) {
		now := c.cfg.Clock()
		if openOf(l) == 0 {
			if now.Sub(opened) > wellAfter {
				c.well(l)
			}
			continue
		}
		opened = now
		c.probe(ctx, l)
		c.gauge(l)
		now = c.cfg.Clock()
		for _, part := range l.circuits {
			if part.openFor(now) > renewAfter && now.Sub(begin) > renewPause {
				return
			}
		}
	}
}

// probe asks all open parts at once, and closes those that answer as quickly as a request wants it.
func (c *Client) probe(ctx context.Context, l *link) {
	var all sync.WaitGroup
	for _, part := range l.circuits {
		if !part.open.Load() || !part.rested(c.cfg.Clock()) {
			continue
		}
		all.Go(func() {
			bounded, cancel := context.WithTimeout(ctx, max(probeTime, c.cfg.Timeout))
			defer cancel()
			for _, key := range part.probes {
				begin := c.cfg.Clock()
				err := probe(bounded, l.store, key)
				if err != nil {
					if ctx.Err() == nil {
						c.note(err)
					}
					return
				}
				if took := c.cfg.Clock().Sub(begin); took > c.cfg.Timeout {
					c.note(tooSlow())
					return
				}
			}
			part.close(c.cfg.Clock())
		})
	}
	all.Wait()
}

// tooSlow is why a part that answers is gone around, always in the same words.
func tooSlow() error {
	return fail.E(fail.Unavailable, nil, "Redis answers too slowly").Hint("look at the network and the servers, or raise redis.timeout: requests do not wait so long, and go around it")
}

// probe writes, because a replica answers reads too. One that is full is well: it answers.
func probe(ctx context.Context, s store, key string) error {
	err := s.set(ctx, key, []byte("1"), probeLife)
	if fail.Is(err, fail.Exhausted) {
		return nil
	}
	return err
}

// write stores what was put, one after the other.
func (c *Client) write(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case w := <-c.later:
			key := c.cfg.Prefix + w.key
			// Nobody waits for it, so a slow answer is no reason to go around, nor one to ask on.
			if _, err := operate(ctx, c, "put", key, laterTime, func(ctx context.Context, s store) (struct{}, error) {
				return struct{}{}, s.set(ctx, key, w.value, w.life)
			}); err != nil {
				c.cfg.Log.Debug("not stored in Redis", "key", key, "error", err.Error())
			}
			c.queued.Add(-int64(len(w.value)))
		}
	}
}

// wait waits; false: the context ended.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
