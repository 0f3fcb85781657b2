package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// mysqlReadTime is below 2 s, so that a node that hangs is left before its callers give up.
	mysqlReadTime = 1900 * time.Millisecond
	// mysqlLockWait, in seconds, ends a wait for a row before the read time-out closes the connection.
	mysqlLockWait = 1
	// mysqlIdleTime, in seconds, is how long a transaction of ours may be idle. They are never, but where this process was stopped.
	mysqlIdleTime      = 10
	errUnknownVariable = 1193
	errAccessDenied    = 1045
	// migrationTime bounds one statement of a migration, which may build an index.
	migrationTime = 30 * time.Minute
)

// mysqlProduct is MariaDB or MySQL, one server or a Galera cluster.
type mysqlProduct struct {
	cfg      *Config
	readTime time.Duration
}

func (p *mysqlProduct) beginView() []string {
	// Repeatable read makes the first read's snapshot that of all.
	return []string{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION READ ONLY"}
}

func (p *mysqlProduct) commit() string { return "COMMIT" }

func (p *mysqlProduct) settle() string { return "" }

func (p *mysqlProduct) patient(d time.Duration) product {
	return &mysqlProduct{cfg: p.cfg, readTime: d}
}

// migrate runs each statement by itself: definitions are not transactional here. Nodes may run it at once: every statement may
// run twice, Galera runs definitions in one order everywhere, and its locks would not reach other nodes.
func (p *mysqlProduct) migrate(ctx context.Context, s *session, steps []migration, now int64) error {
	return apply(ctx, s, steps, now)
}

// connect implements family.
func (p *mysqlProduct) connect(ctx context.Context, addr string, dial dialer) (driver.Conn, error) {
	c, err := p.open(ctx, addr, p.readTime, dial)
	if err != nil {
		return nil, err
	}
	if err = greet(ctx, c); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// visit implements family.
func (p *mysqlProduct) visit(ctx context.Context, addr string) (driver.Conn, error) {
	// The context ends it, which says that time is over; the driver's own time-out says that the connection is invalid.
	return p.open(ctx, addr, 2*lookTime, nil)
}

func (p *mysqlProduct) open(ctx context.Context, addr string, readTime time.Duration, dial dialer) (driver.Conn, error) {
	mc := mysql.NewConfig()
	mc.Net, mc.Addr = "tcp", addr
	mc.User, mc.Passwd, mc.DBName = p.cfg.User, p.cfg.Password, p.cfg.Database
	mc.TLS = serverTLS(p.cfg, addr)
	mc.DialFunc = dial
	mc.Collation = "utf8mb4_bin"
	mc.ClientFoundRows = true
	mc.InterpolateParams = true // one round trip a statement, and nothing to keep on a node that may go
	mc.Timeout, mc.ReadTimeout, mc.WriteTimeout = dialTime, readTime, readTime
	mc.Logger = silent{}
	mc.Params = map[string]string{
		"sql_mode":                 "'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_ZERO_DATE,ONLY_FULL_GROUP_BY,ANSI_QUOTES'",
		"innodb_lock_wait_timeout": fmt.Sprint(mysqlLockWait),
		"time_zone":                "'+00:00'",
	}
	connector, err := mysql.NewConnector(mc)
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "database host %q", addr)
	}
	return connector.Connect(ctx)
}

// silent drops what the driver would write to standard error: it returns the same as errors.
type silent struct{}

func (silent) Print(...any) {}

// errNotReady says that a node of a cluster has no quorum or is not synced. A ping and SELECT 1 succeed on it.
var errNotReady = errors.New("the node is not ready (wsrep_ready is not ON)")

// greet sets what can't be set by the connection's parameters, and refuses a node that can't serve.
func greet(ctx context.Context, c driver.Conn) error {
	e, ok := c.(driver.ExecerContext)
	if !ok {
		return errNotReady
	}
	// A statement, because the variable has different names in MariaDB and MySQL.
	if _, err := e.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil); err != nil {
		return err
	}
	// MariaDB alone has it: it ends a transaction whose node of Havn hangs, with the locks that all others wait for.
	_, err := e.ExecContext(ctx, fmt.Sprintf("SET SESSION idle_transaction_timeout = %d", mysqlIdleTime), nil)
	var unknown *mysql.MySQLError
	if err != nil && (!errors.As(err, &unknown) || unknown.Number != errUnknownVariable) {
		return err
	}
	on, err := show(ctx, c, "SHOW VARIABLES LIKE 'wsrep_on'")
	if err != nil || on != "ON" {
		return err
	}
	ready, err := show(ctx, c, "SHOW STATUS LIKE 'wsrep_ready'")
	if err != nil {
		return err
	}
	if ready != "ON" {
		return errNotReady
	}
	// Reads, writes and inserts first wait for all that was acknowledged on other nodes.
	_, err = e.ExecContext(ctx, "SET SESSION wsrep_sync_wait = 7", nil)
	return err
}

