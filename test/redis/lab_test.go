package redis

import (
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// need ends the test with what to do if a service could not be started.
func need(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fail.HintOf(err))
	}
}

// start starts servers that end with the test.
func start(t *testing.T, o lab.RedisOptions) *lab.Redis {
	t.Helper()
	r, err := lab.StartRedis(t.Context(), o)
	need(t, err)
	t.Cleanup(func() {
		if stopErr := r.Stop(); stopErr != nil {
			t.Error(stopErr)
		}
	})
	return r
}

func TestTheLabLosesMastersAndGetsThemBack(t *testing.T) {
	for _, o := range []lab.RedisOptions{{Mode: lab.RedisSentinel}, {Mode: lab.RedisSentinel, TLS: true}, {Mode: lab.RedisCluster, TLS: true}} {
		name := string(o.Mode)
		if o.TLS {
			name += " with TLS"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, o)
			masters := r.Masters(t.Context())
			if want := (len(r.Nodes) + 1) / 2; len(masters) != want {
				t.Fatalf("%d masters, want %d", len(masters), want)
			}
			if o.Mode == lab.RedisCluster {
				need(t, r.Reshard(t.Context(), masters[0], masters[1], 20))
			}
			lost := masters[len(masters)-1]
			lost.Kill()
			need(t, r.Moved(t.Context(), lost))
			need(t, lost.Restart(t.Context()))
			need(t, r.Settle(t.Context()))
			for _, m := range r.Masters(t.Context()) {
				if m == lost {
					t.Error("a server that comes back empty is a master again")
				}
			}
		})
	}
}
