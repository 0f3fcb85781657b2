package sqldb

import (
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// board is a set of members with a clock that a test moves.
type board struct {
	members
	now time.Time
}

func newBoard(given ...string) *board {
	b := &board{now: time.Unix(1700000000, 0)}
	for _, addr := range given {
		b.add(addr, true)
	}
	return b
}

// see lets members say how they are, and moves to the best.
func (b *board) see(conds map[string]condition) string {
	for addr, c := range conds {
		b.find(addr).say(b.now, c, "")
	}
	return b.choose()
}

func (b *board) choose() string {
	best := b.best(b.now)
	if best != b.current {
		b.current, b.chosen = best, b.now
	}
	if best == nil {
		return ""
	}
	return best.addr
}

func (b *board) want(t *testing.T, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%q is used, want %q; %s", got, want, b.describe(b.now))
	}
}

func TestTheFirstHealthyServerIsUsedUntilItFails(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1", "b:1", "c:1")
	b.want(t, b.see(map[string]condition{"b:1": fit, "c:1": fit}), "b:1")
	b.want(t, b.see(map[string]condition{"a:1": fit}), "b:1")
	b.want(t, b.see(map[string]condition{"b:1": unfit}), "a:1")
	b.want(t, b.see(map[string]condition{"a:1": down, "c:1": strained}), "c:1")
	b.want(t, b.see(map[string]condition{"b:1": fit}), "b:1")
	b.want(t, b.see(map[string]condition{"b:1": down, "c:1": down}), "")
}

func TestADonorIsUsedOnlyWhereNobodyElseCanBe(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1", "b:1")
	b.want(t, b.see(map[string]condition{"a:1": fit, "b:1": fit}), "a:1")
	b.want(t, b.see(map[string]condition{"a:1": strained}), "b:1")
	b.want(t, b.see(map[string]condition{"b:1": down}), "a:1")
	b.want(t, b.see(map[string]condition{"b:1": strained}), "a:1")
}

func TestAServerIsGoneBackToWhenItHasBeenWellForLong(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1", "b:1")
	b.want(t, b.see(map[string]condition{"a:1": down, "b:1": fit}), "b:1")
	b.now = b.now.Add(time.Hour)
	b.want(t, b.see(map[string]condition{"a:1": fit}), "b:1")
	b.now = b.now.Add(calmTime / 2)
	b.want(t, b.see(map[string]condition{"a:1": down}), "b:1")
	b.want(t, b.see(map[string]condition{"a:1": fit}), "b:1")
	b.now = b.now.Add(calmTime - time.Second)
	b.want(t, b.choose(), "b:1")
	b.now = b.now.Add(2 * time.Second)
	b.want(t, b.choose(), "a:1")
}

func TestAServerThatHangsIsLeftWhereThereIsAnother(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1", "b:1")
	b.want(t, b.see(map[string]condition{"a:1": fit, "b:1": unfit}), "a:1")
	b.find("a:1").late = true
	b.want(t, b.choose(), "a:1")
	b.want(t, b.see(map[string]condition{"b:1": fit}), "b:1")
	b.find("b:1").late = true
	b.want(t, b.choose(), "b:1")
	b.find("a:1").late = false
	b.want(t, b.choose(), "a:1")
}

func TestAServerThatFinishesNothingIsLeftForAWhile(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1", "b:1")
	b.want(t, b.see(map[string]condition{"a:1": fit, "b:1": fit}), "a:1")
	b.find("a:1").penalty = b.now.Add(penaltyTime)
	b.want(t, b.choose(), "b:1")
	b.want(t, b.see(map[string]condition{"b:1": down}), "a:1")
}

func TestAServerOfAnotherClusterIsNotUsed(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1", "b:1")
	b.find("a:1").group = "one"
	b.find("b:1").group = "one"
	b.add("d:1", false)
	b.add("e:1", false)
	b.find("d:1").group = "two"
	b.want(t, b.see(map[string]condition{"a:1": fit, "b:1": fit, "d:1": fit, "e:1": fit}), "a:1")
	// b was started again, alone: it takes writes and passes them on to nobody.
	b.find("b:1").group = ""
	b.want(t, b.see(map[string]condition{"a:1": down}), "")
	b.find("e:1").group = "one"
	b.want(t, b.choose(), "e:1")
	for _, s := range b.servers(b.now) {
		if s.Addr == "d:1" && (s.State != unfit.String() || !strings.Contains(s.Why, "cluster")) {
			t.Errorf("the stranger is %+v", s)
		}
	}
}

