package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// lookEvery is the pause between two looks at the server in use, or at all of them while none is, and on PostgreSQL always; restEvery that of the others.
	lookEvery = 500 * time.Millisecond
	restEvery = 2 * time.Second
	// hungTime is how long a look may take before another server is preferred; lookTime, before this one counts as down, wherever else there is to go: a machine under load is slow.
	hungTime = time.Second
	lookTime = 5 * time.Second
	// settleTime is what the first looks get, at the start, so that every node of Havn begins with the same server; openTime is for all of them.
	settleTime = time.Second
	openTime   = 6 * time.Second
	// hopelessTime is how long no server may be usable before callers are refused at once instead of waiting for one: longer than any failover.
	hopelessTime = 8 * time.Second
)

// family is what MySQL and PostgreSQL do differently for those who connect to them.
type family interface {
	// connect opens a connection that is ready for use. dial opens the network connection.
	connect(ctx context.Context, addr string, dial dialer) (driver.Conn, error)
	// visit opens a connection for looks alone.
	visit(ctx context.Context, addr string) (driver.Conn, error)
	// look asks a server how it is.
	look(ctx context.Context, c driver.Conn) (sight, error)
	// classify says what an error of the driver means.
	classify(err error) meaning
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// watch looks at the servers of a database all the time, and says which one is used. It is the driver.Connector of the pool.
//
// A server is judged by what it says of itself: one without a quorum answers a ping. One that hangs is left after hungTime, and what waits for its answers is cut off, so that it is run again
// elsewhere; a graceful move lets connections finish what they do. Nothing is lost by leaving too early: what was under way is refused or of unknown outcome, and run again in both cases.
type watch struct {
	cfg     *Config
	family  family
	metrics *metrics
	ctx     context.Context //nolint:containedctx // of the looks, which begin whenever a server is discovered
	stop    context.CancelFunc
	looks   sync.WaitGroup

	begun time.Time
	turn  atomic.Uint64 // counts the moves

	mu      sync.Mutex
	members members
	lost    time.Time     // since when no server is usable; zero: one is
	changed chan struct{} // closed and made anew whenever a condition changed
	memory  *memory
	bound   bool // the start is over: the cluster that is used then stays the one
}

func newWatch(cfg *Config, m *metrics, f family) *watch {
	w := &watch{cfg: cfg, family: f, metrics: m, changed: make(chan struct{}), memory: &memory{path: cfg.Members, kept: cfg.KeepMembers}}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.members.spread = rand.N(calmTime) //nolint:forbidigo // spreads the nodes, and no result depends on it
	for _, addr := range cfg.Hosts {
		w.members.add(addr, true)
	}
	w.begun = cfg.Clock()
	w.lost = w.begun
	w.members.timelines = map[string]int64{}
	if cfg.Members != "" {
		for _, r := range w.memory.load(cfg.Log) {
			if r.Timeline != 0 {
				w.members.timelines[r.Group] = r.Timeline
			}
			if !cfg.Discover || !address(r.Addr) {
				continue
			}
			if m := w.members.add(r.Addr, false); m != nil {
				m.group, m.named = r.Group, r.Named
			}
		}
	}
	return w
}

// close ends the looks.
func (w *watch) close() {
	w.stop()
	w.looks.Wait()
}

// attend looks at a member from now on.
func (w *watch) attend(m *member) {
	w.looks.Go(func() {
		v := &visitor{w: w, m: m}
		defer v.leave()
		for {
			v.look()
			pause := time.NewTimer(w.pause(m))
			select {
			case <-pause.C:
			case <-m.nudged:
				pause.Stop()
			case <-m.gone:
				pause.Stop()
				return
			case <-w.ctx.Done():
				pause.Stop()
				return
			}
		}
	})
}

func (w *watch) pause(m *member) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	// Only a look at the others tells that a PostgreSQL primary that still answers was replaced.
	if w.members.current == nil || w.members.current == m || w.cfg.Engine == Postgres {
		return lookEvery
	}
	return restEvery
}

// visitor looks at one member, over a connection that it keeps.
type visitor struct {
	w *watch
	m *member
	c driver.Conn
}

