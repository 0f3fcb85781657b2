package sqldb

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

// told answers how a finding whose text begins like this is meant: "ok", "minor", "wrong"; "" if there is none.
func told(found []Finding, text string) string {
	for _, f := range found {
		switch {
		case !strings.Contains(f.What, text):
		case f.OK:
			return "ok"
		case f.Minor:
			return "minor"
		default:
			return "wrong"
		}
	}
	return ""
}

func TestSettingsThatLoseWhatWasAcknowledgedAreTold(t *testing.T) {
	t.Parallel()
	sound := map[string]string{"innodb_flush_log_at_trx_commit": "1", "innodb_flush_method": "O_DIRECT", "innodb_doublewrite": "ON", "log_bin": "ON", "sync_binlog": "1"}
	if found := mysqlDurable(sound, false); len(found) != 1 || !found[0].OK {
		t.Errorf("of sound settings is told %+v", found)
	}
	flushed := maps.Clone(sound)
	flushed["innodb_flush_log_at_trx_commit"] = "3"
	if found := mysqlDurable(flushed, false); len(found) != 1 || !found[0].OK {
		t.Errorf("of a log that is flushed more often is told %+v", found)
	}
	for _, c := range []struct {
		name, value   string
		alone, galera string
	}{
		{"innodb_flush_log_at_trx_commit", "0", "wrong", "minor"},
		{"innodb_flush_log_at_trx_commit", "2", "wrong", "minor"},
		{"innodb_flush_method", "nosync", "wrong", "minor"},
		{"innodb_doublewrite", "OFF", "minor", "minor"},
		{"sync_binlog", "0", "wrong", "minor"},
		{"log_bin", "OFF", "minor", ""},
	} {
		vars := map[string]string{}
		for k, v := range sound {
			vars[k] = v
		}
		vars[c.name] = c.value
		text := strings.Replace(c.name, "log_bin", "binary log", 1)
		if got := told(mysqlDurable(vars, false), text); got != c.alone {
			t.Errorf("%s=%s is %q, want %q", c.name, c.value, got, c.alone)
		}
		if got := told(mysqlDurable(vars, true), text); got != c.galera {
			t.Errorf("%s=%s in a cluster is %q, want %q", c.name, c.value, got, c.galera)
		}
	}
}

func TestSettingsThatEndangerAClusterAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		options, address, size, text, want string
	}{
		{"pc.ignore_sb = false; pc.ignore_quorum = false", "gcomm://a,b,c", "3", "a Galera cluster of 3 nodes", "ok"},
		{"pc.ignore_sb = true; pc.ignore_quorum = false", "gcomm://a,b,c", "3", "pc.ignore_sb is true", "wrong"},
		{"pc.ignore_sb = false; pc.ignore_quorum = true", "gcomm://a,b,c", "3", "pc.ignore_quorum is true", "wrong"},
		{"pc.wait_prim = no", "gcomm://a,b,c", "5", "pc.wait_prim is no", "minor"},
		{"", "gcomm://a,b,c?pc.wait_prim=no", "3", "pc.wait_prim is no", "minor"},
		{"", "gcomm://a,b,c", "2", "2 of the cluster's nodes are together", "minor"},
		{"", "gcomm://a,b,c,d", "4", "the cluster has 4 nodes", "minor"},
	} {
		found := galeraFindings(map[string]string{"wsrep_provider_options": c.options, "wsrep_cluster_address": c.address}, map[string]string{"wsrep_cluster_size": c.size})
		if got := told(found, c.text); got != c.want {
			t.Errorf("%+v: it is %q; %+v", c, got, found)
		}
	}
}

func TestTooFewConnectionsAreTold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		most  string
		nodes int
		want  string
	}{
		{"300", 0, "ok"},
		{"300", 12, "ok"}, // 12 times 24, and some for others
		{"300", 13, "minor"},
		{"60", 1, "ok"},
		{"60", 2, "ok"},
		{"60", 3, "minor"},
		{"40", 0, "minor"},
		{"20", 0, "wrong"},
	} {
		found := room(c.most, 24, c.nodes)
		if got := told(found, "max_connections is "+c.most); got != c.want {
			t.Errorf("%s connections are %q with %d nodes, want %q", c.most, got, c.nodes, c.want)
		}
		if says := told(found, fmt.Sprintf(", and %d live", c.nodes)) != ""; says != (c.nodes > 2 && c.want == "minor") {
			t.Errorf("of %s connections with %d nodes is told %+v", c.most, c.nodes, found)
		}
	}
}
