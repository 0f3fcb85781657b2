package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// What a server may take: below what a person waits for, above what an honest answer needs.
const (
	dialTime = 2 * time.Second
	// idleTime closes connections that a burst left behind.
	idleTime = 5 * time.Minute
	// connWait bounds the wait for a connection, as long as a transaction is tried again: loops over rows that query inside them would wait for each other for ever.
	connWait = retryTime
)

// server is MySQL or PostgreSQL: a pool of connections to one server of a cluster at a time.
type server struct {
	cfg     *Config
	metrics *metrics
	d       *dialect
	watch   *watch
	pool    *sql.DB
	product product
}

// product is what the two kinds of servers do differently, besides how to connect to them.
type product interface {
	family
	// beginView answers the statements that begin a read-only transaction on one snapshot.
	beginView() []string
	// commit answers the statement that ends a write transaction: durable wherever the server's settings want it, also if it only read.
	commit() string
	// settle answers the statements that roll a transaction back and then wait until all that it saw is as durable as what is committed; "" if that is so in any case.
	settle() string
	// migrate runs the migrations on a connection whose statements may take long.
	migrate(ctx context.Context, s *session, steps []migration, now int64) error
	// patient answers the same product with a longer time for statements.
	patient(d time.Duration) product
	// check answers what is wrong with the server.
	check(ctx context.Context, s *session) []Finding
	// vitals answers what a server says of how it is, for people.
	vitals(ctx context.Context, c driver.Conn) ([]Vital, error)
}

func openServer(ctx context.Context, cfg *Config, m *metrics) (*server, error) {
	if err := cfg.checkHosts(); err != nil {
		return nil, err
	}
	s := &server{cfg: cfg, metrics: m, product: newProduct(cfg)}
	s.d = newDialect(cfg.Engine, s.product.classify)
	if cfg.Engine == Postgres {
		s.d.statementTime = postgresStatementTime
	}
	s.watch = newWatch(cfg, m, s.product)
	s.pool = sql.OpenDB(s.watch)
	s.pool.SetMaxOpenConns(cfg.MaxConns)
	s.pool.SetMaxIdleConns(cfg.MaxConns)
	s.pool.SetConnMaxIdleTime(idleTime)
	err := s.watch.start(ctx)
	if err == nil {
		err = s.try(ctx)
	}
	if err != nil {
		return nil, errors.Join(settled(err), s.close())
	}
	return s, nil
}

func (c *Config) checkHosts() error {
	if len(c.Hosts) == 0 || c.Database == "" {
		return fail.E(fail.Invalid, nil, "database %q on %s", c.Database, hosts(c.Hosts)).Hint("give host:port of each node, and the database's name")
	}
	for _, host := range c.Hosts {
		if !address(host) {
			return fail.E(fail.Invalid, nil, "database host %q", host).Hint("write host:port")
		}
	}
	return nil
}

func newProduct(cfg *Config) product {
	if cfg.Engine == MySQL {
		return &mysqlProduct{cfg: cfg, readTime: mysqlReadTime}
	}
	return &postgresProduct{cfg: cfg}
}

// try makes one connection.
func (s *server) try(ctx context.Context) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	return s.d.translate(conn.Close(), "connect")
}

// connect takes a connection. What fails is worth another try.
func (s *server) connect(ctx context.Context) (*sql.Conn, error) {
	wait, cancel := context.WithTimeout(ctx, connWait)
	defer cancel()
	conn, err := s.pool.Conn(wait)
	switch {
	case err == nil:
		return conn, nil
	case wait.Err() != nil:
		return nil, fail.E(fail.Unavailable, wait.Err(), "wait for one of %d connections to the database", s.cfg.MaxConns).RetryAfter(time.Second).
			Hint("if it is so for long, raise database.max_connections, or look at what the server is busy with")
	}
	return nil, s.d.translate(err, "connect to "+hosts(s.cfg.Hosts))
}

// on runs fn on a connection, and gives it back in a state that fits what happened.
func (s *server) on(ctx context.Context, fn func(*sql.Conn) error) error {
	conn, err := s.connect(ctx)
	if err != nil {
		return err
	}
	defer s.release(conn)
	m := memberOf(conn) // now: a connection that broke can't be asked
	err = fn(conn)
	var r *refusal
	switch {
	case m == nil:
	case errors.As(err, &r) && (r.reason == reasonNode || r.reason == reasonCommit):
		s.watch.doubt(m)
	case err == nil:
		s.watch.trust(m)
	}
	return err
}

func (s *server) release(conn *sql.Conn) {
	if err := conn.Close(); err != nil && !errors.Is(err, sql.ErrConnDone) {
		s.cfg.Log.Debug("give a database connection back", "error", err)
	}
}

func (s *server) read(ctx context.Context, fn func(*session) error) error {
	return s.on(ctx, func(conn *sql.Conn) error { return fn(&session{run: conn, d: s.d}) })
}

