package access

import (
	"context"
	"fmt"
	"net/mail"
	"strings"
	"time"
	"unicode"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// User is an account of a person.
type User struct {
	ID           int64
	Name         string
	Email        string // "" if it is not told
	RealName     string
	Comment      string
	Admin        bool // an administrator, by himself
	AdminByGroup bool // likewise, by the group that the operator named
	Disabled     bool
	Origin       string
	Subject      string    // see Person.Subject; "" for local users
	Gone         bool      // the directory did not know him any more when it was asked last
	Seen         time.Time // when the directory told of him last; zero for local users
	Created      time.Time
	Changed      time.Time // when his password was changed last, or he was disabled, or enabled, or his tokens were revoked
}

// Profile is what people write of themselves.
type Profile struct{ Email, RealName, Comment string }

// UserSpec is what is to be said of a local user that is made.
type UserSpec struct {
	Name     string
	Password string
	Admin    bool
	Profile
}

const (
	// refusedLetters are not in names of local users, as in Harbor, and there neither in their real names.
	refusedLetters = `,"~#%$`
	// maxComment is the longest comment of a user, in letters.
	maxComment = 255
	// txProfile is the transaction that changes what somebody says of himself.
	txProfile = "user.profile"
)

func (a *Access) checkNew(s UserSpec) error {
	if err := a.checkPersonName(s.Name); err != nil {
		return err
	}
	if strings.ContainsAny(s.Name, refusedLetters) || strings.ContainsFunc(s.Name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return fail.E(fail.Invalid, nil, "user name %.100q", s.Name).Hint("leave out %s, and what is not seen: it would let one user look like another", refusedLetters)
	}
	if err := checkNewPassword(s.Password); err != nil {
		return err
	}
	return s.check()
}

// checkNewPassword refuses what Harbor refuses, and what would be taken for a token.
func checkNewPassword(password string) error {
	if isUserToken(password) {
		return fail.E(fail.Invalid, nil, "a password like a token").Hint("let it begin otherwise than %s", tokenPrefix)
	}
	return CheckSecret(password)
}

func (p Profile) check() error {
	if p.Email != "" {
		address, err := mail.ParseAddress(p.Email)
		if err != nil || address.Address != p.Email || len(p.Email) > maxName || !isName(p.Email) {
			return fail.E(fail.Invalid, err, "e-mail address %.100q", p.Email).Hint("use one like joe@example.com")
		}
	}
	if !isNote(p.RealName, maxName) || strings.ContainsAny(p.RealName, refusedLetters) {
		return fail.E(fail.Invalid, nil, "real name %.100q", p.RealName).Hint("use at most %d letters, and none of %s", maxName, refusedLetters)
	}
	if !isNote(p.Comment, maxComment) {
		return fail.E(fail.Invalid, nil, "comment on a user").Hint("use at most %d letters", maxComment)
	}
	return nil
}

// Register makes an account for somebody who asks for his own from an address: Denied unless the policy lets strangers do so, Exhausted for an address that asks too often. Otherwise as
// CreateUser. It counts as a guess, because it tells which names there are, and costs as much.
func (a *Access) Register(ctx context.Context, s UserSpec, addr string) (User, error) {
	if !a.Policy().SelfRegistration {
		return User{}, fail.E(fail.Denied, nil, "nobody may make an account for himself here").Hint("ask an administrator")
	}
	s.Admin = false
	if err := a.checkNew(s); err != nil {
		return User{}, err
	}
	if _, wait := a.guard.begin(ctx, s.Name, addr); wait > 0 {
		return User{}, a.slowed(wait)
	}
	return a.createUser(ctx, s, addr)
}

// CreateUser makes a local user. Invalid; Exists.
func (a *Access) CreateUser(ctx context.Context, s UserSpec) (User, error) {
	if err := a.checkNew(s); err != nil {
		return User{}, err
	}
	return a.createUser(ctx, s, "")
}

// createUser makes a user who can be made, for somebody at an address ("": this process, or whom it trusts).
func (a *Access) createUser(ctx context.Context, s UserSpec, addr string) (User, error) {
	hash, err := a.hasher.hash(ctx, addr, s.Password)
	if err != nil {
		return User{}, err
	}
	op, taken := sqldb.NewToken(), false
	var id int64
	err = a.DB.Tx(ctx, "user.create", func(tx *sqldb.Tx) (err error) {
		if id, taken, err = made(ctx, tx, op, "SELECT id FROM users WHERE name = ?", s.Name); err != nil || taken || id != 0 {
			return err
		}
		if id, err = index.NextNumber(ctx, tx, index.NumberUser); err != nil {
			return err
		}
		now := sqldb.Micros(tx.Now())
		_, err = tx.Exec(ctx, "INSERT INTO users (id, name, email, password_hash, admin, disabled, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
			id, s.Name, textOrNull(s.Email), hash, s.Admin, false, now, now)
		if err != nil {
			return err
		}
		return writeProfile(ctx, tx, id, s.Profile)
	})
	if taken {
		err = fail.E(fail.Exists, nil, "user %s is there already", s.Name).Hint("use another name")
	}
	if err != nil {
		return User{}, fmt.Errorf("make user %s: %w", s.Name, err)
	}
	return a.User(ctx, id)
}

// writeProfile writes what a local user says of himself. The user's row has changed in this transaction, or is new.
func writeProfile(ctx context.Context, tx *sqldb.Tx, id int64, p Profile) error {
	n, err := tx.Exec(ctx, "UPDATE profiles SET realname = ?, comment = ? WHERE user_id = ?", p.RealName, p.Comment, id)
	if err != nil || n > 0 {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO profiles (user_id, origin, subject, realname, comment, origin_admin, gone, seen_at) VALUES (?, ?, NULL, ?, ?, ?, ?, 0)", id, FromHere, p.RealName, p.Comment, false, false)
	return err
}

const accountColumns = `u.id, u.name, COALESCE(u.email, ''), COALESCE(p.realname, ''), COALESCE(p.comment, ''), u.admin, COALESCE(p.origin_admin, u.admin), u.disabled,
	COALESCE(p.origin, 'local'), COALESCE(p.subject, ''), COALESCE(p.gone, u.disabled), COALESCE(p.seen_at, 0), u.created_at, u.changed_at FROM users u LEFT JOIN profiles p ON p.user_id = u.id`

func (u *User) scan(row sqldb.Scanner) error {
	var seen, created, changed int64
	err := row.Scan(&u.ID, &u.Name, &u.Email, &u.RealName, &u.Comment, &u.Admin, &u.AdminByGroup, &u.Disabled, &u.Origin, &u.Subject, &u.Gone, &seen, &created, &changed)
	if seen != 0 {
		u.Seen = sqldb.FromMicros(seen)
	}
	if u.Origin == FromHere { // who has no profile
		u.AdminByGroup, u.Gone = false, false
	}
	u.Created, u.Changed = sqldb.FromMicros(created), sqldb.FromMicros(changed)
	return err
}

func findAccount(ctx context.Context, q sqldb.Querier, condition string, args ...any) (User, error) {
	var u User
	err := u.scan(q.Row(ctx, "SELECT "+accountColumns+" WHERE "+condition, args...))
	return u, err
}

// User finds a user by his number. NotFound.
func (a *Access) User(ctx context.Context, id int64) (User, error) {
	u, err := findAccount(ctx, a.DB, "u.id = ?", id)
	if fail.Is(err, fail.NotFound) {
		err = noUser(id)
	}
	return u, err
}

func noUser(id int64) error { return fail.E(fail.NotFound, nil, "user %d", id) }

// UserByName finds a user by his name. NotFound.
func (a *Access) UserByName(ctx context.Context, name string) (User, error) {
	none := fail.E(fail.NotFound, nil, "user %.255q", name)
	if !isName(name) {
		return User{}, none
	}
	u, err := findAccount(ctx, a.DB, "u.name = ?", name)
	if fail.Is(err, fail.NotFound) || err == nil && u.Name != name {
		return User{}, none
	}
	return u, err
}

// UserOf finds the user that a person is here. NotFound: he never logged in.
func (a *Access) UserOf(ctx context.Context, origin, subject string) (User, error) {
	u, err := findAccount(ctx, a.DB, "p.origin = ? AND p.subject = ?", origin, subject)
	if fail.Is(err, fail.NotFound) || err == nil && u.Subject != subject {
		return User{}, fail.E(fail.NotFound, nil, "user of the person %.100q", subject)
	}
	return u, err
}

// UpdateProfile changes what a local user says of himself. NotFound; Invalid; Conflict for a user of whom a directory tells that.
func (a *Access) UpdateProfile(ctx context.Context, id int64, p Profile) (Changed[User], error) {
	if err := p.check(); err != nil {
		return Changed[User]{}, err
	}
	return a.changeUser(ctx, id, txProfile, func(u User) error {
		if u.Origin != FromHere {
			return fail.E(fail.Conflict, nil, "what is told of user %s comes from %s", u.Name, u.Origin).Hint("change it there; it is read again at the next login")
		}
		return nil
	}, func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(ctx, "UPDATE users SET email = ? WHERE id = ?", textOrNull(p.Email), id); err != nil {
			return err
		}
		return writeProfile(ctx, tx, id, p)
	})
}

// changeUser runs a change of a user, if it is allowed on him as he is. The change may run many times.
func (a *Access) changeUser(ctx context.Context, id int64, name string, allowed func(User) error, change func(*sqldb.Tx) error) (Changed[User], error) {
	before, err := a.User(ctx, id)
	if err == nil && allowed != nil {
		err = allowed(before)
	}
	if err == nil {
		err = a.DB.Tx(ctx, name, change)
	}
	if name != txProfile { // which anybody can change all the time: it makes nobody somebody else
		a.verified.forget(owner{user: id})
		a.browsers.clear()
	}
	if err != nil {
		return Changed[User]{}, fmt.Errorf("change user %d: %w", id, keyIsNotFound(err, "the user"))
	}
	after, err := a.User(ctx, id)
	return Changed[User]{before, after}, err
}

// SetAdmin makes a user an administrator, or none. Who is one no more loses his tokens, and the uploads that he began. NotFound; Denied for the first administrator.
func (a *Access) SetAdmin(ctx context.Context, id int64, admin bool) (Changed[User], error) {
	changed, err := a.changeUser(ctx, id, "user.admin", func(u User) error {
		if u.Name == Admin && !admin {
			return fail.E(fail.Denied, nil, "user %s stays an administrator", Admin).Hint("disable him if nobody needs him")
		}
		return nil
	}, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, "UPDATE users SET admin = ? WHERE id = ?", admin, id)
		if err != nil || admin {
			return err
		}
		return revokeUser(ctx, tx, id)
	})
	if err == nil && !admin {
		a.heed(ctx)
	}
	return changed, err
}

