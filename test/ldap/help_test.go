package ldap

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/access/ldap"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// patience is a time-out for tests of what is answered, not of how quickly.
const patience = 30 * time.Second

// need ends the test with what to do if something could not be had.
func need(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v\n%s", err, fail.HintOf(err))
	}
}

// start starts a directory that ends with the test.
func start(t *testing.T, o lab.LDAPOptions) *lab.LDAP {
	t.Helper()
	l, err := lab.StartLDAP(t.Context(), o)
	need(t, err)
	t.Cleanup(func() { need(t, l.Stop()) })
	return l
}

// guide answers the settings of Harbor's HA guide, for servers.
func guide(servers ...*lab.LDAP) ldap.Config {
	c := ldap.Config{
		SearchDN: lab.LDAPBindDN, SearchPassword: lab.LDAPBindPassword, BaseDN: "OU=Tech,DC=example,DC=com", Filter: "(objectClass=person)", LoginAttribute: "sAMAccountName",
		Timeout: patience,
		Groups:  ldap.Groups{BaseDN: "OU=Groups,OU=Tech,DC=example,DC=com", Filter: "(objectclass=groupOfNames)", NameAttribute: "sAMAccountName"},
	}
	for _, s := range servers {
		c.URLs = append(c.URLs, s.URL)
	}
	return c
}

func open(t *testing.T, c ldap.Config) *ldap.Directory {
	t.Helper()
	d, err := ldap.New(c)
	need(t, err)
	t.Cleanup(d.Close)
	return d
}

// groups answers the names of somebody's groups.
func groups(p access.Person) string {
	var names []string
	for _, g := range p.Groups {
		names = append(names, g.Name)
	}
	return strings.Join(names, " ")
}

// enters fails the test unless these are name and password of somebody.
func enters(t *testing.T, d *ldap.Directory, u lab.LDAPUser) access.Person {
	t.Helper()
	p, err := d.Login(t.Context(), u.Account, u.Password())
	if err != nil {
		t.Fatalf("%s: %v\n%s", u.Account, err, fail.HintOf(err))
	}
	return p
}

// diary is a log that tests read while others write it.
type diary struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (d *diary) Write(p []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.Write(p)
}

func (d *diary) String() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.b.String()
}

func (d *diary) logger() *slog.Logger { return slog.New(slog.NewTextHandler(d, nil)) }

// told counts what slapd says that it was asked for.
type told struct {
	file string
	from int64
}

// listen counts from now on.
func listen(t *testing.T, l *lab.LDAP) *told {
	t.Helper()
	info, err := os.Stat(l.Log())
	need(t, err)
	return &told{l.Log(), info.Size()}
}

// count answers how many searches and how many binds as somebody else than the search account there were.
func (d *told) count(t *testing.T) (searches, binds int, lines string) {
	t.Helper()
	b, err := os.ReadFile(d.file)
	need(t, err)
	var all []string
	for _, line := range strings.Split(string(b[d.from:]), "\n") {
		_, op, ok := strings.Cut(line, " op=")
		if !ok {
			continue
		}
		switch {
		case strings.Contains(op, " SRCH base="):
			searches++
		case strings.Contains(op, " BIND dn=") && strings.Contains(op, " method=") && !strings.Contains(strings.ToLower(op), strings.ToLower(fmt.Sprintf("%q", lab.LDAPBindDN))):
			binds++
		default:
			continue
		}
		all = append(all, line)
	}
	return searches, binds, strings.Join(all, "\n")
}
