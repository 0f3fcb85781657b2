package ldap

import (
	"bytes"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
)

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	t.Parallel()
	notPEM := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(notPEM, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(c *Config){
		"no URL":                        func(c *Config) { c.URLs = nil },
		"is neither ldap nor ldaps":     func(c *Config) { c.URLs = []string{"http://ldap.example.com"} },
		"it has no host":                func(c *Config) { c.URLs = []string{"ldap://"} },
		"more than a host and a port":   func(c *Config) { c.URLs = []string{"ldap://h/dc=example"} },
		"URL of an LDAP server":         func(c *Config) { c.URLs = []string{"ldap://h:port"} },
		"base of LDAP's users":          func(c *Config) { c.BaseDN = "" },
		"base of LDAP's groups":         func(c *Config) { c.Groups.BaseDN = "groups" },
		"LDAP's group of admin":         func(c *Config) { c.Groups.AdminDN = "admins" },
		"filter of LDAP's users":        func(c *Config) { c.Filter = "(&(objectClass=person)" },
		"filter of LDAP's groups":       func(c *Config) { c.Groups.Filter = "(a" },
		"LDAP attribute \"a)(b\"":       func(c *Config) { c.LoginAttribute = "a)(b" },
		"LDAP attribute \"member=*\"":   func(c *Config) { c.Groups.MemberAttribute = "member=*" },
		"scope of an LDAP search \"3\"": func(c *Config) { c.Scope = "3" },
		"way to find groups":            func(c *Config) { c.Nested = "deep" },
		"has no password":               func(c *Config) { c.SearchPassword = "" },
		"and no account":                func(c *Config) { c.SearchDN = "" },
		"authorities of LDAP servers: ": func(c *Config) { c.TLS.CAFile = notPEM },
		"no such file":                  func(c *Config) { c.TLS.CAFile = notPEM + "x" },
	} {
		c := Config{URLs: []string{"ldap://localhost"}, BaseDN: base, SearchDN: searcher, SearchPassword: searchPw}
		if _, err := New(c); err != nil {
			t.Fatal(err)
		}
		change(&c)
		_, err := New(c)
		if !fail.Is(err, fail.Invalid) || !strings.Contains(err.Error(), what) || fail.HintOf(err) == "" {
			t.Errorf("want %q, got %v (hint %q)", what, err, fail.HintOf(err))
		}
	}
}

func TestAddressesAreReadAsHarborReadsThem(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]address{
		"ldap://10.2.208.11:389":      {"ldap://10.2.208.11:389", "10.2.208.11", "10.2.208.11:389", false},
		"ldaps://ldap.example.com":    {"ldaps://ldap.example.com:636", "ldap.example.com", "ldap.example.com:636", true},
		"ldap.example.com":            {"ldap://ldap.example.com:389", "ldap.example.com", "ldap.example.com:389", false},
		"ldap.example.com:636":        {"ldaps://ldap.example.com:636", "ldap.example.com", "ldap.example.com:636", true},
		"ldap://ldap.example.com:636": {"ldaps://ldap.example.com:636", "ldap.example.com", "ldap.example.com:636", true},
		" LDAP://[::1]:3389/ ":        {"ldap://[::1]:3389", "::1", "[::1]:3389", false},
	} {
		if got, err := parseAddress(raw); got != want || err != nil {
			t.Errorf("%s: %+v, %v", raw, got, err)
		}
	}
}

func TestWhatIsNotSaidHasADefault(t *testing.T) {
	t.Parallel()
	p, err := newPlan(Config{URLs: []string{"ldap://h"}, BaseDN: base, Filter: "objectClass=person"})
	if err != nil {
		t.Fatal(err)
	}
	if p.Filter != "(objectClass=person)" || p.LoginAttribute != "uid" || p.Scope != ScopeSubtree || p.Groups.BaseDN != base || p.Groups.MembershipAttribute != "memberOf" || p.Nested != NestedAuto {
		t.Errorf("%+v", p.Config)
	}
	if p.conf.InsecureSkipVerify || p.conf.MinVersion != tls.VersionTLS12 {
		t.Error("certificates are verified and TLS is 1.2 or later where nothing else is said")
	}
}

func TestPasswordsInClearAreWarnedOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		url      string
		startTLS bool
		warns    bool
	}{{"ldap://h", false, true}, {"ldap://h", true, false}, {"ldaps://h", false, false}} {
		var log bytes.Buffer
		if _, err := New(Config{URLs: []string{c.url}, StartTLS: c.startTLS, BaseDN: base, Log: slog.New(slog.NewTextHandler(&log, nil))}); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(log.String(), "in clear"); got != c.warns {
			t.Errorf("%+v: %s", c, &log)
		}
	}
}
