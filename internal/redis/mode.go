package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/havn-registry/havn/internal/fail"
)

// server is what one of the addresses says of itself.
type server struct {
	addr    string
	mode    Mode
	replica bool
	masters []string // that a Sentinel watches
	err     error    // why it says nothing
}

// dial finds out what the addresses are, and connects.
func (c *Client) dial(ctx context.Context) (*link, error) {
	type result struct {
		link *link
		err  error
	}
	// The library takes no context here; it ends by its own time-outs.
	done := make(chan result, 1)
	c.helped.Go(func() {
		l, err := c.linkTo(c.askAll())
		if err == nil && ctx.Err() != nil {
			l.store.close()
		}
		done <- result{l, err}
	})
	select {
	case r := <-done:
		return r.link, r.err
	case <-ctx.Done():
		return nil, fail.E(fail.Unavailable, ctx.Err(), "reach Redis")
	}
}

func (c *Client) linkTo(servers []server) (*link, error) {
	mode, addrs, master, err := c.find(servers)
	if err != nil {
		return nil, err
	}
	s, err := c.open(mode, addrs, master)
	if err != nil {
		return nil, fmt.Errorf("connect to Redis (%s): %w", mode, err)
	}
	return &link{mode: mode, store: s, circuits: newCircuits(mode, c.cfg.Prefix, c.cfg.Clock())}, nil
}

// find answers how to connect to what the servers are.
func (c *Client) find(servers []server) (mode Mode, addrs []string, master string, err error) {
	var errs []error
	var found []server
	for _, s := range servers {
		if s.err != nil {
			errs = append(errs, s.err)
		} else {
			found = append(found, s)
		}
	}
	if len(found) == 0 {
		return "", nil, "", fail.E(fail.Unavailable, telling(errs), "none of %d addresses of Redis can be used", len(servers))
	}
	mode = found[0].mode
	for _, s := range found[1:] {
		if s.mode != mode {
			return "", nil, "", fail.E(fail.Invalid, nil, "Redis at %s is %s, and at %s %s", found[0].addr, mode, s.addr, s.mode).Hint("give addresses of one kind in redis.addrs")
		}
	}
	switch {
	case c.cfg.Mode != Auto && c.cfg.Mode != mode:
		return "", nil, "", fail.E(fail.Invalid, nil, "Redis at %s is %s, and redis.mode says %s", found[0].addr, mode, c.cfg.Mode).
			Hint("set redis.mode to auto, or give the right addresses")
	case mode == Cluster:
		return mode, c.cfg.Addrs, "", nil
	case mode == Sentinel:
		master, err = c.masterOf(found[0])
		return mode, c.cfg.Addrs, master, err
	}
	for _, s := range found {
		if !s.replica {
			return mode, []string{s.addr}, "", nil
		}
	}
	return "", nil, "", fail.E(fail.Unavailable, nil, "Redis at %s is a replica, and no master among redis.addrs answers", found[0].addr).
		Hint("give the master's address too, or those of its Sentinels")
}

// telling answers the error that says most: what a server answered, rather than that one does not.
func telling(errs []error) error {
	for _, err := range errs {
		if text := answered(""); errors.As(err, &text) {
			return err
		}
	}
	return errs[0]
}

// masterOf answers the name of the master to ask Sentinels for.
func (c *Client) masterOf(s server) (string, error) {
	switch {
	case c.cfg.Master != "" && !slices.Contains(s.masters, c.cfg.Master):
		return "", fail.E(fail.Invalid, nil, "Sentinel %s knows no master %q", s.addr, c.cfg.Master).Hint("it knows %s: see redis.sentinel.master", strings.Join(s.masters, ", "))
	case c.cfg.Master != "":
		return c.cfg.Master, nil
	case len(s.masters) == 1:
		return s.masters[0], nil
	}
	return "", fail.E(fail.Invalid, nil, "Sentinel %s watches %d masters", s.addr, len(s.masters)).
		Hint("name one of them in redis.sentinel.master: %s", strings.Join(s.masters, ", "))
}

// askAll asks all addresses at once, and answers in their order.
func (c *Client) askAll() []server {
	all := make([]server, len(c.cfg.Addrs))
	var asked sync.WaitGroup
	for i, addr := range c.cfg.Addrs {
		asked.Go(func() { all[i] = c.ask(addr) })
	}
	asked.Wait()
	return all
}

// ask asks one address what it is: as the user of the servers, and if that is not let in as the one of Sentinels.
func (c *Client) ask(addr string) server {
	s := c.askAs(addr, c.cfg.User, c.cfg.Password)
	if s.err == nil || c.cfg.SentinelUser == c.cfg.User && c.cfg.SentinelPassword == c.cfg.Password {
		return s
	}
	if as := c.askAs(addr, c.cfg.SentinelUser, c.cfg.SentinelPassword); as.err == nil && as.mode == Sentinel {
		return as
	}
	return s
}

func (c *Client) askAs(addr, user, password string) server {
	s := server{addr: addr}
	o := c.options([]string{addr}, user, password)
	o.ForceSingleClient = true
	client, err := rueidis.NewClient(o)
	if err != nil {
		s.err = fmt.Errorf("ask %s: %w", addr, classify(err))
		return s
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	facts, err := hello(ctx, client)
	if err == nil {
		s.replica = facts["role"] == "replica" || facts["role"] == "slave"
		switch facts["mode"] {
		case "cluster":
			s.mode = Cluster
		case "sentinel":
			s.mode = Sentinel
			s.masters, err = watched(ctx, client)
		default:
			s.mode = Single
		}
	}
	if err != nil {
		s.err = fmt.Errorf("ask %s: %w", addr, classify(err))
	}
	return s
}

// hello answers mode and role. Servers before 6 have no HELLO, and say it in INFO.
func hello(ctx context.Context, client rueidis.Client) (map[string]string, error) {
	facts := map[string]string{}
	answer, err := client.Do(ctx, client.B().Arbitrary("HELLO").Build()).AsMap()
	if err == nil {
		for _, name := range []string{"mode", "role"} {
			value, ok := answer[name]
			if !ok {
				continue // Sentinels have no role
			}
			if facts[name], err = value.ToString(); err != nil {
				return nil, err
			}
		}
		return facts, nil
	}
	if reply := (*rueidis.RedisError)(nil); !errors.As(err, &reply) {
		return nil, err
	}
	info, err := client.Do(ctx, client.B().Info().Build()).ToString()
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(info) {
		switch key, value, _ := strings.Cut(strings.TrimSpace(line), ":"); key {
		case "redis_mode":
			facts["mode"] = value
		case "role":
			facts["role"] = value
		}
	}
	return facts, nil
}

// watched answers the names of the masters that a Sentinel knows.
func watched(ctx context.Context, client rueidis.Client) ([]string, error) {
	list, err := client.Do(ctx, client.B().Arbitrary("SENTINEL", "MASTERS").Build()).ToArray()
	if err != nil {
		return nil, err
	}
	var names []string
	for i := range list {
		master, mapErr := list[i].AsStrMap()
		if mapErr != nil {
			return nil, mapErr
		}
		names = append(names, master["name"])
	}
	return names, nil
}
