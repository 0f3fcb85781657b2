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
