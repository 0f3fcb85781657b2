package ldap

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/access/ldap"
	"github.com/havn-registry/havn/internal/lab"
)

func encode(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// walked is how deep groups in groups are followed where entries say what they are in.
const walked = 4

func TestAmongFiftyThousandALogInIsThreeSearchesAndOneBind(t *testing.T) {
	o := lab.LDAPOptions{Users: 50_000, Groups: 5_000, Told: true}
	begin := time.Now()
	l := start(t, o)
	t.Logf("%d people in %d groups: after %s", o.Users, o.Groups, time.Since(begin).Round(time.Second))
	c := guide(l)
	c.Timeout = 10 * time.Second
	d := open(t, c)
	enters(t, d, alice) // makes the first connection, which asks what kind of directory it is
	var slowest time.Duration
	for _, n := range []int{0, 1, 12_345, 25_000, 49_999} {
		said := listen(t, l)
		began := time.Now()
		p := enters(t, d, lab.LDAPCrowdUser(n))
		slowest = max(slowest, time.Since(began))
		searches, binds, lines := said.count(t)
		if searches > 3 || searches < 2 || binds != 1 {
			t.Errorf("%d searches, %d binds:\n%s", searches, binds, lines)
		}
		var want []string
		for level, numbers := range o.CrowdGroups(n) {
			for _, g := range numbers {
				if level < walked {
					want = append(want, lab.LDAPCrowdGroup(g))
				}
			}
		}
		slices.Sort(want)
		if got := groups(p); got != strings.Join(want, " ") {
			t.Errorf("%s is in %s\nand not in %s", p.Name, got, strings.Join(want, " "))
		}
		said = listen(t, l)
		again, err := d.Find(t.Context(), p.Subject)
		if err != nil || groups(again) != groups(p) {
			t.Errorf("%+v, %v", again, err)
		}
		if searches, binds, lines = said.count(t); searches > 3 || binds != 0 {
			t.Errorf("looked up again: %d searches, %d binds:\n%s", searches, binds, lines)
		}
	}
	t.Logf("the slowest log-in took %s", slowest)
	if slowest > 5*time.Second {
		t.Error("an attribute has no index")
	}
	t.Run("lists are bounded", func(t *testing.T) { lists(t, d) })
	t.Run("many groups", func(t *testing.T) { busy(t, l, d, o) })
	t.Run("a test shows a few", func(t *testing.T) {
		for _, s := range d.Test(t.Context())[0].Steps {
			if s.Err != nil || len(s.Detail) > 1000 {
				t.Errorf("%+v", s)
			}
		}
	})
}

// lists asks for more than slapd gives (500, where nothing else is said), twice on the same connection.
func lists(t *testing.T, d *ldap.Directory) {
	for _, c := range []struct {
		text        string
		limit, want int
		more        bool
	}{
		{"", 100, 100, true}, {"", 500, 500, true}, {"", 499, 499, true}, {"u000", 50, 50, true}, {"u0000", 50, 10, false}, {"u00001@example", 0, 1, false}, {"User 00001", 0, 1, false}, {"zzz", 0, 0, false},
	} {
		for range 2 {
			people, more, err := d.Users(t.Context(), c.text, c.limit)
			need(t, err)
			if carol := c.text == "" && len(people) == c.want-1; (len(people) != c.want && !carol) || more != c.more { // carol is disabled, and left out
				t.Errorf("%+v: %d people, more %v", c, len(people), more)
			}
		}
	}
	for _, c := range []struct {
		text        string
		limit, want int
		more        bool
	}{{"", 100, 100, true}, {"g00", 1000, 100, false}, {"g0000", 0, 1, false}} {
		found, more, err := d.Groups(t.Context(), c.text, c.limit)
		need(t, err)
		if len(found) != c.want || more != c.more {
			t.Errorf("%+v: %d groups, more %v", c, len(found), more)
		}
	}
	if g, err := d.Group(t.Context(), lab.LDAPGroupDN("G0042")); err != nil || g != (access.Group{Key: strings.ToLower(lab.LDAPGroupDN("g0042")), Name: "g0042"}) {
		t.Errorf("%+v, %v", g, err)
	}
}

// busy lets somebody into more groups than slapd gives to a search account with no limit of its own.
func busy(t *testing.T, l *lab.LDAP, d *ldap.Directory, o lab.LDAPOptions) {
	u := lab.LDAPCrowdUser(7)
	var ldif strings.Builder
	for g := 1000; g < 1400; g++ {
		if slices.Contains(o.CrowdGroups(7)[0], g) {
			continue
		}
		fmt.Fprintf(&ldif, "dn: %s\nchangetype: modify\nadd: member\nmember: %s\n\n", lab.LDAPGroupDN(lab.LDAPCrowdGroup(g)), u.DN())
	}
	need(t, l.Change(t.Context(), ldif.String()))
	began := time.Now()
	p := enters(t, d, u)
	t.Logf("a log-in with %d groups took %s", len(p.Groups), time.Since(began))
	for g := 1000; g < 1400; g++ {
		if !slices.ContainsFunc(p.Groups, func(x access.Group) bool { return x.Name == lab.LDAPCrowdGroup(g) }) {
			t.Fatalf("not in %s", lab.LDAPCrowdGroup(g))
		}
	}
}
