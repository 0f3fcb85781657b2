package chaos

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/lab"
)

// latency is what a request and its answer need more on the way to a database that is far away.
const latency = 200 * time.Millisecond

// road is a way to a server on which everything takes half the latency in each direction.
type road struct {
	server   string
	listener net.Listener

	mu    sync.Mutex
	conns []net.Conn
}

// far leads the connections of a node of Havn to all servers of the database over long roads. Those that it has are reset. It answers how to make it near again.
func (d *deployment) far(t *testing.T, node int) func() error {
	t.Helper()
	hosts := d.galera.Hosts(0)
	var roads []*road
	var lines []string
	for _, host := range hosts {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		need(t, err)
		r := &road{server: host, listener: l}
		roads = append(roads, r)
		go r.run()
		ip, port, err := net.SplitHostPort(host)
		need(t, err)
		lines = append(lines, fmt.Sprintf("meta skgid %d ip daddr %s tcp dport %s dnat ip to %s", groupOf(node), ip, port, l.Addr()))
	}
	need(t, wall.Add(t.Context(), lab.Remote, lines...))
	need(t, wall.Add(t.Context(), lab.Severed, "meta l4proto tcp "+of(node)+" ip daddr "+ips(hosts...)+" reject with tcp reset"))
	return func() error {
		err := mend()
		for _, r := range roads {
			err = errors.Join(err, r.close())
		}
		return err
	}
}

// run takes connections until the road is closed.
func (r *road) run() {
	for {
		in, err := r.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.server)
		if err != nil {
			out = nil
		}
		if out == nil {
			_ = in.Close() //nolint:errcheck // nobody is there: whoever came is told so by the end of the connection
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, in, out)
		r.mu.Unlock()
		go lag(out, in)
		go lag(in, out)
	}
}

// lag passes on what comes, late, until one end closes.
func lag(to, from net.Conn) {
	type piece struct {
		due  time.Time
		data []byte
	}
	way := make(chan piece, 1024)
	go func() {
		defer close(way)
		for {
			data := make([]byte, 32<<10)
			n, err := from.Read(data)
			if n > 0 {
				way <- piece{time.Now().Add(latency / 2), data[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	var err error
	for p := range way {
		if err != nil {
			continue
		}
		time.Sleep(time.Until(p.due))
		if _, err = to.Write(p.data); err != nil {
			err = errors.Join(err, from.Close())
		}
	}
	_ = to.Close() //nolint:errcheck // the other direction may have closed it
}

func (r *road) close() error {
	err := r.listener.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.conns {
		if closeErr := c.Close(); closeErr != nil && !errors.Is(closeErr, net.ErrClosed) {
			err = errors.Join(err, closeErr)
		}
	}
	return err
}
