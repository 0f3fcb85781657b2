package access

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// DefaultAdminPatience is how long a node waits for another one that is making the administrator: as long as it takes to say that a node is dead.
	DefaultAdminPatience = 30 * time.Second
	// lookAgain is how often it looks meanwhile.
	lookAgain = 50 * time.Millisecond
)

// ensureAdmin makes the administrator where there is none. With a password that it makes too:
//
//  1. The row, disabled and never changed: of several nodes one wins, and the others wait for it. A crash here: the next start finds the row and takes it over.
//  2. The password is announced. A crash here: likewise, and another password is announced.
//  3. The row is enabled, if it still is this node's; only now the password counts.
func (a *Access) ensureAdmin(ctx context.Context) (FirstStart, error) {
	seen, err := a.awaitAdmin(ctx)
	if err != nil || seen.settled() {
		return FirstStart{}, err
	}
	password, made := a.AdminPassword, ""
	if password == "" {
		made = rand.Text() // 130 random bits, easy to type
		password = made
	}
	if len(password) > maxPassword {
		return FirstStart{}, fail.E(fail.Invalid, nil, "administrator's password of %d bytes", len(password)).Hint("use at most %d", maxPassword)
	}
	hash, err := a.hasher.hash(ctx, "", password)
	if err != nil {
		return FirstStart{}, err
	}
	won, err := a.takeAdmin(ctx, seen.hash, hash)
	if err != nil {
		return FirstStart{}, fmt.Errorf("make user %s: %w", Admin, err)
	}
	if !won {
		return a.ensureAdmin(ctx) // another node is at it: wait for that one
	}
	if made != "" && a.Announce != nil {
		if err = a.Announce(made); err != nil {
			return FirstStart{}, fmt.Errorf("hand over the password of user %s: %w", Admin, err)
		}
	}
	if won, err = a.enableAdmin(ctx, hash); err != nil {
		return FirstStart{}, fmt.Errorf("make user %s: %w", Admin, err)
	}
	if !won {
		return FirstStart{}, nil // this node slept so long that another one took the row over
	}
	return FirstStart{Password: made}, nil
}

// settled reports whether the user is one that counts: a row that was never changed is an administrator under way.
func (u user) settled() bool { return u.name != "" && sqldb.Micros(u.changed) != 0 }

// awaitAdmin answers the administrator that counts, or else, after some patience, the row that nobody finishes, or the zero user if there is no row.
func (a *Access) awaitAdmin(ctx context.Context) (user, error) {
	for waited := time.Duration(0); ; waited += lookAgain {
		u, err := findUser(ctx, a.DB, Admin)
		if fail.Is(err, fail.NotFound) {
			return user{}, nil
		}
		if err != nil || u.settled() || waited >= a.AdminPatience {
			return u, err
		}
		if waited == 0 {
			a.Log.InfoContext(ctx, "another node makes the administrator; waiting for it", "at_most", a.AdminPatience)
		}
		timer := time.NewTimer(lookAgain)
		select {
		case <-ctx.Done():
			timer.Stop()
			return user{}, fail.E(fail.Unavailable, ctx.Err(), "wait for user %s", Admin)
		case <-timer.C:
		}
	}
}

// takeAdmin makes the row this node's, if it is as it was seen: absent (seen ""), or another's that nobody finishes.
func (a *Access) takeAdmin(ctx context.Context, seen, hash string) (won bool, err error) {
	err = a.DB.Tx(ctx, "admin.take", func(tx *sqldb.Tx) error {
		_, cause := findUser(ctx, tx, Admin)
		if fail.Is(cause, fail.NotFound) {
			cause = insertAdmin(ctx, tx, hash)
		}
		if cause != nil {
			return cause
		}
		if _, cause = tx.Exec(ctx, "UPDATE users SET password_hash = ? WHERE name = ? AND password_hash = ? AND changed_at = 0", hash, Admin, seen); cause != nil {
			return cause
		}
		found, cause := findUser(ctx, tx, Admin)
		won = cause == nil && found.hash == hash
		return cause
	})
	return won, err
}

// insertAdmin makes the row of the administrator, who is the first user, as one that does not count yet.
func insertAdmin(ctx context.Context, tx *sqldb.Tx, hash string) error {
	id, err := index.NextNumber(ctx, tx, index.NumberUser)
	if err != nil {
		return err
	}
	_, err = tx.InsertIgnore(ctx, "users", []string{"id", "name", "password_hash", "admin", "disabled", "created_at", "changed_at"},
		id, Admin, hash, true, true, sqldb.Micros(tx.Now()), 0)
	return err
}

// enableAdmin makes this node's row count.
func (a *Access) enableAdmin(ctx context.Context, hash string) (won bool, err error) {
	err = a.DB.Tx(ctx, "admin.enable", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(ctx, "UPDATE users SET disabled = ?, changed_at = ? WHERE name = ? AND password_hash = ? AND changed_at = 0", false, sqldb.Micros(tx.Now()), Admin, hash)
		if cause != nil {
			return cause
		}
		found, cause := findUser(ctx, tx, Admin)
		won = cause == nil && found.hash == hash
		return cause
	})
	return won, err
}
