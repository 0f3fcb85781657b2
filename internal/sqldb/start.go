package sqldb

import (
	"context"
	"slices"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// start begins to look, and waits until it is known which server to use. The error is that of no server that can be used.
func (w *watch) start(ctx context.Context) error {
	w.mu.Lock()
	all := append([]*member{}, w.members.all...)
	w.mu.Unlock()
	for _, m := range all {
		w.attend(m)
	}
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	settle := time.NewTimer(w.settleTime())
	defer settle.Stop()
	for waited := false; ; {
		w.mu.Lock()
		changed, settled, usable := w.changed, w.settled(), w.members.current != nil
		over := usable && (settled || waited && !w.members.alone())
		var err error
		if over {
			err = w.begin()
		}
		w.mu.Unlock()
		if over {
			return err
		}
		if settled && !usable {
			return w.none()
		}
		select {
		case <-changed:
		case <-settle.C:
			waited = true
		case <-ctx.Done():
			return w.none()
		}
	}
}

// begin keeps to the best server's cluster from now on. The caller holds the lock.
func (w *watch) begin() error {
	if one, other := w.members.split(); one != nil {
		return fail.E(fail.Invalid, nil, "%s and %s can both be written to, and neither is a node of a Galera cluster: what is written to one would be missing on the other", one.addr, other.addr).
			Hint("several addresses in database.hosts need Galera; of servers that replicate to each other give one, or the address of what switches between them")
	}
	w.choose(true)
	w.bound = true
	w.bind()
	return nil
}

// settleTime is how long the start waits for a better server than the one that was seen first. On PostgreSQL that may be one that was replaced, and only the look at another one says so: they all get the
// time of a look.
func (w *watch) settleTime() time.Duration {
	if w.cfg.Engine == Postgres {
		return lookTime
	}
	return settleTime
}

// settled reports whether it is known well enough which server is the best. The caller holds the lock.
func (w *watch) settled() bool {
	if w.cfg.Engine == Postgres || w.members.alone() {
		return !w.unsure()
	}
	return w.members.settled(w.cfg.Clock())
}

// unsure reports whether a server was not looked at yet. The caller holds the lock.
func (w *watch) unsure() bool {
	return slices.ContainsFunc(w.members.all, func(m *member) bool { return m.cond == unseen })
}

// seen waits until every server was looked at once.
func (w *watch) seen(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	for {
		w.mu.Lock()
		changed, unsure := w.changed, w.unsure()
		w.mu.Unlock()
		if !unsure {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}
