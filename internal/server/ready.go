package server

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/redis"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// readyAge is how long an answer of /readyz counts: whoever asks more often than once a second gets the same one, so that asking is no load.
	readyAge = time.Second
	// readyPatience is how long a store may take to answer before it counts as down: below the usual time-outs of probes.
	readyPatience = 2 * time.Second
)

// readiness knows whether this node can serve, and why not.
type readiness struct {
	db       *sqldb.DB
	blobs    *blob.Store
	redis    *redis.Client // nil: none
	id       string
	lowDisk  int64
	lost     func() error // why nothing is deleted from the blob store
	clock    func() time.Time
	stopping atomic.Bool

	mu    sync.Mutex
	at    time.Time
	last  Readiness
	since map[string]State      // as each store was seen last
	asked map[string]chan State // those that have not answered yet
}

// Readiness is the body of /readyz.
type Readiness struct {
	Status string           `json:"status"` // ready, stopping or unavailable
	Stores map[string]State `json:"stores"`
}

// State is what is seen of one store. Errors are named by their kind alone: their texts are in the log.
type State struct {
	Status    string    `json:"status"` // ok, low (little space: no pushes), or the kind of the error
	Since     time.Time `json:"since"`  // when it was first seen to be so
	Kind      string    `json:"kind"`   // which product
	Latency   float64   `json:"latency_ms"`
	FreeBytes *int64    `json:"free_bytes,omitempty"`
	Kept      bool      `json:"kept,omitempty"` // nothing is deleted from it: it is not sure whose it is

	why, hint string // for operators: /readyz is open to everybody
}

// The statuses.
const (
	statusReady, statusStopping, statusUnavailable = "ready", "stopping", "unavailable"
	stateOK, stateLow                              = "ok", "low"
)

// serveLive answers /healthz: the process answers, whatever its stores do. A restart would not help them.
func serveLive(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, "text/plain; charset=utf-8", []byte("ok\n"))
}

// ServeHTTP answers /readyz.
func (r *readiness) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	seen := r.look(req.Context())
	body, err := json.Marshal(seen)
	if err != nil {
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	status := http.StatusOK
	if seen.Status != statusReady {
		status = http.StatusServiceUnavailable
		w.Header().Set("Retry-After", "2")
	}
	reply(w, status, "application/json", append(body, '\n'))
}

// look answers the state of the stores, asked within the last second.
func (r *readiness) look(ctx context.Context) Readiness {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := r.clock(); r.at.IsZero() || now.Sub(r.at) >= readyAge || now.Before(r.at) {
		// A probe that gives up must not leave its impatience to the others.
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyPatience)
		questions := map[string]func(context.Context) State{"database": r.database, "blobs": r.store}
		if r.redis != nil {
			questions["redis"] = r.shared
		}
		r.last = Readiness{Status: statusReady, Stores: r.ask(bounded, questions)}
		cancel()
		for name, s := range r.last.Stores {
			if name != "redis" && s.Status != stateOK && s.Status != stateLow {
				r.last.Status = statusUnavailable
			}
		}
		r.at = r.clock()
		r.remember()
	}
	seen := r.last
	if r.stopping.Load() {
		seen.Status = statusStopping
	}
	return seen
}

// ask asks all stores at once, so that one that is away does not take the others' time. What hangs in the kernel, as a directory on a network file system does, can't be ended: it counts as
// unavailable, and is not asked again until it answers.
func (r *readiness) ask(ctx context.Context, questions map[string]func(context.Context) State) map[string]State {
	if r.asked == nil {
		r.asked = map[string]chan State{}
	}
	for name, question := range questions {
		if open := r.asked[name]; open != nil && len(open) == 0 {
			continue
		}
		answer := make(chan State, 1)
		r.asked[name] = answer
		go func() { answer <- question(ctx) }()
	}
	seen := map[string]State{}
	for name := range questions {
		var answered bool
		if seen[name], answered = await(ctx, r.asked[name]); answered {
			delete(r.asked, name)
		} else {
			seen[name] = State{Status: fail.Unavailable.String(), Kind: cmp.Or(r.since[name].Kind, name), Latency: milliseconds(readyPatience), why: "it did not answer within " + readyPatience.String()}
		}
	}
	return seen
}

// await waits for an answer until the context ends. One that came while another store was waited for counts.
func await(ctx context.Context, answer <-chan State) (State, bool) {
	select {
	case s := <-answer:
		return s, true
	case <-ctx.Done():
	}
	select {
	case s := <-answer:
		return s, true
	default:
		return State{}, false
	}
}

// remember notes since when each store is as it is.
func (r *readiness) remember() {
	if r.since == nil {
		r.since = map[string]State{}
	}
	for name, s := range r.last.Stores {
		if before, ok := r.since[name]; ok && before.Status == s.Status {
			s.Since = before.Since
		} else {
			s.Since = r.at.UTC().Truncate(time.Second)
		}
		r.since[name], r.last.Stores[name] = s, s
	}
}

func (r *readiness) database(ctx context.Context) State {
	begin := r.clock()
	err := r.db.Ping(ctx)
	return State{Status: stateOf(err), Kind: string(r.db.Engine()), Latency: milliseconds(r.clock().Sub(begin))}
}

// store reads the id: that proves that the store answers and that it is still the right one (a directory may have been unmounted).
func (r *readiness) store(ctx context.Context) State {
	begin := r.clock()
	id, err := r.blobs.ID(ctx)
	if err == nil && id != r.id {
		err = fail.E(fail.Conflict, nil, "the store's id changed")
	}
	s := State{Status: stateOf(err), Kind: "blobs", Latency: milliseconds(r.clock().Sub(begin))}
	if err != nil {
		s.why, s.hint = err.Error(), fail.HintOf(err)
	}
	if lost := r.lost(); err == nil && lost != nil {
		s.Kept, s.why, s.hint = true, lost.Error(), fail.HintOf(lost)
	}
	if free, _, ok, spaceErr := r.blobs.Space(ctx); ok && spaceErr == nil {
		s.FreeBytes = &free
		if err == nil && r.lowDisk > 0 && free < r.lowDisk {
			s.Status = stateLow
		}
	}
	return s
}

func stateOf(err error) string {
	if err == nil {
		return stateOK
	}
	return fail.KindOf(err).String()
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// reply writes a whole answer. One that does not reach its client has nobody to tell.
func reply(w http.ResponseWriter, status int, mediaType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		return
	}
}
