package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// postgresStatementTime bounds a statement, and so a server that hangs.
	postgresStatementTime = 5 * time.Second
	// migrationLock is the key of the advisory lock that one migration holds ("havn" in ASCII).
	migrationLock = 0x6861766e
)

// postgresProduct is PostgreSQL; of several servers the primary is used.
type postgresProduct struct {
	cfg *Config
}

func (p *postgresProduct) patient(time.Duration) product { return p }

func (p *postgresProduct) beginView() []string {
	return []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
}

// commitPostgres commits, and waits for the synchronous standbys, where there are some, also if the transaction wrote nothing: then it writes a message that nobody reads.
//
// A COMMIT that is no longer waited for is canceled by the driver. That ends the server's wait for its standby, and what was committed is there for all to see, on the primary alone. The transaction,
// run again, finds its own rows and writes nothing: without that message it would be acknowledged, and lost when the standby is promoted.
const commitPostgres = "SELECT pg_logical_emit_message(true, 'havn', '') WHERE txid_current_if_assigned() IS NULL AND current_setting('synchronous_standby_names') <> ''; COMMIT"

func (p *postgresProduct) commit() string { return commitPostgres }

func (p *postgresProduct) settle() string { return "ROLLBACK; BEGIN; " + commitPostgres }

// connect implements family.
func (p *postgresProduct) connect(ctx context.Context, addr string, dial dialer) (driver.Conn, error) {
	pc, err := p.pooled(addr, dial)
	if err != nil {
		return nil, err
	}
	return p.open(ctx, pc)
}

// sessionSettings set a connection up. PgBouncer takes none of them with the connection itself.
const sessionSettings = "SET default_transaction_isolation = 'read committed';" +
	"SET lock_timeout = 1500;" +
	// It ends a transaction whose node of Havn hangs, with the locks that all others wait for.
	"SET idle_in_transaction_session_timeout = 10000;" +
	// Every query goes by keys to few rows. The planner does not know that a base image's layers, which every repository has, are few in each of them, and reads whole tables for them.
	"SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;" +
	// What can only be read in a way that is switched off seems so dear to the planner that it compiles the query, which takes a hundred times as long as to answer it.
	"SET jit = off"

// pooled answers how to open a connection that is ready for use.
func (p *postgresProduct) pooled(addr string, dial dialer) (*pgx.ConnConfig, error) {
	pc, err := p.config(addr)
	if err != nil {
		return nil, err
	}
	pc.DialFunc = pgconn.DialFunc(dial)
	pc.ConnectTimeout = dialTime
	pc.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		if _, setErr := c.Exec(ctx, sessionSettings).ReadAll(); setErr != nil {
			return setErr
		}
		// A primary that became a standby, or was made read-only: connections to it would fail at the first write.
		return pgconn.ValidateConnectTargetSessionAttrsReadWrite(ctx, c)
	}
	return pc, nil
}

// visit implements family.
func (p *postgresProduct) visit(ctx context.Context, addr string) (driver.Conn, error) {
	pc, err := p.config(addr)
	if err != nil {
		return nil, err
	}
	pc.ConnectTimeout = lookTime
	return p.open(ctx, pc)
}

func (p *postgresProduct) open(ctx context.Context, pc *pgx.ConnConfig) (driver.Conn, error) {
	never := func(context.Context, stdlib.ShouldPingParams) bool { return false } // the looks know more than a ping
	return stdlib.GetConnector(*pc, stdlib.OptionShouldPing(never)).Connect(ctx)
}

func (p *postgresProduct) config(addr string) (*pgx.ConnConfig, error) {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "database host %q", addr).Hint("write host:port")
	}
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	pc, err := pgx.ParseConfig("host='" + quote.Replace(name) + "' port='" + quote.Replace(port) + "' user='" + quote.Replace(p.cfg.User) +
		"' password='" + quote.Replace(p.cfg.Password) + "' dbname='" + quote.Replace(p.cfg.Database) + "' sslmode=disable target_session_attrs=any")
	if err != nil {
		// The text of this error may hold the password.
		return nil, fail.E(fail.Invalid, nil, "database %q on %s", p.cfg.Database, addr)
	}
	pc.TLSConfig = serverTLS(p.cfg, addr)
	pc.Fallbacks = nil
	pc.RuntimeParams["application_name"] = "havn"
	pc.RuntimeParams["timezone"] = "UTC"
	return pc, nil
}

const (
	// lookPostgres asks for: is it a standby; is it read-only; which cluster; its timeline; who follows it, and whom it follows; whether its commits wait for others.
	lookPostgres = `SELECT pg_is_in_recovery()::text, current_setting('default_transaction_read_only'),
	(SELECT system_identifier::text FROM pg_control_system()),
	CASE WHEN pg_is_in_recovery() THEN '' ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END,
	COALESCE((SELECT string_agg(DISTINCT host(client_addr), ',') FROM pg_stat_replication WHERE client_addr IS NOT NULL AND state = 'streaming'), ''),
	current_setting('port'),
	COALESCE((SELECT sender_host || ' ' || sender_port FROM pg_stat_wal_receiver WHERE sender_host NOT LIKE '/%' LIMIT 1), ''),
	CASE WHEN current_setting('synchronous_standby_names') <> '' THEN 'waits' ELSE '' END`
	fromPostgres = 8
)

