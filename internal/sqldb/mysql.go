package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// mysqlReadTime is below 2 s, so that a node that hangs is left before its callers give up.
	mysqlReadTime = 1900 * time.Millisecond
	// mysqlLockWait, in seconds, ends a wait for a row before the read time-out closes the connection.
	mysqlLockWait = 1
	// migrationTime bounds one statement of a migration, which may build an index.
	migrationTime = 30 * time.Minute
)

// mysqlProduct is MariaDB or MySQL, one server or a Galera cluster.
type mysqlProduct struct {
	cfg   *Config
	nodes *nodes
}

func openMySQL(cfg *Config) (*sql.DB, *mysqlProduct, error) {
	n, err := newNodes(cfg, mysqlReadTime)
	if err != nil {
		return nil, nil, err
	}
	return sql.OpenDB(n), &mysqlProduct{cfg: cfg, nodes: n}, nil
}

func (p *mysqlProduct) beginView() []string {
	// Repeatable read makes the first read's snapshot that of all.
	return []string{"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION READ ONLY"}
}

func (p *mysqlProduct) node(conn *sql.Conn) uint64 {
	turn := p.nodes.current()
	err := conn.Raw(func(c any) error {
		if nc, ok := c.(*nodeConn); ok {
			turn = nc.turn
		}
		return nil
	})
	if err != nil {
		p.cfg.Log.Debug("ask a database connection for its node", "error", err)
	}
	return turn
}

func (p *mysqlProduct) avoid(node uint64) { p.nodes.leave(node) }

// migrate runs each statement by itself: definitions are not transactional here. Nodes may run it at once: every statement may
// run twice, Galera runs definitions in one order everywhere, and its locks would not reach other nodes.
func (p *mysqlProduct) migrate(ctx context.Context, steps []migration, now int64) error {
	n, err := newNodes(p.cfg, migrationTime)
	if err != nil {
		return err
	}
	n.turn = p.nodes.current()
	pool := sql.OpenDB(n)
	defer func() {
		if closeErr := pool.Close(); closeErr != nil {
			p.cfg.Log.DebugContext(ctx, "close the migration's connection", "error", closeErr)
		}
	}()
	d := newDialect(MySQL, classifyMySQL)
	err = apply(ctx, &session{run: pool, d: d}, steps, now)
	if isRefusal(err) {
		p.nodes.leave(n.current())
	}
	return err
}

func (p *mysqlProduct) check(ctx context.Context, s *session) []Finding {
	var found []Finding
	vars, err := variables(ctx, s)
	if err != nil {
		return []Finding{{What: "read the server's variables: " + err.Error()}}
	}
	found = append(found, Finding{OK: true, What: "server " + vars["version"]})
	if vars["innodb_flush_log_at_trx_commit"] != "1" && vars["wsrep_on"] != "ON" {
		found = append(found, Finding{
			What: "innodb_flush_log_at_trx_commit is " + vars["innodb_flush_log_at_trx_commit"] + ": a power cut loses acknowledged pushes",
			Hint: "set it to 1",
		})
	}
	return found
}

func variables(ctx context.Context, s *session) (map[string]string, error) {
	vars := map[string]string{}
	var scanErr error
	_, err := s.each(ctx, "SHOW VARIABLES WHERE Variable_name IN ('version', 'innodb_flush_log_at_trx_commit', 'wsrep_on')", nil,
		func(row Scanner, _ error) bool {
			var k, v string
			scanErr = row.Scan(&k, &v)
			vars[k] = v
			return scanErr == nil
		})
	if scanErr != nil {
		return nil, scanErr
	}
	return vars, err
}

// nodes connects to one of the nodes of a cluster, and stays with it until it fails: all nodes of a Galera cluster take writes,
// but the fewer write, the fewer transactions are refused. It is the driver.Connector of the pool.
type nodes struct {
	names      []string
	connectors []driver.Connector

	mu   sync.Mutex
	turn uint64 // counts the changes; the current node is turn modulo their number
}

func newNodes(cfg *Config, readTime time.Duration) (*nodes, error) {
	n := &nodes{names: cfg.Hosts}
	for _, host := range cfg.Hosts {
		mc := mysql.NewConfig()
		mc.Net, mc.Addr = "tcp", host
		if strings.HasPrefix(host, "/") {
			mc.Net = "unix"
		}
		mc.User, mc.Passwd, mc.DBName = cfg.User, cfg.Password, cfg.Database
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
		c, err := mysql.NewConnector(mc)
		if err != nil {
			return nil, fail.E(fail.Invalid, err, "database host %q", host)
		}
		n.connectors = append(n.connectors, c)
	}
	return n, nil
}

