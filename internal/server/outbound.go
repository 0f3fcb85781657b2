package server

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// outboundPatience bounds one call to another program of the operator's; a batch of traces is small.
const outboundPatience = 10 * time.Second

// outbound makes the client for connections to others: through the configured proxy, trusting the configured authorities too. Every call
// that Havn makes goes through a client made here.
func outbound(c *config.Config) (*http.Client, error) {
	roots, err := c.OutboundRoots()
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "outbound.ca_file").Hint("give a PEM file with certificates of authorities")
	}
	transport := &http.Transport{
		DialContext:           (&net.Dialer{Timeout: outboundPatience}).DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   outboundPatience,
		ResponseHeaderTimeout: outboundPatience,
		IdleConnTimeout:       time.Minute,
		MaxIdleConnsPerHost:   2,
		ForceAttemptHTTP2:     true,
	}
	if c.Outbound.Proxy != nil {
		transport.Proxy = func(*http.Request) (*url.URL, error) { return c.Outbound.Proxy, nil }
	}
	return &http.Client{Transport: transport, Timeout: outboundPatience}, nil
}
