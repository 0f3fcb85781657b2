package client

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// ParseServer reads the address of a server: a URL, or a host with a port or without one. It answers it as a URL without a slash at the end. Without a scheme it is https://, and http:// on this
// machine, where the quick start serves so. http:// to another machine is Invalid unless plain: whoever is on the way reads the password.
func ParseServer(text string, plain bool) (string, error) {
	bad := fail.E(fail.Invalid, nil, "%.200q is no address of a server", text).Hint("write it like registry.example.com, or https://registry.example.com:8443")
	whole := text
	if !strings.Contains(text, "://") {
		whole = "//" + text
	}
	u, err := url.Parse(whole)
	if err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", bad
	}
	here := isLoopback(u.Hostname())
	switch u.Scheme {
	case "https":
	case "http":
		if !here && !plain {
			return "", fail.E(fail.Invalid, nil, "%s is plain HTTP to another machine", text).Hint("use https://, or --plain-http if nobody on the way may be a stranger")
		}
	case "":
		if u.Scheme = "https"; here || plain {
			u.Scheme = "http"
		}
	default:
		return "", bad
	}
	return u.Scheme + "://" + strings.ToLower(u.Host), nil
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}