func (s *server) view(ctx context.Context, fn func(*session) error) error {
	return s.within(ctx, s.product.beginView(), func(one *session) (ended bool, err error) { return false, fn(one) })
}

func (s *server) write(ctx context.Context, w *work) error {
	return s.within(ctx, []string{"BEGIN"}, func(one *session) (ended bool, err error) {
		if err = w.call(one, s.cfg.Clock()); err != nil {
			return s.refuse(ctx, one, err)
		}
		if err = s.cfg.fault(ctx, BeforeCommit, w.name); err != nil {
			return false, err
		}
		if err = w.late(s.cfg.Clock()); err != nil {
			return false, err
		}
		if _, err = one.exec(context.WithoutCancel(ctx), s.product.commit(), nil); err != nil {
			if !isConflict(err) {
				w.unsure()
			}
			return false, unknown(err)
		}
		s.metrics.committed(1, true)
		if err = s.cfg.fault(ctx, AfterCommit, w.name); err != nil {
			w.unsure()
		}
		return true, err
	})
}

// refuse ends a transaction whose function answered an error. That something is not there acknowledges that it was deleted, so it has to be as durable as the deletion.
func (s *server) refuse(ctx context.Context, one *session, cause error) (ended bool, err error) {
	text := s.product.settle()
	if text == "" || !fail.Is(cause, fail.NotFound) || !s.ahead() {
		return false, cause
	}
	if _, err = one.exec(context.WithoutCancel(ctx), text, nil); err != nil {
		return false, unknown(err)
	}
	return true, cause
}

// unknown answers a commit that failed: refused, or nobody knows. Either way it is run again.
func unknown(err error) error {
	if isRefusal(err) {
		return err
	}
	return &refusal{cause: err, reason: reasonCommit}
}

// within runs fn in a transaction that begins with these statements, and rolls it back unless fn ended it, also when fn panics.
//
// The statements are sent as text, not by database/sql's own transactions: those have a context that rolls them back behind our
// back, and no time-out of their own.
func (s *server) within(ctx context.Context, begin []string, fn func(*session) (ended bool, err error)) error {
	return s.on(ctx, func(conn *sql.Conn) (err error) {
		if ctx.Err() != nil {
			return fail.E(fail.Unavailable, ctx.Err(), "database transaction")
		}
		steady := context.WithoutCancel(ctx)
		one := &session{run: conn, d: s.d}
		ended := false
		defer func() {
			if ended {
				return
			}
			if _, rollErr := one.exec(steady, "ROLLBACK", nil); rollErr != nil {
				s.cfg.Log.DebugContext(ctx, "roll back", "error", rollErr)
				s.drop(conn)
			}
		}()
		for _, statement := range begin {
			if _, err = one.exec(steady, statement, nil); err != nil {
				return err
			}
		}
		ended, err = fn(one)
		return err
	})
}

// drop closes a connection whose state is not known, instead of giving it back.
func (s *server) drop(conn *sql.Conn) {
	err := conn.Raw(func(any) error { return driver.ErrBadConn })
	if err != nil && !errors.Is(err, driver.ErrBadConn) && !errors.Is(err, sql.ErrConnDone) {
		s.cfg.Log.Debug("drop a database connection", "error", err)
	}
}

// migrate uses connections of its own: a statement may take long, and is cut off only where its server is left.
func (s *server) migrate(ctx context.Context, steps []migration, now time.Time) error {
	m, _, err := s.watch.target()
	if err != nil {
		return err
	}
	p := s.product.patient(migrationTime)
	pool := sql.OpenDB(&only{w: s.watch, m: m, p: p})
	pool.SetMaxOpenConns(1)
	defer func() {
		if closeErr := pool.Close(); closeErr != nil {
			s.cfg.Log.DebugContext(ctx, "close the migration's connection", "error", closeErr)
		}
	}()
	d := newDialect(s.cfg.Engine, p.classify)
	if s.cfg.Engine == Postgres {
		d.statementTime = migrationTime
	}
	conn, err := pool.Conn(ctx)
	if err != nil {
		return d.translate(err, "connect")
	}
	defer s.release(conn)
	if err = p.migrate(ctx, &session{run: conn, d: d}, steps, now.UnixMicro()); isRefusal(err) {
		m.nudge()
	}
	return err
}

func (s *server) check(ctx context.Context) []Finding {
	var found []Finding
	err := s.read(ctx, func(one *session) error {
		found = s.product.check(ctx, one)
		return nil
	})
	if err != nil {
		found = append(found, Finding{What: "connect: " + settled(err).Error(), Hint: fail.HintOf(err)})
	}
	return found
}

func (s *server) hopeless() error { return s.watch.hopeless() }

func (s *server) ahead() bool { return s.watch.ahead() }

func (s *server) servers() []Server { return s.watch.servers() }

func (s *server) seen(ctx context.Context) { s.watch.seen(ctx) }

func (s *server) close() error {
	err := s.pool.Close()
	s.watch.close()
	if isConnection(err) { // its server died or was left: a connection that can't say goodbye is closed all the same
		return nil
	}
	return err
}
