package access

import (
	"context"
	"crypto/subtle"
	"fmt"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// UserToken is a secret with which a user's programs log in, instead of a password: docker and others keep what they are given in files. It may do all that the user may.
type UserToken struct {
	ID      int64
	Name    string // "": the CLI secret, of which a user has one
	Created time.Time
	Expires time.Time // zero: never
	Used    time.Time // to an hour; zero: never
}

const (
	// tokenPrefix begins every secret that is made for a user: scanners for secrets know it, and what bears it is never sent to a directory, however mutilated the rest is.
	tokenPrefix = "havn_pat_"
	// mostTokens bounds the tokens of a user: a login reads them all.
	mostTokens = 100
	// lastYear is the last one in which a token may end: what is far beyond it can't be stored, nor written by everybody.
	lastYear = 9999
	// useNoted is how exactly the last use of a token is known: a busy one is written once in that time.
	useNoted = time.Hour
	// noteTime bounds how long a login waits until the use is noted; it goes on without.
	noteTime   = time.Second
	userSecret = "user" // the kind of the secrets of users

	// UntoldTime is how long the secrets of a directory's or an identity provider's people count without a word of them: where it is not asked any more, or can't be asked without a login,
	// nobody would say who left.
	UntoldTime = 30 * 24 * time.Hour
)

// isUserToken reports whether a password is, or was meant to be, a token that was made here.
func isUserToken(password string) bool { return strings.HasPrefix(password, tokenPrefix) }

// CreateUserToken makes a token of a user, and answers its secret, which nobody is told again. Expires zero: it has no end. Errors: NotFound without the user; Invalid; Exists; Exhausted.
func (a *Access) CreateUserToken(ctx context.Context, user int64, name string, expires time.Time) (UserToken, string, error) {
	if name == "" || len(name) > maxName || !isName(name) || strings.TrimSpace(name) != name {
		return UserToken{}, "", fail.E(fail.Invalid, nil, "name of a token: %.100q", name).Hint("use 1 to %d bytes, without control characters, and without spaces at the ends", maxName)
	}
	if !expires.IsZero() && !expires.After(a.Clock()) {
		return UserToken{}, "", fail.E(fail.Invalid, nil, "a token that ended at %s", expires.UTC().Format(time.RFC3339)).Hint("use a time to come, or none")
	}
	if expires.Year() > lastYear {
		return UserToken{}, "", fail.E(fail.Invalid, nil, "a token that ends in the year %d", expires.Year()).Hint("use a time up to the year %d, or none", lastYear)
	}
	op, secret, taken := sqldb.NewToken(), tokenPrefix+newSecret(), false
	var t UserToken
	err := a.DB.Tx(ctx, "token.create", func(tx *sqldb.Tx) (err error) {
		now := tx.Now()
		t = UserToken{Name: name, Created: sqldb.FromMicros(sqldb.Micros(now)), Expires: expires}
		if t.ID, taken, err = made(ctx, tx, op, "SELECT id FROM user_tokens WHERE user_id = ? AND name = ?", user, name); err != nil || taken || t.ID != 0 {
			return err
		}
		return a.insertToken(ctx, tx, user, &t, secret)
	})
	if taken {
		err = fail.E(fail.Exists, nil, "token %q is there already", name).Hint("use another name, or delete that one")
	}
	if err != nil {
		return UserToken{}, "", fmt.Errorf("make a token of user %d: %w", user, keyIsNotFound(err, "the user"))
	}
	return t, secret, nil
}

func (a *Access) insertToken(ctx context.Context, tx *sqldb.Tx, user int64, t *UserToken, secret string) error {
	var n int
	if err := tx.Row(ctx, "SELECT COUNT(*) FROM user_tokens WHERE user_id = ?", user).Scan(&n); err != nil {
		return err
	}
	if n >= mostTokens {
		return fail.E(fail.Exhausted, nil, "%d tokens", n).Hint("delete some that nobody uses")
	}
	var err error
	if t.ID, err = index.NextNumber(ctx, tx, index.NumberToken); err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO user_tokens (id, user_id, name, secret, created_at, expires_at, used_at) VALUES (?, ?, ?, ?, ?, ?, 0)",
		t.ID, user, t.Name, a.secrets.hash(userSecret, user, secret), sqldb.Micros(t.Created), timeOrNull(t.Expires))
	return err
}

// UserTokens answers a user's tokens, the oldest first.
func (a *Access) UserTokens(ctx context.Context, user int64) ([]UserToken, error) {
	held, err := a.heldTokens(ctx, user)
	all := make([]UserToken, len(held))
	for i, h := range held {
		all[i] = h.UserToken
	}
	return all, err
}

// heldToken is a token with its hash, and when a directory or an identity provider told of its user last; zero for local users.
type heldToken struct {
	UserToken
	secret []byte
	told   time.Time
}

