package distapi_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/sqldb"
)

// noted is an audit log that a test reads.
type noted struct {
	mu    sync.Mutex
	lines []string
}

func (n *noted) Add(l audit.Line) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf("%s %s %s %s in %s from %s", l.Subject, l.Operation, l.Kind, l.Resource, l.In, l.Addr))
}

func (n *noted) AddPull(subject, project, name, ref string, addr netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = append(n.lines, fmt.Sprintf("%s pull %s %s in %s from %s", subject, name, ref, project, addr))
}

func TestWhatPeopleDoIsAudited(t *testing.T) {
	log := &noted{}
	s := start(t, func(set *settings) { set.api.Audit = log })
	d := s.pushImage("app", "v1")
	s.putManifest("app", d, image("")).is(http.StatusCreated)
	s.do(http.MethodGet, "/v2/app/manifests/v1", nil).is(http.StatusOK)
	s.do(http.MethodGet, "/v2/app/manifests/"+d, nil).is(http.StatusOK)
	s.do(http.MethodHead, "/v2/app/manifests/v1", nil).is(http.StatusOK)
	s.do(http.MethodGet, "/v2/app/manifests/absent", nil).is(http.StatusNotFound)
	s.do(http.MethodGet, "/v2/app/manifests/v1", nil, nobody).is(http.StatusOK) // of a public project
	s.do(http.MethodDelete, "/v2/app/manifests/v1", nil).is(http.StatusAccepted)
	s.do(http.MethodDelete, "/v2/app/manifests/"+d, nil).is(http.StatusAccepted)
	s.do(http.MethodDelete, "/v2/app/manifests/"+d, nil).is(http.StatusNotFound)
	want := []string{
		"admin create artifact library/app:v1 in library from 127.0.0.1",
		"admin create artifact library/app@" + d + " in library from 127.0.0.1",
		"admin pull library/app v1 in library from 127.0.0.1",
		"admin pull library/app " + d + " in library from 127.0.0.1",
		" pull library/app v1 in library from 127.0.0.1",
		"admin delete tag library/app:v1 in library from 127.0.0.1",
		"admin delete artifact library/app@" + d + " in library from 127.0.0.1",
	}
	if !slices.Equal(log.lines, want) {
		t.Errorf("%q", log.lines)
	}
}

// TestWhatIsDoneIsAuditedAlsoIfTheClientLeaves has the client leave just before its change is committed.
func TestWhatIsDoneIsAuditedAlsoIfTheClientLeaves(t *testing.T) {
	log := &noted{}
	var mu sync.Mutex
	var gone, leave func()
	s := start(t, func(set *settings) {
		set.api.Audit = log
		set.wrap = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx, cancel := context.WithCancel(r.Context())
				defer cancel()
				mu.Lock()
				gone = cancel
				mu.Unlock()
				h.ServeHTTP(w, r.WithContext(ctx))
			})
		}
		set.fault = func(_ context.Context, p sqldb.FaultPoint, _ string) error {
			mu.Lock()
			defer mu.Unlock()
			if p == sqldb.BeforeCommit && leave != nil {
				leave()
				leave = nil
			}
			return nil
		}
	})
	leaving := func() {
		mu.Lock()
		defer mu.Unlock()
		leave = func() { gone() }
	}
	d := s.pushImage("app", "v1")
	log.lines = nil
	leaving()
	s.putManifest("app", "v2", image("")).is(http.StatusCreated)
	leaving()
	s.do(http.MethodDelete, "/v2/app/manifests/v1", nil).is(http.StatusAccepted)
	leaving()
	s.do(http.MethodDelete, "/v2/app/manifests/"+d, nil).is(http.StatusAccepted)
	want := []string{
		"admin create artifact library/app:v2 in library from 127.0.0.1",
		"admin delete tag library/app:v1 in library from 127.0.0.1",
		"admin delete artifact library/app@" + d + " in library from 127.0.0.1",
	}
	if !slices.Equal(log.lines, want) {
		t.Errorf("%q", log.lines)
	}
}
