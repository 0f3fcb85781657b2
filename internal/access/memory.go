package access

import (
	"strings"
	"sync"
	"time"
)

const (
	// memoryTime is how long a verification is remembered. A token says the same for all its life; when a key is withdrawn, all are forgotten.
	memoryTime = 30 * time.Second
	// memoryTokens and memoryBytes bound what is remembered, counted as the tokens' own lengths: their claims take about as much. Beyond either, it begins anew.
	memoryTokens = 8192
	memoryBytes  = 2 << 20
	// memoryOne is the longest token that is remembered; one that holds more scopes is verified each time, which costs microseconds.
	memoryOne = 8 << 10
)

// tokenMemory remembers tokens that were verified: tens of thousands of requests in a second bring the same few. They are looked up as they are, by the map's seeded hash,
// which is thirty times quicker than a cryptographic one of each request's token; they live here no longer than they would count anyway.
type tokenMemory struct {
	clock func() time.Time
	mu    sync.RWMutex
	held  map[string]remembered
	bytes int
	times int // how often all were forgotten
}

type remembered struct {
	claims *Claims
	until  time.Time
}

func newTokenMemory(clock func() time.Time) *tokenMemory {
	return &tokenMemory{clock: clock, held: map[string]remembered{}}
}

// recall answers what a token says, nil if it is not remembered. The claims are shared: read only.
func (m *tokenMemory) recall(raw string) *Claims {
	m.mu.RLock()
	r, ok := m.held[raw]
	m.mu.RUnlock()
	if !ok || !m.clock().Before(r.until) {
		return nil
	}
	return r.claims
}

// count answers how often all were forgotten, for remember.
func (m *tokenMemory) count() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.times
}

// forget forgets all.
func (m *tokenMemory) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.held)
	m.bytes = 0
	m.times++
}

// remember remembers a token, unless all were forgotten since its verification began: its key may be one that was withdrawn.
func (m *tokenMemory) remember(raw string, c *Claims, before int) {
	if len(raw) > memoryOne {
		return
	}
	until := m.clock().Add(memoryTime)
	if end := c.ExpiresAt.Add(skew); end.Before(until) {
		until = end
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.times != before {
		return
	}
	if _, known := m.held[raw]; !known {
		if len(m.held) >= memoryTokens || m.bytes+len(raw) > memoryBytes {
			clear(m.held)
			m.bytes = 0
		}
		m.bytes += len(raw)
	}
	m.held[strings.Clone(raw)] = remembered{c, until}
}
