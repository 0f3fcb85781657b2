package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// consistentDatabase blames what is wrong between the keys of the database.
func (c *Config) consistentDatabase(blame func(key, text, allowed string)) {
	d := c.Database
	if d.Engine == SQLite {
		if len(d.Hosts) > 0 {
			blame("database.hosts", "is set, and database.engine is sqlite", "database.engine: mysql or postgres, or no hosts")
		}
		return
	}
	if len(d.Hosts) == 0 {
		blame("database.engine", fmt.Sprintf("is %s, and database.hosts is not set", d.Engine), "the servers' addresses in database.hosts")
	}
	if d.Path != "" {
		blame("database.path", fmt.Sprintf("is set, and database.engine is %s", d.Engine), "no path, or database.engine: sqlite")
	}
	if c.Storage.Driver == Memory {
		blame("storage.driver", fmt.Sprintf("keeps blobs in memory, and database.engine is %s: the index would outlive them", d.Engine), "a store that lasts, or database.engine: sqlite")
	}
	switch t := d.TLS; {
	case t.Certificate != "" && t.Key == "":
		blame("database.tls.certificate", "is set, and database.tls.key is not", "both or none")
	case t.Key != "" && t.Certificate == "":
		blame("database.tls.key", "is set, and database.tls.certificate is not", "both or none")
	case t.Effective() == TLSOff && (t.Certificate != "" || t.CAFile != ""):
		blame("database.tls.mode", "is off, and files for TLS are given", "require or verify, or no files")
	case t.Mode == TLSRequire && t.CAFile != "":
		blame("database.tls.ca_file", "is set, and database.tls.mode is require, which checks no certificate", "database.tls.mode: verify, or no file")
	}
}

// probeDatabase looks at the files for TLS to the database.
func (c *Config) probeDatabase() Problems {
	t := c.Database.TLS
	if c.Database.Engine == SQLite {
		return nil
	}
	var all Problems
	if t.CAFile != "" {
		if _, err := c.databaseRoots(); err != nil {
			all = append(all, Problem{c.origins["database.tls.ca_file"].source, "database.tls.ca_file", err.Error(), "a readable PEM file with certificates"})
		}
	}
	if t.Certificate != "" {
		all = append(all, c.probePair("database.tls.certificate", t.Certificate, "database.tls.key", t.Key)...)
	}
	return all
}

// databaseRoots answers the authorities that may sign the servers' certificates; nil: the system's.
func (c *Config) databaseRoots() (*x509.CertPool, error) {
	path := c.Database.TLS.CAFile
	if path == "" {
		return nil, nil //nolint:nilnil // crypto/tls takes nil for the system's
	}
	pool := x509.NewCertPool()
	return pool, appendAuthorities(pool, path)
}

// DatabaseTLS answers the TLS of connections to the database, nil for none. The server's name is to be set for each.
func (c *Config) DatabaseTLS() (*tls.Config, error) {
	t := c.Database.TLS
	mode := t.Effective()
	if mode == TLSOff {
		return nil, nil //nolint:nilnil // no TLS is a value of its own here
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: mode == TLSRequire} //nolint:gosec // what the operator asked for
	var err error
	if conf.RootCAs, err = c.databaseRoots(); err != nil {
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
