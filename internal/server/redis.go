package server

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/redis"
	"github.com/havn-registry/havn/internal/registry"
)

// newRedis makes the client of what nodes share, nil if there is no Redis. It asks nobody: one that is down holds up no start.
func newRedis(c *config.Config, log *slog.Logger, metrics prometheus.Registerer, clock func() time.Time) (*redis.Client, error) {
	if len(c.Redis.Addrs) == 0 {
		return nil, nil //nolint:nilnil // no Redis is a value of its own here
	}
	secure, err := c.RedisTLS()
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "TLS to Redis").Hint("look at redis.tls.ca_file")
	}
	user, password := c.RedisLogin()
	conf := redis.Config{
		Mode: redis.Mode(c.Redis.Mode), User: user, Password: password.Reveal(), TLS: secure,
		Master: c.Redis.Sentinel.Master, SentinelUser: c.Redis.Sentinel.User, SentinelPassword: c.Redis.Sentinel.Password.Reveal(),
		Prefix: c.Redis.Prefix, Timeout: c.Redis.Timeout, Log: log, Clock: clock, Metrics: metrics,
	}
	for _, a := range c.Redis.Addrs {
		conf.Addrs = append(conf.Addrs, a.Host)
	}
	return redis.New(conf)
}

// sharedBytes answers the cache of bytes that nodes share, nil if there is no Redis.
func sharedBytes(c *redis.Client) registry.Shared {
	if c == nil {
		return nil
	}
	return c
}

// sharedGuesses answers the counters of wrong passwords for all nodes, nil if there is no Redis.
func sharedGuesses(c *redis.Client) access.Guesses {
	if c == nil {
		return nil
	}
	return redis.NewGuesses(c, redis.GuessRules{
		FreePerPair: access.FreePerUser, LongestWait: access.LongestWait, ForgetAfter: access.ForgetAfter,
		FreePerAddress: access.FreePerAddress, Refill: access.Refill,
	})
}

// statePartly is the status of a Redis of which a part is gone around.
const statePartly = "partly unavailable"

// shared looks at Redis. It is shown, and is no reason not to be ready.
func (r *readiness) shared(ctx context.Context) State {
	took, err := r.redis.Ping(ctx)
	known := r.redis.State()
	s := State{Status: stateOf(err), Kind: "redis", Latency: milliseconds(took)}
	if known.Mode != "" {
		s.Kind = "redis " + string(known.Mode)
	}
	if err != nil {
		s.why, s.hint = cmp.Or(known.Reason, err.Error()), known.Hint
	}
	if err != nil && known.Open < known.Parts {
		s.Status = statePartly
	}
	return s
}

// redis looks at every address and writes to every part.
func (d *doctor) redis(ctx context.Context) {
	client, err := newRedis(d.c, slog.New(slog.DiscardHandler), nil, d.clock)
	if err != nil {
		d.wrong("redis", err)
		return
	}
	if client == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	report := client.Check(ctx)
	if report.Err == nil || len(report.Servers) > 1 {
		for _, s := range report.Servers {
			if s.Err != nil {
				d.add("redis", Warning, fail.HintOf(s.Err), "%s", s.Err)
			}
		}
	}
	switch {
	case report.Err != nil:
		hint := fail.HintOf(report.Err)
		if hint == "" {
			hint = "look at the servers; until then everything goes on without them"
		}
		d.add("redis", Wrong, hint, "%s", report.Err)
	case report.Slowest > d.c.Redis.Timeout:
		d.add("redis", Warning, "look at the network and the servers, or raise redis.timeout: requests do not wait so long, and go around it",
			"%s takes %s", describe(report), report.Slowest.Round(time.Microsecond))
	default:
		d.add("redis", Good, "", "%s takes %s", describe(report), report.Slowest.Round(time.Microsecond))
	}
}

func describe(r redis.Report) string {
	what := map[redis.Mode]string{redis.Single: "a server alone", redis.Sentinel: "a master found through Sentinels", redis.Cluster: "a cluster"}[r.Mode]
	return fmt.Sprintf("%s: a write to the slowest part", what)
}