// show answers the value of the one row of a SHOW, or "".
func show(ctx context.Context, c driver.Conn, query string) (string, error) {
	rows, err := rawRows(ctx, c, query)
	if err != nil || len(rows) == 0 || len(rows[0]) < 2 {
		return "", err
	}
	return rows[0][1], nil
}

// classify says what an error of MariaDB or MySQL means.
func (p *mysqlProduct) classify(err error) meaning {
	var me *mysql.MySQLError
	if errors.As(err, &me) {
		m := meaningMySQL(me.Number)
		if me.Number == errAccessDenied && p.cfg.TLS == nil {
			m.hint += "; MariaDB says the same to who comes without TLS where it wants that: database.tls.mode"
		}
		return m
	}
	if m, ok := meaningTLS(err); ok {
		return m
	}
	if errors.Is(err, errNotReady) || isConnection(err) || errors.Is(err, mysql.ErrInvalidConn) {
		return meaning{reason: reasonNode, hint: adviceOn(err)}
	}
	return unclassified(err)
}

func meaningMySQL(number uint16) meaning {
	switch number {
	case 1213, 1020, 1412, 1615: // deadlock or failed certification; row or table changed since the snapshot
		return meaning{reason: reasonConflict}
	case 1205: // a row's lock, or on Galera the wait for what other nodes acknowledged
		return meaning{reason: reasonNode}
	case 1047, 1180, 1053, 1290, 1836, 1927, 1317, 1969, 3024, 4031: // no quorum; commit failed; shutting down; read-only; killed; took longer than the server allows; was idle
		return meaning{reason: reasonNode}
	case 1040, 1203, 1226: // too many connections
		return meaning{reason: reasonConnection}
	case 1062, 1169, 1061: // 1061: an index of this name
		return meaning{kind: fail.Exists}
	case 1091: // no index of this name to drop
		return meaning{kind: fail.NotFound}
	case 1451, 1452, 1216, 1217:
		return meaning{kind: fail.Conflict, code: CodeFK}
	case 1406, 1264, 1366, 3819, 4025:
		return meaning{kind: fail.Invalid}
	case 1021, 1114:
		return meaning{kind: fail.Exhausted, hint: "the database's disk is full"}
	case 1044: // what a user is told who has no right to it, whether it is there or not
		return meaning{kind: fail.Unavailable, hint: "make the database and let the user in, or correct database.name: CREATE DATABASE … CHARACTER SET utf8mb4; GRANT ALL ON … TO …"}
	case 1045, 1698:
		return meaning{kind: fail.Unavailable, hint: "look at database.user and database.password, and at what the user may do: GRANT ALL ON the database TO the user"}
	case 1049:
		return meaning{kind: fail.Unavailable, hint: "make the database, or correct database.name: CREATE DATABASE … CHARACTER SET utf8mb4"}
	case 1129:
		return meaning{kind: fail.Unavailable, hint: "the server blocks this machine after too many connections that broke off: run FLUSH HOSTS there"}
	case 1130:
		return meaning{kind: fail.Unavailable, hint: "the server lets no user in from this machine: make the user for '%'"}
	case 3159:
		return meaning{kind: fail.Unavailable, hint: "the server wants TLS: set database.tls.mode"}
	case 1146:
		return meaning{kind: fail.Unsupported, code: codeSchema, hint: "the first start of havn serve makes the tables"}
	}
	return meaning{kind: fail.Internal}
}

// adviceOn answers what to do about an error of the network, "" if it may pass by itself.
func adviceOn(err error) string {
	var name *net.DNSError
	if errors.As(err, &name) {
		return "correct the name in database.hosts, or look at this machine's name servers"
	}
	return ""
}

// isConnection reports whether an error is one of the network or of a driver that lost it.
func isConnection(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}