// silent drops what the driver would write to standard error: it returns the same as errors.
type silent struct{}

func (silent) Print(...any) {}

// Connect implements driver.Connector: the current node, else the next that can be used.
func (n *nodes) Connect(ctx context.Context) (driver.Conn, error) {
	var errs []error
	for range n.connectors {
		turn := n.current()
		i := int(turn % uint64(len(n.connectors)))
		c, err := n.connectors[i].Connect(ctx)
		if err == nil {
			if err = greet(ctx, c); err == nil {
				if full, ok := c.(fullConn); ok {
					return &nodeConn{fullConn: full, nodes: n, turn: turn}, nil
				}
				err = fail.E(fail.Internal, nil, "the MySQL driver's connection lacks a method")
			}
			errs = append(errs, c.Close())
		}
		errs = append(errs, fmt.Errorf("node %s: %w", n.names[i], err))
		if ctx.Err() != nil {
			break
		}
		n.leave(turn)
	}
	return nil, errors.Join(errs...)
}

// Driver implements driver.Connector.
func (n *nodes) Driver() driver.Driver { return n.connectors[0].Driver() }

func (n *nodes) current() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.turn
}

// leave goes on to the next node, unless somebody did since turn.
func (n *nodes) leave(turn uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.turn == turn && len(n.names) > 1 {
		n.turn++
	}
}

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
	q, ok := c.(driver.QueryerContext)
	if !ok {
		return "", errNotReady
	}
	rows, err := q.QueryContext(ctx, query, nil)
	if err != nil {
		return "", err
	}
	row := make([]driver.Value, 2)
	err = rows.Next(row)
	if closeErr := rows.Close(); closeErr != nil {
		return "", closeErr
	}
	if errors.Is(err, io.EOF) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	switch v := row[1].(type) {
	case []byte:
		return string(v), nil
	case string:
		return v, nil
	}
	return "", nil
}

// fullConn is what the MySQL driver's connections can do.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Validator
	driver.Pinger
}

// nodeConn is a connection that ends when its node was left.
type nodeConn struct {
	fullConn
	nodes *nodes
	turn  uint64
}

// IsValid implements driver.Validator: the pool drops connections to a node that was left.
func (c *nodeConn) IsValid() bool { return c.turn == c.nodes.current() && c.fullConn.IsValid() }

// ResetSession implements driver.SessionResetter: an idle connection to a node that was left is not used again.
func (c *nodeConn) ResetSession(ctx context.Context) error {
	if c.turn != c.nodes.current() {
		return driver.ErrBadConn
	}
	return c.fullConn.ResetSession(ctx)
}

// classifyMySQL says what an error of MariaDB or MySQL means.
func classifyMySQL(err error) meaning {
	var me *mysql.MySQLError
	if errors.As(err, &me) {
		return meaningMySQL(me.Number)
	}
	if errors.Is(err, errNotReady) || isConnection(err) || errors.Is(err, mysql.ErrInvalidConn) {
		return meaning{reason: reasonNode}
	}
	return unclassified(err)
}

func meaningMySQL(number uint16) meaning {
	switch number {
	case 1213, 1020, 1412, 1615: // deadlock or failed certification; row or table changed since the snapshot
		return meaning{reason: reasonConflict}
	case 1205: // a row's lock, or on Galera the wait for what other nodes acknowledged
		return meaning{reason: reasonNode}
	case 1047, 1180, 1053, 1290, 1836, 1927, 1317: // no quorum; commit failed; shutting down; read-only; killed
		return meaning{reason: reasonNode}
	case 1040, 1203, 1226: // too many connections
		return meaning{reason: reasonConnection}
	case 1062, 1169:
		return meaning{kind: fail.Exists}
	case 1451, 1452, 1216, 1217:
		return meaning{kind: fail.Conflict, code: codeFK}
	case 1406, 1264, 1366, 3819, 4025:
		return meaning{kind: fail.Invalid}
	case 1021, 1114:
		return meaning{kind: fail.Exhausted, hint: "the database's disk is full"}
	case 1044, 1045, 1049, 1130:
		return meaning{kind: fail.Unavailable, hint: "check the database's user, password and name"}
	}
	return meaning{kind: fail.Internal}
}

// isConnection reports whether an error is one of the network or of a driver that lost it.
func isConnection(err error) bool {
	var ne net.Error
	return errors.As(err, &ne) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, net.ErrClosed) || errors.Is(err, context.DeadlineExceeded)
}
