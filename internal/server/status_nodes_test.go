package server

import (
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/sqldb"
)

func TestANodeIsJudgedByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	const ahead = `{"host":"one","clock_offset_ms":3600000}`
	for name, c := range map[string]struct {
		state, sight string
		beat         time.Time
		want         string
	}{
		"well":                       {"alive", "", now.Add(-5 * time.Second), nodeServing},
		"its clock is an hour ahead": {"alive", ahead, now.Add(time.Hour - 5*time.Second), nodeServing},
		"silent":                     {"alive", "", now.Add(-16 * time.Second), nodeSilent},
		"silent, an hour ahead":      {"alive", ahead, now.Add(time.Hour - 16*time.Second), nodeSilent},
		"of another version":         {"alive", "sees: nothing", now, nodeServing},
		"dead":                       {"dead", "", now.Add(-time.Hour), nodeDead},
		"stopped":                    {"left", "", now.Add(-time.Hour), nodeStopped},
	} {
		n := nodeState(cluster.Member{ID: 7, State: c.state, Started: now.Add(-time.Hour), BeatAt: c.beat, Sight: c.sight}, now)
		if n.State != c.want {
			t.Errorf("%s: %+v", name, n)
		}
	}
}

func TestWhatNodesSeeDecidesHowTheWholeIs(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	node := func(name, state, version, blobs string) NodeState {
		n := NodeState{Incarnation: 7, Host: name, State: state, Version: version}
		n.sight.Stores = map[string]seen{"blobs": {blobs, "s3", now}, "redis": {stateOK, "redis", now}, "database": {stateOK, "mysql", now}}
		return n
	}
	for name, c := range map[string]struct {
		nodes []NodeState
		level Level
		want  string // of a finding
	}{
		"well":                {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeStopped, "0", stateOK)}, LevelGood, ""},
		"an upgrade":          {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeServing, "2", stateOK)}, LevelGood, "the nodes run 1 (1) and 2 (1)"},
		"one is dead":         {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeDead, "1", stateOK)}, LevelDegraded, "is dead since"},
		"one is silent":       {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeSilent, "1", stateOK)}, LevelDegraded, "has not said that it is alive"},
		"one misses blobs":    {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeServing, "1", "unavailable")}, LevelDegraded, "node b sees the blob store unavailable"},
		"all miss blobs":      {[]NodeState{node("a", nodeServing, "1", "unavailable"), node("b", nodeServing, "1", "unavailable")}, LevelDown, "node a sees the blob store unavailable"},
		"little space":        {[]NodeState{node("a", nodeServing, "1", stateLow)}, LevelDegraded, "has little space"},
		"nobody serves":       {[]NodeState{node("a", nodeDead, "1", stateOK)}, LevelDown, "no node serves"},
		"nobody ever did":     {nil, LevelDown, "no node serves"},
		"silence and no blob": {[]NodeState{node("a", nodeServing, "1", "unavailable"), node("b", nodeSilent, "1", stateOK)}, LevelDown, "sees the blob store unavailable"},
	} {
		v := &viewer{clock: func() time.Time { return now }, Health: Health{Level: LevelGood, Nodes: c.nodes, Stores: map[string][]Seeing{}}}
		v.judgeNodes()
		v.judgeStores()
		var texts []string
		for _, f := range v.Findings {
			texts = append(texts, f.Text)
		}
		if v.Level != c.level || !strings.Contains(strings.Join(texts, "\n"), c.want) || c.want == "" && len(texts) > 0 {
			t.Errorf("%s: %s, %q", name, v.Level, texts)
		}
	}
}

func TestSinceWhenAServerIsAsItIsTheNodesKnow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	n := NodeState{Host: "a", State: nodeServing}
	n.sight.Servers = []sqldb.Server{
		{Addr: "db1:3306", State: "fit", Since: now.Add(-time.Hour)},
		{Addr: "db2:3306", State: "down", Since: now.Add(-time.Minute), Why: "refuses connections"},
		{Addr: "db9:3306", State: "down"},
	}
	n.Skew = 7000
	later := n
	later.Host, later.sight.Servers = "b", []sqldb.Server{{Addr: "db1:3306", State: "fit", Since: now}}
	later.Skew = 0
	v := &viewer{clock: func() time.Time { return now }, Health: Health{Level: LevelGood, At: now, Nodes: []NodeState{later, n}, Stores: map[string][]Seeing{}}}
	v.Database.Servers = []DatabaseServer{{Addr: "db1:3306", State: "fit", Usable: true}, {Addr: "db2:3306", State: "fit", Usable: true}}
	v.judgeNodes()
	if got := v.Database.Servers[0].Since; !got.Equal(now.Add(-time.Hour)) {
		t.Errorf("since %s", got)
	}
	if len(v.Findings) != 2 || v.Level != LevelDegraded || !strings.Contains(v.Findings[1].Text, "sees the database server db2:3306 down (refuses connections)") {
		t.Errorf("%s, %+v", v.Level, v.Findings)
	}
}
