package egress

import (
	"errors"
	"io"
	"net/http"

	"github.com/havn-registry/havn/internal/fail"
)

// bounded gives each answer a limit and each error a kind.
type bounded struct {
	next   *http.Transport
	limit  int64
	target *lookup // nil: connections are checked as they are made
}

// RoundTrip makes one exchange; the client calls it again for each redirect.
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := b.check(r); err != nil {
		return nil, errors.Join(err, closeBody(r))
	}
	answer, err := b.next.RoundTrip(r)
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

// check refuses a request that can't be sent, or must not be.
func (b *bounded) check(r *http.Request) error {
	if r.URL.Scheme != "http" && r.URL.Scheme != "https" || r.URL.Hostname() == "" {
		return fail.E(fail.Invalid, nil, "address %.200q", r.URL.Redacted()).Hint("use http:// or https://, and a host")
	}
	if b.target == nil {
		return nil
	}
	return b.target.check(r.Context(), r.URL.Hostname())
}

// CloseIdleConnections is what http.Client.CloseIdleConnections looks for.
func (b *bounded) CloseIdleConnections() { b.next.CloseIdleConnections() }

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
