package ldap

import (
	"fmt"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access/ldap"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// alice and bob are in groups, carol is disabled.
var alice, bob, carol = lab.LDAPUsers[0], lab.LDAPUsers[1], lab.LDAPUsers[2]

func TestTheGuidesSettingsLetItsPeopleIn(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	for name, change := range map[string]func(c *ldap.Config){
		"as they are":              func(*ldap.Config) {},
		"ldaps":                    func(c *ldap.Config) { c.URLs, c.TLS.CAFile = []string{l.SecureURL}, l.CAFile },
		"StartTLS":                 func(c *ldap.Config) { c.StartTLS, c.TLS.CAFile = true, l.CAFile },
		"ldap_verify_cert = false": func(c *ldap.Config) { c.URLs, c.TLS.Unverified = []string{l.SecureURL}, true },
		"by e-mail address":        func(c *ldap.Config) { c.LoginAttribute = "mail" },
		"without memberOf":         func(c *ldap.Config) { c.Groups.MembershipAttribute = "seeAlso" },
		"one level": func(c *ldap.Config) {
			c.BaseDN, c.Scope = "ou=Users,"+lab.LDAPTech, ldap.ScopeOne
			c.Groups.Scope = ldap.ScopeOne
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := guide(l)
			c.Groups.AdminDN = strings.ToUpper(lab.LDAPGroupDN("registry-admins"))
			change(&c)
			d := open(t, c)
			as := func(u lab.LDAPUser) string {
				if c.LoginAttribute == "mail" {
					return u.Account + "@example.com"
				}
				return u.Account
			}
			for _, u := range []struct {
				lab.LDAPUser
				groups string
				admin  bool
			}{{alice, "all-staff registry-admins registry-users", true}, {bob, "all-staff registry-users", false}} {
				for _, typed := range []string{as(u.LDAPUser), strings.ToUpper(as(u.LDAPUser))} {
					p, err := d.Login(t.Context(), typed, u.Password())
					need(t, err)
					if p.Name != as(u.LDAPUser) || p.Subject != strings.ToLower(u.DN()) || p.Email != u.Account+"@example.com" || p.RealName != u.First+" "+u.Last || p.Admin != u.admin || groups(p) != u.groups {
						t.Errorf("%s is %+v", typed, p)
					}
					for _, g := range p.Groups {
						if g.Key != strings.ToLower(lab.LDAPGroupDN(g.Name)) {
							t.Errorf("group %+v", g)
						}
					}
					if again, findErr := d.Find(t.Context(), p.Subject); findErr != nil || fmt.Sprint(again) != fmt.Sprint(p) {
						t.Errorf("found again as %+v, %v", again, findErr)
					}
				}
			}
			for _, wrong := range [][2]string{{as(alice), "wrong"}, {as(alice), ""}, {as(alice), "\x00"}, {as(carol), carol.Password()}, {"nobody", "nobodypw"}, {"*", alice.Password()}, {"", alice.Password()}, {as(alice), bob.Password()}} {
				if p, err := d.Login(t.Context(), wrong[0], wrong[1]); !fail.Is(err, fail.Unauthenticated) || p.Name != "" {
					t.Errorf("%q with %q: %+v, %v", wrong[0], wrong[1], p, err)
				}
			}
			if _, err := d.Find(t.Context(), strings.ToLower(carol.DN())); !fail.Is(err, fail.NotFound) {
				t.Errorf("who is disabled is still found: %v", err)
			}
		})
	}
}

func TestNestedGroupsCanBeLeftOut(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	for nested, want := range map[ldap.Nested]string{
		ldap.NestedOff: "registry-admins registry-users", ldap.NestedWalk: "all-staff registry-admins registry-users",
		ldap.NestedChain: "", // OpenLDAP does not know the rule, and finds nothing
	} {
		c := guide(l)
		c.Nested = nested
		if got := groups(enters(t, open(t, c), alice)); got != want {
			t.Errorf("%s: %q", nested, got)
		}
	}
}

