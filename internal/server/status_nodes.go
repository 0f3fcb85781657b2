package server

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/sqldb"
)

// The states of a node.
const (
	nodeServing  = "serving"
	nodeStarting = "starting" // the process does not say yet where it answers
	nodeStopping = "stopping"
	nodeSilent   = "silent" // it has not said that it is alive for longer than it should
	nodeDead     = "dead"   // others took over what it did
	nodeStopped  = "stopped"
)

// mostNodes bounds the incarnations that are looked at, ended ones among them.
const mostNodes = 1000

// NodeState is one node: its youngest incarnation.
type NodeState struct {
	Incarnation int64     `json:"incarnation,string"`
	Host        string    `json:"host"`
	Addr        string    `json:"addr"`
	Version     string    `json:"version"`
	State       string    `json:"state"`
	Since       time.Time `json:"since"`               // when it started or, if it ended, when it said last that it was alive
	LastBeat    time.Time `json:"last_beat,omitzero"`  // when it said last that it was alive
	BeatAge     float64   `json:"beat_age_s,omitzero"` // for how long it has not
	Skew        int64     `json:"clock_skew_ms"`       // of its clock from the database server's

	sight sight
}

// Serves reports whether the node takes requests.
func (n NodeState) Serves() bool { return n.State == nodeServing }

// Name is what people call a node: there may be several on a machine.
func (n NodeState) Name() string {
	_, port, err := net.SplitHostPort(n.Addr)
	switch {
	case n.Host == "":
		return n.Addr
	case err != nil:
		return n.Host
	}
	return net.JoinHostPort(n.Host, port)
}

// members reads the nodes, those first that serve.
func (v *viewer) members(ctx context.Context, db *sqldb.DB) ([]NodeState, error) {
	rows, err := cluster.Members(ctx, db, mostNodes)
	if err != nil {
		return nil, err
	}
	if v.now, err = db.Time(ctx); err != nil {
		return nil, fmt.Errorf("read the database's clock: %w", err)
	}
	all := present(rows, v.now)
	order := []string{nodeServing, nodeStopping, nodeSilent, nodeDead, nodeStopped}
	slices.SortStableFunc(all, func(a, b NodeState) int {
		if by := slices.Index(order, a.State) - slices.Index(order, b.State); by != 0 {
			return by
		}
		return strings.Compare(a.Name()+a.Addr, b.Name()+b.Addr)
	})
	return all, nil
}

// present leaves out the incarnations that a younger one of the same host and address replaced. One that says that it is alive is never left out, whatever another one is called: machines and
// containers may share a name.
func present(rows []cluster.Member, now time.Time) []NodeState {
	all := []NodeState{}
	lives, ended := map[string]bool{}, map[string]bool{}
	key := func(n NodeState) string { return n.Host + " " + n.Addr }
	for _, m := range rows {
		if n := nodeState(m, now); n.State == nodeServing || n.State == nodeStopping {
			lives[key(n)] = true
			all = append(all, n)
		}
	}
	slices.SortStableFunc(rows, func(a, b cluster.Member) int { return b.Started.Compare(a.Started) })
	for _, m := range rows {
		n := nodeState(m, now)
		if n.State == nodeServing || n.State == nodeStopping || lives[key(n)] || ended[key(n)] {
			continue
		}
		ended[key(n)] = true
		all = append(all, n)
	}
	return all
}

// atDatabase brings a time of a node's clock to that of the database's server.
func (n NodeState) atDatabase(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(-time.Duration(n.Skew) * time.Millisecond).UTC().Truncate(time.Second)
}

// nodeState judges a node at a time of the database server's clock.
func nodeState(m cluster.Member, now time.Time) NodeState {
	n := NodeState{Incarnation: m.ID, Addr: m.Addr, Version: m.Version}
	if json.Unmarshal([]byte(m.Sight), &n.sight) != nil {
		n.sight = sight{} // of a version that tells it otherwise
	}
	n.Host, n.Skew = n.sight.Host, n.sight.Offset
	beat := m.BeatAt.Add(-time.Duration(n.Skew) * time.Millisecond)
	n.LastBeat, n.BeatAge = n.atDatabase(m.BeatAt), max(now.Sub(beat), 0).Round(offsetStep).Seconds()
	n.State, n.Since = nodeServing, n.atDatabase(m.Started)
	switch {
	case m.State == "left":
		n.State, n.Since = nodeStopped, n.LastBeat
	case m.State == "dead":
		n.State, n.Since = nodeDead, n.LastBeat
	case now.Sub(beat) > lateTime:
		n.State = nodeSilent
	case n.sight.Status == statusStopping:
		n.State = nodeStopping
	}
	return n
}

