package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/redis/rueidis"

	"github.com/havn-registry/havn/internal/fail"
)

// unanswered is the error of what took too long, always in the same words, so that what is seen again is known again.
func unanswered() error {
	return fail.E(fail.Unavailable, context.DeadlineExceeded, "no answer from Redis").Hint("is it the right address, does a firewall drop connections, or does the server hang?")
}

// classify gives an error of the library its kind, and says what to do. Unavailable: this part of Redis can't be used now. Conflict: this operation alone can't be
// done now.
func classify(err error) error {
	if err == nil {
		return nil
	}
	if rueidis.IsRedisNil(err) {
		return fail.E(fail.NotFound, nil, "key in Redis")
	}
	if reply, answered := rueidis.IsRedisErr(err); answered {
		return refusal(reply.Error())
	}
	if timeout := net.Error(nil); errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return unanswered()
	}
	return fail.E(fail.Unavailable, err, "Redis").Hint("%s", connecting(err))
}

// connecting answers what to do about a connection that can't be made or was lost.
func connecting(err error) string {
	var unverified *tls.CertificateVerificationError
	var during *net.OpError
	var record tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var lookup *net.DNSError
	if hint := fail.HintOf(err); hint != "" {
		return hint
	}
	switch {
	case errors.As(err, &name):
		return "the server's certificate is for another name: put a name of it into redis.addrs, or get another certificate; nodes of a cluster need one for the addresses that they announce"
	case errors.As(err, &unknown):
		return "set redis.tls.ca_file to the authority of the server's certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate is out of date, or this machine's clock is wrong: renew the certificate on that server"
	case errors.As(err, &unverified):
		return "the server's certificate can't be trusted: look at its dates and names, and at redis.tls.ca_file"
	case errors.As(err, &during) && during.Op == "remote error": // an alert, for which crypto/tls has no other sign
		return "the server refuses our TLS: does it want a certificate (redis.tls.certificate)?"
	case errors.As(err, &record):
		return "there is no TLS at this port: give the server's TLS port, or set redis.tls.mode to off"
	case errors.As(err, &lookup):
		return "this name is not known: look at redis.addrs and at the DNS of this machine"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there: does Redis run, and is it the right port and address (its bind)?"
	case errors.Is(err, rueidis.ErrNoSlot):
		return incomplete
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, rueidis.ErrClosing):
		return "the server hangs up: does it want TLS (redis.tls.mode), is it stopping, or are there as many clients as it takes?"
	}
	return "look at redis.addrs and redis.tls"
}

const incomplete = "the cluster does not serve all slots: `redis-cli --cluster check` says which, and what is missing"

// answered is an error that a server answered.
type answered string

func (a answered) Error() string { return string(a) }

// refusal gives an error that a server answered its kind.
func refusal(text string) error {
	word, _, _ := strings.Cut(text, " ")
	kind, hint := fail.Internal, ""
	switch word {
	case "TRYAGAIN":
		kind = fail.Conflict // a slot is being moved, with some of the keys there already
	case "OOM":
		kind, hint = fail.Exhausted, "set maxmemory-policy allkeys-lru"
	case "NOAUTH", "WRONGPASS":
		kind, hint = fail.Unavailable, wrongUser
	case "NOPERM":
		kind, hint = fail.Unavailable, "grant the user what docs/operations.md says, on keys that begin with redis.prefix"
	case "DENIED":
		kind, hint = fail.Unavailable, "the server is in protected mode, in which only its own machine may connect: set a password there"
	case "CLUSTERDOWN":
		kind, hint = fail.Unavailable, incomplete
	case "LOADING", "READONLY", "MASTERDOWN", "MOVED", "ASK", "NOREPLICAS", "MISCONF", "BUSY":
		kind = fail.Unavailable
	}
	switch {
	case strings.Contains(text, "invalid password"), strings.Contains(text, "without any password"): // before Redis 6
		kind, hint = fail.Unavailable, wrongUser
	case strings.Contains(text, fullWords):
		kind, hint = fail.Unavailable, "raise maxclients of the server: each node of Havn has one or two connections to it"
	}
	e := fail.E(kind, answered(text), "Redis")
	if hint != "" {
		return e.Hint("%s", hint)
	}
	return e
}

const (
	fullWords = "max number of clients"
	wrongUser = "look at redis.user and redis.password, for Sentinels at redis.sentinel.user and redis.sentinel.password"
)
