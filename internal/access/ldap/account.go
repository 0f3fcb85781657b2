package ldap

import (
	"math"
	"strconv"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// How directories say that an account is off: Active Directory by a bit and by a time, 389 Directory Server and FreeIPA by an attribute of their own.
const (
	adControl = "userAccountControl"
	adOff     = 2
	adExpires = "accountExpires" // in steps of 100 ns since 1601; 0 and the greatest number mean never
	lock389   = "nsAccountLock"
)

// adEpoch lies as many seconds before 1970.
const adEpoch = 11_644_473_600

// isOff reports whether the entry is an account that was switched off, or whose time is over. Servers that know of it refuse the password too; but tokens and secrets that Havn gave out ask
// nobody's password.
func isOff(e *goldap.Entry, now time.Time) bool {
	control, err := strconv.ParseInt(value(e, adControl), 10, 64)
	if err == nil && control&adOff != 0 || strings.EqualFold(value(e, lock389), "true") {
		return true
	}
	end, err := strconv.ParseInt(value(e, adExpires), 10, 64)
	return err == nil && end > 0 && end < math.MaxInt64 && !now.Before(time.Unix(end/1e7-adEpoch, 0))
}
