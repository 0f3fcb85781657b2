package server

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/redis"
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
		n.sight.Stores = map[string]seen{
			"blobs": {Status: blobs, Kind: "s3", Since: now}, "redis": {Status: stateOK, Kind: "redis", Since: now}, "database": {Status: stateOK, Kind: "mysql", Since: now},
		}
		return n
	}
	kept := func(n NodeState) NodeState {
		blobs := n.sight.Stores["blobs"]
		blobs.Kept, blobs.Why = true, "it is in epoch 2"
		n.sight.Stores["blobs"] = blobs
		return n
	}
	for name, c := range map[string]struct {
		nodes []NodeState
		level Level
		want  string // of a finding
	}{
		"well":                {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeServing, "1", stateOK), node("c", nodeStopped, "0", stateOK)}, LevelGood, ""},
		"an upgrade":          {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeServing, "2", stateOK)}, LevelGood, "the nodes run 1 (1) and 2 (1)"},
		"one is dead":         {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeDead, "1", stateOK)}, LevelDegraded, "is dead since"},
		"one is silent":       {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeSilent, "1", stateOK)}, LevelDegraded, "has not said that it is alive"},
		"one misses blobs":    {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeServing, "1", "unavailable")}, LevelDegraded, "node b sees the blob store unavailable"},
		"all miss blobs":      {[]NodeState{node("a", nodeServing, "1", "unavailable"), node("b", nodeServing, "1", "unavailable")}, LevelDown, "node a sees the blob store unavailable"},
		"little space":        {[]NodeState{node("a", nodeServing, "1", stateLow), node("b", nodeServing, "1", stateOK)}, LevelDegraded, "has little space"},
		"little everywhere":   {[]NodeState{node("a", nodeServing, "1", stateLow)}, LevelDown, "has little space"},
		"nothing is deleted":  {[]NodeState{kept(node("a", nodeServing, "1", stateOK)), node("b", nodeServing, "1", stateOK)}, LevelDegraded, "node a: it is in epoch 2"},
		"one is left":         {[]NodeState{node("a", nodeServing, "1", stateOK), node("b", nodeStopped, "1", stateOK)}, LevelGood, "one node serves"},
		"nobody serves":       {[]NodeState{node("a", nodeDead, "1", stateOK)}, LevelDown, "no node serves"},
		"nobody ever did":     {nil, LevelDown, "no node serves"},
		"silence and no blob": {[]NodeState{node("a", nodeServing, "1", "unavailable"), node("b", nodeSilent, "1", stateOK)}, LevelDown, "sees the blob store unavailable"},
	} {
		v := &viewer{now: now, Health: Health{Level: LevelGood, Nodes: c.nodes, Stores: map[string][]Seeing{}}}
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
		{Addr: "db1:3306", State: "fit", Since: now.Add(-time.Hour), Current: true},
		{Addr: "db2:3306", State: "down", Since: now.Add(-time.Minute), Why: "refuses connections"},
		{Addr: "db9:3306", State: "down"},
	}
	n.Skew = 7000
	later := n
	later.Host, later.sight.Servers = "b", []sqldb.Server{{Addr: "db1:3306", State: "fit", Since: now}}
	later.Skew = 0
	v := &viewer{now: now, Health: Health{Level: LevelGood, Nodes: []NodeState{later, n}, Stores: map[string][]Seeing{}}}
	v.Database.Servers = []DatabaseServer{{Addr: "db1:3306", State: "fit", Usable: true}, {Addr: "db2:3306", State: "fit", Usable: true}}
	v.judgeNodes()
	one := v.Database.Servers[0]
	if want := now.Add(-time.Hour - 7*time.Second); !one.Since.Equal(want) || len(one.Writers) != 1 || one.Writers[0] != "a" {
		t.Errorf("%+v, want it since %s", one, want)
	}
	if len(v.Findings) != 3 || v.Level != LevelDegraded || !strings.Contains(v.Findings[2].Text, "sees the database server db2:3306 as down: refuses connections since") {
		t.Errorf("%s, %+v", v.Level, v.Findings)
	}
	// A cluster does not name its members that are down: who looks may not know them.
	if last := v.Database.Servers[2]; last.Addr != "db9:3306" || last.SeenBy != "a" || v.Findings[1].Subject != "database db9:3306" || v.Findings[1].Hint == "" {
		t.Errorf("%+v, %+v", last, v.Findings[1])
	}
}

func TestOfANodeItsYoungestIncarnationIsShownAndEveryOneThatServes(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	row := func(id int64, addr, state string, age, silence time.Duration) cluster.Member {
		return cluster.Member{ID: id, Addr: addr, State: state, Started: now.Add(-age), BeatAt: now.Add(-silence), Sight: `{"host":"h"}`}
	}
	all := present([]cluster.Member{
		row(1, "a:1", "alive", time.Hour, 0),                    // serves, and its clock was wrong when it started
		row(2, "a:1", "dead", time.Minute, time.Minute),         // was replaced by 1
		row(3, "a:1", "alive", 2*time.Hour, 20*time.Second),     // was killed, replaced by 1, and not declared dead yet
		row(4, "b:1", "alive", time.Hour, 0),                    // two containers
		row(5, "b:1", "alive", time.Hour, 0),                    // of one name
		row(6, "c:1", "left", 3*time.Hour, 2*time.Hour),         // was replaced by 7
		row(7, "c:1", "dead", time.Hour, 30*time.Minute),        // the last of its node
		row(8, "d:1", "alive", time.Hour, 20*time.Second),       // silent
		row(9, "d:1", "left", 20*24*time.Hour, 10*24*time.Hour), // was replaced by 8
	}, now)
	got := map[int64]string{}
	for _, n := range all {
		got[n.Incarnation] = n.State
	}
	want := map[int64]string{1: nodeServing, 4: nodeServing, 5: nodeServing, 7: nodeDead, 8: nodeSilent}
	if !maps.Equal(got, want) {
		t.Errorf("shown are %v, want %v", got, want)
	}
}

