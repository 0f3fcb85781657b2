package ldap

import (
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/havn-registry/havn/internal/fail"
)

// maxName is the longest distinguished name in its normal form, in bytes: what access takes as a key.
const maxName = 700

// short has the short name of each attribute that names entries and that the standards compare without regard to case (RFC 4519, and what Active Directory adds), by every name that it
// has. Values of other attributes are compared as they are: two entries that a directory tells apart must not become one here.
var short = map[string]string{
	"cn": "cn", "commonname": "cn", "2.5.4.3": "cn",
	"sn": "sn", "surname": "sn", "2.5.4.4": "sn",
	"serialnumber": "serialnumber", "2.5.4.5": "serialnumber",
	"c": "c", "countryname": "c", "2.5.4.6": "c",
	"l": "l", "localityname": "l", "2.5.4.7": "l",
	"st": "st", "stateorprovincename": "st", "2.5.4.8": "st",
	"street": "street", "streetaddress": "street", "2.5.4.9": "street",
	"o": "o", "organizationname": "o", "2.5.4.10": "o",
	"ou": "ou", "organizationalunitname": "ou", "2.5.4.11": "ou",
	"title": "title", "2.5.4.12": "title",
	"name": "name", "2.5.4.41": "name",
	"givenname": "givenname", "gn": "givenname", "2.5.4.42": "givenname",
	"uid": "uid", "userid": "uid", "0.9.2342.19200300.100.1.1": "uid",
	"mail": "mail", "rfc822mailbox": "mail", "0.9.2342.19200300.100.1.3": "mail",
	"dc": "dc", "domaincomponent": "dc", "0.9.2342.19200300.100.1.25": "dc",
	"displayname": "displayname", "2.16.840.1.113730.3.1.241": "displayname",
	"employeenumber": "employeenumber", "2.16.840.1.113730.3.1.3": "employeenumber",
	"samaccountname": "samaccountname", "1.2.840.113556.1.4.221": "samaccountname",
	"userprincipalname": "userprincipalname", "1.2.840.113556.1.4.656": "userprincipalname",
}

// Normal answers a distinguished name in a form in which two are equal if the directory takes them for one: short names of attributes in small letters, values folded where LDAP does
// not regard case and the number of spaces, and one way to escape. It is a distinguished name itself, by which the directory finds the same entry. Invalid: it is none, it is empty,
// or its normal form has more than 700 bytes.
//
// Letters with accents that are composed in different ways stay different, though LDAP takes them for the same: not all directories do.
func Normal(dn string) (string, error) {
	n, err := parseName(dn)
	return n.String(), err
}

// name is a distinguished name in its normal form, the innermost part first.
type name []string

func (n name) String() string { return strings.Join(n, ",") }

func parseName(dn string) (name, error) {
	bad := func(err error) (name, error) {
		return nil, fail.E(fail.Invalid, err, "distinguished name %q", dn).Hint("it has parts with commas between them, like cn=developers,ou=groups,dc=example,dc=com")
	}
	if !utf8.ValidString(dn) {
		return bad(errors.New("it is not UTF-8"))
	}
	parsed, err := goldap.ParseDN(dn)
	if err != nil {
		return bad(err)
	}
	if len(parsed.RDNs) == 0 {
		return bad(errors.New("it is empty"))
	}
	n := make(name, 0, len(parsed.RDNs))
	for _, rdn := range parsed.RDNs {
		var parts []string
		for _, a := range rdn.Attributes {
			kind, value := strings.TrimPrefix(strings.ToLower(a.Type), "oid."), a.Value
			if !isAttribute(kind) {
				return bad(errors.New("a part has no attribute"))
			}
			if !utf8.ValidString(value) {
				return bad(errors.New("it is not UTF-8"))
			}
			if common, ok := short[kind]; ok {
				kind, value = common, fold(value)
			}
			parts = append(parts, kind+"="+goldap.EscapeDN(value))
		}
		slices.Sort(parts)
		n = append(n, strings.Join(parts, "+"))
	}
	if len(n.String()) > maxName {
		return bad(errors.New("it is longer than 700 bytes"))
	}
	return n, nil
}

// isAttribute reports whether this can be the name of an attribute, or its number.
func isAttribute(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
}

// fold answers what two values have in common that LDAP takes for the same: case does not count, nor do spaces at the ends, nor how many there are between words.
func fold(value string) string {
	return strings.Map(foldRune, strings.Join(strings.FieldsFunc(value, func(r rune) bool { return r == ' ' }), " "))
}

// foldRune answers one and the same of all letters that differ by case alone, the small one if there is one. It is strings.EqualFold's idea of that: unicode.ToLower would make an i of
// the capital İ, which LDAP keeps apart.
func foldRune(r rune) rune {
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		least = min(least, other)
	}
	small := unicode.ToLower(least)
	if small == least || strings.EqualFold(string(small), string(least)) {
		return small
	}
	return least
}

// below reports whether a name is within the scope of a search from a base.
func (n name) below(base name, scope Scope) bool {
	depth := len(n) - len(base)
	if depth < 0 || !slices.Equal(n[depth:], base) {
		return false
	}
	switch scope {
	case ScopeBase:
		return depth == 0
	case ScopeOne:
		return depth == 1
	default:
		return true
	}
}
