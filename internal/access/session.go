package access

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Session is a browser that is logged in.
type Session struct {
	ID      string // names it to its user; it lets nobody in
	Begun   time.Time
	Active  time.Time // when it was used last, to a tenth of the idle time
	Expires time.Time // unless it is idle before
	Addr    string
	Agent   string
}

const (
	sessionBytes = 32 // of randomness
	cookieLength = 2 * sessionBytes
	// mostSessions bounds those of one user; beyond it the one that was idle for longest ends.
	mostSessions = 100
	// maxAddr and maxAgent are the lengths of columns.
	maxAddr  = 64
	maxAgent = 255
	// touchParts: a session's last use is written when it is older than this part of the idle time.
	touchParts = 10
)

// sessionKey is what a session is stored under: a hash, so that a copy of the database lets nobody in.
func sessionKey(cookie string) ([]byte, bool) {
	raw, err := hex.DecodeString(cookie)
	if err != nil || len(cookie) != cookieLength {
		return nil, false
	}
	sum := sha256.Sum256(raw)
	return sum[:], true
}

// Begin begins a session of somebody whom Authenticate or SignIn answered, and answers what its cookie holds. Denied for robots and strangers, because only people have
// browsers, and for secrets of programs: a session would outlive the secret. Unauthenticated if the user changed since he logged in.
func (a *Access) Begin(ctx context.Context, who Identity, addr, agent string) (cookie string, err error) {
	if who.User == 0 {
		return "", fail.E(fail.Denied, nil, "only users have sessions").Hint("robot accounts send their name and secret with each request")
	}
	if !who.renewable {
		return "", fail.E(fail.Denied, nil, "a token or a CLI secret begins no session").Hint("log in with the password, or at the identity provider; programs send the secret with each request")
	}
	var raw [sessionBytes]byte
	rand.Read(raw[:])
	cookie = hex.EncodeToString(raw[:])
	id, _ := sessionKey(cookie)
	over := false
	err = a.DB.Tx(ctx, "session.begin", func(tx *sqldb.Tx) error {
		u, txErr := findUserByID(ctx, tx, who.User)
		if fail.Is(txErr, fail.NotFound) {
			over = true
			return nil
		}
		if over = u.out() || sqldb.Micros(u.changed) != who.version; txErr != nil || over {
			return txErr
		}
		if txErr = dropSessions(ctx, tx, who.User); txErr != nil {
			return txErr
		}
		now := tx.Now()
		_, txErr = tx.InsertIgnore(ctx, "sessions", []string{"id", "user_id", "version", "created_at", "active_at", "expires_at", "addr", "agent"},
			id, who.User, who.version, sqldb.Micros(now), sqldb.Micros(now), sqldb.Micros(now.Add(a.Policy().SessionLife)), cleanText(addr, maxAddr), cleanText(agent, maxAgent))
		return txErr
	})
	if err == nil && over {
		err = noSession("the user was changed since he logged in")
	}
	if err != nil {
		return "", fmt.Errorf("begin a session: %w", err)
	}
	return cookie, nil
}

// dropSessions makes room for one more session of a user.
func dropSessions(ctx context.Context, tx *sqldb.Tx, user int64) error {
	var ids [][]byte
	for row, err := range tx.Rows(ctx, "SELECT id FROM sessions WHERE user_id = ? ORDER BY active_at DESC, id LIMIT ?", user, mostSessions+rowsAtOnce) {
		if err != nil {
			return err
		}
		var id []byte
		if err = row.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	for i := mostSessions - 1; i < len(ids); i++ {
		if _, err := tx.Exec(ctx, "DELETE FROM sessions WHERE id = ?", ids[i]); err != nil {
			return err
		}
	}
	return nil
}

// cleanText makes a text of a stranger's one that can be stored.
func cleanText(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return firstLetters(s, most)
}

func noSession(why string) error {
	return fail.E(fail.Unauthenticated, nil, "no session: %s", why).Code(oci.CodeUnauthorized).Hint("log in again")
}

// Check answers whose session a cookie is. It costs one query in some seconds, and a write in a tenth of the idle time. Unauthenticated if there is no such session, it was idle for too long or
// is too old, it was ended, or its user changed the password or is disabled since.
func (a *Access) Check(ctx context.Context, cookie string) (Identity, error) {
	id, ok := sessionKey(cookie)
	if !ok {
		return Identity{}, noSession("not a session's cookie")
	}
	b, known := a.browsers.get(id)
	if !known {
		before := a.browsers.count()
		var err error
		if b, err = a.findBrowser(ctx, id); err != nil {
			return Identity{}, err
		}
		a.browsers.put(id, b, before)
	}
	now, policy := a.Clock(), a.Policy()
	if !b.expires.After(now) || now.Sub(b.active) >= policy.SessionIdle {
		return Identity{}, noSession("it is over")
	}
	if now.Sub(b.active) >= policy.SessionIdle/touchParts {
		a.touch(ctx, id, now)
	}
	return b.who, nil
}

// findBrowser reads a session with its user, as they are now.
func (a *Access) findBrowser(ctx context.Context, id []byte) (browser, error) {
	var b browser
	var u user
	var version, active, expires, changed int64
	var byGroup bool
	err := a.DB.Row(ctx, "SELECT s.version, s.active_at, s.expires_at, "+userColumns+" FROM sessions s JOIN users u ON u.id = s.user_id LEFT JOIN profiles p ON p.user_id = u.id WHERE s.id = ?", id).
		Scan(&version, &active, &expires, &u.id, &u.name, &u.hash, &u.admin, &u.disabled, &changed, &u.origin, &byGroup, &u.gone)
	switch {
	case fail.Is(err, fail.NotFound):
		return b, noSession("there is none")
	case err != nil:
		return b, fmt.Errorf("find session: %w", err)
	case u.out() || changed != version:
		return b, noSession("the user was changed since it began")
	}
	b.active, b.expires = sqldb.FromMicros(active), sqldb.FromMicros(expires)
	b.who = Identity{Subject: u.name, Admin: u.admin || byGroup, User: u.id, version: version}
	return b, nil
}

// touch notes that a session was used. It is no harm if that comes to nothing: the next look tries again.
func (a *Access) touch(ctx context.Context, id []byte, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, noteTime)
	defer cancel()
	err := a.DB.TxRelaxed(ctx, "session.touch", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(ctx, "UPDATE sessions SET active_at = ? WHERE id = ? AND active_at < ?", sqldb.Micros(now), id, sqldb.Micros(now))
		return cause
	})
	if err != nil {
		a.Log.DebugContext(ctx, "use of a session not noted", "error", err)
	}
	a.browsers.touch(id, now)
}

