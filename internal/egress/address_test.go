package egress

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
)

func TestOnlyPublicAddressesAreReached(t *testing.T) {
	t.Parallel()
	g := guard{nil, closed()}
	for _, s := range []string{
		"127.0.0.1", "127.255.255.254", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "0.0.0.0", "0.1.2.3", "100.64.0.1", "100.100.100.200",
		"192.0.0.192", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
		"::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1", "100::1", "2001::1", "5f00::1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a00:1::1",
	} {
		err := g.check(netip.MustParseAddr(s))
		if !fail.Is(err, fail.Denied) {
			t.Errorf("%s: %v", s, err)
			continue
		}
		var e *fail.Error
		if errors.As(err, &e) && strings.Contains(e.Text(), strings.TrimPrefix(s, "::ffff:")) && len(s) > 3 {
			t.Errorf("%s: a stranger reads %q", s, e.Text())
		}
	}
	for _, s := range []string{
		"1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "172.15.0.1", "172.32.0.1", "192.167.1.1", "100.63.255.255", "100.128.0.1", "223.255.255.255",
		"2606:4700:4700::1111", "2a00:1450::1", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
	} {
		if err := g.check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
}

func TestAllowOpensWhatItNamesAndNothingElse(t *testing.T) {
	t.Parallel()
	g := guard{[]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")}, closed()}
	for s, open := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "fd00:1::5": true, "8.8.8.8": true,
		"10.2.0.1": false, "127.0.0.1": false, "169.254.169.254": false, "fd00:2::5": false, "64:ff9b::a01:203": false,
	} {
		if err := g.check(netip.MustParseAddr(s)); (err == nil) != open {
			t.Errorf("%s: %v, want open=%v", s, err, open)
		}
	}
	g = guard{Anywhere(), closed()}
	for _, s := range []string{"127.0.0.1", "::1", "169.254.169.254", "::ffff:10.0.0.1", "8.8.8.8", "fe80::1%eth0"} {
		if err := g.check(netip.MustParseAddr(s)); err != nil {
			t.Errorf("anywhere, %s: %v", s, err)
		}
	}
}

func FuzzAddress(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::1", "2002::1", "fe80::1%a"} {
		a := netip.MustParseAddr(s)
		f.Add(a.AsSlice())
	}
	g := guard{nil, closed()}
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok || g.check(a) != nil {
			return
		}
		if u := a.Unmap(); u.IsLoopback() || u.IsPrivate() || u.IsLinkLocalUnicast() || u.IsMulticast() || u.IsUnspecified() {
			t.Fatalf("%s is let through", a)
		}
		if u := a.Unmap(); u.Is4() && g.check(netip.AddrFrom16(u.As16())) != nil {
			t.Fatalf("%s is let through in one form alone", a)
		}
	})
}
