package distapi_test

import (
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// outage takes the database away from a service that answers tags as they were for so long.
func outage(t *testing.T, stale time.Duration) (s *service, away *atomic.Bool) {
	t.Helper()
	away = &atomic.Bool{}
	return start(t, func(set *settings) {
		set.registry.StaleTags = stale
		set.registry.Lost = func() error {
			if away.Load() {
				return fail.E(fail.Unavailable, nil, "no server of the database can be used")
			}
			return nil
		}
	}), away
}

func TestATagIsAnsweredAsItWasWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	s, away := outage(t, 10*time.Minute)
	digest := s.pushImage("app", "v1")
	s.pushImage("other", "v1")
	pulls, pushes, others := s.token("repository:app:pull"), s.token("repository:app:pull,push"), s.token("repository:other:pull")
	const path = "/v2/app/manifests/v1"
	fresh := func(a *answer) {
		t.Helper()
		a.is(http.StatusOK).has("Docker-Content-Digest", digest).has("Havn-Stale", "").has("Warning", "")
	}
	fresh(s.do(http.MethodGet, path, nil, bearer(pulls)))
	fresh(s.do(http.MethodHead, path, nil, bearer(pulls)))
	s.clock.advance(5 * time.Minute)
	fresh(s.do(http.MethodGet, path, nil, bearer(pulls))) // from here on it is known
	away.Store(true)
	s.clock.advance(37 * time.Second)

	for _, method := range []string{http.MethodGet, http.MethodHead} {
		got := s.do(method, path, nil, bearer(pulls)).is(http.StatusOK).has("Docker-Content-Digest", digest)
		if age, err := strconv.Atoi(got.header.Get("Havn-Stale")); err != nil || age < 37 || age > 100 {
			t.Errorf("%s: age %q", method, got.header.Get("Havn-Stale"))
		}
		if w := got.header.Get("Warning"); !strings.HasPrefix(w, `299 - "`) || !strings.Contains(w, got.header.Get("Havn-Stale")+" s ago") {
			t.Errorf("%s: warning %q", method, w)
		}
		if method == http.MethodGet && string(got.body) != image("") {
			t.Errorf("%s", got.body)
		}
	}
	if !strings.Contains(s.log.String(), "a tag is answered as it was") || !strings.Contains(s.log.String(), "repository=library/app tag=v1") {
		t.Errorf("the log is\n%s", s.log)
	}
	// A digest is what it is.
	fresh(s.do(http.MethodGet, "/v2/app/manifests/"+digest, nil, bearer(pulls)))
	fresh(s.do(http.MethodHead, "/v2/app/manifests/"+digest, nil, bearer(pulls)))
	s.do(http.MethodGet, path, nil, bearer(pulls), header("If-None-Match", `"`+digest+`"`)).is(http.StatusNotModified)
	// Nobody may more than with a database.
	s.do(http.MethodGet, path, nil, bearer(others)).is(http.StatusUnauthorized)
	s.do(http.MethodGet, path, nil, bearer(pulls+"x")).is(http.StatusUnauthorized)

	// What is too old counts no more.
	s.clock.advance(9*time.Minute + 30*time.Second)
	s.do(http.MethodGet, path, nil, bearer(s.token("repository:app:pull"))).is(http.StatusServiceUnavailable, "UNAVAILABLE").has("Retry-After", "5").has("Havn-Stale", "")
	away.Store(false)
	fresh(s.do(http.MethodGet, path, nil, bearer(pushes)))

	// While the database answers, a tag is what it says, however young the memory is.
	moved := s.putManifest("app", "v1", image(`,"annotations":{"a":"b"}`)).is(http.StatusCreated).header.Get("Docker-Content-Digest")
	s.do(http.MethodGet, path, nil, bearer(pushes)).is(http.StatusOK).has("Docker-Content-Digest", moved).has("Havn-Stale", "")
}

// TestAPushIsNotToldWhatCannotBeKept: nobody can keep a manifest for a push while the database is away.
func TestAPushIsNotToldWhatCannotBeKept(t *testing.T) {
	t.Parallel()
	s, away := outage(t, 10*time.Minute)
	s.pushImage("app", "v1")
	pulls, pushes := s.token("repository:app:pull"), s.token("repository:app:pull,push")
	s.do(http.MethodGet, "/v2/app/manifests/v1", nil, bearer(pulls)).is(http.StatusOK)
	away.Store(true)
	s.ok(s.db.Close())
	s.do(http.MethodHead, "/v2/app/manifests/v1", nil, bearer(pulls)).is(http.StatusOK)
	if got := s.do(http.MethodHead, "/v2/app/manifests/v1", nil, bearer(pushes)); got.status < http.StatusInternalServerError || got.header.Get("Havn-Stale") != "" {
		t.Errorf("a push is told %d, %v", got.status, got.header)
	}
}

func TestATagIsRefusedWhileTheDatabaseIsAwayUnlessItMayBeStale(t *testing.T) {
	t.Parallel()
	s, away := outage(t, 0)
	digest := s.pushImage("app", "v1")
	pulls := s.token("repository:app:pull")
	s.do(http.MethodGet, "/v2/app/manifests/v1", nil, bearer(pulls)).is(http.StatusOK)
	away.Store(true)
	s.do(http.MethodGet, "/v2/app/manifests/v1", nil, bearer(pulls)).is(http.StatusServiceUnavailable, "UNAVAILABLE").has("Retry-After", "5").has("Havn-Stale", "")
	s.do(http.MethodHead, "/v2/app/manifests/v1", nil, bearer(pulls)).is(http.StatusServiceUnavailable)
	s.do(http.MethodGet, "/v2/app/manifests/"+digest, nil, bearer(pulls)).is(http.StatusOK).has("Havn-Stale", "")
}
