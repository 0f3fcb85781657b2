package egress

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/havn-registry/havn/internal/fail"
)

// Anywhere allows every address: for a client of what the operator's own configuration names.
func Anywhere() []netip.Prefix {
	return []netip.Prefix{netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0)}
}

// closed are the networks behind which no public server stands, beyond those that netip.Addr knows itself (IANA's special-purpose registries).
func closed() []netip.Prefix {
	var all []netip.Prefix
	for _, s := range []string{
		"0.0.0.0/8",      // this host
		"100.64.0.0/10",  // a provider's own side (RFC 6598), and overlay networks
		"192.0.0.0/24",   // protocol assignments
		"198.18.0.0/15",  // benchmarks
		"240.0.0.0/4",    // reserved, and broadcast
		"::/96",          // IPv4-compatible, deprecated
		"64:ff9b:1::/48", // translation to addresses of one's own network (RFC 8215)
		"100::/64",       // discard
		"2001::/23",      // protocol assignments, Teredo among them
		"5f00::/16",      // segment routing
		"fec0::/10",      // site-local, deprecated
	} {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

// guard decides which addresses may be reached.
type guard struct{ allowed, closed []netip.Prefix }

// check refuses an address that is not public and not allowed. Errors are Denied; their Text does not name the address, which would tell a
// stranger how names resolve inside.
func (g guard) check(a netip.Addr) error {
	a = a.Unmap().WithZone("")
	if within(g.allowed, a) {
		return nil
	}
	for _, inner := range []netip.Addr{a, embedded(a)} {
		if inner.IsValid() && (!inner.IsGlobalUnicast() || inner.IsPrivate() || within(g.closed, inner)) {
			return fail.E(fail.Denied, fmt.Errorf("%s is not public", a), "connection to an address that is not public").
				Hint("use a public address, or ask the operator to allow this one")
		}
	}
	return nil
}

func within(networks []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(a) })
}

// embedded answers the IPv4 address that a translator would reach for an IPv6 one: NAT64 (RFC 6052) and 6to4 (RFC 3056).
func embedded(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return netip.Addr{}
	}
	b := a.As16()
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a):
		return netip.AddrFrom4([4]byte(b[12:16]))
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return netip.AddrFrom4([4]byte(b[2:6]))
	}
	return netip.Addr{}
}
