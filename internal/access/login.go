package access

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// maxName is the longest user name in bytes.
const maxName = 255

// Authenticate answers whose name and password, or secret, these are: a user's or a robot's. Unauthenticated if they do not match, whoever the user is or is not; Exhausted, with a time to wait, for an address
// that failed too often. addr is the client's address. Wrong passwords cost an unknown user's and a known user's guesser the same.
//
// Whoever failed too often as a user from an address is slowed before anything is compared, remembered logins included: otherwise these would tell a right guess at once.
func (a *Access) Authenticate(ctx context.Context, name, password, addr string) (Identity, error) {
	if !isName(name) || len(password) > maxPassword {
		a.logins.WithLabelValues("refused").Inc()
		return Identity{}, wrong()
	}
	if wait := a.guard.wait(ctx, name, addr); wait > 0 {
		return Identity{}, a.slowed(wait)
	}
	m := a.verified.mark(name, password)
	if who, ok := a.verified.get(m); ok {
		return who, nil
	}
	return a.flights.do(ctx, m, func() (Identity, bool, error) {
		if who, ok := a.verified.get(m); ok { // by one that ended a moment ago
			return who, true, nil
		}
		at, wait := a.guard.begin(ctx, name, addr)
		if wait > 0 {
			return Identity{}, false, a.slowed(wait)
		}
		before := a.verified.count()
		who, err := a.login(ctx, name, password, addr)
		switch {
		case err == nil:
			a.guard.right(ctx, at)
			a.logins.WithLabelValues("succeeded").Inc()
			a.verified.put(m, who, before)
		case fail.Is(err, fail.Unauthenticated):
			a.logins.WithLabelValues("failed").Inc()
			a.Log.InfoContext(ctx, "login failed", "user", name, "address", addr)
		default:
			a.guard.unknown(ctx, at)
		}
		return who, ctx.Err() == nil, err
	})
}

// isName reports whether a user can be called this. What can't be is never looked up: PostgreSQL refuses such texts, and other engines do not.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

func wrong() error {
	return fail.E(fail.Unauthenticated, nil, "wrong user name or password").Code(oci.CodeUnauthorized)
}

func (a *Access) slowed(wait time.Duration) error {
	a.logins.WithLabelValues("slowed").Inc()
	// A client that waits the whole seconds that it is told must not come a moment too early.
	wait = max(time.Second, (wait + time.Second - 1).Truncate(time.Second))
	return fail.E(fail.Exhausted, nil, "too many failed logins from this address").Code(oci.CodeTooManyRequests).
		RetryAfter(wait).Hint("wait %s; other addresses are not held up", wait)
}

// login compares a name and a password with what is stored, and asks the directory where that is the one to know. A secret that was made here is never sent there, nor is the name
// of a robot.
func (a *Access) login(ctx context.Context, name, password, addr string) (Identity, error) {
	if a.isRobotName(name) {
		if who, known, err := a.robotLogin(ctx, name, password); known || err != nil {
			return who, err
		}
	}
	u, err := findUser(ctx, a.DB, name)
	known := err == nil
	if err != nil && !fail.Is(err, fail.NotFound) {
		return Identity{}, fmt.Errorf("find user: %w", err)
	}
	who, ok, err := a.tokenLogin(ctx, u, password) // whom nobody knows is looked for too: it takes as long
	switch {
	case err != nil:
		return Identity{}, err
	case ok && u.out():
		return Identity{}, wrong()
	case ok:
		return who, nil
	}
	switch {
	case isUserToken(password), !known && a.isRobotName(name): // as quickly as if there were one
		return Identity{}, wrong()
	case known && u.origin != FromLDAP:
		return a.passwordLogin(ctx, u, password, addr)
	}
	if p := a.Provider(); p != nil {
		return a.directoryLogin(ctx, p, u, name, password)
	}
	return a.passwordLogin(ctx, u, password, addr)
}

// passwordLogin compares a password with the hash of a user; the zero user is nobody.
func (a *Access) passwordLogin(ctx context.Context, u user, password, addr string) (Identity, error) {
	ok, err := a.hasher.matches(ctx, addr, u.hash, password)
	if err != nil {
		return Identity{}, err
	}
	if !ok || u.out() {
		return Identity{}, wrong()
	}
	if a.hasher.isStale(u.hash) {
		a.renew(ctx, u, password)
	}
	return u.identity(), nil
}

// directoryLogin asks the directory. u is whom Havn knows by this name, the zero user if nobody; it may be somebody else whom the directory means.
func (a *Access) directoryLogin(ctx context.Context, from Provider, u user, name, password string) (Identity, error) {
	if u.disabled || password == "" {
		return Identity{}, wrong()
	}
	p, err := from.Login(ctx, name, password)
	if fail.Is(err, fail.Unauthenticated) {
		return Identity{}, wrong()
	}
	if err != nil {
		return Identity{}, fmt.Errorf("log %s in: %w", name, err)
	}
	who, err := a.admit(ctx, FromLDAP, p, "")
	if fail.Is(err, fail.Denied) {
		return Identity{}, wrong()
	}
	if fail.Is(err, fail.Exists) || fail.Is(err, fail.Invalid) { // he has the right password, and no other to try
		a.Log.WarnContext(ctx, "somebody whom the directory knows can't log in", "user", name, "subject", p.Subject, "error", err, "hint", fail.HintOf(err))
		return Identity{}, fail.E(fail.Unauthenticated, err, "the directory knows %s, and Havn can't take him in", name).Code(oci.CodeUnauthorized)
	}
	return who, err
}

// renew stores a hash of today's cost, now that the password is known. It is no change of the user: tokens go on. The next login tries again where it fails.
func (a *Access) renew(ctx context.Context, u user, password string) {
	hash, err := a.hasher.hash(ctx, "", password)
	if err == nil {
		err = a.DB.Tx(ctx, "user.renew", func(tx *sqldb.Tx) error {
			_, cause := tx.Exec(ctx, "UPDATE users SET password_hash = ? WHERE name = ? AND password_hash = ?", hash, u.name, u.hash)
			return cause
		})
	}
	if err != nil {
		a.Log.WarnContext(ctx, "password's hash not renewed", "user", u.name, "error", err)
	}
}
