package access

// HashesMade answers how many hashes of passwords were made.
func (a *Access) HashesMade() int64 { return a.hasher.made.Load() }

// Remembered answers how many tokens are remembered and their length in all, and the bounds of both.
func (a *Access) Remembered() (tokens, bytes, mostTokens, mostBytes int) {
	m := a.tokens.memory
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.held), m.bytes, memoryTokens, memoryBytes
}

// ReadHash reads a stored hash and writes it again.
func ReadHash(text string) (again string, cost Cost, err error) {
	p, err := parsePHC(text)
	return p.String(), p.cost, err
}

// HoldHashes stops the making of hashes until the function that it answers is called.
func (a *Access) HoldHashes() (release func()) {
	a.hasher.places <- struct{}{}
	return func() { <-a.hasher.places }
}

// HashesWaiting answers how many hashes wait or are being made.
func (a *Access) HashesWaiting() int {
	a.hasher.mu.Lock()
	defer a.hasher.mu.Unlock()
	return a.hasher.waiting
}

// PublicMay reports whether everybody may do something in a public project.
func PublicMay(o Operation) bool { return publicMay(o) }
