package sqldb

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// condition is how fit a server is to be written to, the better the greater.
type condition int

const (
	unseen   condition = iota
	down               // does not answer, or refuses us
	unfit              // answers, and can't be written to: no quorum, joining, a replica
	strained           // can be written to, and another is better: it feeds a state transfer, or does not finish what it is asked
	fit
)

func (c condition) String() string {
	return [...]string{"not seen yet", "down", "unfit", "strained", "fit"}[c]
}

const (
	// mostMembers bounds the servers that are watched: Galera clusters have 3 to 9.
	mostMembers = 16
	// calmTime is how long a server must have been fit before it is gone back to, so that one that comes and goes is left alone. Each node of Havn adds up to as much again by
	// chance: they don't come back all at once.
	calmTime = time.Minute
	// stuckTime is how long a server may finish nothing, though it says that it is fit, before another is preferred: longer than the stall of a Galera cluster that lost a node.
	stuckTime = 4 * time.Second
	// penaltyTime is for how long a stuck server counts as strained.
	penaltyTime = 30 * time.Second
	// forgetTime is after how long a server that was discovered, and that no other names any more, is forgotten.
	forgetTime = 30 * 24 * time.Hour
	// dropTime is after how long a server that was discovered, that does not answer and that the cluster does not name is looked at no more: longer than a repair takes, because until then it may be
	// the one that is left when the others go. crowdedTime is the same where its place is needed for one that is named.
	dropTime    = 24 * time.Hour
	crowdedTime = time.Hour
)

// sight is what a server said of itself.
type sight struct {
	cond     condition
	why      string
	hint     string   // what to do, where more can be said than to look at it
	final    bool     // unfit until somebody changes something
	group    string   // which cluster it belongs to, "" if it says nothing
	timeline int64    // PostgreSQL: counts promotions; of two primaries the higher one is right
	standby  bool     // PostgreSQL: it follows a primary, as it should
	ahead    bool     // PostgreSQL: it waits for standbys before it answers a commit, and shows that to others before
	alone    bool     // MySQL: it passes nothing on to those that are configured beside it
	others   []string // the cluster's servers
}

// member is one server of the database. Its fields are guarded by members' owner.
type member struct {
	addr  string
	given bool // configured, not discovered

	cond     condition
	why      string
	hint     string    // what to do, where more can be said than to look at it
	final    bool      // it refuses us until somebody changes something
	since    time.Time // of cond
	group    string
	timeline int64
	standby  bool
	ahead    bool
	alone    bool
	named    time.Time // when it answered, or another named it

	gone    chan struct{} // closed when it is dropped
	late    bool          // a look at it takes too long
	stuck   atomic.Int64  // since when it finished nothing, in nanoseconds of the watch; 0: it does
	penalty time.Time     // until when it counts as strained at best
	nudged  chan struct{}
	wires   map[*wire]struct{}
}

func newMember(addr string, given bool) *member {
	return &member{addr: addr, given: given, gone: make(chan struct{}), nudged: make(chan struct{}, 1), wires: map[*wire]struct{}{}}
}

// nudge wakes who looks at the member.
func (m *member) nudge() {
	select {
	case m.nudged <- struct{}{}:
	default:
	}
}

// say sets the condition. It reports whether that changed.
func (m *member) say(now time.Time, c condition, why string) bool {
	if m.cond == c && m.why == why {
		return false
	}
	if m.cond != c {
		m.since = now
	}
	m.cond, m.why = c, why
	return true
}

// members are the servers that are known, in the order in which they are preferred: the configured ones in the order of the configuration, which is the same on every node of Havn,
// then the discovered ones by address. So all nodes prefer the same one, and write where their transactions meet instead of colliding at commit.
type members struct {
	all     []*member
	current *member
	chosen  time.Time // when current was
	bound   string    // the cluster that was written to, for as long as this process lives
	spread  time.Duration
	// timelines are PostgreSQL's, the highest that was seen of each cluster, by this process or one before.
	timelines map[string]int64
}

// find answers the member at an address, nil if none is.
func (s *members) find(addr string) *member {
	for _, m := range s.all {
		if m.addr == addr {
			return m
		}
	}
	return nil
}

// add takes a member in, in its place; nil if it is there, or there are too many.
func (s *members) add(addr string, given bool) *member {
	if s.find(addr) != nil || len(s.all) >= mostMembers {
		return nil
	}
	m := newMember(addr, given)
	at := len(s.all)
	for i, other := range s.all {
		if !given && !other.given && addr < other.addr {
			at = i
			break
		}
	}
	s.all = slices.Insert(s.all, at, m)
	return m
}

// drop takes out up to so many discovered members that neither answered nor were named for so long, the longest first, and answers them.
func (s *members) drop(now time.Time, age time.Duration, most int) []*member {
	var over []*member
	for _, m := range s.all {
		if !m.given && m != s.current && m.cond == down && now.Sub(m.named) >= age {
			over = append(over, m)
		}
	}
	slices.SortStableFunc(over, func(a, b *member) int { return a.named.Compare(b.named) })
	over = over[:min(most, len(over))]
	s.all = slices.DeleteFunc(s.all, func(m *member) bool { return slices.Contains(over, m) })
	for _, m := range over {
		close(m.gone)
	}
	return over
}

// dropped reports whether the member was dropped.
func (m *member) dropped() bool {
	select {
	case <-m.gone:
		return true
	default:
		return false
	}
}

