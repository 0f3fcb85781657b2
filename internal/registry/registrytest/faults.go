package registrytest

import (
	"context"
	"errors"
	"sync"

	"github.com/havn-registry/havn/internal/sqldb"
)

// ErrInjected is in every error that Faults makes.
var ErrInjected = errors.New("injected")

// Faults fails one step of the registry, or one commit of the database, and counts them. The zero value fails nothing.
type Faults struct {
	mu      sync.Mutex
	steps   counter
	commits counter
	title   string
	tx      string // see AfterCommit
	then    func()
	watch   func(tx string)
}

type counter struct{ n, at int }

// hit reports whether this is the one to fail.
func (c *counter) hit() bool {
	c.n++
	return c.n == c.at
}

// FailStep fails the step number n from now, counting from 1; each step counts twice, as "not applied" and as "applied, but said to have failed". 0 fails none.
func (f *Faults) FailStep(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps, f.commits, f.title = counter{at: n}, counter{}, ""
}

// FailCommit fails the commit number n from now, counted likewise: the database runs its transaction again.
func (f *Faults) FailCommit(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps, f.commits, f.title = counter{}, counter{at: n}, ""
}

// AfterCommit lets something happen once, when the next transaction of this name has been committed, and says of the commit that it failed: the database runs the
// transaction again.
func (f *Faults) AfterCommit(tx string, then func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tx, f.then = tx, then
}

// Watch shows each transaction, by its name, before its commit: with all the locks that it takes. nil: none.
func (f *Faults) Watch(look func(tx string)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watch = look
}

// Failed answers what was failed since the last call of FailStep or FailCommit: "" if nothing was.
func (f *Faults) Failed() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.title
}

func (f *Faults) step(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.fail(f.steps.hit(), name)
}

func (f *Faults) database(_ context.Context, p sqldb.FaultPoint, tx string) error {
	f.mu.Lock()
	if f.watch != nil && p == sqldb.BeforeCommit {
		f.watch(tx)
	}
	if then := f.then; then != nil && p == sqldb.AfterCommit && tx == f.tx {
		f.then = nil
		f.mu.Unlock()
		then()
		return ErrInjected
	}
	defer f.mu.Unlock()
	return f.fail(f.commits.hit(), tx+" "+string(p))
}

func (f *Faults) fail(hit bool, name string) error {
	if !hit {
		return nil
	}
	f.title = name
	return ErrInjected
}
