package config

import (
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http/httpproxy"
)

func TestWhatIsReachedWithoutTheProxyIsReadOrRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"*": "*", "example.com": "example.com", "S3.Example.com": "s3.example.com", ".example.com": ".example.com", "*.example.com": ".example.com", "example.com.": "example.com",
		"store": "store", "my_store-1:9000": "my_store-1:9000", ".example.com:443": ".example.com:443", "*.example.com:443": ".example.com:443", "xn--bcher-kva.example": "xn--bcher-kva.example",
		"10.1.2.3": "10.1.2.3", "10.1.2.3:9000": "10.1.2.3:9000", "::ffff:10.1.2.3": "10.1.2.3", "fd00::1": "fd00::1", "FD00:0::1": "fd00::1", "[fd00::1]": "fd00::1", "[fd00::1]:443": "[fd00::1]:443",
		"10.0.0.0/8": "10.0.0.0/8", "fd00::/8": "fd00::/8", "10.1.2.3/32": "10.1.2.3/32", "::ffff:10.0.0.0/104": "10.0.0.0/8",
	} {
		got, err := parseNoProxy(text)
		if err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
		if again, againErr := parseNoProxy(got); againErr != nil || again != got {
			t.Errorf("%q is written as %q, which is %q, %v", text, got, again, againErr)
		}
	}
	for text, want := range map[string]string{
		"":                    "neither an address nor a host name",
		".":                   "neither an address nor a host name",
		"*.":                  "stands alone",
		"..example.com":       "neither an address nor a host name",
		"a..example.com":      "neither an address nor a host name",
		"a.example b.example": "neither an address nor a host name",
		"a.example;b.example": "neither an address nor a host name",
		"[a.example]":         "has brackets", "[a.example]:80": "has brackets", "[]": "has brackets",
		"http://x":                `"http://x" is a URL`,
		"http://u:hush@x":         `"http://***@x" is a URL`,
		"u:hush@x":                `"***@x" has a user in it`,
		"a.example/path":          "neither an address nor a network",
		"10.0.0.0/33":             "neither an address nor a network",
		"10.0.0/8":                "neither an address nor a network",
		"10.1.2.3/8":              "write 10.0.0.0/8",
		"10.0.0.0/8:9000":         "write 10.0.0.0/8",
		"fd00::/8:9000":           "write fd00::/8",
		"10.0.0":                  "no whole IP address",
		"10.":                     "no whole IP address",
		"300.1.2.3":               "no whole IP address",
		"10.1.2.3.4:80":           "no whole IP address",
		"10.*":                    "stands alone",
		"s3.*.example.com":        "stands alone",
		"**":                      "stands alone",
		"*example.com":            "stands alone",
		"*:443":                   "takes no port",
		"a.example:":              `the port "" is not a number`,
		"a.example:0":             `the port "0" is not a number`,
		"a.example:0443":          `the port "0443" is not a number`,
		"a.example:70000":         `the port "70000" is not a number`,
		"a.example:https":         `the port "https" is not a number`,
		":443":                    "neither an address nor a host name",
		"fd00::1:2:3:4:5:6:7:80":  "IPv6 in brackets",
		"fe80::1%eth0":            "write fe80::1",
		"bücher.example":          "begins with xn--",
		strings.Repeat("a.", 200): "longer than a host name",
		strings.Repeat("a", 64):   "neither an address nor a host name",
	} {
		if got, err := parseNoProxy(text); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %q, %v; want %s", text, got, err, want)
		}
	}
}

// What is accepted must mean something to what matches: it passes over what it does not understand.
func FuzzNoProxy(f *testing.F) {
	for _, s := range []string{"*", "a.example", ".a.example:80", "10.0.0.0/8", "fd00::/8", "[fd00::1]:443", "10.1.2.3", "*.x", "a:1", "::ffff:10.0.0.0/104"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := parseNoProxy(s)
		if err != nil {
			return
		}
		// An address for which what was read stands.
		at := strings.TrimPrefix(got, ".")
		switch network, _, ok := strings.Cut(got, "/"); {
		case got == "*":
			at = "anything.example"
		case ok:
			at = network
		case got != at:
			at = "x." + at
		}
		if strings.Count(at, ":") > 1 && at[0] != '[' {
			at = "[" + at + "]"
		}
		find := (&httpproxy.Config{HTTPProxy: "http://proxy.example", NoProxy: got}).ProxyFunc()
		if by, findErr := find(&url.URL{Scheme: "http", Host: at}); findErr != nil || by != nil {
			t.Errorf("%q, read as %q, does not stand for %s: %v, %v", s, got, at, by, findErr)
		}
	})
}