func TestTheClusterOfMostConfiguredServersCountsAndIsKeptTo(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1", "b:1", "c:1")
	for addr, group := range map[string]string{"a:1": "alone", "b:1": "one", "c:1": "one"} {
		b.find(addr).group = group
	}
	b.want(t, b.see(map[string]condition{"a:1": fit, "b:1": fit, "c:1": fit}), "b:1")
	b.bound = "one"
	b.want(t, b.see(map[string]condition{"b:1": down, "c:1": unfit}), "")
	b.want(t, b.see(map[string]condition{"c:1": fit}), "c:1")
}

func TestOneDiscoveredServerIsEnoughAtAStart(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1")
	b.add("d:1", false)
	b.find("d:1").group = "one"
	b.want(t, b.see(map[string]condition{"a:1": down, "d:1": fit}), "d:1")
}

func TestANodeThatHasNotJoinedDoesNotSayWhichClusterCounts(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1")
	joining := galeraSight(map[string]string{"wsrep_cluster_status": "Disconnected", "wsrep_cluster_state_uuid": "00000000-0000-0000-0000-000000000000"}, false)
	b.find("a:1").group = joining.group
	b.add("d:1", false)
	b.find("d:1").group = "one"
	b.want(t, b.see(map[string]condition{"a:1": joining.cond, "d:1": fit}), "d:1")
}

func TestAPrimaryThatWasReplacedIsNotUsed(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1", "b:1")
	for addr, timeline := range map[string]int64{"a:1": 3, "b:1": 4} {
		b.find(addr).group, b.find(addr).timeline = "one", timeline
	}
	b.want(t, b.see(map[string]condition{"a:1": fit, "b:1": fit}), "b:1")
	b.want(t, b.see(map[string]condition{"b:1": down}), "")
}

func TestMembersStandInTheirOrderAndAreBounded(t *testing.T) {
	t.Parallel()
	b := newBoard("z:1", "y:1")
	for _, addr := range []string{"n:1", "m:1", "z:1", "n:1"} {
		b.add(addr, false)
	}
	var got []string
	for _, m := range b.all {
		got = append(got, m.addr)
	}
	if text := strings.Join(got, " "); text != "z:1 y:1 m:1 n:1" {
		t.Errorf("members are %s", text)
	}
	for i := range 2 * mostMembers {
		b.add(strings.Repeat("x", i+1)+":1", false)
	}
	if len(b.all) != mostMembers {
		t.Errorf("%d members", len(b.all))
	}
}

func TestTheStartWaitsForWhoeverIsPreferred(t *testing.T) {
	t.Parallel()
	b := newBoard("a:1", "b:1", "c:1")
	b.see(map[string]condition{"b:1": fit})
	if b.settled(b.now) {
		t.Error("settled before the first was seen")
	}
	b.see(map[string]condition{"a:1": down})
	if !b.settled(b.now) {
		t.Error("not settled, and nobody unseen would be preferred")
	}
}

func TestDiscoveredServersAreRemembered(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "hosts.json")
	log := slog.New(slog.DiscardHandler)
	b := newBoard("a:1")
	b.add("d:1", false)
	b.add("gone:1", false)
	b.find("d:1").group, b.find("d:1").named = "one", b.now
	b.find("gone:1").named = b.now.Add(-2 * forgetTime)
	(&memory{path: path}).save(b.discovered(b.now), b.now, log)
	got := (&memory{path: path}).load(log)
	if len(got) != 1 || got[0].Addr != "d:1" || got[0].Group != "one" || !got[0].Named.Equal(b.now) {
		t.Errorf("remembered are %+v", got)
	}
	if got = (&memory{path: filepath.Join(t.TempDir(), "none")}).load(log); got != nil {
		t.Errorf("without a file %+v are remembered", got)
	}
}

