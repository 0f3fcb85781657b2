package ldap

import (
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

func TestAccountsThatAreOff(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		attribute, value string
		off              bool
	}{
		{"cn", "Alice", false},
		{"useraccountcontrol", "512", false},
		{"userAccountControl", "514", true},
		{"userAccountControl", "66050", true},
		{"userAccountControl", "66048", false},
		{"userAccountControl", "-2147483646", true},
		{"userAccountControl", "off", false},
		{"nsAccountLock", "TRUE", true},
		{"nsaccountlock", "true", true},
		{"nsAccountLock", "false", false},
		{"accountExpires", "0", false},
		{"accountExpires", "9223372036854775807", false},
		{"accountExpires", "never", false},
		{"accountExpires", "134272512000000000", true},  // the last of June
		{"accountExpires", "134299296000000000", false}, // the last of July
	} {
		if got := isOff(goldap.NewEntry("cn=x", map[string][]string{c.attribute: {c.value}}), now); got != c.off {
			t.Errorf("%s %s: %v", c.attribute, c.value, got)
		}
	}
}
