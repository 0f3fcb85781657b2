package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30
	tib = int64(1) << 40
	day = 24 * time.Hour
)

// units are the names of sizes, the ones to write first, largest first.
var units = []struct {
	name string
	size int64
}{
	{"TiB", tib},
	{"GiB", gib},
	{"MiB", mib},
	{"KiB", kib},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"KB", 1e3},
	{"B", 1},
}

// ParseSize reads bytes: a whole or decimal number with a unit, or a whole number of bytes.
func ParseSize(s string) (int64, error) {
	digits, factor := s, int64(1)
	for _, u := range units {
		if rest, ok := cutSuffixFold(s, u.name); ok {
			digits, factor = strings.TrimRight(rest, " "), u.size
			break
		}
	}
	if n, err := strconv.ParseInt(digits, 10, 64); err == nil && n >= 0 {
		if n > math.MaxInt64/factor {
			return 0, fmt.Errorf("%q is too large", s)
		}
		return n * factor, nil
	}
	if f, err := strconv.ParseFloat(digits, 64); err == nil && f >= 0 && factor > 1 && f*float64(factor) < math.MaxInt64 && plain(digits) {
		return int64(f * float64(factor)), nil
	}
	return 0, fmt.Errorf("%q is not a size: write a number and a unit, like 512MiB or 2GB", s)
}

// plain reports whether a number is digits and at most a point: no exponent, no Inf.
func plain(s string) bool { return s != "" && strings.Trim(s, "0123456789.") == "" }

func cutSuffixFold(s, suffix string) (string, bool) {
	cut := len(s) - len(suffix)
	if cut < 0 || !strings.EqualFold(s[cut:], suffix) {
		return s, false
	}
	return s[:cut], true
}

// writeSize writes bytes with the largest binary unit that leaves no remainder.
func writeSize(n int64) string {
	for _, u := range units[:4] {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.name
		}
	}
	return strconv.FormatInt(n, 10)
}

// parseDuration reads Go's form with d for days and w for weeks in front.
func parseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration: write a number and a unit, like 30s, 5m, 12h or 7d", s)
	rest, sum := s, time.Duration(0)
	for _, u := range []struct {
		letter string
		length time.Duration
	}{{"w", 7 * day}, {"d", day}} {
		digits, after, ok := strings.Cut(rest, u.letter)
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(digits, 10, 32)
		if err != nil || n < 0 {
			return 0, bad
		}
		if n > int64(math.MaxInt64/u.length)/2 {
			return 0, fmt.Errorf("%q is too long", s)
		}
		sum, rest = sum+time.Duration(n)*u.length, after
	}
	if rest == "" && rest != s {
		return sum, nil
	}
	if strings.HasPrefix(rest, "-") || strings.HasPrefix(rest, "+") {
		return 0, bad
	}
	d, err := time.ParseDuration(rest)
	if err != nil || d < 0 || sum+d < sum {
		return 0, bad
	}
	return sum + d, nil
}

// writeDuration writes a duration without empty parts: 24h instead of 24h0m0s, 7d for whole days above one.
func writeDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	if d > day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// parseAddr checks host:port; an empty host means every address of the machine. A port alone, or IPv6 without brackets, is explained.
func parseAddr(s string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if _, numeric := strconv.Atoi(s); numeric == nil {
			return "", fmt.Errorf("%q has no host: write 127.0.0.1:%s, or :%s for every address of the machine", s, s, s)
		}
		if ip, ipErr := netip.ParseAddr(s); ipErr == nil && ip.Is6() {
			return "", fmt.Errorf("%q: write an IPv6 address in brackets and a port, like [%s]:5000", s, s)
		}
		if strings.Contains(s, "://") {
			return "", fmt.Errorf("%q is a URL: write the address alone, like 127.0.0.1:5000", s)
		}
		return "", fmt.Errorf("%q is not an address with a port", s)
	}
	if n, portErr := strconv.ParseUint(port, 10, 16); portErr != nil || strconv.FormatUint(n, 10) != port {
		return "", fmt.Errorf("%q: the port %q is not a number from 0 to 65535", s, port)
	}
	if strings.Contains(host, ":") {
		if _, err = netip.ParseAddr(host); err != nil {
			return "", fmt.Errorf("%q: %q is not an IPv6 address", s, host)
		}
	} else if strings.ContainsAny(host, " /\\@\x00,") {
		return "", fmt.Errorf("%q: %q is not a host", s, host)
	}
	return s, nil
}

// parsePrefix reads a network, or one address as a network of one.
func parsePrefix(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network like 10.0.0.0/8", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits behind its length: write %s", s, p.Masked())
	}
	if of := 128 - 32; p.Addr().Is4In6() && p.Bits() >= of { // what is compared with it is IPv4 then
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-of)
	}
	return p, nil
}

// parseURL reads a URL with one of the schemes and a host; nil for "".
func parseURL(s string, path bool, schemes ...string) (*url.URL, error) {
	if s == "" {
		return nil, nil //nolint:nilnil // no URL is a value of its own here: the key is not set
	}
	u, err := url.Parse(s)
	if err != nil {
		return nil, fmt.Errorf("%q is not a URL", redacted(s))
	}
	ok := false
	for _, scheme := range schemes {
		ok = ok || u.Scheme == scheme
	}
	switch {
	case !ok:
		return nil, fmt.Errorf("%q does not begin with %s://", redacted(s), strings.Join(schemes, ":// or "))
	case u.Hostname() == "" || strings.ContainsAny(u.Host, " \\"):
		return nil, fmt.Errorf("%q names no host", redacted(s))
	case u.RawQuery != "" || u.Fragment != "" || u.ForceQuery:
		return nil, fmt.Errorf("%q has a query or a fragment", redacted(s))
	case !path && u.User != nil:
		return nil, fmt.Errorf("%q has a user in it", redacted(s))
	case !path && strings.Trim(u.Path, "/") != "":
		return nil, fmt.Errorf("%q has a path: registries live at the root of a host", redacted(s))
	}
	if !path {
		u.Path = ""
	}
	return u, nil
}

// redacted hides what may be a password in front of an @.
func redacted(s string) string {
	if at := strings.LastIndexByte(s, '@'); at >= 0 {
		scheme, _, ok := strings.Cut(s, "://")
		if !ok {
			return hidden + s[at:]
		}
		return scheme + "://" + hidden + s[at:]
	}
	return s
}

func writeURL(u *url.URL) any {
	if u == nil {
		return ""
	}
	if u.User != nil {
		shown := *u
		shown.User = nil
		return strings.Replace(shown.String(), "://", "://"+hidden+"@", 1)
	}
	return u.String()
}