// DeleteUser deletes a user with all that is his, in steps that do not grow with it, and answers him as he was. From the first step on he is out; who breaks off does it again. The projects
// that he made stay, as nobody's. NotFound; Denied for the first administrator.
func (a *Access) DeleteUser(ctx context.Context, id int64) (User, error) {
	was, err := a.User(ctx, id)
	if err != nil {
		return User{}, err
	}
	if was.Name == Admin {
		return User{}, fail.E(fail.Denied, nil, "user %s can't be deleted", Admin).Hint("disable him if nobody needs him")
	}
	if _, err = a.SetDisabled(ctx, id, true); err != nil {
		return User{}, err
	}
	err = a.strip(ctx, "user.delete", func(tx *sqldb.Tx) error {
		if _, cause := tx.Exec(ctx, "DELETE FROM profiles WHERE user_id = ?", id); cause != nil {
			return cause
		}
		_, cause := tx.Exec(ctx, "DELETE FROM users WHERE id = ?", id)
		return cause
	}, []strand{
		{"SELECT id FROM sessions WHERE user_id = ? LIMIT ?", "DELETE FROM sessions WHERE id = ?"},
		{"SELECT id FROM user_tokens WHERE user_id = ? LIMIT ?", "DELETE FROM user_tokens WHERE id = ?"},
		{"SELECT group_id FROM group_users WHERE user_id = ? LIMIT ?", "DELETE FROM group_users WHERE group_id = ? AND user_id = ?"},
		{"SELECT id FROM members WHERE user_id = ? LIMIT ?", "DELETE FROM members WHERE id = ?"},
		{"SELECT project FROM project_details WHERE owner = ? LIMIT ?", "UPDATE project_details SET owner = NULL WHERE project = ?"},
	}, id)
	if err != nil {
		return User{}, fmt.Errorf("delete user %s: %w", was.Name, err)
	}
	return was, nil
}
