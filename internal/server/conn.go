package server

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"
)

// pace is what connections do for clients that are slow.
type pace struct {
	limit time.Duration // how long no byte may leave while something is written
	short bool          // keep little in the kernel: see shorten
}

// slotted is a connection that gives its slot back. It embeds the TCP connection itself, so that ReadFrom (sendfile) is its own.
//
// A deadline for writing that is as far away as the limit of the pace is moved on when it passes and bytes left since: the kernel lets nobody write before a
// third of its buffer is free, of maybe 4 MiB, for which a client of 20 KB/s needs longer than a minute. This is done here, below TLS, which does not go on after
// a deadline. A client that stands still is noticed after twice the limit, for at the first look nobody knows how much waited before.
type slotted struct {
	*net.TCPConn
	places *places
	owner  netip.Prefix

	// Guarded by places.
	gone       bool     // it gave its place back
	queued     bool     // it has no request
	prev, next *slotted // beside it in the queue of those

	limit  time.Duration
	moving atomic.Bool // the deadline for writing is one to move on
	stuck  atomic.Bool // one passed, and nothing had left
}

// Close closes the connection.
func (c *slotted) Close() error {
	err := c.TCPConn.Close()
	c.places.free(c)
	return err
}

// SetDeadline sets both deadlines.
func (c *slotted) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetWriteDeadline sets the deadline for writing. One that is near is meant as it is: a goodbye, or an end.
func (c *slotted) SetWriteDeadline(t time.Time) error {
	c.moving.Store(c.limit > 0 && time.Until(t) > c.limit/2)
	return c.TCPConn.SetWriteDeadline(t)
}

// Write writes all of p, as long as bytes leave.
func (c *slotted) Write(p []byte) (int, error) {
	n, err := c.persist(func(done int64) (int64, bool, error) {
		n, err := c.TCPConn.Write(p[done:])
		return int64(n), true, err
	})
	return int(n), err
}

// ReadFrom sends a piece of a file, by sendfile, as long as bytes leave; from anything else it copies.
func (c *slotted) ReadFrom(src io.Reader) (int64, error) {
	piece, ok := src.(*io.LimitedReader)
	if ok {
		_, ok = piece.R.(*os.File)
	}
	if !ok {
		return io.Copy(struct{ io.Writer }{c}, src)
	}
	return c.persist(func(int64) (int64, bool, error) {
		before := piece.N
		n, err := c.TCPConn.ReadFrom(piece)
		// Where sendfile is not to be had, bytes may have been read that were not written: no second try may follow.
		return n, piece.N == before-n, err
	})
}

// persist calls write, which is told how much was written so far, until it is through. It answers how much it wrote, and whether it can be called again.
func (c *slotted) persist(write func(done int64) (n int64, again bool, err error)) (int64, error) {
	var sum int64
	waiting := -1 // bytes in the kernel when the last deadline passed; -1: none did
	for {
		if c.stuck.Load() {
			return sum, os.ErrDeadlineExceeded
		}
		n, again, err := write(sum)
		sum += n
		if err == nil || !errors.Is(err, os.ErrDeadlineExceeded) || !c.moving.Load() || !again {
			return sum, err
		}
		now, ok := unacknowledged(c.TCPConn)
		if !ok {
			return sum, err
		}
		if n == 0 && waiting >= 0 && now >= waiting {
			c.stuck.Store(true)
			return sum, err
		}
		waiting = now
		if err = c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
			return sum, err
		}
	}
}
