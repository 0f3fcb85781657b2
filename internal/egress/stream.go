package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// streamBuffer is one read from and one write to the network; net/http's own are 4 KiB, which costs large objects a fifth of their speed.
	streamBuffer = 64 << 10
	// streamIdle is as many connections as wait for the next request: as many as a busy node uses at once, or each request would dial.
	streamIdle = 256
)

// StreamConfig says how a client behaves that moves large objects to and from a store of the operator's.
type StreamConfig struct {
	// NoProgress ends an exchange of which no byte moved for so long. As long as bytes move, it may take hours.
	NoProgress time.Duration
	// Proxy, if there is one, makes all connections but those to NoProxy, localhost, loopback and link-local addresses: at the last a cloud's
	// machines find their own credentials, which no proxy can reach for them.
	Proxy *url.URL
	// NoProxy is what is reached without Proxy, as in Config.
	NoProxy []string
	// Roots are the authorities to trust; nil means the system's.
	Roots *x509.CertPool
}

// NewStream makes a client for the stores that the operator's configuration names: their addresses may be anywhere, and answers and times are not
// limited. It is safe for concurrent use. Redirects are answered to the caller and not followed. Errors are net/http's: see Hint. It speaks
// HTTP/1.1: with HTTP/2 all objects would share one connection, and one slow reader its window.
func NewStream(c StreamConfig) (*http.Client, error) {
	if c.NoProgress <= 0 {
		return nil, fail.E(fail.Internal, nil, "HTTP client for streams without a limit")
	}
	return newStream(c, (&net.Dialer{Timeout: min(dialTimeout, c.NoProgress)}).DialContext), nil
}

func newStream(c StreamConfig, dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &lively{Conn: conn, limit: c.NoProgress}, nil
		},
		TLSClientConfig:        &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		// Well below the limit of progress, which would otherwise end idle connections at the moment of their next use.
		IdleConnTimeout:       min(idleTimeout, c.NoProgress/2),
		MaxIdleConns:          streamIdle,
		MaxIdleConnsPerHost:   streamIdle,
		ExpectContinueTimeout: time.Second,
		ReadBufferSize:        streamBuffer,
		WriteBufferSize:       streamBuffer,
		DisableCompression:    true, // what was stored is what is read
	}
	if c.Proxy != nil {
		proxied := byProxy(c.NoProxy)
		transport.Proxy = func(r *http.Request) (*url.URL, error) {
			if a, err := netip.ParseAddr(r.URL.Hostname()); err == nil && a.Unmap().IsLinkLocalUnicast() || !proxied(r.URL) {
				return nil, nil
			}
			return c.Proxy, nil
		}
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// lively is a connection on which reading and writing fail when no byte moved in either direction for its limit.
type lively struct {
	net.Conn
	limit time.Duration
	moved atomic.Int64 // when its deadlines were set last, in nanoseconds
	stuck atomic.Bool  // one of them passed
}

// moveOn sets the deadlines anew; not for every packet.
func (l *lively) moveOn() error {
	now := time.Now() //nolint:forbidigo // deadlines of sockets are by the machine's clock
	last := l.moved.Load()
	if now.UnixNano()-last < int64(l.limit/16) && now.UnixNano() >= last {
		return nil
	}
	l.moved.Store(now.UnixNano())
	return l.SetDeadline(now.Add(l.limit))
}

// Read reads what there is.
func (l *lively) Read(p []byte) (int, error) {
	if err := l.moveOn(); err != nil {
		return 0, l.named(err, noAnswer)
	}
	n, err := l.Conn.Read(p)
	return n, l.named(err, noAnswer)
}

// Write writes all of p. A slow receiver takes a part at a time, and each moves the deadline on.
func (l *lively) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if err := l.moveOn(); err != nil {
			return done, l.named(err, nothingTaken)
		}
		n, err := l.Conn.Write(p[done:])
		if done += n; err == nil || n > 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			continue
		}
		return done, l.named(err, nothingTaken)
	}
	return done, nil
}

// What a deadline that passed was for.
const (
	noAnswer     = "no answer"
	nothingTaken = "nothing was taken"
)

// named says of a deadline that passed what it was for: "i/o timeout" alone could be anything.
func (l *lively) named(err error, what string) error {
	late := err != nil && errors.Is(err, os.ErrDeadlineExceeded)
	// net/http closes the connection when its reader gives up, under the writer's hands.
	if late || err != nil && errors.Is(err, net.ErrClosed) && l.stuck.Load() {
		l.stuck.Store(true)
		return &stalledError{what: what + " for " + l.limit.String(), cause: err}
	}
	return err
}

// stalledError is a net.Error.
type stalledError struct {
	what  string
	cause error
}

func (e *stalledError) Error() string   { return e.what }
func (e *stalledError) Unwrap() error   { return e.cause }
func (e *stalledError) Timeout() bool   { return true }
func (e *stalledError) Temporary() bool { return true }

// Hint says what an operator can do about an error of a client: address is the key of the configuration that names the server, ca the one that
// names the authorities to trust for it. It answers "" where it knows nothing better than the error itself.
func Hint(err error, address, ca string) string {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var stalled *stalledError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate is expired or not valid yet: renew it there, or set this machine's clock"
	case errors.As(err, &unknown), errors.As(err, &invalid):
		return "the server's certificate is signed by an authority that is not trusted here: name that authority's certificate in " + ca
	case errors.As(err, &name):
		return "the server's certificate is for another name: use a name of the certificate in " + address
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return "the server does not speak TLS at this port: write http:// in " + address + ", or the port of its TLS"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "this machine's resolver does not know the host: correct " + address + ", or /etc/resolv.conf"
	case errors.As(err, &dns):
		return "the name server does not answer: look at /etc/resolv.conf and the network"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there: is the server running, and is the port in " + address + " right?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to the host: look at the network, the routes and " + address
	case errors.As(err, &stalled):
		return "the server hangs, or a firewall drops packets: look at the server and the network between"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return "the server does not answer in time: is it running, and does a firewall drop packets on the way to " + address + "?"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the server cut the connection: look at its log; a server that speaks TLS wants https:// in " + address
	}
	return ""
}
