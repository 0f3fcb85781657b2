package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"net"
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

// postgresProduct is PostgreSQL; of several hosts the one that takes writes is used.
type postgresProduct struct {
	cfg  *Config
	pool *sql.DB
}

func openPostgres(cfg *Config) (*sql.DB, *postgresProduct, error) {
	var names, ports []string
	for _, h := range cfg.Hosts {
		name, port, err := net.SplitHostPort(h)
		if err != nil {
			return nil, nil, fail.E(fail.Invalid, err, "database host %q", h).Hint("write host:port")
		}
		names, ports = append(names, name), append(ports, port)
	}
	quote := strings.NewReplacer(`\`, `\\`, `'`, `\'`)
	pc, err := pgx.ParseConfig("host='" + quote.Replace(strings.Join(names, ",")) + "' port='" + quote.Replace(strings.Join(ports, ",")) +
		"' user='" + quote.Replace(cfg.User) + "' password='" + quote.Replace(cfg.Password) + "' dbname='" + quote.Replace(cfg.Database) +
		"' target_session_attrs=read-write")
	if err != nil {
		// The text of this error may hold the password.
		return nil, nil, fail.E(fail.Invalid, nil, "database %q on %s", cfg.Database, hosts(cfg.Hosts))
	}
	pc.ConnectTimeout = dialTime
	pc.RuntimeParams["application_name"] = "havn"
	pc.RuntimeParams["default_transaction_isolation"] = "read committed"
	pc.RuntimeParams["lock_timeout"] = "1500"
	pc.RuntimeParams["idle_in_transaction_session_timeout"] = "60000"
	pc.RuntimeParams["timezone"] = "UTC"
	// Every query goes by keys to few rows. The planner does not know that a base image's layers, which every repository has, are few in each of them, and reads whole tables for them.
	for _, whole := range []string{"enable_seqscan", "enable_hashjoin", "enable_mergejoin"} {
		pc.RuntimeParams[whole] = "off"
	}
	pool := stdlib.OpenDB(*pc)
	return pool, &postgresProduct{cfg: cfg, pool: pool}, nil
}

func (p *postgresProduct) beginView() []string {
	return []string{"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}
}

// avoid has nothing to do: the driver asks the hosts in turn for one that takes writes, and a broken connection is closed.
func (p *postgresProduct) avoid(uint64) {}

func (p *postgresProduct) node(*sql.Conn) uint64 { return 0 }

// migrate runs all steps in one transaction, one node at a time.
func (p *postgresProduct) migrate(ctx context.Context, steps []migration, now int64) error {
	d := newDialect(Postgres, classifyPostgres)
	d.statementTime = migrationTime
	tx, err := p.pool.BeginTx(ctx, nil)
	if err != nil {
		return d.translate(err, "BEGIN")
	}
	defer func() {
		if rollErr := tx.Rollback(); rollErr != nil && !errors.Is(rollErr, sql.ErrTxDone) {
			p.cfg.Log.DebugContext(ctx, "roll back a migration", "error", rollErr)
		}
	}()
	s := &session{run: tx, d: d}
	if _, err = s.exec(ctx, "SET LOCAL lock_timeout = 0", nil); err != nil {
		return err
	}
	if _, err = s.exec(ctx, "SELECT pg_advisory_xact_lock(?)", []any{migrationLock}); err != nil {
		return err
	}
	if err = apply(ctx, s, steps, now); err != nil {
		return err
	}
	return d.translate(tx.Commit(), "COMMIT")
}

func (p *postgresProduct) check(ctx context.Context, s *session) []Finding {
	var version, flushed string
	err := s.scanRow(ctx, "SELECT current_setting('server_version'), current_setting('synchronous_commit') || current_setting('fsync')",
		nil, []any{&version, &flushed})
	if err != nil {
		return []Finding{{What: "read the server's settings: " + err.Error()}}
	}
	found := []Finding{{OK: true, What: "PostgreSQL " + version}}
	if strings.Contains(flushed, "off") {
		found = append(found, Finding{
			What: "synchronous_commit or fsync is off: a power cut loses acknowledged pushes", Hint: "set both to on",
		})
	}
	return found
}

// classifyPostgres says what an error of PostgreSQL means.
func classifyPostgres(err error) meaning {
	var pe *pgconn.PgError
	if errors.As(err, &pe) {
		return meaningPostgres(pe)
	}
	var ce *pgconn.ConnectError
	if errors.As(err, &ce) || isConnection(err) || pgconn.SafeToRetry(err) {
		return meaning{reason: reasonNode}
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
	case "57P01", "57P02", "57P03", "25006", "25P03": // shut down; starting; a replica; we were idle too long
		return meaning{reason: reasonNode}
	case "23505":
		return meaning{kind: fail.Exists}
	case "23503", "23001":
		return meaning{kind: fail.Conflict, code: codeFK}
	case "22001", "22003", "23514", "22021":
		return meaning{kind: fail.Invalid}
	case "53100":
		return meaning{kind: fail.Exhausted, hint: "the database's disk is full"}
	case "28000", "28P01", "3D000":
		return meaning{kind: fail.Unavailable, hint: "check the database's user, password and name"}
	}
	if strings.HasPrefix(pe.Code, "08") {
		return meaning{reason: reasonNode}
	}
	return meaning{kind: fail.Internal}
}
