package config

import (
	"crypto/tls"
	"crypto/x509"
)

// ClientTLS is the TLS of connections to servers that Havn uses. Certificate and key are given both or none.
type ClientTLS struct {
	Mode             TLSMode // "": see Effective
	CAFile           string
	Certificate, Key string
}

// Effective answers the mode: where none is given, an authority says that it is to be verified.
func (t ClientTLS) Effective() TLSMode {
	switch {
	case t.Mode != "":
		return t.Mode
	case t.CAFile != "":
		return TLSVerify
	}
	return TLSOff
}

// consistent blames what is wrong between the keys below a prefix, the effective mode being this one.
func (t ClientTLS) consistent(prefix string, mode TLSMode, blame func(key, text, allowed string)) {
	switch {
	case t.Certificate != "" && t.Key == "":
		blame(prefix+".certificate", "is set, and "+prefix+".key is not", "both or none")
	case t.Key != "" && t.Certificate == "":
		blame(prefix+".key", "is set, and "+prefix+".certificate is not", "both or none")
	case mode == TLSOff && (t.Certificate != "" || t.CAFile != ""):
		blame(prefix+".mode", "is off, and files for TLS are given", "require or verify, or no files")
	case mode == TLSRequire && t.CAFile != "":
		blame(prefix+".ca_file", "is set, and "+prefix+".mode is require, which checks no certificate", prefix+".mode: verify, or no file")
	}
}

// probeClientTLS looks at the files that the keys below a prefix name.
func (c *Config) probeClientTLS(prefix string, t ClientTLS) Problems {
	var all Problems
	if _, err := roots(t.CAFile); err != nil {
		key := prefix + ".ca_file"
		all = append(all, Problem{c.origins[key].source, key, err.Error(), "a readable PEM file with certificates"})
	}
	if t.Certificate != "" {
		all = append(all, c.probePair(prefix+".certificate", t.Certificate, prefix+".key", t.Key)...)
	}
	return all
}

// config answers the TLS of connections in a mode, nil for none. The server's name is to be set for each. Without a file of their own, authorities are those that
// others answers.
func (t ClientTLS) config(mode TLSMode, others func() (*x509.CertPool, error)) (*tls.Config, error) {
	if mode == TLSOff {
		return nil, nil //nolint:nilnil // no TLS is a value of its own here
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: mode == TLSRequire} //nolint:gosec // what the operator asked for
	var err error
	if t.CAFile == "" {
		conf.RootCAs, err = others()
	} else {
		conf.RootCAs, err = roots(t.CAFile)
	}
	if err != nil {
		return nil, err
	}
	if t.Certificate != "" {
		conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, loadErr := tls.LoadX509KeyPair(t.Certificate, t.Key)
			return &pair, loadErr
		}
	}
	return conf, nil
}

// roots answers the authorities of a file, nil for the system's if none is given.
func roots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil //nolint:nilnil // crypto/tls takes nil for the system's
	}
	pool := x509.NewCertPool()
	return pool, appendAuthorities(pool, file)
}