// judge answers the condition that counts now, all being considered, and why it is not fit.
func (s *members) judge(m *member, now time.Time) (condition, string) {
	if m.cond < strained {
		return m.cond, m.why
	}
	g := s.group()
	if m.alone && g != "" && m.group != g {
		return unfit, "is another server without Galera: what is written to one is not on the other"
	}
	if g != "" && m.group != g {
		return unfit, "is not of the cluster that is used; if that was made anew, start Havn again"
	}
	for _, other := range s.all {
		if m.late && !other.late && other.cond >= strained && (g == "" || other.group == g) && other.timeline >= m.timeline {
			return down, "did not answer within " + hungTime.String()
		}
		// It was replaced, and woke up not knowing it.
		if m.timeline != 0 && other.group == m.group && other.timeline > m.timeline {
			return unfit, "is a primary of timeline " + strconv.FormatInt(m.timeline, 10) + ", and " + other.addr + " was promoted since"
		}
	}
	if s.replaced(m) {
		return unfit, fmt.Sprintf("is a primary of timeline %d, and one of timeline %d was seen before: it was replaced", m.timeline, s.timelines[m.group])
	}
	if m.cond == fit && now.Before(m.penalty) {
		return strained, "finished nothing for " + stuckTime.String()
	}
	return m.cond, m.why
}

// replaced reports whether a member is a primary after which another one was promoted, also if that is not there now.
func (s *members) replaced(m *member) bool {
	return m.timeline != 0 && m.timeline < s.timelines[m.group]
}

func (s *members) worth(m *member, now time.Time) condition {
	c, _ := s.judge(m, now)
	return c
}

// group answers which cluster counts, "" if that is not known: the one that was written to, else that of most configured servers. A server of another, or of none, is not used: a node that was
// started alone takes writes like any other and passes them on to nobody, and a discovered address may be another machine's by now.
func (s *members) group() string {
	if s.bound != "" {
		return s.bound
	}
	if s.current != nil && s.current.group != "" {
		return s.current.group
	}
	for _, pass := range []struct {
		least condition
		alone bool // those that are no cluster count where there is none
	}{{strained, false}, {unseen, false}, {strained, true}} {
		count, most := map[string]int{}, ""
		for _, m := range s.all {
			if m.given && m.group != "" && m.cond >= pass.least && m.alone == pass.alone {
				count[m.group]++
			}
		}
		for _, m := range s.all { // in their order, which decides between equals
			if count[m.group] > count[most] {
				most = m.group
			}
		}
		if most != "" {
			return most
		}
	}
	return ""
}

// best answers the member to use now, nil if none can be: one that is fit, else one that is strained; the current one if it is no worse, unless a preferred one has been fit for long.
func (s *members) best(now time.Time) *member {
	var best *member
	var value condition
	for _, m := range s.all {
		if c := s.worth(m, now); c >= strained && c > value {
			best, value = m, c
		}
	}
	if best == nil || s.current == nil || best == s.current || s.worth(s.current, now) < value {
		return best
	}
	calm := calmTime + s.spread
	if now.Sub(best.since) > calm && now.Sub(s.chosen) > calm {
		return best
	}
	return s.current
}

// settled reports whether it is known well enough which member is the best: nobody who would be preferred is still unseen.
func (s *members) settled(now time.Time) bool {
	for _, m := range s.all {
		if m.cond == unseen {
			return false
		}
		if s.worth(m, now) == fit {
			return true
		}
	}
	return true
}

// split answers two servers without Galera both of which can be written to, nil if there are none.
func (s *members) split() (one, other *member) {
	for _, m := range s.all {
		switch {
		case !m.alone || m.cond < strained:
		case one == nil:
			one = m
		case m.group != one.group:
			return one, m
		}
	}
	return nil, nil
}

// alone reports whether a server was seen that is no cluster, and has others beside it.
func (s *members) alone() bool {
	return slices.ContainsFunc(s.all, func(m *member) bool { return m.alone })
}

// describe says of each member how it is, for an error.
func (s *members) describe(now time.Time) string {
	var parts []string
	for _, m := range s.all {
		c, why := s.judge(m, now)
		text := m.addr + " is " + c.String()
		if why != "" {
			text += " (" + why + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// address reports whether text is host:port of something to connect to. Galera names members that hide their address "", "AUTO" or with port 0.
func address(text string) bool {
	host, port, err := net.SplitHostPort(text)
	return err == nil && host != "" && port != "" && port != "0" && !strings.ContainsAny(host, " /\x00")
}

// Server is one server of the database, as this node sees it.
type Server struct {
	Addr    string    `json:"addr"`
	State   string    `json:"state"` // fit, strained, unfit, down, or not seen yet
	Why     string    `json:"why,omitempty"`
	Hint    string    `json:"hint,omitempty"` // what to do, where more can be said than to look at it
	Since   time.Time `json:"since"`
	Current bool      `json:"current"` // this node writes to it
	Given   bool      `json:"configured"`
	Standby bool      `json:"standby,omitempty"` // it is not written to because it follows one that is
}

// Advice answers what to do about a server that is not fit.
func (s Server) Advice() string {
	if s.Hint != "" {
		return s.Hint
	}
	return "look at that server: as long as others are well, nothing is lost"
}

func (s *members) servers(now time.Time) []Server {
	var all []Server
	for _, m := range s.all {
		c, why := s.judge(m, now)
		all = append(all, Server{Addr: m.addr, State: c.String(), Why: why, Hint: m.hint, Since: m.since, Current: m == s.current, Given: m.given, Standby: m.standby && m.cond == unfit})
	}
	return all
}