func TestAGaleraNodeIsJudgedByWhatItSays(t *testing.T) {
	t.Parallel()
	base := map[string]string{
		"wsrep_ready": "ON", "wsrep_cluster_status": "Primary", "wsrep_local_state": "4", "wsrep_local_state_comment": "Synced",
		"wsrep_incoming_addresses": "10.0.0.1:3306,,AUTO, 10.0.0.2:0,10.0.0.3:3307", "wsrep_cluster_state_uuid": "u",
	}
	with := func(key, value string) map[string]string {
		all := map[string]string{}
		for k, v := range base {
			all[k] = v
		}
		all[key] = value
		return all
	}
	for _, c := range []struct {
		name     string
		status   map[string]string
		readOnly bool
		want     condition
	}{
		{"synced", base, false, fit},
		{"a donor", with("wsrep_local_state", "2"), false, strained},
		{"joining", with("wsrep_local_state", "1"), false, unfit},
		{"joined", with("wsrep_local_state", "3"), false, unfit},
		{"without a quorum", with("wsrep_cluster_status", "non-Primary"), false, unfit},
		{"not ready", with("wsrep_ready", "OFF"), false, unfit},
		{"read-only", base, true, unfit},
	} {
		s := galeraSight(c.status, c.readOnly)
		if s.cond != c.want || c.want != fit && s.why == "" {
			t.Errorf("%s: %s (%s)", c.name, s.cond, s.why)
		}
		var named []string
		for _, addr := range s.others {
			if address(addr) {
				named = append(named, addr)
			}
		}
		if strings.Join(named, " ") != "10.0.0.1:3306 10.0.0.3:3307" || s.group != "u" {
			t.Errorf("%s: group %q, others %q", c.name, s.group, named)
		}
	}
}

// TestServersWithoutGaleraAreNotUsedAsACluster: what is written to one is not on the other.
func TestServersWithoutGaleraAreNotUsedAsACluster(t *testing.T) {
	t.Parallel()
	vars := func(host string) map[string]string {
		return map[string]string{"wsrep_on": "OFF", "read_only": "OFF", "hostname": host, "port": "3306", "datadir": "/var/lib/mysql/", "server_id": "1"}
	}
	one, other := plainSight(vars("one"), true), plainSight(vars("other"), true)
	if again := plainSight(vars("one"), true); one.cond != fit || !one.alone || one.group == other.group || one.group != again.group {
		t.Errorf("two servers are %+v and %+v", one, other)
	}
	if single := plainSight(vars("one"), false); single.cond != fit || single.group != "" || single.alone {
		t.Errorf("a server behind one address is %+v", single)
	}
	replica := vars("other")
	replica["read_only"] = "ON"
	if s := plainSight(replica, true); s.cond != unfit || !s.alone {
		t.Errorf("a replica is %+v", s)
	}
	grouped := vars("one")
	grouped["group_replication_group_name"] = "g"
	if s := plainSight(grouped, true); s.cond != fit || s.group != "g" || s.alone {
		t.Errorf("a member of a group is %+v", s)
	}

	b := newBoard("a:1", "b:1")
	for addr, s := range map[string]sight{"a:1": one, "b:1": other} {
		b.find(addr).group, b.find(addr).alone = s.group, s.alone
	}
	b.want(t, b.see(map[string]condition{"a:1": fit}), "a:1")
	b.bound = one.group
	b.want(t, b.see(map[string]condition{"b:1": fit}), "a:1")
	b.find("a:1").late = true
	b.want(t, b.choose(), "a:1")
	b.find("a:1").late = false
	b.want(t, b.see(map[string]condition{"a:1": down}), "")
	if _, why := b.judge(b.find("b:1"), b.now); !strings.Contains(why, "without Galera") {
		t.Errorf("the other one %s", why)
	}
	// Where there is a cluster, it counts, wherever it stands.
	c := newBoard("a:1", "b:1")
	c.find("a:1").group, c.find("a:1").alone = one.group, true
	c.find("b:1").group = "cluster"
	c.want(t, c.see(map[string]condition{"a:1": fit, "b:1": fit}), "b:1")
}

func TestAPostgreSQLServerIsJudgedByWhatItSays(t *testing.T) {
	t.Parallel()
	primary := postgresSight([]string{"false", "off", "77", "0000001A", "10.0.0.2,fd00::3", "5432", "", ""})
	if primary.cond != fit || primary.ahead || primary.group != "77" || primary.timeline != 26 || strings.Join(primary.others, " ") != "10.0.0.2:5432 [fd00::3]:5432" {
		t.Errorf("a primary is %+v", primary)
	}
	standby := postgresSight([]string{"true", "off", "77", "", "", "5432", "10.0.0.1 5433", "waits"})
	if standby.cond != unfit || !standby.ahead || strings.Join(standby.others, " ") != "10.0.0.1:5433" {
		t.Errorf("a standby is %+v", standby)
	}
	if readOnly := postgresSight([]string{"false", "on", "77", "00000001", "", "5432", "", ""}); readOnly.cond != unfit {
		t.Errorf("a read-only primary is %+v", readOnly)
	}
}
