package sqldb

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"net"
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

func closes(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}