func (v *visitor) look() {
	ctx, cancel := context.WithTimeout(v.w.ctx, lookTime)
	defer cancel()
	over := new(bool)
	late := time.AfterFunc(hungTime, func() { v.w.hung(v.m, over) })
	seen, err := v.ask(ctx)
	late.Stop()
	v.w.answered(v.m, over)
	if v.w.ctx.Err() != nil {
		return
	}
	if err != nil {
		v.leave()
		v.w.failed(v.m, err)
		return
	}
	v.w.note(v.m, seen)
}

func (v *visitor) ask(ctx context.Context) (sight, error) {
	if v.c != nil {
		seen, err := v.w.family.look(ctx, v.c)
		if err == nil {
			return seen, nil
		}
		// It may have been restarted: that it is down, a new connection says.
		v.leave()
	}
	var err error
	if v.c, err = v.w.family.visit(ctx, v.m.addr); err != nil {
		v.c = nil
		return sight{}, err
	}
	return v.w.family.look(ctx, v.c)
}

func (v *visitor) leave() {
	if v.c == nil {
		return
	}
	if err := v.c.Close(); err != nil {
		v.w.cfg.Log.Debug("close a connection to the database", "server", v.m.addr, "error", err)
	}
	v.c = nil
}

// hung says that a member does not answer in time. It counts only where another can be used, and not if the look is over by now.
func (w *watch) hung(m *member, over *bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if *over {
		return
	}
	m.late = true
	w.choose(false)
}

// answered says that a look at a member ended.
func (w *watch) answered(m *member, over *bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m.late, *over = false, true
}

// note takes in what was seen of a member.
func (w *watch) note(m *member, seen sight) {
	w.raise(seen)
	w.mu.Lock()
	if m.dropped() { // during the look: if it is one of the cluster's again, the others will name it
		w.mu.Unlock()
		return
	}
	now := w.cfg.Clock()
	if seen.cond > down {
		m.named, m.group, m.timeline, m.standby, m.ahead, m.alone = now, seen.group, seen.timeline, seen.standby, seen.ahead, seen.alone
	}
	m.hint, m.final = seen.hint, seen.final
	if w.members.replaced(m) {
		m.hint = "start the server that replaced it, or make it a standby of that one; if it is the one to go on with, as after a restore, stop each node of Havn, delete " + w.memory.path + " and start it again"
	}
	w.set(m, seen.cond, seen.why)
	var all []remembered
	// A configured server that can't be written to knows who can be: a standby its primary.
	if w.cfg.Discover && seen.cond > down && (m.given || w.members.worth(m, now) >= strained) {
		all = w.learn(seen, now)
	}
	w.mu.Unlock()
	if all != nil {
		w.memory.save(all, now, w.cfg.Log)
	}
}

// set gives a member a condition, and moves if that asks for it. The caller holds the lock.
func (w *watch) set(m *member, c condition, why string) {
	was := m.cond
	if !m.say(w.cfg.Clock(), c, why) {
		w.choose(false) // time may have passed that was waited for
		return
	}
	switch {
	case was == c:
	case c == fit:
		w.cfg.Log.Info("a server of the database is fit", "server", m.addr, "before", was.String())
	default:
		w.cfg.Log.Warn("a server of the database is not fit", "server", m.addr, "condition", c.String(), "why", why, "before", was.String())
	}
	w.metrics.server(m.addr, c)
	close(w.changed)
	w.changed = make(chan struct{})
	w.choose(false)
}

// choose moves to the best member if that is not the current one; anew: as if there were none.
func (w *watch) choose(anew bool) {
	now := w.cfg.Clock()
	was := w.members.current
	if anew {
		w.members.current = nil
	}
	best := w.members.best(now)
	w.members.current = was
	if best == nil {
		if was != nil || w.lost.IsZero() {
			w.lost = now
			w.cfg.Log.Error("no server of the database can be written to", "servers", w.members.describe(w.cfg.Clock()))
		}
		w.members.current = nil
		if was != nil {
			w.turn.Add(1)
			w.depart(was)
		}
		return
	}
	w.lost = time.Time{}
	if best == was {
		return
	}
	w.members.current, w.members.chosen = best, now
	w.bind()
	w.turn.Add(1)
	w.metrics.moved()
	if was == nil {
		w.cfg.Log.Info("the database is written to", "server", best.addr)
		best.nudge()
		return
	}
	c, why := w.members.judge(was, now)
	level := slog.LevelWarn
	if c == fit { // a preferred one is there again
		level = slog.LevelInfo
	}
	w.cfg.Log.Log(w.ctx, level, "the database is written to through another server", "server", best.addr, "before", was.addr, "condition", c.String(), "why", why)
	w.depart(was)
}

