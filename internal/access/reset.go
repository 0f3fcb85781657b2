package access

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// ResetAdmin gives the administrator another password, and lets him in again if he was locked out; of c it takes DB, Clock and Cost. "" makes one. It answers the password. Refresh
// tokens end; access tokens that were issued before end as they would, and a node that runs may take the old password for ten seconds more. NotFound where no first start made
// an administrator yet.
func ResetAdmin(ctx context.Context, c Config, password string) (string, error) {
	if password == "" {
		password = rand.Text() // as the first start does
	}
	if err := checkPassword(password); err != nil {
		return "", err
	}
	if c.Cost == (Cost{}) {
		c.Cost = DefaultCost
	}
	hash, err := newHasher(c.Cost).hash(ctx, "", password)
	if err != nil {
		return "", err
	}
	found := false
	err = c.DB.Tx(ctx, "admin.reset", func(tx *sqldb.Tx) error {
		now := sqldb.Micros(tx.Now())
		// A row that was never changed is of a first start that is under way, or died: whoever starts next makes its password.
		if _, cause := tx.Exec(ctx, "UPDATE users SET password_hash = ?, disabled = ?, changed_at = "+raised+" WHERE name = ? AND changed_at <> 0",
			hash, false, now, now, Admin); cause != nil {
			return cause
		}
		u, cause := findUser(ctx, tx, Admin)
		if found = cause == nil && u.hash == hash; found || fail.Is(cause, fail.NotFound) {
			return nil
		}
		return cause
	})
	if err != nil {
		return "", fmt.Errorf("reset the password of user %s: %w", Admin, err)
	}
	if !found {
		return "", fail.E(fail.NotFound, nil, "there is no user %s yet", Admin).Hint("the first start makes it: give its password in HAVN_ADMIN_PASSWORD, or let one be made")
	}
	return password, nil
}

// checkPassword refuses what can't be a password.
func checkPassword(password string) error {
	if password == "" || len(password) > maxPassword {
		return fail.E(fail.Invalid, nil, "password of %d bytes", len(password)).Hint("use 1 to %d", maxPassword)
	}
	return nil
}
