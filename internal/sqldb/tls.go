package sqldb

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/havn-registry/havn/internal/fail"
)

// serverTLS answers the TLS for one server, nil for none.
func serverTLS(cfg *Config, addr string) *tls.Config {
	if cfg.TLS == nil {
		return nil
	}
	conf := cfg.TLS.Clone()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		conf.ServerName = host
	}
	return conf
}

// meaningTLS answers what an error of TLS means: the server is there, and will refuse us until somebody changes something.
func meaningTLS(err error) (meaning, bool) {
	var unverified *tls.CertificateVerificationError
	var during *net.OpError
	var unknown x509.UnknownAuthorityError
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var hint string
	switch {
	case errors.As(err, &name):
		hint = "the server's certificate is for another name: put a name of it into database.hosts, or get another certificate"
	case errors.As(err, &unknown):
		hint = "set database.tls.ca_file to the authority of the server's certificate"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		hint = "the server's certificate is out of date, or this machine's clock is wrong: renew the certificate on that server"
	case errors.As(err, &unverified):
		hint = "the server's certificate can't be trusted: look at its dates and names, and at database.tls.ca_file"
	case errors.As(err, &during) && during.Op == "remote error": // an alert, for which crypto/tls has no other sign
		hint = "the server refuses our TLS: does it want a certificate (database.tls.certificate)?"
	case errors.Is(err, mysql.ErrNoTLS) || strings.Contains(err.Error(), "server refused TLS connection"): // pgconn has no value for it
		hint = "the server has no TLS: turn it on there, or set database.tls.mode to off"
	default:
		return meaning{}, false
	}
	return meaning{kind: fail.Unavailable, hint: hint}, true
}
