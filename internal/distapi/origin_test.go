package distapi

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
)

func TestOnlyTrustedProxiesSayWhoAndWhere(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	forwarded := http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"hub.example"}, "X-Forwarded-For": {"6.6.6.6, 192.0.2.7, 10.1.1.1"}}
	for _, c := range []struct {
		what, remote string
		header       http.Header
		tls          bool
		url, client  string
	}{
		{"a direct client", "192.0.2.1:9", nil, false, "http://havn:5000", "192.0.2.1"},
		{"a direct client over TLS", "192.0.2.1:9", nil, true, "https://havn:5000", "192.0.2.1"},
		{"a stranger with forwarded headers", "192.0.2.1:9", forwarded, false, "http://havn:5000", "192.0.2.1"},
		{"a proxy", "10.9.9.9:9", forwarded, false, "https://hub.example", "192.0.2.7"},
		{"a proxy as an IPv4 address in IPv6", "[::ffff:10.9.9.9]:9", forwarded, false, "https://hub.example", "192.0.2.7"},
		{"a proxy without headers", "10.9.9.9:9", nil, false, "http://havn:5000", "10.9.9.9"},
		{"a proxy that passes nonsense on", "10.9.9.9:9", http.Header{"X-Forwarded-Proto": {"ftp"}, "X-Forwarded-Host": {`a"b`}, "X-Forwarded-For": {"x"}}, false, "http://havn:5000", "10.9.9.9"},
		{"a proxy that tells the port too", "10.9.9.9:9", http.Header{"X-Forwarded-For": {"192.0.2.7:4711"}}, false, "http://havn:5000", "192.0.2.7"},
		{"a proxy that tells the port of IPv6 too", "10.9.9.9:9", http.Header{"X-Forwarded-For": {"[2001:db8::7]:4711, 10.1.1.1:80"}}, false, "http://havn:5000", "2001:db8::7"},
		{"no address", "@", nil, false, "http://havn:5000", "invalid IP"},
	} {
		r := &http.Request{Host: "havn:5000", RemoteAddr: c.remote, Header: c.header}
		if c.tls {
			r.TLS = &tls.ConnectionState{}
		}
		o := NewOrigin(nil, proxies)
		if got := o.URL(r); got != c.url {
			t.Errorf("%s: URL %s, want %s", c.what, got, c.url)
		}
		if got := o.Client(r).String(); got != c.client {
			t.Errorf("%s: client %s, want %s", c.what, got, c.client)
		}
	}
}

func TestThePublicURLWins(t *testing.T) {
	t.Parallel()
	o := NewOrigin(&url.URL{Scheme: "https", Host: "registry.example", Path: "/"}, nil)
	if got := o.URL(&http.Request{Host: "evil.example"}); got != "https://registry.example" {
		t.Errorf("URL %s", got)
	}
}

func TestAHostThatIsNoneStandsInNoAnswer(t *testing.T) {
	t.Parallel()
	for _, host := range []string{`a"b`, `x",service="y`, "a b", "a/b", "", "\xff"} {
		r := httptest.NewRequest(http.MethodGet, "/v2/", nil)
		r.Host, r.ProtoMajor = host, 2
		r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5000}))
		if got := NewOrigin(nil, nil).URL(r); got != "http://192.0.2.1:5000" {
			t.Errorf("host %q: %s", host, got)
		}
	}
}