func TestStrangeNamesAreNamesAndNothingElse(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	for i, name := range []string{"*", "a*", "ali(ce", "x)(uid=*", `back\slash`, `\2a`, "naïve", "comma, plus+", "#hash", "Владимир", `a"b<c>;`, "equal=s"} {
		// In LDIF and in names of entries other letters are special; so the entry is called by a number.
		need(t, l.Change(t.Context(), fmt.Sprintf("dn: uid=strange%d,ou=Users,%s\nobjectClass: inetOrgPerson\nobjectClass: adUser\ncn: Strange\nsn: Strange\nuid: strange%d\nsAMAccountName:: %s\nuserPassword: strangepw%d\n",
			i, lab.LDAPTech, i, encode(name), i)))
		d := open(t, guide(l))
		p, err := d.Login(t.Context(), name, fmt.Sprintf("strangepw%d", i))
		if err != nil || p.Name != name {
			t.Errorf("%q: %+v, %v", name, p, err)
		}
		if _, err = d.Login(t.Context(), name, alice.Password()); !fail.Is(err, fail.Unauthenticated) {
			t.Errorf("%q with another's password: %v", name, err)
		}
		people, _, err := d.Users(t.Context(), name, 0)
		if err != nil || len(people) != 1 || people[0].Name != name {
			t.Errorf("%q finds %+v, %v", name, people, err)
		}
	}
	// Their entries' own names.
	for _, name := range []string{`comma, "quoted" + <more>;`, `back\slash`, "#hash", " spaces ", "Жук", "*", "a=b"} {
		escaped := strings.NewReplacer(`\`, `\5c`, ",", `\2c`, `"`, `\22`, "+", `\2b`, "<", `\3c`, ">", `\3e`, ";", `\3b`, "#", `\23`, " ", `\20`).Replace(name)
		group := "cn=" + escaped + ",ou=Groups," + lab.LDAPTech
		need(t, l.Change(t.Context(), fmt.Sprintf("dn:: %s\nobjectClass: groupOfNames\nobjectClass: adGroup\nsAMAccountName: odd\nmember: %s\n", encode(group), bob.DN())))
		d := open(t, guide(l))
		want, err := ldap.Normal(group)
		need(t, err)
		p := enters(t, d, bob)
		found := false
		for _, g := range p.Groups {
			found = found || g.Key == want
		}
		if !found {
			t.Errorf("bob is not in %s: %+v", want, p.Groups)
		}
		if g, groupErr := d.Group(t.Context(), want); groupErr != nil || g.Key != want {
			t.Errorf("%s: %+v, %v", want, g, groupErr)
		}
		need(t, l.Change(t.Context(), fmt.Sprintf("dn:: %s\nchangetype: delete\n", encode(group))))
	}
}

func TestTwoEntriesForANameLetNobodyIn(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	need(t, l.Change(t.Context(), fmt.Sprintf("dn: uid=alice2,ou=Infra,%s\nobjectClass: inetOrgPerson\nobjectClass: adUser\ncn: Other\nsn: Other\nuid: alice2\nsAMAccountName: ALICE\nuserPassword: otherpw\n", lab.LDAPTech)))
	c, log := guide(l), &diary{}
	c.Log = log.logger()
	d := open(t, c)
	for _, password := range []string{alice.Password(), "otherpw"} {
		if _, err := d.Login(t.Context(), "alice", password); !fail.Is(err, fail.Unauthenticated) {
			t.Errorf("%v", err)
		}
	}
	if !strings.Contains(log.String(), "more than one entry for a name") {
		t.Errorf("%s", log)
	}
	c.BaseDN = "ou=Users," + lab.LDAPTech
	enters(t, open(t, c), alice)
}

func TestAChangeInTheDirectoryIsSeen(t *testing.T) {
	t.Parallel()
	l := start(t, lab.LDAPOptions{})
	d := open(t, guide(l))
	p := enters(t, d, bob)
	need(t, l.Change(t.Context(), fmt.Sprintf("dn: %s\nchangetype: modify\ndelete: member\nmember: %s\n", lab.LDAPGroupDN("registry-users"), bob.DN())))
	again, err := d.Find(t.Context(), p.Subject)
	if err != nil || groups(again) != "" {
		t.Errorf("out of the group: %+v, %v", again, err)
	}
	need(t, l.Change(t.Context(), fmt.Sprintf("dn: %s\nchangetype: modify\nreplace: userAccountControl\nuserAccountControl: 514\n", bob.DN())))
	if _, err = d.Find(t.Context(), p.Subject); !fail.Is(err, fail.NotFound) {
		t.Errorf("disabled: %v", err)
	}
	need(t, l.Change(t.Context(), fmt.Sprintf("dn: %s\nchangetype: delete\n", bob.DN())))
	if _, err = d.Find(t.Context(), p.Subject); !fail.Is(err, fail.NotFound) {
		t.Errorf("deleted: %v", err)
	}
	if _, err = d.Login(t.Context(), bob.Account, bob.Password()); !fail.Is(err, fail.Unauthenticated) {
		t.Errorf("deleted: %v", err)
	}
}
