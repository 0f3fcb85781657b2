package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The states of a Galera node (wsrep_local_state) that matter.
const (
	galeraDonor  = "2" // feeds a state transfer, or is desynced
	galeraSynced = "4"
)

const (
	lookStatus = "SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_ready', 'wsrep_cluster_status', 'wsrep_local_state', 'wsrep_local_state_comment', " +
		"'wsrep_incoming_addresses', 'wsrep_cluster_state_uuid')"
	lookVariables = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('wsrep_on', 'read_only', 'version', 'group_replication_group_name', 'server_uuid', 'server_id', 'hostname', 'port', 'datadir')"
)

// look implements family.
func (p *mysqlProduct) look(ctx context.Context, c driver.Conn) (sight, error) {
	vars, err := pairs(ctx, c, lookVariables)
	if err != nil {
		return sight{}, err
	}
	var status map[string]string
	if vars["wsrep_on"] == "ON" {
		if status, err = pairs(ctx, c, lookStatus); err != nil {
			return sight{}, err
		}
	}
	return mysqlSight(vars, status, len(p.cfg.Hosts) > 1), nil
}

// mysqlSight judges a server by its variables, and as a node of a Galera cluster by its status.
func mysqlSight(vars, status map[string]string, several bool) sight {
	b, version := brandOf(vars["version"])
	switch {
	case b.tooOld(version):
		return b.refuse(version)
	case vars["wsrep_on"] == "ON":
		return galeraSight(status, isOn(vars["read_only"]))
	}
	return plainSight(vars, several)
}

// plainSight judges a server without Galera. Where there are several, each is a cluster of its own: what is written to one is on the others later, or never. A single address may be that of whatever moves
// it from a server to its replica.
func plainSight(vars map[string]string, several bool) sight {
	s := sight{cond: fit, group: vars["group_replication_group_name"]}
	if s.group == "" && several {
		// server_uuid is MySQL's; MariaDB has none. Two addresses of one server are one.
		s.group, s.alone = strings.Join([]string{vars["server_uuid"], vars["server_id"], vars["hostname"], vars["port"], vars["datadir"]}, " "), true
	}
	if isOn(vars["read_only"]) {
		s.cond, s.why, s.hint = unfit, "is read-only: a replica?", "name the server that is written to in database.hosts, or SET GLOBAL read_only=OFF if it is this one"
	}
	return s
}

// galeraSight judges a node of a Galera cluster.
func galeraSight(status map[string]string, readOnly bool) sight {
	s := sight{cond: fit, group: status["wsrep_cluster_state_uuid"]}
	if strings.Trim(s.group, "0-") == "" {
		s.group = "" // it has not joined one yet, and has no voice in which one counts
	}
	for _, addr := range strings.Split(status["wsrep_incoming_addresses"], ",") {
		if addr = strings.TrimSpace(addr); addr != "" {
			s.others = append(s.others, addr)
		}
	}
	state := status["wsrep_local_state_comment"]
	switch {
	case status["wsrep_cluster_status"] != "Primary":
		s.cond, s.why = unfit, "has no quorum: wsrep_cluster_status is "+status["wsrep_cluster_status"]
		s.hint = "start the cluster's other servers: with more than half of them together it takes writes again; docs/operations.md says what to do if they are lost"
	case status["wsrep_ready"] != "ON":
		s.cond, s.why = unfit, "wsrep_ready is "+status["wsrep_ready"]+", state "+state
		s.hint = "wait while it joins; if it does not come to an end, look at its log"
	case readOnly:
		s.cond, s.why = unfit, "is read-only"
	case status["wsrep_local_state"] == galeraDonor:
		s.cond, s.why = strained, "its state is "+state
		s.hint = "wait while it feeds one that joins; if none does, it was taken out of step: wsrep_desync"
	case status["wsrep_local_state"] != galeraSynced:
		s.cond, s.why = unfit, "its state is "+state
		s.hint = "wait while it joins; if it does not come to an end, look at its log"
	}
	return s
}

func isOn(v string) bool { return v == "ON" || v == "1" }

// pairs answers the rows of a SHOW of names and values.
func pairs(ctx context.Context, c driver.Conn, query string) (map[string]string, error) {
	all := map[string]string{}
	rows, err := rawRows(ctx, c, query)
	for _, row := range rows {
		if len(row) >= 2 {
			all[row[0]] = row[1]
		}
	}
	return all, err
}

// rawRows answers the rows of a query on a connection of a driver, as texts.
func rawRows(ctx context.Context, c driver.Conn, query string) (all [][]string, err error) {
	q, ok := c.(driver.QueryerContext)
	if !ok {
		return nil, errors.New("the driver's connection can't query")
	}
	rows, err := q.QueryContext(ctx, query, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	values := make([]driver.Value, len(rows.Columns()))
	for {
		if err = rows.Next(values); errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		row := make([]string, len(values))
		for i, v := range values {
			switch v := v.(type) {
			case nil:
			case []byte:
				row[i] = string(v)
			default:
				row[i] = fmt.Sprint(v)
			}
		}
		all = append(all, row)
	}
}
