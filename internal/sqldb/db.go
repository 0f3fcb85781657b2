package sqldb

import (
	"context"
	"crypto/tls"
	"iter"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/fail"
)

// Engine names a database product.
type Engine string

// The engines. MySQL stands for MariaDB, MySQL and Galera clusters of either.
const (
	SQLite   Engine = "sqlite"
	MySQL    Engine = "mysql"
	Postgres Engine = "postgres"
)

// FaultPoint names a step at which a test may let a transaction fail.
type FaultPoint string

// The fault points. An error at BeforeCommit means that nothing was applied; at AfterCommit all was, and the outcome is said to
// be unknown: the transaction is run again in both cases.
const (
	BeforeCommit FaultPoint = "before commit"
	AfterCommit  FaultPoint = "after commit"
)

// Config says which database to open. Engine is required, Path for SQLite, Hosts, User and Database for the others.
type Config struct {
	Engine   Engine
	Path     string   // SQLite's file; its directory exists
	Hosts    []string // host:port of servers of the cluster, preferred in this order
	User     string
	Password string
	Database string
	TLS      *tls.Config // nil: none; the server's name is set for each
	Discover bool        // also use the servers that these name
	Members  string      // the file in which those are remembered, and PostgreSQL's timelines; "": none
	// KeepMembers leaves that file as it is: it belongs to a node, and this process only looks.
	KeepMembers bool
	MaxConns    int              // connections to a server; 0: a default that fits one node of Havn
	Clock       func() time.Time // nil: the system's
	Log         *slog.Logger     // nil: discarded
	Metrics     prometheus.Registerer
	// Fault, where set, is asked at each FaultPoint of each write transaction. For tests.
	Fault func(ctx context.Context, p FaultPoint, tx string) error
}

// defaultConns is enough for 2 cores' worth of requests and stays far below the 100 to 151 connections a server allows by
// default, with three nodes of Havn on it.
const defaultConns = 24

// DB is an open database. All methods are safe for concurrent use.
type DB struct {
	engine  Engine
	cfg     Config
	store   store
	metrics *metrics
}

// store is what the engines do differently: one attempt at a transaction or a read. embedded and server implement it.
type store interface {
	// write runs fn in one write transaction and commits it. A refusal or an unknown outcome is a *refusal.
	write(ctx context.Context, w *work) error
	// view runs fn on one read-only snapshot that holds every acknowledged write.
	view(ctx context.Context, fn func(*session) error) error
	// read runs fn, which reads once, outside any transaction.
	read(ctx context.Context, fn func(*session) error) error
	// migrate brings the schema up to date.
	migrate(ctx context.Context, steps []migration, now time.Time) error
	// check answers what is wrong, for people.
	check(ctx context.Context) []Finding
	// hopeless answers why it makes no sense to try again now; nil if it does.
	hopeless() error
	// ahead reports whether a read may see what a commit still waits for.
	ahead() bool
	// servers answers the servers that are known, none for SQLite; seen waits until each was looked at.
	servers() []Server
	seen(ctx context.Context)
	close() error
}

// Open connects to the database. It does not migrate it.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	cfg = cfg.complete()
	db := &DB{engine: cfg.Engine, cfg: cfg, metrics: newMetrics(cfg.Metrics)}
	var err error
	switch cfg.Engine {
	case SQLite:
		db.store, err = openEmbedded(ctx, &db.cfg, db.metrics)
	case MySQL, Postgres:
		db.store, err = openServer(ctx, &db.cfg, db.metrics)
	default:
		err = fail.E(fail.Invalid, nil, "database engine %q", string(cfg.Engine)).Hint("use sqlite, mysql or postgres")
	}
	if err != nil {
		return nil, err
	}
	return db, nil
}

// complete answers the configuration with defaults where nothing is given.
func (c Config) complete() Config {
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the clock of the package where no other is given
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MaxConns <= 0 {
		c.MaxConns = defaultConns
	}
	return c
}

// Close ends all connections. Transactions under way are ended first on SQLite; nothing may be called after it.
func (db *DB) Close() error { return db.store.close() }

// Engine answers which engine this is.
func (db *DB) Engine() Engine { return db.engine }

