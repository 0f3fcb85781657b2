package access

import (
	"sync"
	"time"
)

// browser is a session that was found.
type browser struct {
	who             Identity
	active, expires time.Time
	found           time.Time
}

const (
	// browserTime is how long a session counts without a look at the database: one that was ended elsewhere goes on for so long.
	browserTime = 3 * time.Second
	// mostBrowsers bounds the table; beyond it, it begins anew.
	mostBrowsers = 10_000
)

// browsers remembers sessions that were found a moment ago: a page asks for a dozen things at once. It knows them by the hashes that are stored.
type browsers struct {
	clock  func() time.Time
	mu     sync.Mutex
	held   map[string]browser
	clears int // how often it was cleared
}

func newBrowsers(clock func() time.Time) *browsers {
	return &browsers{clock: clock, held: map[string]browser{}}
}

func (s *browsers) get(id []byte) (browser, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.held[string(id)]
	return b, ok && s.clock().Sub(b.found) < browserTime
}

// count answers how often the table was cleared, for put.
func (s *browsers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clears
}

// put remembers a session, unless the table was cleared since it was looked for.
func (s *browsers) put(id []byte, b browser, before int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clears != before {
		return
	}
	if len(s.held) >= mostBrowsers {
		clear(s.held)
	}
	b.found = s.clock()
	s.held[string(id)] = b
}

// touch notes when a session was used last.
func (s *browsers) touch(id []byte, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.held[string(id)]; ok {
		b.active = at
		s.held[string(id)] = b
	}
}

func (s *browsers) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.held)
	s.clears++
}
