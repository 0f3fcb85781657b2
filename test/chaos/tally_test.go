package chaos

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/havn-registry/havn/test/request"
)

// blob is one that was acknowledged.
type blob struct{ repo, digest string }

// image is one layer, a configuration and the manifest of both. Once it is pushed, digests are kept of it and no contents.
type image struct {
	repo, tag               string // without a tag: it was deleted
	config, layer, manifest string // digests
}

func (m image) tagged() string { return "/v2/" + m.repo + "/manifests/" + m.tag }

// paths are those of the manifest and of what it is made of, by their digests, and which digest is behind each.
func (m image) paths() [][2]string {
	at := "/v2/" + m.repo
	return [][2]string{{at + "/manifests/" + m.manifest, m.manifest}, {at + "/blobs/" + m.config, m.config}, {at + "/blobs/" + m.layer, m.layer}}
}

// tally is what clients saw since the last fault, and what they were told altogether.
type tally struct {
	mu      sync.Mutex
	images  []image         // acknowledged
	blobs   []blob          // acknowledged
	doomed  map[string]bool // paths of what somebody began to delete once: it may be absent
	gone    []string        // paths of what must be absent: the deletion was acknowledged
	acks    int             // of pushes
	pulls   int
	retries int
	errs    []string // that no retry hides, or contents that are not what was pushed
	last    time.Time
	gap     time.Duration  // the longest between two acknowledged pushes
	kinds   map[string]int // of what was retried
	latest  error
}

func (s *tally) wrong(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, time.Now().UTC().Format(time.RFC3339Nano)+" "+err.Error())
}

func (s *tally) retried(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retries++
	kind := "no answer"
	var r *request.Refused
	if errors.As(err, &r) {
		kind = fmt.Sprint(r.Status)
	}
	s.kinds[kind]++
	s.latest = err
}

// faulty answers what was wrong since it was last asked.
func (s *tally) faulty() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	wrong := s.errs
	s.errs = nil
	return wrong
}

// recent answers the last error that a client tried again after.
func (s *tally) recent() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

func (s *tally) blob(repo, digest string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs = append(s.blobs, blob{repo, digest})
}

// doom takes the tag of an image, or all of it, out of what must be there, before it is deleted.
func (s *tally) doom(m image, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doomed[m.tagged()] = true
	at := slices.Index(s.images, m)
	if !whole {
		s.images[at].tag = ""
		return
	}
	s.images = slices.Delete(s.images, at, at+1)
	for _, path := range m.paths() {
		s.doomed[path[0]] = true
	}
	s.blobs = slices.DeleteFunc(s.blobs, func(b blob) bool { return b.repo == m.repo && (b.digest == m.config || b.digest == m.layer) })
}

// mayBeAbsent reports whether somebody began to delete what a path names.
func (s *tally) mayBeAbsent(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.doomed[path]
}

// deleted notes what must be absent from now on.
func (s *tally) deleted(paths ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = append(s.gone, paths...)
}

func (s *tally) pushed(m image) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.images = append(s.images, m)
	s.acks++
	now := time.Now()
	if !s.last.IsZero() {
		s.gap = max(s.gap, now.Sub(s.last))
	}
	s.last = now
}

func (s *tally) pulled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pulls++
}

// pushes answers how many were acknowledged.
func (s *tally) pushes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acks
}

// reset begins a new account of gaps and retries, and answers the old one.
func (s *tally) reset() (gap time.Duration, retries int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gap, retries = s.gap, s.retries
	s.gap, s.retries = 0, 0
	return gap, retries
}

// one answers an image that was acknowledged, by chance.
func (s *tally) one() (image, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.images) == 0 {
		return image{}, false
	}
	return s.images[rand.IntN(len(s.images))], true
}

// all answers everything that was acknowledged: what must be there, and the paths of what must not.
func (s *tally) all() ([]image, []blob, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.images), slices.Clone(s.blobs), slices.Clone(s.gone)
}
