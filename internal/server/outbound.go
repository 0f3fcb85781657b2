package server

import (
	"net/http"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// outboundPatience bounds one call to another program of the operator's; a batch of traces is small.
	outboundPatience = 10 * time.Second
	// maxOutboundAnswer bounds what such a program answers: a few words, or an error page.
	maxOutboundAnswer = 1 << 20
)

// outbound makes the client for the addresses of the configuration, which are the operator's and may be anywhere: through the configured proxy
// where that is meant to be used, trusting the configured authorities too.
func outbound(c *config.Config) (*http.Client, error) {
	roots, err := c.OutboundRoots()
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "outbound.ca_file").Hint("give a PEM file with certificates of authorities")
	}
	return egress.NewClient(egress.Config{
		Timeout: outboundPatience, MaxResponseBytes: maxOutboundAnswer, Allow: egress.Anywhere(), Proxy: c.Outbound.Proxy, NoProxy: c.Outbound.NoProxy, Roots: roots,
	})
}
