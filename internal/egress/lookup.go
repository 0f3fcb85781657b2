package egress

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// lookupPatience bounds the look-up of a name that the proxy will look up again: behind a proxy there is often no DNS that answers.
const lookupPatience = 2 * time.Second

// lookup checks where a name leads, where a proxy makes the connection.
type lookup struct {
	guard guard
	find  func(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// check refuses a host that leads, as far as can be seen from here, to an address that may not be reached.
func (l *lookup) check(ctx context.Context, host string) error {
	if a, err := netip.ParseAddr(host); err == nil {
		return l.guard.check(a)
	}
	if endsInNumber(host) {
		return fail.E(fail.Invalid, nil, "host %.100q", host).Hint("write an IP address in its usual form")
	}
	ctx, cancel := context.WithTimeout(ctx, lookupPatience)
	defer cancel()
	found, err := l.find(ctx, "ip", host)
	if err != nil {
		return nil // a name that only the proxy knows is the proxy's to judge: see Config.Proxy
	}
	for _, a := range found {
		if err = l.guard.check(a); err != nil {
			return err
		}
	}
	return nil
}

// endsInNumber reports whether a proxy might take a host for an IPv4 address in one of C's forms: 127.1, 2130706433, 0x7f000001. No name ends so: no
// top-level domain is a number (URL standard, "ends in a number checker").
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := strings.ToLower(host[strings.LastIndexByte(host, '.')+1:])
	if last == "" {
		return false
	}
	digits, isHex := strings.CutPrefix(last, "0x")
	return strings.Trim(digits, "0123456789") == "" || isHex && strings.Trim(digits, "0123456789abcdef") == ""
}
