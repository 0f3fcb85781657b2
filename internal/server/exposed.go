package server

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// exposed answers what of the addresses is not safe, though it is allowed: who sets up a registry in a hurry should read it, not find out.
func exposed(c *config.Config) []*fail.Error {
	var all []*fail.Error
	open := ""
	for _, addr := range c.HTTP.Addr {
		if !isLoopback(addr) {
			open = addr
			break
		}
	}
	ended := c.HTTP.PublicURL != nil && c.HTTP.PublicURL.Scheme == "https" // by something in front
	if open != "" && !c.HTTP.TLS.Enabled() && !ended {
		all = append(all, fail.E(fail.Denied, nil, "passwords and tokens go over %s in the clear", open).
			Hint("set http.tls.certificate and http.tls.key, or http.public_url to the https:// address of what ends TLS in front"))
	}
	if addr := c.Metrics.Addr; addr != "" && !isLoopback(addr) {
		all = append(all, fail.E(fail.Denied, nil, "metrics and profiles are shown at %s, and no password is asked for", addr).
			Hint("let metrics.addr be an address that only those reach who may see them, like 127.0.0.1:5001"))
	}
	return all
}

// isLoopback reports whether only programs of this machine reach an address.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// strangeProxies notices peers that send what proxies send and are not in http.trusted_proxies: each is told of once.
type strangeProxies struct {
	ignored func(*http.Request) bool // headers of a proxy that is not trusted
	log     *slog.Logger

	mu   sync.Mutex
	told map[string]bool
}

// maxTold bounds of how many peers the log tells: anybody can send these headers.
const maxTold = 20

func (s *strangeProxies) look(r *http.Request) {
	if s == nil || r.Header["X-Forwarded-For"] == nil && r.Header["X-Forwarded-Proto"] == nil || !s.ignored(r) {
		return
	}
	peer, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told[peer] || len(s.told) >= maxTold {
		return
	}
	s.told[peer] = true
	s.log.Warn("headers of a proxy are ignored, because it is not in http.trusted_proxies", "peer", peer,
		"hint", "if it is yours, name it there: so far all its clients count as one when passwords are wrong or connections are many, and they are sent to the token service as if there were no TLS")
}
