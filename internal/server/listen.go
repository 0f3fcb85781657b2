package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"

	"github.com/havn-registry/havn/internal/fail"
)

// listen binds the addresses, all or none.
func listen(ctx context.Context, addrs []string) ([]net.Listener, error) {
	var lc net.ListenConfig
	var all []net.Listener
	for _, addr := range addrs {
		l, err := lc.Listen(ctx, "tcp", addr)
		if err != nil {
			for _, open := range all {
				err = errors.Join(err, open.Close())
			}
			return nil, listenError(err, addr)
		}
		all = append(all, l)
	}
	return all, nil
}

func listenError(err error, addr string) error {
	hint := "set http.addr (HAVN_HTTP_ADDR) or metrics.addr to an address of this machine"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "another process listens there: stop it, or choose another port (HAVN_HTTP_ADDR, metrics.addr)"
	case errors.Is(err, syscall.EACCES):
		hint = "ports below 1024 need the capability CAP_NET_BIND_SERVICE, which the unit in deploy/ can give"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "this machine does not have that address"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fail.E(fail.Unavailable, err, "listen at %s", addr).Hint("%s", hint)
}

// limited bounds how many connections of all listeners are open at once: further ones wait in the kernel's queue.
type limited struct {
	net.Listener
	slots chan struct{}
	pace  pace
	done  chan struct{}
	once  sync.Once
}

func newLimited(l net.Listener, slots chan struct{}, p pace) *limited {
	return &limited{Listener: l, slots: slots, pace: p, done: make(chan struct{})}
}

// Accept waits for a free slot, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		<-l.slots
		return nil, errors.Join(fmt.Errorf("connection of type %T", conn), conn.Close())
	}
	if l.pace.short {
		shorten(tcp)
	}
	return &slotted{TCPConn: tcp, slots: l.slots, limit: l.pace.limit}, nil
}

// Close stops listening.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}
