package egress

import (
	"errors"
	"io"
	"net/http"
	"net/url"

	"github.com/havn-registry/havn/internal/fail"
)

// bounded gives each answer a limit and each error a kind.
type bounded struct {
	direct *http.Transport // checks connections as they are made
	limit  int64

	proxied *http.Transport // nil: there is no proxy
	byProxy func(*url.URL) bool
	target  *lookup // checks what proxied is asked for
}

// RoundTrip makes one exchange; the client calls it again for each redirect.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	next, err := b.way(r)
	if err != nil {
		return nil, errors.Join(err, closeBody(r))
	}
	answer, err := next.RoundTrip(r)
	if err != nil {
		return nil, kinded(err, "%s does not answer", r.URL.Host)
	}
	if answer.Body == nil || answer.Body == http.NoBody || r.Method == http.MethodHead || answer.StatusCode == http.StatusSwitchingProtocols {
		return answer, nil
	}
	if answer.ContentLength > b.limit {
		return nil, errors.Join(b.tooLarge(r.URL.Host), answer.Body.Close())
	}
	answer.Body = &body{in: answer.Body, left: b.limit, beyond: b.tooLarge(r.URL.Host), host: r.URL.Host}
	return answer, nil
}

// way answers how a request is sent. It refuses one that can't be sent, or must not be by the proxy.
func (b *bounded) way(r *http.Request) (*http.Transport, error) {
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.Hostname() == "" {
		return nil, fail.E(fail.Invalid, nil, "address %.200q", r.URL.Redacted()).Hint("use http:// or https://, and a host")
	}
	if b.proxied == nil || !b.byProxy(r.URL) {
		return b.direct, nil
	}
	return b.proxied, b.target.check(r.Context(), r.URL.Hostname())
}

// CloseIdleConnections is what http.Client.CloseIdleConnections looks for.
func (b *bounded) CloseIdleConnections() {
	b.direct.CloseIdleConnections()
	if b.proxied != nil {
		b.proxied.CloseIdleConnections()
	}
}

func (b *bounded) tooLarge(host string) error {
	return fail.E(fail.TooLarge, nil, "answer of %s of more than %d bytes", host, b.limit)
}

// closeBody does what a RoundTripper owes for a request that it does not send.
func closeBody(r *http.Request) error {
	if r.Body == nil {
		return nil
	}
	return r.Body.Close()
}

// kinded answers err if it has a kind of its own, the dialler's Denied for one, else Unavailable around it.
func kinded(err error, format string, args ...any) error {
	var e *fail.Error
	if errors.As(err, &e) {
		return err
	}
	return fail.E(fail.Unavailable, err, format, args...)
}

// body is an answer's body that fails beyond its limit: an answer cut off silently could pass for a whole one.
type body struct {
	in     io.ReadCloser
	left   int64
	beyond error
	host   string
}

// Read reads on. At the limit it reads one byte more, to tell an answer that just fits from a larger one.
func (b *body) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if b.left < 0 {
		return 0, b.beyond
	}
	if int64(len(p))-1 > b.left {
		p = p[:b.left+1]
	}
	n, err := b.in.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, b.beyond
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = kinded(err, "answer of %s broke off", b.host)
	}
	return n, err
}

// Close closes the answer.
func (b *body) Close() error { return b.in.Close() }
