package config

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// maxHostName is what DNS carries of a name; maxLabel of what is between its dots.
const maxHostName, maxLabel = 253, 63

// parseNoProxy reads one thing that is reached without the proxy. What it answers means to golang.org/x/net/http/httpproxy, which passes over what it
// does not understand, the same as here.
func parseNoProxy(s string) (string, error) {
	switch {
	case s == "*":
		return s, nil
	case strings.Contains(s, "://"):
		return "", fmt.Errorf("%q is a URL: write the host alone, like example.com or example.com:443", redacted(s))
	case strings.Contains(s, "@"):
		return "", fmt.Errorf("%q has a user in it", redacted(s))
	case strings.Contains(s, "/"):
		return noProxyNetwork(s)
	}
	host, port := s, ""
	if inner, ok := strings.CutPrefix(s, "["); ok && strings.HasSuffix(inner, "]") {
		host = strings.TrimSuffix(inner, "]")
	} else if _, err := netip.ParseAddr(s); err != nil && strings.Contains(s, ":") {
		if host, port, err = net.SplitHostPort(s); err != nil {
			return "", fmt.Errorf("%q is neither an address nor a host, nor one with a port (IPv6 in brackets then, like [fd00::1]:443)", s)
		}
		if n, portErr := strconv.ParseUint(port, 10, 16); portErr != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return "", fmt.Errorf("%q: the port %q is not a number from 1 to 65535", s, port)
		}
	}
	if _, err := netip.ParseAddr(host); err != nil && s != host && s[0] == '[' {
		return "", fmt.Errorf("%q has brackets, and no IP address in them", s)
	}
	host, err := noProxyHost(host)
	if err != nil || port == "" {
		return host, err
	}
	return net.JoinHostPort(host, port), nil
}

func noProxyNetwork(s string) (string, error) {
	p, err := parsePrefix(s)
	if err == nil {
		return p.String(), nil
	}
	if end := strings.LastIndexByte(s, ':'); end > strings.IndexByte(s, '/') {
		if network, portless := parsePrefix(s[:end]); portless == nil {
			return "", fmt.Errorf("%q is a network with a port, which networks do not take: write %s", s, network)
		}
	}
	return "", err
}

// noProxyHost answers an address, or a name in small letters, with a dot in front if it stands only for what is below it.
func noProxyHost(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		if a.Zone() != "" {
			return "", fmt.Errorf("%q has a zone: write %s", s, a.WithZone(""))
		}
		return a.Unmap().String(), nil
	}
	host := strings.ToLower(strings.TrimSuffix(s, "."))
	if below, ok := strings.CutPrefix(host, "*."); ok {
		host = "." + below
	}
	name := strings.TrimPrefix(host, ".")
	labels := strings.Split(name, ".")
	switch last := labels[len(labels)-1]; {
	case s == "*":
		return "", fmt.Errorf("* stands for everything, and takes no port")
	case strings.Contains(name, "*"):
		return "", fmt.Errorf("%q: * stands alone, for everything, or in front of a name, like *.example.com", s)
	case strings.ContainsFunc(name, func(r rune) bool { return r > '~' }):
		return "", fmt.Errorf("%q: write the name in its form for DNS, which begins with xn--", s)
	case len(name) > maxHostName:
		return "", fmt.Errorf("%.50q… is longer than a host name can be", s)
	case last != "" && strings.Trim(last, "0123456789") == "": // no top-level domain is a number
		return "", fmt.Errorf("%q is no whole IP address: write it in full, or a network like 10.0.0.0/8", s)
	}
	for _, label := range labels {
		if label == "" || len(label) > maxLabel || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("%q is neither an address nor a host name", s)
		}
	}
	return host, nil
}
