package sqldb

import "time"

// learn takes the servers in that another one names, and answers those to be remembered. The caller holds the lock.
func (w *watch) learn(seen sight, now time.Time) []remembered {
	for _, addr := range seen.others {
		if !address(addr) {
			continue
		}
		if m := w.members.find(addr); m != nil {
			m.named = now
			continue
		}
		m := w.members.add(addr, false)
		if m == nil && w.drop(now, crowdedTime, 1) {
			m = w.members.add(addr, false)
		}
		if m != nil {
			m.group, m.named = seen.group, now
			w.cfg.Log.Info("a server of the database was discovered", "server", addr)
			if w.ctx.Err() == nil {
				w.attend(m)
			}
		}
	}
	if len(seen.others) > 0 {
		w.drop(now, dropTime, mostMembers)
	}
	return w.members.discovered(now)
}

// drop stops looking at servers that are not the cluster's any more: see members.drop. It reports whether there were any. The caller holds the lock, and was told the cluster's servers by one of them.
func (w *watch) drop(now time.Time, age time.Duration, most int) bool {
	over := w.members.drop(now, age, most)
	for _, m := range over {
		w.cfg.Log.Info("a server of the database is looked at no more: it does not answer, and the others do not name it", "server", m.addr, "named", m.named.UTC())
		w.metrics.dropped(m.addr)
	}
	return len(over) > 0
}