func (a *Access) heldTokens(ctx context.Context, user int64) ([]heldToken, error) {
	var all []heldToken
	for row, err := range a.DB.Rows(ctx, `SELECT t.id, t.name, t.secret, t.created_at, t.expires_at, t.used_at, CASE WHEN p.origin <> 'local' THEN p.seen_at ELSE 0 END
		FROM user_tokens t LEFT JOIN profiles p ON p.user_id = t.user_id WHERE t.user_id = ? ORDER BY t.id LIMIT ?`, user, mostTokens+1) {
		if err != nil {
			return nil, err
		}
		var t heldToken
		var created, used, told int64
		var expires *int64
		if err = row.Scan(&t.ID, &t.Name, &t.secret, &created, &expires, &used, &told); err != nil {
			return nil, err
		}
		t.Created, t.Expires = sqldb.FromMicros(created), orZero(expires)
		if used != 0 {
			t.Used = sqldb.FromMicros(used)
		}
		if told != 0 {
			t.told = sqldb.FromMicros(told)
		}
		all = append(all, t)
	}
	return all, nil
}

// DeleteUserToken deletes a user's token, and answers it as it was. It ends at once at this node, and within seconds at the others; what it was issued for goes on until it ends. NotFound.
func (a *Access) DeleteUserToken(ctx context.Context, user, id int64) (UserToken, error) {
	all, err := a.UserTokens(ctx, user)
	if err != nil {
		return UserToken{}, err
	}
	for _, t := range all {
		if t.ID != id {
			continue
		}
		err = a.DB.Tx(ctx, "token.delete", func(tx *sqldb.Tx) error {
			_, cause := tx.Exec(ctx, "DELETE FROM user_tokens WHERE id = ? AND user_id = ?", id, user)
			return cause
		})
		a.verified.forget(owner{user: user})
		return t, err
	}
	return UserToken{}, fail.E(fail.NotFound, nil, "token %d of user %d", id, user)
}

// SetCLISecret gives a user a CLI secret, "" for one that is made, instead of the one that he had, and answers it. Invalid, NotFound.
func (a *Access) SetCLISecret(ctx context.Context, user int64, secret string) (string, error) {
	if secret == "" {
		secret = tokenPrefix + newSecret()
	}
	if err := CheckSecret(secret); err != nil {
		return "", err
	}
	err := a.DB.Tx(ctx, "token.cli", func(tx *sqldb.Tx) error {
		now := tx.Now()
		n, err := tx.Exec(ctx, "UPDATE user_tokens SET secret = ?, created_at = ? WHERE user_id = ? AND name = ''", a.secrets.hash(userSecret, user, secret), sqldb.Micros(now), user)
		if err != nil || n > 0 {
			return err
		}
		return a.insertToken(ctx, tx, user, &UserToken{Created: now}, secret)
	})
	a.verified.forget(owner{user: user})
	if err != nil {
		return "", fmt.Errorf("set the CLI secret of user %d: %w", user, keyIsNotFound(err, "the user"))
	}
	return secret, nil
}

// tokenLogin looks for a secret among a user's; ok is false if it is none of them, or over. Unauthenticated
// for one that rests.
func (a *Access) tokenLogin(ctx context.Context, u user, secret string) (who Identity, ok bool, err error) {
	all, err := a.heldTokens(ctx, u.id)
	if err != nil {
		return Identity{}, false, fmt.Errorf("find tokens: %w", err)
	}
	now, hash := a.Clock(), a.secrets.hash(userSecret, u.id, secret)
	for _, t := range all {
		if subtle.ConstantTimeCompare(t.secret, hash) == 0 || !t.Expires.IsZero() && !t.Expires.After(now) {
			continue
		}
		if !t.told.IsZero() && now.Sub(t.told) > UntoldTime {
			return Identity{}, false, fail.E(fail.Unauthenticated, nil, "nobody told of %s for %d days: his secrets rest", u.name, UntoldTime/day).Code(oci.CodeUnauthorized).
				Hint("log in once with the password of the directory, or at the identity provider")
		}
		if now.Sub(t.Used) >= useNoted {
			a.noteUse(ctx, t.ID, now)
		}
		who = u.identity()
		who.renewable = false
		return who, true, nil
	}
	return Identity{}, false, nil
}

// noteUse notes that a token was used. It is no harm if that comes to nothing.
func (a *Access) noteUse(ctx context.Context, id int64, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, noteTime)
	defer cancel()
	err := a.DB.TxRelaxed(ctx, "token.used", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(ctx, "UPDATE user_tokens SET used_at = ? WHERE id = ? AND used_at < ?", sqldb.Micros(now), id, sqldb.Micros(now))
		return cause
	})
	if err != nil {
		a.Log.DebugContext(ctx, "use of a token not noted", "token", id, "error", err)
	}
}
