package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// maxRedirects is as many hops as a moved target needs (http to https, an added path, a login), and ends loops early.
	maxRedirects = 5
	// dialTimeout bounds looking up, connecting and the TLS handshake, each: a host that drops packets must not hold a job for a minute.
	dialTimeout = 10 * time.Second
	// idleTimeout is shorter than what load balancers keep (60 s), so that a request is seldom sent into a closing connection.
	idleTimeout = 45 * time.Second
	// maxIdle and maxIdlePerHost bound the connections that wait for the next request.
	maxIdle, maxIdlePerHost = 16, 2
	// maxHeaderBytes bounds the header of an answer, beside the limit of its body.
	maxHeaderBytes = 64 << 10
)

// Config says what a client may do. There are no defaults: what is unbounded was forgotten.
type Config struct {
	// Timeout bounds one exchange, redirects and the reading of the answer's body included.
	Timeout time.Duration
	// MaxResponseBytes bounds an answer's body, as it is read: after unpacking.
	MaxResponseBytes int64
	// Allow are networks that may be reached though they are not public. Anywhere is for addresses from the operator's configuration.
	Allow []netip.Prefix
	// Proxy, if there is one, makes all connections but those to NoProxy, localhost and loopback addresses; it is the operator's, and may be
	// anywhere. A name is looked up here too and refused if it leads to an address that is not public; a name that is not known here is left to the
	// proxy, whose own rules then decide.
	Proxy *url.URL
	// NoProxy is what is reached without Proxy, in the forms of NO_PROXY; Allow counts there too. What is in none of these forms has no effect.
	NoProxy []string
	// Roots are the authorities to trust; nil means the system's.
	Roots *x509.CertPool
	// SkipVerify takes any certificate: for a server of the operator's own, where he says so.
	SkipVerify bool
}

// NewClient makes a client, which is safe for concurrent use. Its errors are Denied for an address that may not be reached, TooLarge for an answer
// beyond the limit (when its body is read, too), Invalid for redirects that are not followed, and Unavailable for the rest. A redirect from
// https to http is not followed. Headers of the caller go along to another host, except those for authorization and cookies.
func NewClient(c Config) (*http.Client, error) {
	if c.Timeout <= 0 || c.MaxResponseBytes <= 0 {
		return nil, fail.E(fail.Internal, nil, "HTTP client without a limit: time %s, answer %d bytes", c.Timeout, c.MaxResponseBytes)
	}
	g := guard{c.Allow, closed()}
	t := &bounded{direct: newTransport(c, &net.Dialer{Timeout: dialTimeout, ControlContext: g.control}), limit: c.MaxResponseBytes}
	if c.Proxy != nil {
		// A transport of its own: its dialler reaches the proxy, wherever that is, and must never reach anything else.
		t.proxied, t.byProxy = newTransport(c, &net.Dialer{Timeout: dialTimeout}), byProxy(c.NoProxy)
		t.proxied.Proxy = http.ProxyURL(c.Proxy)
		t.target = &lookup{guard: g, find: net.DefaultResolver.LookupNetIP}
	}
	return &http.Client{Transport: t, CheckRedirect: checkRedirect, Timeout: c.Timeout}, nil
}

func newTransport(c Config, d *net.Dialer) *http.Transport {
	return &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.SkipVerify},
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  c.Timeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConns:           maxIdle,
		MaxIdleConnsPerHost:    maxIdlePerHost,
		ForceAttemptHTTP2:      true, // net/http leaves HTTP/2 out where the dialler is not its own
	}
}

// control checks the address that is about to be connected to: whatever name, record or redirect led to it.
func (g guard) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return fail.E(fail.Internal, err, "%s address %q", network, address)
	}
	return g.check(a.Addr())
}

func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fail.E(fail.Invalid, nil, "more than %d redirects", maxRedirects).Hint("use the address that they end at")
	}
	if via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return fail.E(fail.Invalid, nil, "redirect from https to %s", r.URL.Scheme).Hint("use an address that stays on https")
	}
	return nil
}