// Sessions answers a user's sessions that count, the one used last first.
func (a *Access) Sessions(ctx context.Context, user int64) ([]Session, error) {
	now := a.Clock()
	var all []Session
	for row, err := range a.DB.Rows(ctx, `SELECT s.id, s.created_at, s.active_at, s.expires_at, s.addr, s.agent FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE s.user_id = ? AND s.version = u.changed_at AND s.expires_at > ? AND s.active_at > ? ORDER BY s.active_at DESC, s.id LIMIT ?`,
		user, sqldb.Micros(now), sqldb.Micros(now.Add(-a.Policy().SessionIdle)), mostSessions) {
		if err != nil {
			return nil, err
		}
		var s Session
		var id []byte
		var created, active, expires int64
		if err = row.Scan(&id, &created, &active, &expires, &s.Addr, &s.Agent); err != nil {
			return nil, err
		}
		s.ID, s.Begun, s.Active, s.Expires = hex.EncodeToString(id), sqldb.FromMicros(created), sqldb.FromMicros(active), sqldb.FromMicros(expires)
		all = append(all, s)
	}
	return all, nil
}

// SessionID answers the Session.ID of the session of a cookie, "" if it is none.
func SessionID(cookie string) string {
	id, _ := sessionKey(cookie)
	return hex.EncodeToString(id)
}

// End ends the session of a cookie, at once at this node and within seconds at the others. One that is not there is no error.
func (a *Access) End(ctx context.Context, cookie string) error {
	id, ok := sessionKey(cookie)
	if !ok {
		return nil
	}
	return a.endSession(ctx, "DELETE FROM sessions WHERE id = ?", id)
}

// EndSession ends one of a user's sessions by its ID. One that is not there is no error.
func (a *Access) EndSession(ctx context.Context, user int64, session string) error {
	id, err := hex.DecodeString(session)
	if err != nil {
		id = nil // that of no session
	}
	return a.endSession(ctx, "DELETE FROM sessions WHERE id = ? AND user_id = ?", id, user)
}

func (a *Access) endSession(ctx context.Context, statement string, args ...any) error {
	err := a.DB.Tx(ctx, "session.end", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(ctx, statement, args...)
		return cause
	})
	a.browsers.clear()
	return err
}

// EndSessions ends all sessions of a user but the one of a cookie ("": that too), as End does.
func (a *Access) EndSessions(ctx context.Context, user int64, but string) error {
	keep, ok := sessionKey(but)
	if !ok {
		keep = []byte{}
	}
	return a.endSession(ctx, "DELETE FROM sessions WHERE user_id = ? AND id <> ?", user, keep) // mostSessions, and those that begin meanwhile
}

// ForgetSessions deletes up to limit sessions that are over, and answers how many.
func (a *Access) ForgetSessions(ctx context.Context, hold Hold, now time.Time, limit int) (int, error) {
	return a.forget(ctx, hold, "sessions.forget", strand{"SELECT id FROM sessions WHERE expires_at < ? ORDER BY expires_at LIMIT ?", "DELETE FROM sessions WHERE id = ?"}, sqldb.Micros(now), limit)
}
