package access

import (
	"context"
	"strconv"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

// CheckKey answers the id of the key that signs, and changes nothing. NotFound if there is none yet, Invalid if the keys can't be opened with this seal.
func CheckKey(ctx context.Context, db *sqldb.DB, s *seal.Seal, clock func() time.Time) (kid string, err error) {
	kid, _, err = (&keys{db: db, clock: clock, seal: s}).find(ctx)
	return kid, err
}

// Rotated says what became of the keys.
type Rotated struct {
	Old, New string
	Until    time.Time // when the old key's last token ends; zero if they ended at once
}

// RotateKey makes a new key that signs from now on, at nodes that run from their next look on; of c it takes DB, Clock, Seal and RefreshTTL. The old one verifies for as long as the longest token that it signed, a refresh token, may live; with revoke it and all
// others go at once, and with them every token: for a key that somebody else may know. Keys whose time is over go too.
func RotateKey(ctx context.Context, c Config, revoke bool) (Rotated, error) {
	k := &keys{db: c.DB, clock: c.Clock, seal: c.Seal}
	if _, _, err := k.find(ctx); err != nil {
		return Rotated{}, err
	}
	kid, stored := k.random()
	done := Rotated{New: kid}
	err := c.DB.Tx(ctx, "token.rotate", func(tx *sqldb.Tx) error {
		var current string
		if cause := tx.Row(ctx, "SELECT v FROM meta WHERE k = ?", currentKey).Scan(&current); cause != nil {
			return cause
		}
		if current == kid {
			return nil // an earlier run of this did it
		}
		done.Old = current
		if !revoke {
			done.Until = tx.Now().Add(orDefault(c.RefreshTTL, DefaultRefreshTTL) + skew)
		}
		if cause := retire(ctx, tx, done); cause != nil {
			return cause
		}
		if _, cause := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, keyPrefix+kid, stored); cause != nil {
			return cause
		}
		n, cause := tx.Exec(ctx, "UPDATE meta SET v = ? WHERE k = ? AND v = ?", kid, currentKey, current)
		if cause == nil && n == 0 {
			cause = fail.E(fail.Conflict, nil, "somebody else changes the token key at the same time").Hint("look which one signs, and try again if need be")
		}
		return cause
	})
	return done, err
}

// retire notes until when the old key verifies, and deletes the keys that do no longer.
func retire(ctx context.Context, tx *sqldb.Tx, done Rotated) error {
	if done.Until.IsZero() {
		for _, between := range [][2]string{{keyPrefix, keyBehind}, {untilPrefix, untilBehind}} {
			if _, err := tx.Exec(ctx, "DELETE FROM meta WHERE k > ? AND k < ?", between[0], between[1]); err != nil {
				return err
			}
		}
		return nil
	}
	ends, err := readUntil(ctx, tx)
	if err != nil {
		return err
	}
	left := 1
	for kid, until := range ends {
		if until.After(tx.Now()) {
			left++
			continue
		}
		for _, name := range []string{keyPrefix + kid, untilPrefix + kid} {
			if _, err = tx.Exec(ctx, "DELETE FROM meta WHERE k = ?", name); err != nil {
				return err
			}
		}
	}
	if left >= mostKeys {
		return fail.E(fail.Exhausted, nil, "%d keys of tokens", left).Hint("wait until the oldest one's tokens have ended, or revoke all of them")
	}
	_, err = tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, untilPrefix+done.Old, strconv.FormatInt(sqldb.Micros(done.Until), 10))
	return err
}

// readUntil answers until when the keys verify that do not sign.
func readUntil(ctx context.Context, q sqldb.Querier) (map[string]time.Time, error) {
	texts, err := rows(ctx, q, untilPrefix, untilBehind)
	if err != nil {
		return nil, err
	}
	ends := map[string]time.Time{}
	for kid, text := range texts {
		micros, parseErr := strconv.ParseInt(text, 10, 64)
		if parseErr != nil {
			return nil, fail.E(fail.Internal, parseErr, "time of token key %s", kid)
		}
		ends[kid] = sqldb.FromMicros(micros)
	}
	return ends, nil
}
