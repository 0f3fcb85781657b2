package sqldb

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
)

// Discovery looks whether the servers that the configuration does not name can be found, where they should be. PostgreSQL shows their addresses to few users.
func (db *DB) Discovery(ctx context.Context) []Finding {
	if db.engine != Postgres || !db.cfg.Discover {
		return nil
	}
	var shown bool
	var followers int
	err := db.Row(ctx, "SELECT pg_has_role(current_user, 'pg_read_all_stats', 'USAGE'), (SELECT COUNT(*) FROM pg_stat_replication)").Scan(&shown, &followers)
	switch {
	case err != nil:
		return []Finding{{What: "look for other servers: " + err.Error(), Hint: fail.HintOf(err)}}
	case shown || followers < len(db.cfg.Hosts): // the others named are the standbys
		return nil
	}
	return []Finding{{
		Minor: true, What: fmt.Sprintf("%d standbys follow whose addresses are not shown to %s: those that database.hosts does not name are not found, and not used when they are promoted", followers, db.cfg.User),
		Hint: "GRANT pg_read_all_stats TO " + db.cfg.User + ", or name every server in database.hosts",
	}}
}

// check looks at the settings of the server.
func (p *postgresProduct) check(ctx context.Context, s *session) []Finding {
	var version, fsync, commit, pages, standbys, connections string
	var followers int64
	err := s.scanRow(ctx, `SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),
		current_setting('synchronous_standby_names'), current_setting('max_connections'), (SELECT COUNT(*) FROM pg_stat_replication)`,
		nil, []any{&version, &fsync, &commit, &pages, &standbys, &connections, &followers})
	if err != nil {
		return []Finding{{What: "read the server's settings: " + err.Error()}}
	}
	found := []Finding{postgresBrand.found(version)}
	durable := true
	if fsync != "on" {
		durable = false
		found = append(found, Finding{What: "fsync is off: a power cut loses acknowledged pushes, and may destroy the database", Hint: "set it to on"})
	}
	if commit == "off" {
		durable = false
		found = append(found, Finding{What: "synchronous_commit is off: a power cut loses acknowledged pushes", Hint: "set it to on"})
	}
	if pages != "on" {
		found = append(found, Finding{Minor: true, What: "full_page_writes is off: a power cut may leave pages half written, unless the file system writes them as a whole", Hint: "set it to on"})
	}
	if durable {
		found = append(found, Finding{OK: true, What: "a commit is flushed before it is answered"})
	}
	switch {
	case followers > 0 && standbys == "":
		found = append(found, Finding{
			Minor: true, What: fmt.Sprintf("%d standbys follow, none of them synchronously: if one is promoted, the last acknowledged pushes may be lost", followers),
			Hint: "set synchronous_standby_names, as Patroni's synchronous_mode does",
		})
	case standbys != "" && (commit == "local" || commit == "remote_write"):
		found = append(found, Finding{Minor: true, What: "synchronous_commit is " + commit + ": a commit does not wait until a standby has flushed it", Hint: "set it to on"})
	case standbys != "":
		found = append(found, Finding{OK: true, What: "commits wait for a standby"})
	}
	return append(found, room(connections, p.cfg.MaxConns, living(ctx, s))...)
}
