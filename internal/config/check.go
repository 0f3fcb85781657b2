package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"slices"
)

// maxCertificates is more than any chain or bundle of authorities needs (the system's own has 0.2 MiB).
const maxCertificates = 4 << 20

// consistent answers what is wrong between keys that are right each by itself.
func (c *Config) consistent() Problems {
	var all Problems
	blame := func(key, text, allowed string) {
		all = append(all, Problem{Where: c.origins[key].source, Key: key, Text: text, Allowed: allowed})
	}
	if len(c.HTTP.Addr) == 0 {
		blame("http.addr", "is an empty list", "one address or more, like 127.0.0.1:5000")
	}
	if c.Metrics.Addr != "" && slices.Contains(c.HTTP.Addr, c.Metrics.Addr) && !anyPort(c.Metrics.Addr) {
		blame("metrics.addr", fmt.Sprintf("%q is one of http.addr too", c.Metrics.Addr), "an address of its own")
	}
	switch t := c.HTTP.TLS; {
	case t.Certificate != "" && t.Key == "":
		blame("http.tls.certificate", "is set, and http.tls.key is not", "both or none")
	case t.Key != "" && t.Certificate == "":
		blame("http.tls.key", "is set, and http.tls.certificate is not", "both or none")
	}
	c.consistentDatabase(blame)
	if d := c.Storage.Driver; c.Storage.Redirect && (d == Filesystem || d == Memory || d == RADOSDriver) {
		blame("storage.redirect", fmt.Sprintf("is on, and objects of the driver %s have no URLs", d), "off, or a store that clients can read from")
	}
	if len(c.Storage.RedirectNetworks) > 0 && !c.Storage.Redirect {
		blame("storage.redirect_networks", "is set, and storage.redirect is off", "none, or storage.redirect: on")
	}
	if len(c.Outbound.NoProxy) > 0 && c.Outbound.Proxy == nil {
		blame("outbound.no_proxy", "is set, and outbound.proxy is not", "none, or outbound.proxy: the environment's HTTPS_PROXY is not read")
	}
	c.consistentRedis(blame)
	if c.Storage.Driver == Memory {
		if c.Database.Path != "" {
			blame("database.path", "is set, and blobs in memory take an index that is thrown away with them", "no database.path, or storage.driver: filesystem")
		}
		if c.Storage.Filesystem.Path != "" {
			blame("storage.filesystem.path", "is set, and storage.driver is memory", "no path, or storage.driver: filesystem")
		}
		if c.Storage.Cache.Path != "" {
			blame("storage.cache.path", "is set, and storage.driver is memory, which nothing is faster than", "no path, or another storage.driver")
		}
	}
	c.consistentS3(blame)
	c.consistentSwift(blame)
	c.consistentRADOS(blame)
	c.consistentAzure(blame)
	return all
}

func anyPort(addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	return err == nil && port == "0"
}

// Probe looks at the files that the configuration names: are they there, readable, and do they fit each other. `serve`, `config check`
// and `doctor` all ask it, so that they agree.
func (c *Config) Probe() Problems {
	var all Problems
	if t := c.HTTP.TLS; t.Enabled() {
		all = append(all, c.probePair("http.tls.certificate", t.Certificate, "http.tls.key", t.Key)...)
	}
	all = append(all, c.probeDatabase()...)
	all = append(all, c.probeRedis()...)
	if c.Outbound.CAFile != "" {
		if _, err := c.OutboundRoots(); err != nil {
			all = append(all, Problem{c.origins["outbound.ca_file"].source, "outbound.ca_file", err.Error(), "a readable PEM file with certificates"})
		}
	}
	if file := c.Storage.S3.CAFile; file != "" && c.Storage.Driver.inBucket() {
		if err := appendAuthorities(x509.NewCertPool(), file); err != nil {
			all = append(all, Problem{c.origins["storage.s3.ca_file"].source, "storage.s3.ca_file", err.Error(), "a readable PEM file with certificates"})
		}
	}
	all = append(all, c.probeSwift()...)
	return append(append(all, c.probeRADOS()...), c.probeAzure()...)
}

// probePair looks whether two files are a certificate and its key.
func (c *Config) probePair(certKey, certificate, keyKey, key string) Problems {
	var all Problems
	var pem [2][]byte
	for i, f := range []struct{ key, path string }{{certKey, certificate}, {keyKey, key}} {
		body, err := readBounded(f.path, maxCertificates)
		if err != nil {
			all = append(all, Problem{c.origins[f.key].source, f.key, fmt.Sprintf("%q: %s", f.path, plainError(err)), "a readable PEM file"})
		}
		pem[i] = body
	}
	if len(all) > 0 {
		return all
	}
	if _, err := tls.X509KeyPair(pem[0], pem[1]); err != nil {
		all = append(all, Problem{
			c.origins[certKey].source, certKey, fmt.Sprintf("%q and %q: %s", certificate, key, err),
			"a certificate in PEM, its chain behind it, and the private key that belongs to it",
		})
	}
	return all
}

// OutboundRoots answers the authorities to trust when Havn calls others: the system's and those of outbound.ca_file.
func (c *Config) OutboundRoots() (*x509.CertPool, error) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool() // a machine without certificates of its own: those of the file are all there is
	}
	if c.Outbound.CAFile == "" {
		return pool, nil
	}
	return pool, appendAuthorities(pool, c.Outbound.CAFile)
}

// serverRoots answers the authorities for servers that have no file of their own: nil for the system's alone.
func (c *Config) serverRoots() (*x509.CertPool, error) {
	if c.Outbound.CAFile == "" {
		return nil, nil //nolint:nilnil // crypto/tls takes nil for the system's
	}
	return c.OutboundRoots()
}

func appendAuthorities(pool *x509.CertPool, path string) error {
	body, err := readBounded(path, maxCertificates)
	if err != nil {
		return fmt.Errorf("%q: %s", path, plainError(err))
	}
	if !pool.AppendCertsFromPEM(body) {
		return fmt.Errorf("%q holds no certificate in PEM", path)
	}
	return nil
}
