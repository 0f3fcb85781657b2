package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/havn-registry/havn/internal/fail"
)

// Scope says how far below its base a search looks.
type Scope string

// The scopes; "" is ScopeSubtree.
const (
	ScopeBase    Scope = "base"    // the base alone
	ScopeOne     Scope = "one"     // what is right below it
	ScopeSubtree Scope = "subtree" // it, and all below
)

// Nested says how groups in groups are found.
type Nested string

// The ways; "" is NestedAuto.
const (
	NestedAuto  Nested = "auto"  // NestedChain where the server says that it is an Active Directory, else NestedWalk
	NestedChain Nested = "chain" // the directory finds them, by Active Directory's rule 1.2.840.113556.1.4.1941. In large forests it can be slow.
	NestedWalk  Nested = "walk"  // group by group, in at most two searches
	NestedOff   Nested = "off"   // only groups that a person is in directly
)

// Defaults of Config.
const (
	DefaultLoginAttribute      = "uid"
	DefaultEmailAttribute      = "mail"
	DefaultRealNameAttribute   = "cn"
	DefaultGroupNameAttribute  = "cn"
	DefaultMembershipAttribute = "memberOf"
	DefaultMemberAttribute     = "member"
	DefaultGroupFilter         = "(|(objectClass=group)(objectClass=groupOfNames)(objectClass=groupOfUniqueNames))"
	DefaultTimeout             = 5 * time.Second
	DefaultConnections         = 16
)

// Config says which directory is asked, and how.
type Config struct {
	// URLs are ldap://host:port or ldaps://host:port each, in the order in which they are preferred: the next is asked while those before it do not answer. As with Harbor, one without
	// a scheme is ldap, and port 636 is always ldaps.
	URLs     []string
	StartTLS bool // on ldap:// connections
	TLS      TLS
	// Timeout bounds each step: making a connection, TLS, each question. 0: DefaultTimeout.
	Timeout time.Duration
	// Connections bounds those of the search account, and as many of people who log in. 0: DefaultConnections.
	Connections int

	SearchDN       string // who searches; "": anybody may
	SearchPassword string

	BaseDN            string
	Scope             Scope
	Filter            string // of people, beside the login attribute; "": none
	LoginAttribute    string // uid, cn, mail, sAMAccountName…; "": DefaultLoginAttribute
	EmailAttribute    string // "": DefaultEmailAttribute
	RealNameAttribute string // "": DefaultRealNameAttribute

	Groups Groups
	Nested Nested

	Log   *slog.Logger     // nil: discarded
	Clock func() time.Time // nil: the system's
}

// TLS says whom to believe.
type TLS struct {
	Unverified bool           // believe every server
	CAFile     string         // a PEM file with the authorities; "": Roots
	Roots      *x509.CertPool // nil: the system's
	MinVersion uint16         // of crypto/tls; 0: TLS 1.2
}

// Groups says what groups are and who is in them.
type Groups struct {
	BaseDN              string // "": Config.BaseDN
	Scope               Scope
	Filter              string // "": DefaultGroupFilter
	NameAttribute       string // "": DefaultGroupNameAttribute
	MembershipAttribute string // of a person: the groups; "": DefaultMembershipAttribute
	MemberAttribute     string // of a group: the members; "": DefaultMemberAttribute
	// AdminDN is the group whose members are administrators of the system, "" if there is none. It need not be below BaseDN nor match Filter, as long as its members are in it directly.
	AdminDN string
}

// plan is a Config that was found to be possible.
type plan struct {
	Config
	base, groupBase name
	admin           string // in its normal form, "": none
	conf            *tls.Config
}

func newPlan(c Config) (plan, error) {
	p := plan{Config: c}
	p.setDefaults()
	var err error
	if p.conf, err = c.TLS.config(); err != nil {
		return plan{}, err
	}
	if p.base, err = parseName(p.BaseDN); err != nil {
		return plan{}, fail.E(fail.Invalid, err, "base of LDAP's users").Hint("%s", fail.HintOf(err))
	}
	if p.groupBase, err = parseName(p.Groups.BaseDN); err != nil {
		return plan{}, fail.E(fail.Invalid, err, "base of LDAP's groups").Hint("%s", fail.HintOf(err))
	}
	if p.Groups.AdminDN != "" {
		if p.admin, err = Normal(p.Groups.AdminDN); err != nil {
			return plan{}, fail.E(fail.Invalid, err, "LDAP's group of administrators").Hint("%s", fail.HintOf(err))
		}
	}
	if p.Filter, err = filterOf(p.Filter); err != nil {
		return plan{}, fail.E(fail.Invalid, err, "filter of LDAP's users %q", c.Filter).Hint("it is like (objectClass=person), see RFC 4515")
	}
	if p.Groups.Filter, err = filterOf(p.Groups.Filter); err != nil {
		return plan{}, fail.E(fail.Invalid, err, "filter of LDAP's groups %q", c.Groups.Filter).Hint("it is like (objectClass=groupOfNames), see RFC 4515")
	}
	return p, p.check()
}

