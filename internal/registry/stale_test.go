package registry

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// TestATagIsGuessedOnlyWhileTheDatabaseIsKnownToBeAway: one question that it did not answer is not enough.
func TestATagIsGuessedOnlyWhileTheDatabaseIsKnownToBeAway(t *testing.T) {
	t.Parallel()
	now := time.Now()
	clock := func() time.Time { return now }
	lost := fail.E(fail.Unavailable, nil, "no server can be used")
	name, tag := parsed(t, "app", "v1")
	m := remembered("v1", 1)
	digest := oci.Reference{Digest: m.Descriptor.Digest}
	for what, c := range map[string]struct {
		allowed time.Duration
		age     time.Duration
		lost    error
		exact   bool
		want    bool
	}{
		"young enough":                  {time.Minute, time.Minute, lost, false, true},
		"from a clock that went back":   {time.Minute, -time.Second, lost, false, true},
		"too old":                       {time.Minute, time.Minute + 1, lost, false, false},
		"not allowed":                   {0, 0, lost, false, false},
		"the database may yet answer":   {time.Minute, time.Second, nil, false, false},
		"this process alone may answer": {time.Minute, time.Second, lost, true, false},
	} {
		r := &Registry{
			cfg: Config{StaleTags: c.allowed, Clock: clock, Lost: func() error { return c.lost }}, recent: newRecent(c.exact, clock), metrics: newMetrics(nil),
			stale: stale{clock: clock, log: slog.New(slog.DiscardHandler)},
		}
		got := r.remembered(t.Context(), name, tag, m, now.Add(-c.age))
		if (got != nil) != c.want || got != nil && (!got.Outage || got.Age != max(0, c.age) || got.Descriptor.Digest != m.Descriptor.Digest) {
			t.Errorf("%s: %+v", what, got)
		}
		if got = r.remembered(t.Context(), name, digest, m, time.Time{}); got == nil || !got.Outage || got.Age != 0 {
			t.Errorf("%s, by digest: %+v", what, got)
		}
		if m.Outage {
			t.Fatal("what is kept was changed")
		}
	}
}

func TestStaleAnswersAreLoggedButNotEachOfMany(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var log bytes.Buffer
	s := &stale{clock: func() time.Time { return now }, log: slog.New(slog.NewTextHandler(&log, nil))}
	name, tag := parsed(t, "app", "v1")
	for range 2 {
		for range 1000 {
			s.answered(t.Context(), name, tag, time.Minute)
		}
		now = now.Add(staleLogEvery)
	}
	if got := log.String(); strings.Count(got, "\n") != 2 || !strings.Contains(got, "answers=1\n") || !strings.Contains(got, "answers=1000\n") {
		t.Error(got)
	}
}
