package ldap

import (
	"testing"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// metacharacters are names that would mean something else in a filter, or in C.
var metacharacters = []string{"*", "a*", "alice)(uid=*", "*)(objectClass=*", "(", ")", `\`, `\2a`, "a\x00b", "alice)(|(uid=*))", "&", "|", "!", "=", "ü", "\u202e"}

func FuzzEqual(f *testing.F) {
	for _, s := range metacharacters {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if !utf8.ValidString(value) {
			return
		}
		p, err := goldap.CompileFilter(equal("uid", value))
		if err != nil {
			t.Fatal(err)
		}
		if p.Tag != goldap.FilterEqualityMatch || ber.DecodeString(p.Children[0].Data.Bytes()) != "uid" || ber.DecodeString(p.Children[1].Data.Bytes()) != value {
			t.Fatalf("%q became %d %q", value, p.Tag, ber.DecodeString(p.Children[1].Data.Bytes()))
		}
		if value == "" {
			return
		}
		if p, err = goldap.CompileFilter(contains("uid", value)); err != nil {
			t.Fatal(err)
		}
		if parts := p.Children[1].Children; p.Tag != goldap.FilterSubstrings || len(parts) != 1 || parts[0].Tag != goldap.FilterSubstringsAny || ber.DecodeString(parts[0].Data.Bytes()) != value {
			t.Fatalf("%q is not looked for as it is", value)
		}
	})
}
