package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/havn-registry/havn/internal/fail"
)

// listen binds the addresses, all or none.
func listen(ctx context.Context, addrs []string) ([]net.Listener, error) {
	var all []net.Listener
	for _, addr := range addrs {
		l, err := listenAt(ctx, addr, addrs)
		if err != nil {
			for _, open := range all {
				err = errors.Join(err, open.Close())
			}
			return nil, err
		}
		all = append(all, l)
	}
	return all, nil
}

// listenAt binds an address of a list.
func listenAt(ctx context.Context, addr string, all []string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, family(addr, all), addr)
	if err != nil {
		return nil, listenError(err, addr)
	}
	return l, nil
}

// family answers the network that an address of a list is listened at. Left alone, Go takes 0.0.0.0 for every address of the machine, those of IPv6 too, as it does [::]: then a list of
// both, which is how others are told to listen everywhere, would have each in the other's way.
func family(addr string, all []string) string {
	host, port, err := net.SplitHostPort(addr)
	ip, ipErr := netip.ParseAddr(host)
	switch {
	case err != nil || ipErr != nil:
		return "tcp"
	case ip.Is4():
		return "tcp4"
	case ip.IsUnspecified() && slices.ContainsFunc(all, func(other string) bool { return isIPv4At(other, port) }):
		return "tcp6"
	}
	return "tcp"
}

func isIPv4At(addr, port string) bool {
	host, at, err := net.SplitHostPort(addr)
	ip, ipErr := netip.ParseAddr(host)
	return err == nil && ipErr == nil && at == port && ip.Is4()
}

func listenError(err error, addr string) error {
	hint := "set http.addr (HAVN_HTTP_ADDR) or metrics.addr to an address of this machine"
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "another process listens there: stop it, or choose another port (HAVN_HTTP_ADDR, metrics.addr)"
	case errors.Is(err, syscall.EACCES):
		hint = "ports below 1024 need the capability CAP_NET_BIND_SERVICE: under systemd, a drop-in gives it (docs/operations.md, Install)"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = "this machine does not have that address"
	}
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	return fail.E(fail.Unavailable, err, "listen at %s", addr).Hint("%s", hint)
}

// limited bounds how many connections of all listeners are open at once: further ones wait, one of them here and the others in the kernel's queue.
type limited struct {
	net.Listener
	places *places
	pace   pace
	done   chan struct{}
	once   sync.Once
}

func newLimited(l net.Listener, p *places, c pace) *limited {
	return &limited{Listener: l, places: p, pace: c, done: make(chan struct{})}
}

// Accept waits for a connection that may stay, then for its place.
func (l *limited) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			return nil, errors.Join(fmt.Errorf("connection of type %T", conn), conn.Close())
		}
		owner := l.places.owner(conn.RemoteAddr())
		if !l.places.enter(owner) {
			if err = conn.Close(); err != nil {
				l.places.log.Debug("close a connection", "error", err.Error())
			}
			continue
		}
		if !l.places.wait(l.done) {
			l.places.leave(owner)
			return nil, errors.Join(net.ErrClosed, conn.Close())
		}
		if l.pace.short {
			shorten(tcp)
		}
		return &slotted{TCPConn: tcp, places: l.places, owner: owner, limit: l.pace.limit}, nil
	}
}

// Close stops listening.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}
