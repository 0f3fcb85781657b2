package ldap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/havn-registry/havn/internal/fail"
)

// step is what a server was asked for when it failed.
type step string

const (
	stepResolve step = "find the host"
	stepConnect step = "connect"
	stepTLS     step = "begin TLS"
	stepBind    step = "log in as the search account"
	stepLearn   step = "ask what kind of directory it is"
	stepBase    step = "look at the base"
	stepUsers   step = "search users"
	stepGroups  step = "search groups"
	stepAdmin   step = "look at the group of administrators"
	stepLogin   step = "check a password"
)

// stepError is an error with the step at which it came.
type stepError struct {
	step step
	err  error
}

func (e *stepError) Error() string { return fmt.Sprintf("%s: %v", e.step, e.err) }
func (e *stepError) Unwrap() error { return e.err }

func at(s step, err error) error {
	if err == nil {
		return nil
	}
	return &stepError{s, err}
}

// stepOf answers at which step an error came.
func stepOf(err error) step {
	var e *stepError
	if errors.As(err, &e) {
		return e.step
	}
	return "ask"
}

// unavailable says of which server and step an error is, and what to do about it.
func (p *plan) unavailable(a address, err error) error {
	var e *stepError
	cause := err
	if errors.As(err, &e) {
		cause = e.err
	}
	return fail.E(fail.Unavailable, cause, "LDAP server %s: %s", a.url, stepOf(err)).Hint("%s: %s", a.url, p.hint(stepOf(err), cause))
}

// hint says what an operator can do.
func (p *plan) hint(s step, err error) string {
	if text := p.hintOfNetwork(s, err); text != "" {
		return text
	}
	is := func(codes ...uint16) bool { return goldap.IsErrorAnyOf(err, codes...) }
	switch {
	case s == stepTLS && is(goldap.LDAPResultProtocolError, goldap.LDAPResultUnavailable, goldap.LDAPResultOperationsError, goldap.LDAPResultUnwillingToPerform):
		return "the server does not offer StartTLS: use its ldaps:// port, or give it a certificate"
	case s == stepBind && is(goldap.LDAPResultInvalidCredentials, goldap.LDAPResultNoSuchObject, goldap.LDAPResultInvalidDNSyntax, goldap.LDAPResultInappropriateAuthentication):
		return "the search account's name or password is wrong, or the account is locked: correct them in the configuration"
	case is(goldap.LDAPResultStrongAuthRequired, goldap.LDAPResultConfidentialityRequired):
		return "the server takes passwords on encrypted connections only: use ldaps://, or StartTLS"
	case is(goldap.LDAPResultNoSuchObject):
		return "the base is not there, or the search account may not see it: correct the base, or the account's rights"
	case is(goldap.LDAPResultInsufficientAccessRights, goldap.LDAPResultOperationsError, goldap.LDAPResultInappropriateAuthentication, goldap.LDAPResultUnwillingToPerform):
		return "whoever searches may not: give a search account, or let it read"
	case is(goldap.LDAPResultReferral):
		return "the server says that another one has this part of the directory, and referrals are not followed: give the URL of that one"
	case is(goldap.LDAPResultTimeLimitExceeded):
		return "the server took too long: give it indexes for the attributes that are searched, or raise the time-out"
	case is(goldap.LDAPResultSizeLimitExceeded, goldap.LDAPResultAdminLimitExceeded):
		return "the server gives the search account too few entries: raise its limit there, or narrow base and filter"
	case is(goldap.LDAPResultBusy, goldap.LDAPResultUnavailable):
		return "the server says that it is busy or shutting down: look at it, or give the URL of a second one"
	case errors.Is(err, errTooMuch):
		return "the server sends more than was asked for: narrow base and filter"
	}
	return "look at the server's log"
}

// hintOfNetwork knows what keeps a connection from being made or from living, "" for other errors.
func (p *plan) hintOfNetwork(s step, err error) string {
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the server's certificate is expired or not valid yet: renew it there, or set this machine's clock"
	case errors.As(err, &unknown), errors.As(err, &invalid):
		return "the server's certificate is signed by an authority that is not trusted here: give the file with that authority's certificate"
	case errors.As(err, &host):
		return "the server's certificate is for another name: use a name of the certificate in the URL"
	case errors.As(err, &record), s == stepTLS && (errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET)):
		return "the server does not speak TLS at this port: use ldap:// (with StartTLS, if it offers that), or the port of its TLS"
	case errors.As(err, &alert):
		return "client and server do not agree on a version of TLS: the server may be too old for the lowest that is allowed"
	case errors.As(err, &dns) && dns.IsNotFound:
		return "this machine's resolver does not know the host: correct the URL, or /etc/resolv.conf"
	case errors.As(err, &dns):
		return "the name server does not answer: look at /etc/resolv.conf and the network"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there: is the server running, and is the port in the URL right?"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "there is no way to the host: look at the network, the routes and the URL"
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("the server does not answer within %s: is it running, does a firewall drop packets, and does the URL say ldaps:// where it speaks TLS?", p.Timeout)
	case errors.Is(err, context.Canceled):
		return "the request was given up before the server answered"
	case broken(err) && !errors.Is(err, errTooMuch):
		return "the server cut the connection: look at its log; does the URL say ldaps:// where it speaks TLS?"
	}
	return ""
}

// wrong is all that somebody is told whose name and password do not match: the log has the reason.
func wrong() error { return fail.E(fail.Unauthenticated, nil, "wrong user name or password") }
