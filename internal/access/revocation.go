package access

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// lookForRevoked is how often a node looks for what was withdrawn: a query for rows behind the last one that it saw, and one for the key that signs.
	lookForRevoked = time.Second
	// blindTime is how long a node may be without such a look. Beyond it, it changes nothing for a token before it has looked: see Current. The other nodes declare a node dead that can't reach
	// the database for so long.
	blindTime = 30 * time.Second
	// revokedAtOnce bounds one look.
	revokedAtOnce = 1000
)

// A token tells the version of the row of its user or robot, as of the login. What ends tokens raises that version and inserts a row into revocations, in one transaction: tokens of an older
// version are refused. No clock decides: those of two nodes differ.

// revoked is what was withdrawn, as far as this node knows.
type revoked struct {
	mu     sync.Mutex                // of looks
	last   int64                     // the number of the last row that was seen
	ending []string                  // subjects whose uploads are to be ended yet
	looked atomic.Pointer[time.Time] // the begin of the last look that succeeded
	known  atomic.Pointer[withdrawn]
}

// withdrawn holds below which versions tokens are refused. It is never changed.
type withdrawn struct{ users, robots map[int64]int64 }

// holds reports whether a token is refused.
func (r *revoked) holds(who Identity) bool {
	w := r.known.Load()
	if w == nil {
		return false
	}
	return who.version < w.users[who.User] || who.version < w.robots[who.Robot]
}

// revokeUser ends the tokens, the sessions and the uploads of a user. NotFound.
func revokeUser(ctx context.Context, tx *sqldb.Tx, id int64) error {
	if err := raiseUser(ctx, tx, id); err != nil {
		return err
	}
	var name string
	var version int64
	if err := tx.Row(ctx, "SELECT name, changed_at FROM users WHERE id = ?", id).Scan(&name, &version); err != nil {
		return err
	}
	return insertRevocation(ctx, tx, id, 0, name, version)
}

// revokeRobot ends the tokens and the uploads of a robot. NotFound.
func revokeRobot(ctx context.Context, tx *sqldb.Tx, id int64, whole string) error {
	if err := touchRobot(ctx, tx, id); err != nil {
		return err
	}
	var version int64
	if err := tx.Row(ctx, "SELECT changed_at FROM robots WHERE id = ?", id).Scan(&version); err != nil {
		return err
	}
	return insertRevocation(ctx, tx, 0, id, whole, version)
}

// insertRevocation writes the row that all nodes see. Its number is drawn from a row that every other drawing transaction changes too, so that none becomes visible behind a higher one.
func insertRevocation(ctx context.Context, tx *sqldb.Tx, user, robot int64, subject string, before int64) error {
	id, err := index.NextNumber(ctx, tx, index.NumberRevoked)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "INSERT INTO revocations (id, user_id, robot, subject, before_at) VALUES (?, ?, ?, ?, ?)", id, user, robot, subject, before)
	return err
}

// Run looks for what was withdrawn until the context ends.
func (a *Access) Run(ctx context.Context) error {
	tick := time.NewTicker(lookForRevoked)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := a.look(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			a.Log.WarnContext(ctx, "not looked for tokens that were revoked", "error", err, "hint", fail.HintOf(err))
		}
		failed = err != nil
	}
}

// Current makes sure that this node knows what was withdrawn up to blindTime ago: what changes something for a token asks this before the token is verified. Unavailable if it could not look
// for so long. Pulls go on then, from what the node has: without the database it can't change anything.
func (a *Access) Current(ctx context.Context) error {
	if looked := a.revoked.looked.Load(); looked != nil && elapsed(*looked, a.Clock()) <= blindTime {
		return nil
	}
	if err := a.look(ctx); err != nil {
		return fail.E(fail.Unavailable, err, "this node could not look for %s which tokens were revoked", blindTime).RetryAfter(lookForRevoked)
	}
	return nil
}

