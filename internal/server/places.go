package server

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/config"
)

// tellAgain is how often the log says that somebody has all the connections that he may have.
const tellAgain = time.Minute

// places bounds how many connections of all listeners are open at once, and how many of them one address has. When all are taken, those that have no request end to make room, the one
// that has been so for longest first: else whoever keeps idle connections open, which costs nothing, keeps everybody else out.
type places struct {
	slots   chan struct{}
	each    int            // of one address: a /64 of IPv6
	proxies []netip.Prefix // which have no such bound, because they stand for many
	log     *slog.Logger
	clock   func() time.Time

	mu      sync.Mutex
	of      map[netip.Prefix]int
	idle    queue // of the connections without a request: the one that has none for longest is in front
	waiting int   // connections that wait for a place
	told    time.Time
}

func newPlaces(c *config.HTTP, log *slog.Logger, clock func() time.Time) *places {
	return &places{
		slots: make(chan struct{}, c.MaxConnections), each: c.MaxConnectionsPerAddress, proxies: c.TrustedProxies, log: log, clock: clock,
		of: map[netip.Prefix]int{},
	}
}

// owner answers what counts as one address; the zero Prefix has no bound of its own.
func (p *places) owner(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	if slices.ContainsFunc(p.proxies, func(n netip.Prefix) bool { return n.Contains(ip) }) {
		return netip.Prefix{}
	}
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	network, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}

// enter counts a connection of an owner, and reports whether it may stay. One of the owner's that is idle makes room for it.
func (p *places) enter(owner netip.Prefix) bool {
	if !owner.IsValid() {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of[owner] >= p.each {
		idle := p.idleOf(owner)
		if idle == nil {
			p.tell(owner)
			return false
		}
		p.end(idle)
	}
	p.of[owner]++
	return true
}

func (p *places) idleOf(owner netip.Prefix) *slotted {
	for c := p.idle.front; c != nil; c = c.next {
		if c.owner == owner {
			return c
		}
	}
	return nil
}

func (p *places) tell(owner netip.Prefix) {
	if now := p.clock(); p.told.IsZero() || now.Sub(p.told) >= tellAgain {
		p.told = now
		p.log.Warn("connections of one address are refused", "address", owner.String(), "most", p.each,
			"hint", "if it is a proxy, name it in http.trusted_proxies; if many people share it, raise http.max_connections_per_address")
	}
}

// wait waits for a place until done is closed, and reports whether there is one. A connection without a request, now or the first one there is, ends for it.
func (p *places) wait(done <-chan struct{}) bool {
	select {
	case p.slots <- struct{}{}:
		return true
	default:
	}
	p.mu.Lock()
	p.waiting++
	if c := p.idle.front; c != nil {
		p.end(c)
	}
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.waiting--
	}()
	select {
	case p.slots <- struct{}{}:
		return true
	case <-done:
		return false
	}
}

// leave forgets a connection that did not get a place.
func (p *places) leave(owner netip.Prefix) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(owner)
}

func (p *places) forget(owner netip.Prefix) {
	if p.of[owner]--; p.of[owner] <= 0 {
		delete(p.of, owner)
	}
}

// free gives the place of a closed connection back, once.
func (p *places) free(c *slotted) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.release(c)
}

func (p *places) release(c *slotted) {
	p.idle.drop(c)
	if !c.gone {
		c.gone = true
		p.forget(c.owner)
		<-p.slots
	}
}

// end closes a connection for the sake of another. The caller holds the lock.
func (p *places) end(c *slotted) {
	if err := c.TCPConn.Close(); err != nil {
		p.log.Debug("close a connection", "error", err.Error()) // then it is closed
	}
	p.release(c)
}

// observe is the HTTP server's ConnState.
func (p *places) observe(conn net.Conn, state http.ConnState) {
	if over, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = over.NetConn()
	}
	c, ok := conn.(*slotted)
	if !ok {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle.drop(c)
	if state != http.StateIdle || c.gone {
		return
	}
	if p.waiting > 0 {
		p.end(c)
		return
	}
	p.idle.add(c)
}

// queue is a list of connections that are linked by themselves, because every request takes its own out and puts it back.
type queue struct{ front, back *slotted }

// add puts a connection that is in no queue at the back.
func (q *queue) add(c *slotted) {
	c.queued, c.prev, c.next = true, q.back, nil
	if q.back == nil {
		q.front = c
	} else {
		q.back.next = c
	}
	q.back = c
}

// drop takes a connection out, if it is there.
func (q *queue) drop(c *slotted) {
	if !c.queued {
		return
	}
	if c.prev == nil {
		q.front = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		q.back = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.queued, c.prev, c.next = false, nil, nil
}