// look implements family.
func (p *postgresProduct) look(ctx context.Context, c driver.Conn) (sight, error) {
	// First: an older one does not know what is asked for then.
	if at, ok := c.(*stdlib.Conn); ok {
		if version := at.Conn().PgConn().ParameterStatus("server_version"); postgresBrand.tooOld(version) {
			return postgresBrand.refuse(version), nil
		}
	}
	rows, err := rawRows(ctx, c, lookPostgres)
	if err != nil {
		return sight{}, err
	}
	if len(rows) != 1 || len(rows[0]) != fromPostgres {
		return sight{}, errNotReady
	}
	return postgresSight(rows[0]), nil
}

// postgresSight judges a server by the row of lookPostgres.
func postgresSight(row []string) sight {
	s := sight{cond: fit, group: row[2], ahead: row[7] != ""}
	if n, err := strconv.ParseInt(row[3], 16, 64); err == nil {
		s.timeline = n
	}
	for _, follower := range strings.Split(row[4], ",") {
		if follower != "" {
			s.others = append(s.others, net.JoinHostPort(follower, row[5]))
		}
	}
	if host, port, ok := strings.Cut(row[6], " "); ok {
		s.others = append(s.others, net.JoinHostPort(host, port))
	}
	switch {
	case row[0] == "true" || row[0] == "t":
		s.cond, s.why, s.standby = unfit, "is a standby", true
	case isOn(strings.ToUpper(row[1])):
		s.cond, s.why = unfit, "is read-only"
		s.hint = "name the primary in database.hosts, or take default_transaction_read_only back if it is this one"
	}
	return s
}

// migrate runs all steps in one transaction, one node at a time.
func (p *postgresProduct) migrate(ctx context.Context, s *session, steps []migration, now int64) error {
	run := func(query string, args ...any) error {
		_, err := s.exec(ctx, query, args)
		return err
	}
	err := run("BEGIN")
	if err == nil {
		err = run("SET LOCAL lock_timeout = 0")
	}
	if err == nil {
		err = run("SELECT pg_advisory_xact_lock(?)", migrationLock)
	}
	if err == nil {
		err = apply(ctx, s, steps, now)
	}
	if err == nil {
		return run("COMMIT")
	}
	if rollErr := run("ROLLBACK"); rollErr != nil {
		p.cfg.Log.DebugContext(ctx, "roll back a migration", "error", rollErr)
	}
	return err
}

// classify says what an error of PostgreSQL means.
func (p *postgresProduct) classify(err error) meaning {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return meaningPostgres(pe)
	}
	if m, ok := meaningTLS(err); ok {
		return m
	}
	var ce *pgconn.ConnectError
	if errors.Is(err, errNotReady) || errors.As(err, &ce) || isConnection(err) || pgconn.SafeToRetry(err) {
		return meaning{reason: reasonNode, hint: adviceOn(err)}
	}
	return unclassified(err)
}

func meaningPostgres(pe *pgconn.PgError) meaning {
	if pe.Routine == "RevalidateCachedQuery" {
		return meaning{reason: reasonConflict} // a plan from before a migration
	}
	switch pe.Code {
	case "40001", "40P01", "55P03": // serialization, deadlock, lock time-out
		return meaning{reason: reasonConflict}
	case "53300", "57014":
		return meaning{reason: reasonConnection}
	case "57P01", "57P02", "57P03", "57P05", "25006", "25P03", "25P04": // shut down; starting; a replica; we were idle, or in a transaction, for too long
		return meaning{reason: reasonNode}
	case "23505":
		return meaning{kind: fail.Exists}
	case "23503", "23001":
		return meaning{kind: fail.Conflict, code: CodeFK}
	case "22001", "22003", "23514", "22021":
		return meaning{kind: fail.Invalid}
	case "53100":
		return meaning{kind: fail.Exhausted, hint: "the database's disk is full"}
	case "28000":
		return meaning{kind: fail.Unavailable, hint: "look at the server's pg_hba.conf and at database.tls.mode: it lets nobody in that comes like this"}
	case "28P01":
		return meaning{kind: fail.Unavailable, hint: "look at database.user and database.password"}
	case "3D000":
		return meaning{kind: fail.Unavailable, hint: "make the database, or correct database.name: CREATE DATABASE … OWNER …"}
	case "42501":
		return meaning{kind: fail.Unavailable, hint: "make database.user the owner of the database"}
	case "42P01":
		return meaning{kind: fail.Unsupported, code: codeSchema, hint: "the first start of havn serve makes the tables"}
	}
	if strings.HasPrefix(pe.Code, "08") || pe.SeverityUnlocalized == "FATAL" || pe.SeverityUnlocalized == "PANIC" { // the connection is lost with it
		return meaning{reason: reasonNode}
	}
	return meaning{kind: fail.Internal}
}
