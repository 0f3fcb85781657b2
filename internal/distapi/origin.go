package distapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// Origin knows what the registry is called by its clients, and who they are, behind proxies that are trusted and others that are not.
type Origin struct {
	public  string
	proxies []netip.Prefix
}

// NewOrigin makes an Origin. Without a public URL, links are made of what each request says.
func NewOrigin(public *url.URL, proxies []netip.Prefix) *Origin {
	o := &Origin{proxies: proxies}
	if public != nil {
		o.public = strings.TrimSuffix(public.String(), "/")
	}
	return o
}

// URL answers scheme and host of the registry as this request's client sees them, without a slash at the end.
func (o *Origin) URL(r *http.Request) string {
	if o.public != "" {
		return o.public
	}
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if !isHost(host) {
		host = bound(r)
	}
	if o.trusts(peer(r)) {
		switch proto := first(r.Header.Get("X-Forwarded-Proto")); proto {
		case "http", "https":
			scheme = proto
		}
		if forwarded := first(r.Header.Get("X-Forwarded-Host")); isHost(forwarded) {
			host = forwarded
		}
	}
	return scheme + "://" + host
}

// Client answers the address of the client: the last one in X-Forwarded-For that is no trusted proxy, if a trusted proxy sent the request. It is the
// zero Addr if it can't be told.
func (o *Origin) Client(r *http.Request) netip.Addr {
	client := peer(r)
	if !o.trusts(client) {
		return client
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			at, portErr := netip.ParseAddrPort(strings.TrimSpace(hop)) // Azure's Application Gateway tells the port too
			if portErr != nil {
				break
			}
			addr = at.Addr()
		}
		client = addr.Unmap().WithZone("")
		if !o.trusts(client) {
			break
		}
	}
	return client
}

// Ignores reports whether a request has headers of a proxy that is not trusted.
func (o *Origin) Ignores(r *http.Request) bool {
	return (r.Header["X-Forwarded-For"] != nil || r.Header["X-Forwarded-Proto"] != nil) && !o.trusts(peer(r))
}

func (o *Origin) trusts(a netip.Addr) bool {
	return a.IsValid() && slices.ContainsFunc(o.proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// peer answers the other end of the connection.
func peer(r *http.Request) netip.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return at.Addr().Unmap().WithZone("")
}

// first answers the first of a list of header values: that of the proxy next to the client.
func first(list string) string {
	value, _, _ := strings.Cut(list, ",")
	return strings.TrimSpace(value)
}

// bound answers the address that a request came in at: what is left where its Host says nothing.
func bound(r *http.Request) string {
	if addr, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		return addr.String()
	}
	return "localhost"
}

// isHost reports whether s can stand in a URL and in a quoted header as host and port. net/http checks neither forwarded headers nor, over HTTP/2, the host itself.
func isHost(s string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]"
	return s != "" && strings.Trim(s, letters) == ""
}
