package access

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// SetPassword gives a local user another password. Access tokens that were issued before end as they would; refresh tokens and sessions end at once. NotFound; Invalid; Conflict for
// a user whose password a directory knows.
func (a *Access) SetPassword(ctx context.Context, id int64, password string) (Changed[User], error) {
	if err := checkNewPassword(password); err != nil {
		return Changed[User]{}, err
	}
	hash, err := a.hasher.hash(ctx, "", password)
	if err != nil {
		return Changed[User]{}, err
	}
	return a.changeUser(ctx, id, "user.password", hasPassword, func(tx *sqldb.Tx) error {
		now := sqldb.Micros(tx.Now())
		_, cause := tx.Exec(ctx, "UPDATE users SET password_hash = ?, changed_at = "+raised+" WHERE id = ?", hash, now, now, id)
		return cause
	})
}

func hasPassword(u User) error {
	if u.Origin != FromHere {
		return fail.E(fail.Conflict, nil, "the password of user %s is known to %s alone", u.Name, u.Origin).Hint("change it there")
	}
	return nil
}

// ChangePassword is SetPassword by the user himself, who knows the old one: Denied if it is not that, Exhausted for an address that guessed too often, Invalid if the new one is the old one.
func (a *Access) ChangePassword(ctx context.Context, id int64, old, password, addr string) (Changed[User], error) {
	if err := checkNewPassword(password); err != nil {
		return Changed[User]{}, err
	}
	u, err := findUserByID(ctx, a.DB, id)
	if err != nil {
		return Changed[User]{}, err
	}
	if u.origin != FromHere {
		return Changed[User]{}, hasPassword(User{Name: u.name, Origin: u.origin})
	}
	at, wait := a.guard.begin(ctx, u.name, addr)
	if wait > 0 {
		return Changed[User]{}, a.slowed(wait)
	}
	_, err = a.passwordLogin(ctx, u, old, addr)
	switch {
	case err == nil:
		a.guard.right(ctx, at)
	case fail.Is(err, fail.Unauthenticated):
		return Changed[User]{}, fail.E(fail.Denied, nil, "the current password is another one").Hint("an administrator can set a new one")
	default:
		a.guard.unknown(ctx, at)
		return Changed[User]{}, err
	}
	if old == password {
		return Changed[User]{}, fail.E(fail.Invalid, nil, "the new password is the old one").Hint("use another one")
	}
	return a.SetPassword(ctx, id, password)
}

func findUserByID(ctx context.Context, q sqldb.Querier, id int64) (user, error) {
	var u user
	err := u.scan(q.Row(ctx, "SELECT "+userColumns+" FROM users u LEFT JOIN profiles p ON p.user_id = u.id WHERE u.id = ?", id))
	if fail.Is(err, fail.NotFound) {
		err = noUser(id)
	}
	return u, err
}

// SetDisabled locks a user out, or in again. Who is locked out loses his tokens, his sessions and the uploads that he began, on every node within seconds. NotFound.
func (a *Access) SetDisabled(ctx context.Context, id int64, disabled bool) (Changed[User], error) {
	changed, err := a.changeUser(ctx, id, "user.disable", nil, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE users SET disabled = ? WHERE id = ?", disabled, id); err != nil {
			return err
		}
		if disabled {
			return revokeUser(ctx, tx, id)
		}
		return raiseUser(ctx, tx, id)
	})
	if err == nil && disabled {
		a.heed(ctx)
	}
	return changed, err
}

// raiseUser ends a user's sessions and refresh tokens. NotFound.
func raiseUser(ctx context.Context, tx *sqldb.Tx, id int64) error {
	now := sqldb.Micros(tx.Now())
	n, err := tx.Exec(ctx, "UPDATE users SET changed_at = "+raised+" WHERE id = ?", now, now, id)
	if err == nil && n == 0 {
		err = noUser(id)
	}
	return err
}

// Revoke ends all that a user or a robot, by its name, was let in by until now: tokens, sessions, and uploads under way, on every node within seconds. It may log in again. NotFound.
//
//  1. What was given ends. Whom a directory or an identity provider told of is marked as one who is to be asked for, if they can be asked: if the next step does not come to it, the refresh of people does, within a minute.
//  2. They are asked for him: what his groups gave ends too, also where he goes on with a secret of his own.
func (a *Access) Revoke(ctx context.Context, subject string) error {
	r, err := a.findRobot(ctx, subject)
	if err == nil {
		err = a.DB.Tx(ctx, "robot.revoke", func(tx *sqldb.Tx) error { return revokeRobot(ctx, tx, r.id, subject) })
	} else if fail.Is(err, fail.NotFound) {
		var u User
		if u, err = a.UserByName(ctx, subject); err == nil {
			err = a.revokePerson(ctx, u.ID)
		}
	}
	if err != nil {
		return fmt.Errorf("revoke what %.255s was given: %w", subject, err)
	}
	a.heed(ctx)
	return nil
}

func (a *Access) revokePerson(ctx context.Context, id int64) error {
	err := a.DB.Tx(ctx, "user.revoke", func(tx *sqldb.Tx) error {
		if err := revokeUser(ctx, tx, id); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE profiles SET seen_at = ? WHERE user_id = ? AND (origin = ? OR token IS NOT NULL)", askSoon, id, FromLDAP)
		return err
	})
	if err == nil {
		a.askFor(ctx, id)
	}
	return err
}
