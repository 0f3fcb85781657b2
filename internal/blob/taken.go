package blob

import "sync"

// Taken are the names that this process writes now: what a driver has where its store does not refuse the second of two that write one name. The zero value is
// empty. It is safe for concurrent use.
type Taken struct {
	mu  sync.Mutex
	now map[string]bool
}

// Take takes a name, unless it is taken.
func (t *Taken) Take(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.now[name] {
		return false
	}
	if t.now == nil {
		t.now = map[string]bool{}
	}
	t.now[name] = true
	return true
}

// Give gives a name back.
func (t *Taken) Give(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.now, name)
}
