package egress

import (
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// byProxy answers what decides whether a proxy makes the connection for a URL. It does not for what noProxy names, in the forms of NO_PROXY that
// curl and Go know: host names (with a dot in front: of the names below them alone), addresses, each maybe with a port, networks, and * for all.
// Networks count for addresses in URLs: a name is not looked up for it. Nor does a proxy make connections to localhost and loopback addresses,
// which at its end are the proxy's own.
func byProxy(noProxy []string) func(*url.URL) bool {
	// Only whether there is a proxy is asked of httpproxy: one that it could not read it would pass over without a word, and go directly.
	const some = "http://proxy.invalid"
	find := (&httpproxy.Config{HTTPProxy: some, HTTPSProxy: some, NoProxy: strings.Join(noProxy, ",")}).ProxyFunc()
	return func(u *url.URL) bool {
		// httpproxy takes Localhost and localhost. for other names than localhost.
		host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
		by, err := find(&url.URL{Scheme: u.Scheme, Host: net.JoinHostPort(host, u.Port())})
		return err != nil || by != nil
	}
}
