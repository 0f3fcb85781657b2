package ldap

import (
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

// anything is the filter that every entry passes.
const anything = "(objectClass=*)"

// noAttributes asks for entries without attributes (RFC 4511, 4.5.1.8).
const noAttributes = "1.1"

// The library escapes values; attributes were checked when the configuration was.

func equal(attribute, value string) string {
	return "(" + attribute + "=" + goldap.EscapeFilter(value) + ")"
}

func present(attribute string) string { return "(" + attribute + "=*)" }

// contains finds values with the text anywhere in them; "" finds all that have one.
func contains(attribute, text string) string {
	if text == "" {
		return present(attribute)
	}
	return "(" + attribute + "=*" + goldap.EscapeFilter(text) + "*)"
}

// and answers what passes both filters; "" is no filter.
func and(a, b string) string {
	if a == "" {
		return b
	}
	return "(&" + a + b + ")"
}

// or answers what passes one of the filters, of which there is one at least.
func or(filters []string) string {
	if len(filters) == 1 {
		return filters[0]
	}
	return "(|" + strings.Join(filters, "") + ")"
}