// bind keeps to the cluster that is used. Without that, a server of another one would be taken when all of this one's fail. The caller holds the lock.
func (w *watch) bind() {
	if w.bound && w.members.bound == "" && w.members.current != nil {
		w.members.bound = w.members.current.group
	}
}

// depart cuts off what waits for a member that can't answer well. One that can may finish it. The caller holds the lock.
func (w *watch) depart(m *member) {
	m.stuck.Store(0)
	if w.members.worth(m, w.cfg.Clock()) >= strained {
		return
	}
	for one := range m.wires {
		one.cut()
	}
}

// target answers the server to connect to now.
func (w *watch) target() (*member, uint64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.members.current == nil {
		return nil, 0, w.noneLocked()
	}
	return w.members.current, w.turn.Load(), nil
}

// hopeless answers why it makes no sense to wait for a server; nil if it does.
func (w *watch) hopeless() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.lost.IsZero() || w.cfg.Clock().Sub(w.lost) < hopelessTime {
		return nil
	}
	return w.noneLocked()
}

// failed says that no connection to a member could be had, or that it did not answer.
func (w *watch) failed(m *member, err error) {
	means := w.family.classify(err)
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.dropped() {
		return
	}
	c := down
	if means.reason == reasonConnection && m.cond >= strained {
		return // it is busy, not down
	}
	if errors.Is(err, errNotReady) {
		c = unfit
	}
	m.hint, m.final = means.hint, means.reason == "" && means.hint != ""
	w.set(m, c, plain(err))
}

// doubt says that a member refused a statement or broke off: it is looked at now. One that finished nothing for long is used only if there is no other.
func (w *watch) doubt(m *member) {
	m.nudge()
	now := w.cfg.Clock()
	since := m.stuck.Load()
	if since == 0 {
		m.stuck.CompareAndSwap(0, int64(now.Sub(w.begun))+1)
		return
	}
	if now.Sub(w.begun)-time.Duration(since) > stuckTime {
		w.mu.Lock()
		defer w.mu.Unlock()
		m.penalty = now.Add(penaltyTime)
		w.choose(false)
	}
}

// trust says that a member finished something.
func (w *watch) trust(m *member) {
	if m.stuck.Load() != 0 {
		m.stuck.Store(0)
	}
}

// none answers the error of a database none of whose servers can be used.
func (w *watch) none() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.noneLocked()
}

// noneLocked answers a refusal, unless all servers that answer refuse us for good.
func (w *watch) noneLocked() error {
	hint, final, some := "look at the servers; `havn db check` says more", false, false
	for _, m := range w.members.all {
		final = final || m.final
		some = some || m.cond == unfit && !m.final
		if m.hint != "" && (m.final || !final) {
			hint = m.hint
		}
	}
	cause := fail.E(fail.Unavailable, nil, "no server of the database can be used: %s", w.members.describe(w.cfg.Clock())).RetryAfter(retryAfter).Hint("%s", hint)
	if final && !some {
		return cause
	}
	return &refusal{cause: cause, reason: reasonNode}
}

// ahead reports whether what is read may be more than what is durable: on any of the servers, because which one answers may change at any moment.
func (w *watch) ahead() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.members.all, func(m *member) bool { return m.ahead })
}

// servers answers how the servers are.
func (w *watch) servers() []Server {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.members.servers(w.cfg.Clock())
}

// plain answers an error in few words.
func plain(err error) string {
	var name *net.DNSError
	if errors.As(err, &name) {
		return "the name " + name.Name + " can't be looked up: " + name.Err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		return "did not answer in time"
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return "refuses connections"
	}
	return err.Error()
}
