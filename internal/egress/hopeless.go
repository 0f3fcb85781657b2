package egress

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
)

// Hopeless reports whether a client's error is one that trying again does not change: certificates, and a server that speaks no TLS.
func Hopeless(err error) bool {
	var verification *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	var record tls.RecordHeaderError
	return errors.As(err, &verification) || errors.As(err, &unknown) || errors.As(err, &name) || errors.As(err, &invalid) || errors.As(err, &record) ||
		errors.Is(err, http.ErrSchemeMismatch)
}
