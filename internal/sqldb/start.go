package sqldb

import (
	"context"
	"slices"
	"time"
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
		w.mu.Unlock()
		if usable && (settled || waited) {
			w.mu.Lock()
			w.choose(true)
			w.bound = true
			w.bind()
			w.mu.Unlock()
			return nil
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
	if w.cfg.Engine == Postgres {
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
