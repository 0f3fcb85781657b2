package ldap

import (
	"strings"
	"testing"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/havn-registry/havn/internal/fail"
)

func TestNamesThatLDAPTakesForTheSameAreTheSame(t *testing.T) {
	t.Parallel()
	for _, same := range [][]string{
		{"cn=alice,dc=example,dc=com", "CN=Alice,DC=Example,DC=com", " cn = alice , dc = example , dc = com ", "2.5.4.3=ALICE,dc=example,dc=com", "OID.2.5.4.3=alice,dc=example;dc=com", "commonName=alice,domainComponent=example,dc=com"},
		{`cn=adams\, alice,dc=com`, `CN=Adams\2c Alice,DC=com`, `cn=Adams\,  Alice,dc=com`},
		{"cn=#0403666f6f,dc=com", "cn=foo,dc=com", `cn=f\6fo,dc=com`},
		{"uid=a+cn=b,dc=com", "cn=B+uid=A,dc=com"},
		{"cn=Владимир,dc=com", "cn=владимир,dc=com", `cn=\d0\92ладимир,dc=com`},
		{"cn=ΣΊΣΥΦΟΣ,dc=com", "cn=σίσυφος,dc=com", "cn=σίσυφοσ,dc=com"},
		{"cn=\u212Aelvin,dc=com", "cn=kelvin,dc=com"},
	} {
		want, err := Normal(same[0])
		if err != nil {
			t.Errorf("%s: %v", same[0], err)
		}
		for _, dn := range same[1:] {
			if got, normalErr := Normal(dn); got != want || normalErr != nil {
				t.Errorf("%s is %q (%v), %s is %q", dn, got, normalErr, same[0], want)
			}
		}
	}
}

func TestNamesThatLDAPTellsApartStayApart(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, dn := range []string{
		"cn=alice,dc=com", `cn=alice\,dc\=com`, "cn=alice+dc=com", "uid=alice,dc=com", "cn=al ice,dc=com", "cn=alic,dc=com",
		"cn=admins,dc=com", "cn=adm\u0130ns,dc=com", "cn=adm\u0131ns,dc=com", // the Turkish letters are others than i and I
		"x-token=Alice,dc=com", "x-token=alice,dc=com", // nobody knows how values of this are compared
		"cn=straße,dc=com", "cn=strasse,dc=com",
		`cn=\2a,dc=com`, `cn=\00,dc=com`, `cn=,dc=com`, `x=\ ,dc=com`, `x=\ \ ,dc=com`,
	} {
		n, err := Normal(dn)
		if err != nil {
			continue // one that is refused is nobody else's
		}
		if other, ok := seen[n]; ok {
			t.Errorf("%q and %q are both %q", dn, other, n)
		}
		seen[n] = dn
	}
	if len(seen) < 16 {
		t.Errorf("only %d of them are names: %v", len(seen), seen)
	}
}

func TestWhatIsNoNameIsRefused(t *testing.T) {
	t.Parallel()
	for _, dn := range []string{"", " ", "alice", "alice@example.com", `EXAMPLE\alice`, "cn=alice,", ",cn=alice", "=alice", "cn=a\xff", `cn=a\ff`, "c n=a", "cn=#zz", `cn=a\`, "cn=a,,dc=b", "cn=" + strings.Repeat("a", maxName)} {
		n, err := Normal(dn)
		if !fail.Is(err, fail.Invalid) || fail.HintOf(err) == "" || n != "" {
			t.Errorf("%.40q: %q, %v", dn, n, err)
		}
	}
}

func TestBelow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dn, base        string
		itself, one, in bool
	}{
		{"dc=com", "DC=Com", true, false, true},
		{"ou=x,dc=com", "dc=com", false, true, true},
		{"cn=a,ou=x,dc=com", "dc=com", false, false, true},
		{"cn=a,dc=org", "dc=com", false, false, false},
		{"dc=com", "ou=x,dc=com", false, false, false},
		{"cn=a,dc=xcom", "dc=com", false, false, false},
		{`cn=a\,dc\=com`, "dc=com", false, false, false},
	} {
		n, err := parseName(c.dn)
		base, baseErr := parseName(c.base)
		if err != nil || baseErr != nil {
			t.Fatal(err, baseErr)
		}
		if got := [3]bool{n.below(base, ScopeBase), n.below(base, ScopeOne), n.below(base, ScopeSubtree)}; got != [3]bool{c.itself, c.one, c.in} {
			t.Errorf("%s below %s: %v", c.dn, c.base, got)
		}
	}
}

func FuzzNormal(f *testing.F) {
	for _, s := range []string{"cn=alice,dc=example", `cn=a\,b+uid=\20c\20,dc=x`, "cn=#0403666f6f", "2.5.4.3= A  b ;dc=x", `x=\#\00\0d`, "cn=İıß"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, dn string) {
		n, err := Normal(dn)
		if err != nil {
			if !fail.Is(err, fail.Invalid) {
				t.Fatalf("%q: %v", dn, err)
			}
			return
		}
		if again, againErr := Normal(n); again != n || againErr != nil {
			t.Fatalf("%q is %q, and that is %q, %v", dn, n, again, againErr)
		}
		if len(n) > maxName {
			t.Fatalf("%d bytes", len(n))
		}
		parsed, err := goldap.ParseDN(n)
		if err != nil {
			t.Fatalf("%q: %v", n, err)
		}
		original, err := goldap.ParseDN(dn)
		if err != nil || len(original.RDNs) != len(parsed.RDNs) {
			t.Fatalf("%q and %q have different parts", dn, n)
		}
	})
}