func (p *plan) setDefaults() {
	for _, d := range []struct {
		value *string
		other string
	}{
		{&p.LoginAttribute, DefaultLoginAttribute},
		{&p.EmailAttribute, DefaultEmailAttribute},
		{&p.RealNameAttribute, DefaultRealNameAttribute},
		{&p.Groups.BaseDN, p.BaseDN},
		{&p.Groups.Filter, DefaultGroupFilter},
		{&p.Groups.NameAttribute, DefaultGroupNameAttribute},
		{&p.Groups.MembershipAttribute, DefaultMembershipAttribute},
		{&p.Groups.MemberAttribute, DefaultMemberAttribute},
		{(*string)(&p.Scope), string(ScopeSubtree)},
		{(*string)(&p.Groups.Scope), string(ScopeSubtree)},
		{(*string)(&p.Nested), string(NestedAuto)},
	} {
		if *d.value == "" {
			*d.value = d.other
		}
	}
	if p.Timeout <= 0 {
		p.Timeout = DefaultTimeout
	}
	if p.Connections <= 0 {
		p.Connections = DefaultConnections
	}
	if p.Log == nil {
		p.Log = slog.New(slog.DiscardHandler)
	}
	if p.Clock == nil {
		p.Clock = time.Now //nolint:forbidigo // the clock of the package where no other is given
	}
}

// check looks at what has a few possible values.
func (p *plan) check() error {
	for _, s := range []Scope{p.Scope, p.Groups.Scope} {
		if _, ok := scopes[s]; !ok {
			return fail.E(fail.Invalid, nil, "scope of an LDAP search %q", s).Hint("it is %s, %s or %s", ScopeBase, ScopeOne, ScopeSubtree)
		}
	}
	switch p.Nested {
	case NestedAuto, NestedChain, NestedWalk, NestedOff:
	default:
		return fail.E(fail.Invalid, nil, "way to find groups in LDAP's groups %q", p.Nested).Hint("it is %s, %s, %s or %s", NestedAuto, NestedChain, NestedWalk, NestedOff)
	}
	g := p.Groups
	for _, a := range []string{p.LoginAttribute, p.EmailAttribute, p.RealNameAttribute, g.NameAttribute, g.MembershipAttribute, g.MemberAttribute} {
		if !isAttribute(a) {
			return fail.E(fail.Invalid, nil, "LDAP attribute %q", a).Hint("the name of an attribute has letters, digits and hyphens")
		}
	}
	switch {
	case len(p.URLs) == 0:
		return fail.E(fail.Invalid, nil, "no URL of an LDAP server").Hint("give one like ldaps://ldap.example.com")
	case p.SearchDN != "" && p.SearchPassword == "":
		return fail.E(fail.Invalid, nil, "LDAP's search account %s has no password", p.SearchDN).Hint("give its password, or no account if anybody may search")
	case p.SearchDN == "" && p.SearchPassword != "":
		return fail.E(fail.Invalid, nil, "there is a password for LDAP's search account, and no account").Hint("give the account's distinguished name, or no password if anybody may search")
	}
	return nil
}

// scopes are the numbers of LDAP.
var scopes = map[Scope]int{ScopeBase: goldap.ScopeBaseObject, ScopeOne: goldap.ScopeSingleLevel, ScopeSubtree: goldap.ScopeWholeSubtree}

func (t TLS) config() (*tls.Config, error) {
	conf := &tls.Config{RootCAs: t.Roots, MinVersion: t.MinVersion, InsecureSkipVerify: t.Unverified} //nolint:gosec // what the operator asked for
	if conf.MinVersion == 0 {
		conf.MinVersion = tls.VersionTLS12
	}
	if t.CAFile == "" {
		return conf, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "authorities of LDAP servers").Hint("give a PEM file that this process can read")
	}
	conf.RootCAs = x509.NewCertPool()
	if !conf.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fail.E(fail.Invalid, nil, "authorities of LDAP servers: %s has no certificate", t.CAFile).Hint("give a PEM file: it has lines that say BEGIN CERTIFICATE")
	}
	return conf, nil
}

// filterOf answers a filter in brackets, which Harbor lets its users leave away.
func filterOf(s string) (string, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return "", nil
	}
	if !strings.HasPrefix(s, "(") || !strings.HasSuffix(s, ")") {
		s = "(" + s + ")"
	}
	_, err := goldap.CompileFilter(s)
	return s, err
}

// address is where a server is.
type address struct {
	url    string // as people read it
	host   string // whose certificate it has
	dial   string // host:port
	secure bool   // TLS from the first byte on
}

func parseAddress(raw string) (address, error) {
	bad := func(err error, why string) (address, error) {
		return address{}, fail.E(fail.Invalid, err, "URL of an LDAP server %q%s", raw, why).Hint("it is like ldaps://ldap.example.com or ldap://10.1.2.3:389")
	}
	given := strings.TrimSpace(raw)
	if !strings.Contains(given, "://") {
		given = "ldap://" + given
	}
	u, err := url.Parse(given)
	if err != nil {
		return bad(err, "")
	}
	switch {
	case u.Scheme != "ldap" && u.Scheme != "ldaps":
		return bad(nil, ": it is neither ldap nor ldaps")
	case u.Hostname() == "":
		return bad(nil, ": it has no host")
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return bad(nil, ": there is more than a host and a port in it")
	}
	a := address{host: u.Hostname(), secure: u.Scheme == "ldaps" || u.Port() == "636"}
	port, scheme := u.Port(), "ldap"
	if a.secure {
		scheme = "ldaps"
	}
	if port == "" {
		port = map[bool]string{false: goldap.DefaultLdapPort, true: goldap.DefaultLdapsPort}[a.secure]
	}
	a.dial = net.JoinHostPort(a.host, port)
	a.url = scheme + "://" + a.dial
	return a, nil
}