// judgeNodes says what is not well about the nodes, and takes over what they see.
func (v *viewer) judgeNodes() {
	versions := map[string]int{}
	serving := 0
	for _, n := range v.Nodes {
		switch n.State {
		case nodeServing:
			serving++
			versions[n.Version]++
			v.seen(n)
		case nodeSilent:
			v.wrong(LevelDegraded, "node "+n.Name(), "look at its log: it was killed, it hangs, or it does not reach the database", "has not said that it is alive for %.0f s", n.BeatAge)
		case nodeDead:
			v.wrong(LevelDegraded, "node "+n.Name(), "start it again; if it was taken away for good: havn node forget "+fmt.Sprint(n.Incarnation), "is dead since %s; others do its work", moment(n.Since))
		}
	}
	v.judgeViews()
	switch {
	case serving == 0:
		v.wrong(LevelDown, "node", "start one; if it does not come up, its log and `havn doctor` on that machine say why", "no node serves this database")
	case serving == 1 && len(v.Nodes) > 1:
		v.warn("node", "start another", "one node serves: if it fails, nobody does")
	}
	if len(versions) > 1 {
		var parts []string
		for _, version := range slices.Sorted(maps.Keys(versions)) {
			parts = append(parts, fmt.Sprintf("%s (%d)", version, versions[version]))
		}
		v.warn("node", "an upgrade is under way? Bring all nodes to one version", "the nodes run %s", strings.Join(parts, " and "))
	}
}

// seen takes over what a node that serves sees.
func (v *viewer) seen(n NodeState) {
	skew := time.Duration(n.Skew) * time.Millisecond
	if skew.Abs() > skewTime {
		v.warn("node "+n.Name(), "keep all clocks with NTP; nothing is unsafe, but times don't fit", "its clock is %s off that of the database", skew)
	}
	for name, s := range n.sight.Stores {
		if name != "database" {
			v.Stores[name] = append(v.Stores[name], Seeing{n.Name(), s.Status, s.Kind, n.atDatabase(s.Since), s.Kept, s.Why, s.Hint})
		}
	}
	for _, s := range n.sight.Servers {
		v.seenServer(n, s)
	}
	v.seenRedis(n)
}

// seenServer takes over what a node sees of one server of the database.
func (v *viewer) seenServer(n NodeState, s sqldb.Server) {
	since := n.atDatabase(s.Since)
	own := v.Database.server(s.Addr)
	if own == nil {
		// This machine does not know it, because a cluster does not name its members that are down. Nodes remember them.
		v.Database.Servers = append(v.Database.Servers, DatabaseServer{Addr: s.Addr, State: s.State, Why: s.Why, Since: since, Usable: s.Usable(), Writers: []string{}, SeenBy: n.Name()})
		own = v.Database.server(s.Addr)
		v.judgeServer(s, nil, true)
	}
	if s.Current {
		own.Writers = append(own.Writers, n.Name())
	}
	if own.State == s.State && (own.Since.IsZero() || since.Before(own.Since)) {
		own.Since = since
	}
}

// judgeViews says which nodes see a server of the database otherwise than this machine does. A difference of a moment is none: what nodes see is some seconds old.
func (v *viewer) judgeViews() {
	for _, n := range v.Nodes {
		for _, s := range n.sight.Servers {
			own := v.Database.server(s.Addr)
			since := n.atDatabase(s.Since)
			if !n.Serves() || own == nil || !own.Usable || s.Usable() || v.now.Sub(since) < lateTime || !own.Since.IsZero() && v.now.Sub(own.Since) < lateTime {
				continue
			}
			v.wrong(LevelDegraded, "node "+n.Name(), "look at the network between the two", "sees the database server %s as %s since %s", s.Addr, s, moment(since))
		}
	}
}