// Sole reports whether this process is the only one that can write, so that what it knows of the rows is exact.
func (db *DB) Sole() bool { return db.engine == SQLite }

// Servers answers the servers of the database, as this node sees them; none for SQLite.
func (db *DB) Servers() []Server { return db.store.servers() }

// Survey is Servers after each was looked at, which may take seconds.
func (db *DB) Survey(ctx context.Context) []Server {
	db.store.seen(ctx)
	return db.store.servers()
}

// Lost answers why the database has been out of reach for longer than a failover takes, nil if it has not: no server that may be written to was seen since.
func (db *DB) Lost() error { return settled(db.store.hopeless()) }

// Ping proves that a real table can be read now: a node without a quorum answers a ping, but not this.
func (db *DB) Ping(ctx context.Context) error {
	var v string
	err := db.Row(ctx, "SELECT v FROM meta WHERE k = ?", "ping").Scan(&v)
	if err != nil && !fail.Is(err, fail.NotFound) {
		return err
	}
	return nil
}

// Finding is one thing that was looked at by Check.
type Finding struct {
	OK    bool
	Minor bool   // not OK, and nothing fails of it now
	What  string // what was looked at, and what was seen
	Hint  string // what to do if it is not OK
}

// Check looks at what commonly goes wrong with a database, for the operator.
func (db *DB) Check(ctx context.Context) []Finding {
	var found []Finding
	for _, s := range db.Survey(ctx) {
		f := Finding{OK: s.Well(), Minor: true, What: "server " + s.Addr + " is " + s.State, Hint: s.Advice()}
		if s.Why != "" {
			f.What += ": " + s.Why
		}
		if s.Current {
			f.What += "; this node writes to it"
		}
		found = append(found, f)
	}
	found = append(found, db.Discovery(ctx)...)
	return append(append(found, db.schema(ctx)), db.Settings(ctx)...)
}

// Settings looks at the settings of the server that is written to, or of SQLite's file.
func (db *DB) Settings(ctx context.Context) []Finding { return db.store.check(ctx) }

// Time answers the time of the server's clock; on SQLite that is ours.
func (db *DB) Time(ctx context.Context) (time.Time, error) {
	var query string
	switch db.engine {
	case MySQL:
		query = "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)"
	case Postgres:
		query = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"
	default:
		return db.cfg.Clock(), nil
	}
	var us int64
	err := db.Row(ctx, query).Scan(&us)
	return FromMicros(us), err
}

// Skew answers how far the clock of the server is ahead of ours, what the question took being nothing.
func (db *DB) Skew(ctx context.Context) (time.Duration, error) {
	before := db.cfg.Clock()
	at, err := db.Time(ctx)
	after := db.cfg.Clock()
	switch {
	case err != nil:
		return 0, err
	case at.Before(before):
		return at.Sub(before), nil
	case at.After(after):
		return at.Sub(after), nil
	}
	return 0, nil
}

// Row reads one row in a round trip of its own.
func (db *DB) Row(ctx context.Context, query string, args ...any) Row {
	return Row{ctx: ctx, from: db, query: query, args: args}
}

// Rows reads rows in a round trip of its own. It holds a connection until the loop ends: don't query inside the loop.
func (db *DB) Rows(ctx context.Context, query string, args ...any) iter.Seq2[Scanner, error] {
	return func(yield func(Scanner, error) bool) {
		yielded, stopped := false, false
		once := func(row Scanner, err error) bool {
			yielded = true
			return yield(row, err)
		}
		begun := db.cfg.Clock()
		err := db.again(ctx, "read", func() error {
			err := db.store.read(ctx, func(s *session) (err error) {
				stopped, err = s.each(ctx, query, args, once)
				return err
			})
			if err != nil && yielded {
				// Rows went out already: a second run would repeat them.
				return settled(err)
			}
			return err
		})
		db.metrics.queried(db.cfg.Clock().Sub(begun), err)
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}

func (db *DB) scanRow(ctx context.Context, query string, args, dest []any) error {
	begun := db.cfg.Clock()
	err := db.again(ctx, "read", func() error {
		return db.store.read(ctx, func(s *session) error { return s.scanRow(ctx, query, args, dest) })
	})
	db.metrics.queried(db.cfg.Clock().Sub(begun), err)
	return err
}
