package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync/atomic"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// maxAnswer is the most that a server may send in answer to one question. A page of 500 people who are in a hundred groups each takes half of it.
const maxAnswer = 8 << 20

var errTooMuch = errors.New("the answer is longer than 8 MiB")

// wire is the socket of a connection: it lets nobody read more than a server may send, and can be cut while the library waits for it, which knows no contexts.
type wire struct {
	net.Conn
	left atomic.Int64
	over atomic.Bool
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if w.left.Add(-int64(n)) < 0 {
		w.over.Store(true)
		return 0, errTooMuch
	}
	return n, err
}

// during runs one question, and cuts the connection if it takes longer than the limit or than its context lives; then nothing more can be asked. One at a time.
func (w *wire) during(ctx context.Context, limit time.Duration, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	w.left.Store(maxAnswer)
	stop := context.AfterFunc(ctx, func() { _ = w.Close() }) //nolint:errcheck // it is given up; whoever reads from it hears of that
	err := ask(ctx)
	switch {
	case !stop() && err != nil:
		return ctx.Err()
	case err != nil && w.over.Load():
		return errTooMuch
	}
	return err
}

// dial makes a connection to a server, without TLS.
func dial(ctx context.Context, a address, limit time.Duration) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, "tcp", a.dial)
	if err != nil {
		return nil, err
	}
	return &wire{Conn: c}, nil
}

// secure begins TLS. The library could do so too, but takes no context there, and makes text of why a certificate was refused.
func (w *wire) secure(ctx context.Context, a address, p *plan) (net.Conn, error) {
	if !a.secure && !p.StartTLS {
		return w, nil
	}
	conf := p.conf.Clone()
	conf.ServerName = a.host
	t := tls.Client(w, conf)
	err := w.during(ctx, p.Timeout, func(ctx context.Context) error {
		if !a.secure {
			if err := w.startTLS(); err != nil {
				return err
			}
		}
		return t.HandshakeContext(ctx)
	})
	return t, err
}

// oidStartTLS names the request to begin TLS (RFC 4511, 4.14).
const oidStartTLS = "1.3.6.1.4.1.1466.20037"

// startTLS asks the server to begin TLS. The answer is read to its last byte and no further: what came in clear behind it is no part of what TLS protects.
func (w *wire) startTLS() error {
	request := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationExtendedRequest, nil, "")
	request.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, oidStartTLS, ""))
	message := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSequence, nil, "")
	message.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, int64(1), ""))
	message.AppendChild(request)
	if _, err := w.Write(message.Bytes()); err != nil {
		return err
	}
	answer, err := ber.ReadPacket(w)
	if err != nil {
		return err
	}
	return goldap.GetLDAPError(answer)
}
