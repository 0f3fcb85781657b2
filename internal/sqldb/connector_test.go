package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"
)

// idle is a connection of a driver that has nothing to say.
type idle struct{ fullConn }

func (idle) ResetSession(context.Context) error { return nil }

// TestAMoveLetsStatementsFinishUnlessTheirServerFails moves from a server that is only strained: what runs there goes on, and its connection is not used again. From one that can't be written to any
// more, connections are cut under whoever waits for them.
func TestAMoveLetsStatementsFinishUnlessTheirServerFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		becomes condition
		cut     bool
	}{{strained, false}, {unfit, true}} {
		echo, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closes(t, echo) })
		go func() {
			if conn, acceptErr := echo.Accept(); acceptErr == nil {
				if _, copyErr := io.Copy(conn, conn); copyErr == nil {
					closes(t, conn)
				}
			}
		}()
		f := newTown()
		f.put("a:1", sight{cond: fit}, nil)
		f.put("b:1", sight{cond: fit}, nil)
		w, err := f.open(t, time.Now, "", "a:1", "b:1")
		if err != nil {
			t.Fatal(err)
		}
		await(t, w, "a:1")
		m, turn, err := w.target()
		if err != nil {
			t.Fatal(err)
		}
		wire, err := w.wired(m)(t.Context(), "tcp", echo.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		pooled := &memberConn{fullConn: idle{}, w: w, m: m, turn: turn}
		if err = pooled.ResetSession(t.Context()); err != nil || !pooled.IsValid() {
			t.Errorf("before the move, the connection is not used: %v", err)
		}
		f.put("a:1", sight{cond: c.becomes}, nil)
		m.nudge()
		await(t, w, "b:1")
		_, err = wire.Write([]byte("x"))
		if err == nil {
			_, err = io.ReadFull(wire, make([]byte, 1))
		}
		if errors.Is(err, net.ErrClosed) != c.cut || err != nil && !c.cut {
			t.Errorf("behind a move from a server that is %s, a statement ends with %v", c.becomes, err)
		}
		if err = pooled.ResetSession(t.Context()); !errors.Is(err, driver.ErrBadConn) || pooled.IsValid() {
			t.Errorf("behind the move, the connection is used again: %v", err)
		}
		closes(t, wire)
	}
}

// handed is a connector to a connection that is there.
type handed struct{ conn driver.Conn }

func (h handed) Connect(context.Context) (driver.Conn, error) { return h.conn, nil }
func (h handed) Driver() driver.Driver                        { return nil }

// letIn speaks as much of MySQL's protocol as a client needs to come in and to set its variables.
func letIn(conn net.Conn) error {
	hello := slices.Concat([]byte("\x0a8.0.36\x00id..12345678\x00"),
		[]byte{0x01, 0x82, 0x2d, 0x02, 0x00, 0x08, 0x00, 21}, make([]byte, 10), []byte("123456789012\x00mysql_native_password\x00"))
	ok := []byte{0, 0, 0, 2, 0, 0, 0}
	for _, answer := range []struct {
		sequence byte
		packet   []byte
	}{{0, hello}, {2, ok}, {1, ok}} {
		if answer.sequence > 0 {
			head := make([]byte, 4)
			if _, err := io.ReadFull(conn, head); err != nil {
				return err
			}
			if _, err := io.CopyN(io.Discard, conn, int64(head[0])|int64(head[1])<<8); err != nil {
				return err
			}
		}
		if _, err := conn.Write(append([]byte{byte(len(answer.packet)), 0, 0, answer.sequence}, answer.packet...)); err != nil {
			return err
		}
	}
	return nil
}

// TestAConnectionThatWasCutOffIsClosedWithoutAnError closes what a move cut off, and MySQL's driver with it: a node that is stopped soon after a failover has such connections.
func TestAConnectionThatWasCutOffIsClosedWithoutAnError(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closes(t, l) })
	go func() {
		conn, acceptErr := l.Accept()
		if acceptErr == nil {
			acceptErr = letIn(conn)
		}
		if acceptErr != nil {
			t.Error(acceptErr)
		}
	}()
	f := newTown()
	f.put("a:1", sight{cond: fit}, nil)
	w, err := f.open(t, time.Now, "", "a:1")
	if err != nil {
		t.Fatal(err)
	}
	m, turn, err := w.target()
	if err != nil {
		t.Fatal(err)
	}
	c, err := (&mysqlProduct{cfg: &Config{}}).open(t.Context(), l.Addr().String(), mysqlReadTime, w.wired(m))
	if err != nil {
		t.Fatal(err)
	}
	full, ok := c.(fullConn)
	if !ok {
		t.Fatalf("%T", c)
	}
	s := &server{pool: sql.OpenDB(handed{&memberConn{fullConn: full, w: w, m: m, turn: turn}}), watch: w}
	conn, err := s.pool.Conn(t.Context())
	if err == nil {
		err = conn.Close() // it is idle now
	}
	if err != nil {
		t.Fatal(err)
	}
	w.mu.Lock()
	for one := range m.wires {
		one.cut()
	}
	w.mu.Unlock()
	if err = s.close(); err != nil {
		t.Error(err)
	}
}

func closes(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
