package sqldb

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

const (
	// leastPacket takes a statement with the largest manifest (4 MiB), each of whose bytes may have to be escaped.
	leastPacket = 16 << 20
	// spareConnections are for others: administrators, monitoring, the looks at the server.
	spareConnections = 10
	// mostPaused is the part of the time for which flow control may hold the cluster's writes up without anybody having to look.
	mostPaused = 0.1
	// goodCluster is the least number of Galera nodes of which one may fail.
	goodCluster = 3
)

// check looks at the settings of the server.
func (p *mysqlProduct) check(ctx context.Context, s *session) []Finding {
	vars, err := named(ctx, s, "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'innodb_flush_log_at_trx_commit', 'innodb_flush_method', 'innodb_doublewrite', 'log_bin', "+
		"'sync_binlog', 'wsrep_on', 'wsrep_cluster_address', 'wsrep_provider_options', 'max_connections', 'max_allowed_packet')")
	if err != nil {
		return []Finding{{What: "read the server's variables: " + err.Error()}}
	}
	b, version := brandOf(vars["version"])
	found := []Finding{b.found(version)}
	galera := vars["wsrep_on"] == "ON"
	found = append(found, mysqlDurable(vars, galera)...)
	if galera {
		status, statusErr := named(ctx, s, "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'wsrep_flow_control_paused')")
		if statusErr != nil {
			return append(found, Finding{What: "read the cluster's status: " + statusErr.Error()})
		}
		found = append(found, galeraFindings(vars, status)...)
	}
	if n, numErr := strconv.ParseInt(vars["max_allowed_packet"], 10, 64); numErr == nil && n < leastPacket {
		found = append(found, Finding{What: fmt.Sprintf("max_allowed_packet is %d: the largest manifests don't fit", n), Hint: fmt.Sprintf("set it to %d or more", leastPacket)})
	}
	return append(found, room(vars["max_connections"], p.cfg.MaxConns, living(ctx, s))...)
}

// mysqlDurable judges what a commit's durability rests on.
func mysqlDurable(vars map[string]string, galera bool) []Finding {
	lost := "a power cut loses acknowledged pushes"
	if galera {
		lost = "a power cut of all nodes at once loses acknowledged pushes"
	}
	var found []Finding
	if v := vars["innodb_flush_log_at_trx_commit"]; v != "1" && v != "3" { // MariaDB's 3 flushes once more
		found = append(found, Finding{Minor: galera, What: "innodb_flush_log_at_trx_commit is " + v + ": " + lost, Hint: "set it to 1"})
	}
	if v := vars["innodb_flush_method"]; strings.Contains(strings.ToLower(v), "nosync") {
		found = append(found, Finding{Minor: galera, What: "innodb_flush_method is " + v + ": " + lost, Hint: "set it to fsync or O_DIRECT"})
	}
	if v := vars["innodb_doublewrite"]; v == "OFF" || v == "0" {
		found = append(found, Finding{Minor: true, What: "innodb_doublewrite is off: a power cut may leave pages half written, unless the file system writes them as a whole", Hint: "set it to ON"})
	}
	if vars["log_bin"] == "ON" && vars["sync_binlog"] != "1" {
		found = append(found, Finding{Minor: galera, What: "sync_binlog is " + vars["sync_binlog"] + ", and there is a binary log: " + lost, Hint: "set it to 1"})
	}
	if len(found) == 0 {
		found = append(found, Finding{OK: true, What: "a commit is flushed before it is answered"})
	}
	if !galera && vars["log_bin"] != "ON" {
		// InnoDB alone shows a commit to others before its log is flushed, and a transaction that finds it there and writes nothing waits for no flush. With a binary log that is flushed first.
		found = append(found, Finding{
			Minor: true, What: "there is no binary log: where the disk stands still in a commit, and then the power fails, a push that was sent again meanwhile may be acknowledged and lost",
			Hint: "turn log_bin on, with sync_binlog = 1, or use Galera",
		})
	}
	return found
}

// galeraFindings judges the cluster's settings.
func galeraFindings(vars, status map[string]string) []Finding {
	var found []Finding
	options := map[string]string{}
	for _, option := range strings.Split(vars["wsrep_provider_options"], ";") {
		k, v, _ := strings.Cut(option, "=")
		options[strings.TrimSpace(k)] = strings.TrimSpace(v)
	}
	for _, k := range []string{"pc.ignore_quorum", "pc.ignore_sb"} {
		if options[k] == "true" {
			found = append(found, Finding{What: k + " is true: two halves of the cluster may both take writes, and one half's are lost", Hint: "take it out of wsrep_provider_options"})
		}
	}
	if options["pc.wait_prim"] == "no" || options["pc.wait_prim"] == "false" || strings.Contains(vars["wsrep_cluster_address"], "pc.wait_prim=no") {
		found = append(found, Finding{Minor: true, What: "pc.wait_prim is no: a node that starts without the others looks started and serves nobody", Hint: "take it out of wsrep_cluster_address and wsrep_provider_options"})
	}
	if paused, err := strconv.ParseFloat(status["wsrep_flow_control_paused"], 64); err == nil && paused > mostPaused {
		found = append(found, Finding{
			Minor: true, What: fmt.Sprintf("flow control held all writes up for %.0f %% of the time", paused*100),
			Hint: "find the slow node, whose wsrep_local_recv_queue_avg is the highest; FLUSH STATUS begins a new count",
		})
	}
	size, err := strconv.Atoi(status["wsrep_cluster_size"])
	switch {
	case err != nil:
	case size < goodCluster:
		found = append(found, Finding{Minor: true, What: fmt.Sprintf("%d of the cluster's nodes are together: if one more fails, nothing is written", size), Hint: "run three nodes or more; start those that are down"})
	case size%2 == 0:
		found = append(found, Finding{Minor: true, What: fmt.Sprintf("the cluster has %d nodes: as many may fail as with one less, and halves of equal size stop both", size), Hint: "run an odd number, or add an arbitrator (garbd)"})
	default:
		found = append(found, Finding{OK: true, What: fmt.Sprintf("a Galera cluster of %d nodes", size)})
	}
	return found
}

// living answers how many nodes of Havn live, 0 if there are no tables yet.
func living(ctx context.Context, s *session) int {
	var n int
	if err := s.scanRow(ctx, "SELECT COUNT(*) FROM nodes WHERE state = 'alive'", nil, []any{&n}); err != nil {
		return 0
	}
	return n
}

// fewNodes is for how many nodes of Havn there should be room, also where fewer live.
const fewNodes = 2

// room judges how many nodes of Havn a server has connections for.
func room(most string, each, nodes int) []Finding {
	n, err := strconv.Atoi(most)
	if err != nil {
		return nil
	}
	fits := max(n-spareConnections, 0) / each
	what := fmt.Sprintf("max_connections is %d: enough for %d nodes of Havn with %d each", n, fits, each)
	if nodes > fits {
		what += fmt.Sprintf(", and %d live", nodes)
	}
	if fits < max(fewNodes, nodes) {
		return []Finding{{Minor: fits > 0, What: what, Hint: "raise it, or lower database.max_connections"}}
	}
	return []Finding{{OK: true, What: what}}
}

// named answers the rows of a SHOW of names and values.
func named(ctx context.Context, s *session, query string) (map[string]string, error) {
	all := map[string]string{}
	var scanErr error
	_, err := s.each(ctx, query, nil, func(row Scanner, _ error) bool {
		var k, v string
		scanErr = row.Scan(&k, &v)
		all[k] = v
		return scanErr == nil
	})
	if scanErr != nil {
		return nil, scanErr
	}
	return all, err
}
