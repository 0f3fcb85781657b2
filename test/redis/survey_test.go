package redis

import (
	"fmt"
	"slices"
	"testing"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/redis"
)

// kinds answers how many servers there are of each role and state, and how many have slots.
func kinds(all []redis.Server) map[string]int {
	sum := map[string]int{}
	for _, s := range all {
		kind := s.Role + " " + s.State
		if s.Slots != "" {
			kind += " with slots"
		}
		sum[kind]++
	}
	return sum
}

// servers looks at every server through a client that is told of one, while a replica (or the only server) is killed and comes back.
func servers(t *testing.T, r *lab.Redis) {
	need(t, r.Settle(t.Context()))
	conf := account(t, r)
	conf.Addrs = conf.Addrs[:1]
	c := open(t, conf)
	well := map[lab.RedisMode]map[string]int{
		lab.RedisSingle:   {"master up": 1},
		lab.RedisSentinel: {"sentinel up": 1, "master up": 1, "replica up": 1},
		lab.RedisCluster:  {"master up with slots": 3, "replica up with slots": 3},
	}[r.Mode]
	await := func(what string, yes func([]redis.Server) bool) {
		t.Helper()
		until(t, what, func() error {
			if all := c.Servers(); !yes(all) {
				return fmt.Errorf("%+v", all)
			}
			return nil
		})
	}
	isWell := func(all []redis.Server) bool { return fmt.Sprint(kinds(all)) == fmt.Sprint(well) }
	await("all are up", isWell)
	masters := r.Masters(t.Context())
	victim := r.Nodes[0]
	for _, n := range r.Nodes[1:] {
		if !slices.Contains(masters, n) {
			victim = n
		}
	}
	victim.Kill()
	await("the one that died is down", func(all []redis.Server) bool {
		at := slices.IndexFunc(all, func(s redis.Server) bool { return s.Addr == victim.Host })
		return at >= 0 && all[at].State == "down" && all[at].Why == "refuses connections" && !all[at].Since.IsZero()
	})
	need(t, victim.Start(t.Context()))
	need(t, r.Settle(t.Context()))
	await("it is up again", isWell)
}