// elapsed answers the time between two, by the clock that went on for longer: the machine's own stands still while the machine does, the wall's may be set.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// heed acts at once on what this node withdrew itself. What fails now, Run does.
func (a *Access) heed(ctx context.Context) {
	if err := a.look(ctx); err != nil {
		a.Log.WarnContext(ctx, "what was revoked ends a moment later", "error", err, "hint", fail.HintOf(err))
	}
}

// look reads what was withdrawn since the last look, keys too, and ends what it was good for.
func (a *Access) look(ctx context.Context) error {
	r := &a.revoked
	r.mu.Lock()
	defer r.mu.Unlock()
	begin := a.Clock()
	for more := true; more; {
		n, err := a.lookOnce(ctx)
		if err != nil {
			return err
		}
		more = n == revokedAtOnce
	}
	if err := a.tokens.keys.look(ctx); err != nil {
		return err
	}
	r.looked.Store(&begin)
	for len(r.ending) > 0 && a.EndUploads != nil {
		if err := a.EndUploads(ctx, r.ending[0]); err != nil {
			return fmt.Errorf("end the uploads of %s: %w", r.ending[0], err)
		}
		r.ending = r.ending[1:]
	}
	return nil
}

func (a *Access) lookOnce(ctx context.Context) (n int, err error) {
	r := &a.revoked
	w := &withdrawn{users: map[int64]int64{}, robots: map[int64]int64{}}
	old := sqldb.Micros(a.Clock().Add(-a.revokedLife()))
	if before := r.known.Load(); before != nil {
		w.users, w.robots = maps.Clone(before.users), maps.Clone(before.robots)
	}
	last, subjects, whose := r.last, []string(nil), []owner(nil)
	for row, err := range a.DB.Rows(ctx, "SELECT id, user_id, robot, subject, before_at FROM revocations WHERE id > ? ORDER BY id LIMIT ?", r.last, revokedAtOnce) {
		if err != nil {
			return 0, err
		}
		var user, robot, before int64
		var subject string
		if err = row.Scan(&last, &user, &robot, &subject, &before); err != nil {
			return 0, err
		}
		n++
		subjects, whose = append(subjects, subject), append(whose, owner{user, robot})
		if user != 0 {
			w.users[user] = max(w.users[user], before)
		} else {
			w.robots[robot] = max(w.robots[robot], before)
		}
	}
	if n == 0 {
		return 0, nil
	}
	over := func(_, before int64) bool { return before < old }
	maps.DeleteFunc(w.users, over)
	maps.DeleteFunc(w.robots, over)
	if r.looked.Load() != nil { // at the start there is nothing that this node lets go on
		r.ending = append(r.ending, subjects...)
	}
	r.last = last
	r.known.Store(w)
	a.verified.forget(whose...)
	a.browsers.clear()
	return n, nil
}

// revokedLife is how long the row of a revocation matters: as long as the longest-lived token of before it finishes its upload, and some more.
func (a *Access) revokedLife() time.Duration {
	return MaxTokenLife + a.UploadTime + time.Hour
}

// Hold says, inside a write transaction, whether the caller still has the duty for which it writes: see cluster.Claim. It fails the transaction if not.
type Hold func(context.Context, *sqldb.Tx) error

// ForgetRevocations deletes up to limit revocations that no token can be left of, and answers how many.
func (a *Access) ForgetRevocations(ctx context.Context, hold Hold, now time.Time, limit int) (int, error) {
	return a.forget(ctx, hold, "revocations.forget", strand{"SELECT id FROM revocations WHERE before_at < ? ORDER BY before_at LIMIT ?", "DELETE FROM revocations WHERE id = ?"},
		sqldb.Micros(now.Add(-a.revokedLife())), limit)
}

// forget deletes up to limit rows that are over, and answers how many.
func (a *Access) forget(ctx context.Context, hold Hold, name string, s strand, before int64, limit int) (n int, err error) {
	err = a.DB.TxRelaxed(ctx, name, func(tx *sqldb.Tx) (err error) {
		if err = hold(ctx, tx); err != nil {
			return err
		}
		n, err = s.cut(ctx, tx, before, limit)
		return err
	})
	return n, err
}
