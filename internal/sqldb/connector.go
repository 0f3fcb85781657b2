package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"

	"github.com/havn-registry/havn/internal/fail"
)

// connectTries bounds the servers that one caller tries to connect to: behind that, waiting and trying again is the caller's.
const connectTries = 4

// Connect implements driver.Connector: a connection to the server in use; if it can't be had, to the next one.
func (w *watch) Connect(ctx context.Context) (driver.Conn, error) {
	var last error
	for range connectTries {
		m, turn, err := w.target()
		if err != nil {
			return nil, err
		}
		c, err := w.family.connect(ctx, m.addr, w.wired(m))
		if err == nil && w.turn.Load() != turn {
			// The server was left meanwhile: the pool asks no connection that is new whether it is still good, and what is read there may be old.
			if err = c.Close(); err != nil {
				w.cfg.Log.DebugContext(ctx, "close a connection to the database", "server", m.addr, "error", err)
			}
			last = &refusal{cause: fail.E(fail.Unavailable, nil, "%s was left while a connection to it was made", m.addr).RetryAfter(retryAfter), reason: reasonNode}
			continue
		}
		if err == nil {
			if full, ok := c.(fullConn); ok {
				return &memberConn{fullConn: full, w: w, m: m, turn: turn}, nil
			}
			return nil, errors.Join(fail.E(fail.Internal, nil, "the driver's connection lacks a method"), c.Close())
		}
		if ctx.Err() != nil {
			return nil, err
		}
		var slow net.Error
		switch {
		case w.family.classify(err).reason == reasonConnection:
			return nil, err
		case errors.As(err, &slow) && slow.Timeout():
			// It hangs, or this machine is busy. The look that is due now tells, and does not take everybody's connections away for one that came late.
			m.nudge()
			return nil, err
		}
		w.failed(m, err)
		last = err
	}
	return nil, last
}

// Driver implements driver.Connector.
func (w *watch) Driver() driver.Driver { return noDriver{} }

// noDriver is the driver of a pool that is opened by its connector alone.
type noDriver struct{}

func (noDriver) Open(string) (driver.Conn, error) {
	return nil, fail.E(fail.Internal, nil, "open a database by name")
}

// only connects to one member.
type only struct {
	w *watch
	m *member
	p product
}

// Connect implements driver.Connector.
func (o *only) Connect(ctx context.Context) (driver.Conn, error) {
	return o.p.connect(ctx, o.m.addr, o.w.wired(o.m))
}

// Driver implements driver.Connector.
func (o *only) Driver() driver.Driver { return noDriver{} }

// wire is a network connection to a member that can be cut off by who watches it.
type wire struct {
	*net.TCPConn

	w *watch
	m *member
}

// wired answers what dials a member.
func (w *watch) wired(m *member) dialer {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		d := net.Dialer{Timeout: dialTime}
		c, err := d.DialContext(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		tcp, ok := c.(*net.TCPConn)
		if !ok {
			return c, nil
		}
		one := &wire{TCPConn: tcp, w: w, m: m}
		w.mu.Lock()
		defer w.mu.Unlock()
		m.wires[one] = struct{}{}
		return one, nil
	}
}

// Close implements net.Conn.
func (c *wire) Close() error {
	c.w.mu.Lock()
	delete(c.m.wires, c)
	c.w.mu.Unlock()
	return c.TCPConn.Close()
}

// cut closes the connection under whoever waits for it. The wire stays known until it is closed by its owner.
func (c *wire) cut() {
	if err := c.TCPConn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		c.w.cfg.Log.Debug("cut a connection to the database", "server", c.m.addr, "error", err)
	}
}

// fullConn is what the drivers' connections can do.
type fullConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Pinger
}

// memberConn is a connection that ends when its server was left.
type memberConn struct {
	fullConn

	w    *watch
	m    *member
	turn uint64
}

// IsValid implements driver.Validator: the pool drops connections to a server that was left.
func (c *memberConn) IsValid() bool {
	if v, ok := c.fullConn.(driver.Validator); ok && !v.IsValid() {
		return false
	}
	return c.turn == c.w.turn.Load()
}

// ResetSession implements driver.SessionResetter: an idle connection to a server that was left is not used again.
func (c *memberConn) ResetSession(ctx context.Context) error {
	if c.turn != c.w.turn.Load() {
		return driver.ErrBadConn
	}
	return c.fullConn.ResetSession(ctx)
}

// Close implements driver.Conn. That it can't say goodbye to its server, MySQL's driver tells by an error that it alone knows (errBadConnNoWrite of go-sql-driver/mysql 1.10): here it becomes the one that all know.
func (c *memberConn) Close() error {
	if err := c.fullConn.Close(); err != nil {
		return errors.Join(driver.ErrBadConn, err)
	}
	return nil
}

// memberOf answers which member a connection leads to, nil if it broke already.
func memberOf(conn *sql.Conn) *member {
	var m *member
	err := conn.Raw(func(c any) error {
		if mc, ok := c.(*memberConn); ok {
			m = mc.m
		}
		return nil
	})
	if err != nil {
		return nil
	}
	return m
}