func TestANodeThatDrainsIsStopping(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	if n := nodeState(cluster.Member{State: "alive", Started: now, BeatAt: now, Sight: `{"status":"stopping"}`}, now); n.State != nodeStopping || n.Serves() {
		t.Errorf("%+v", n)
	}
}

func TestWhatNodesSeeOfRedisIsShownOnce(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	node := func(name string, second redis.Server) NodeState {
		n := NodeState{Host: name, State: nodeServing}
		n.sight.Redis = []redis.Server{{Addr: "r1:7001", Role: "master", Slots: "0-8191", State: "up", Since: now}, second}
		return n
	}
	down := redis.Server{Addr: "r2:7001", Role: "replica", Slots: "0-8191", State: "down", Why: "refuses connections", Since: now}
	earlier := down
	earlier.Since = now.Add(-time.Minute)
	up := down
	up.State, up.Why = "up", ""
	v := &viewer{now: now, Health: Health{Level: LevelGood, Nodes: []NodeState{node("a", down), node("b", earlier), node("c", up)}, Stores: map[string][]Seeing{}}}
	v.judgeNodes()
	v.judgeRedis()
	if len(v.Redis) != 3 || len(v.Redis[0].SeenBy) != 3 || !v.Redis[1].Since.Equal(earlier.Since) || len(v.Redis[1].SeenBy) != 2 || v.Redis[2].State != "up" {
		t.Errorf("%+v", v.Redis)
	}
	if v.Level != LevelDegraded || len(v.Findings) != 1 || !strings.Contains(v.Findings[0].Text, "replica of slots 0-8191 is down (refuses connections) since") || v.Findings[0].Hint == "" {
		t.Errorf("%s, %+v", v.Level, v.Findings)
	}
}

func TestTwoClustersFromTheSameDataAreTold(t *testing.T) {
	t.Parallel()
	server := func(addr, size string, usable bool) DatabaseServer {
		return DatabaseServer{Addr: addr, Usable: usable, Vitals: []sqldb.Vital{{Name: sqldb.ClusterSize, Value: size}}}
	}
	for name, c := range map[string]struct {
		servers []DatabaseServer
		level   Level
	}{
		"one":                     {[]DatabaseServer{server("a", "3", true), server("b", "3", true), server("c", "3", true)}, LevelGood},
		"one, and one by itself":  {[]DatabaseServer{server("a", "2", true), server("b", "2", true), server("c", "1", false)}, LevelGood},
		"two":                     {[]DatabaseServer{server("a", "2", true), server("b", "2", true), server("c", "1", true)}, LevelDegraded},
		"two, the first is alone": {[]DatabaseServer{server("a", "1", true), server("b", "2", true), server("c", "2", true)}, LevelDegraded},
	} {
		v := &viewer{Health: Health{Level: LevelGood, Database: DatabaseState{Servers: c.servers}}}
		if v.judgeUnity(); v.Level != c.level || len(v.Findings) > 0 && !strings.Contains(v.Findings[0].Text, "a: ") {
			t.Errorf("%s: %s, %+v", name, v.Level, v.Findings)
		}
	}
}

func TestAServerThatIsJustBackIsNoFaultOfThoseThatSawItDown(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 3, 0, 0, 0, time.UTC)
	node := func(name, state string, since time.Time) NodeState {
		n := NodeState{Host: name, State: nodeServing}
		n.sight.Servers = []sqldb.Server{{Addr: "db1:3306", State: state, Since: since}}
		return n
	}
	v := &viewer{now: now, Health: Health{Level: LevelGood, Stores: map[string][]Seeing{}, Nodes: []NodeState{
		node("a", "down", now.Add(-time.Minute)), node("b", "fit", now.Add(-3*time.Second)),
	}}}
	v.Database.Servers = []DatabaseServer{{Addr: "db1:3306", State: "fit", Usable: true}}
	v.judgeNodes()
	if v.Level != LevelGood || len(v.Findings) > 0 {
		t.Errorf("%s, %+v", v.Level, v.Findings)
	}
}

func TestWhatIsWrongIsSaidFirstAndWhatIsTheSameOnce(t *testing.T) {
	t.Parallel()
	v := &viewer{}
	for _, addr := range []string{"a", "b"} {
		v.warn("database "+addr, "set it to 1", "a setting is 2")
	}
	v.warn("node", "start another", "one node serves")
	v.wrong(LevelDegraded, "database c", "start it", "is down")
	v.arrange()
	want := []Finding{
		{"database c", Wrong, "is down", "start it"},
		{"database a, b", Warning, "a setting is 2", "set it to 1"},
		{"node", Warning, "one node serves", "start another"},
	}
	if !slices.Equal(v.Findings, want) {
		t.Errorf("%+v", v.Findings)
	}
}
