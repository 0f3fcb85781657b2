package config

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

func syslogEndpoint(s string) error {
	if s == "" {
		return nil
	}
	rest, _ := strings.CutPrefix(s, "tcp://")
	rest, _ = strings.CutPrefix(rest, "tls://")
	host, port, err := net.SplitHostPort(rest)
	if err != nil || host == "" || !isPort(port) {
		return fmt.Errorf("%q is not a host and a port", s)
	}
	return upTo(512)(s)
}

func certificates(s string) error {
	if s != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(s)) {
		return fmt.Errorf("holds no certificate")
	}
	return upTo(1 << 20)(s)
}

func issuerURL(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("%q is not the URL of an issuer", s)
	}
	return upTo(1024)(s)
}

func expression(s string) error {
	if _, err := regexp.Compile(s); err != nil {
		return fmt.Errorf("%q is not a regular expression: %w", s, err)
	}
	return upTo(1024)(s)
}

func oidcScope(s string) error {
	if !slices.Contains(strings.Split(strings.ReplaceAll(s, " ", ""), ","), "openid") {
		return fmt.Errorf("%q has no openid in it", s)
	}
	return upTo(1024)(s)
}

func jsonTexts(s string) error {
	var all map[string]string
	if s != "" && json.Unmarshal([]byte(s), &all) != nil {
		return fmt.Errorf("%q is not a JSON object of texts", s)
	}
	return upTo(4096)(s)
}

// Consistent answers what is wrong between settings that are right each by itself, by the name of the one to change; nothing if all is right.
func (l *Live) Consistent() map[string]string {
	all := map[string]string{}
	if l.AuthMode == AuthLDAP && strings.TrimSpace(l.LDAP.URL) == "" {
		all["ldap_url"] = "is empty, and auth_mode is ldap_auth"
	}
	if l.LDAP.SearchDN == "" && l.LDAP.SearchPassword.Reveal() != "" {
		all["ldap_search_dn"] = "is empty, and ldap_search_password is set"
	}
	if l.AuthMode == AuthOIDC {
		if l.OIDC.Endpoint == "" {
			all["oidc_endpoint"] = "is empty, and auth_mode is oidc_auth"
		}
		if l.OIDC.ClientID == "" {
			all["oidc_client_id"] = "is empty, and auth_mode is oidc_auth"
		}
	}
	if l.SkipAuditLogDatabase && l.AuditLogForwardEndpoint == "" {
		all["skip_audit_log_database"] = "is on, and audit_log_forward_endpoint is empty"
	}
	return all
}
