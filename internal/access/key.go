package access

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	keyBytes = 32
	kidBytes = 8
	// currentKey is the row of meta that names the key which signs; a row keyPrefix+id holds each key, also those that only verify. All rows of keys are
	// between keyPrefix and keyBehind.
	currentKey = "token_key"
	keyPrefix  = "token_key:"
	keyBehind  = "token_key;"
	// untilPrefix+id is a row for each key that only verifies: until when, in microseconds.
	untilPrefix = "token_key_until:"
	untilBehind = "token_key_until;"
	// mostKeys bounds the keys that are read: one signs, and each verifies for the life of a token after it signed.
	mostKeys = 100
	// lookEvery bounds how often strangers can make us ask the database for a key that nobody has.
	lookEvery = time.Second
)

// keys are the cluster's, which are made once and kept in the database. RotateKey brings in a new one; the nodes take notice at their next look, or before when they see a token of it.
type keys struct {
	db    *sqldb.DB
	clock func() time.Time
	seal  *seal.Seal
	lost  func() // is told that a key does not verify any more; nil: nobody

	mu     sync.RWMutex
	kid    string
	held   map[string][]byte
	looked time.Time // when an unknown key was looked for last
}

// openKeys makes the first key where there is none: of several nodes, one wins.
func openKeys(ctx context.Context, c Config) (*keys, error) {
	k := &keys{db: c.DB, clock: c.Clock, seal: c.Seal}
	var current string
	err := c.DB.Row(ctx, "SELECT v FROM meta WHERE k = ?", currentKey).Scan(&current)
	if fail.Is(err, fail.NotFound) {
		err = k.make(ctx)
	}
	if err != nil {
		return nil, err
	}
	return k, k.load(ctx)
}

// random makes a key, as it is stored.
func (k *keys) random() (kid, stored string) {
	var b [kidBytes + keyBytes]byte
	rand.Read(b[:])
	kid = hex.EncodeToString(b[:kidBytes])
	return kid, k.seal.Seal(keyPrefix+kid, b[kidBytes:])
}

func (k *keys) make(ctx context.Context) error {
	kid, stored := k.random()
	return k.db.Tx(ctx, "token.key", func(tx *sqldb.Tx) error {
		first, err := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, currentKey, kid)
		if err != nil || !first {
			return err // another node made one, or an earlier run of this did, together with the row below
		}
		_, err = tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, keyPrefix+kid, stored)
		return err
	})
}

// find reads the keys that there are, and which of them signs, all as of one moment.
func (k *keys) find(ctx context.Context) (current string, held map[string][]byte, err error) {
	var stored map[string]string
	var ends map[string]time.Time
	err = k.db.View(ctx, "token.keys", func(q sqldb.Querier) (err error) {
		if err = q.Row(ctx, "SELECT v FROM meta WHERE k = ?", currentKey).Scan(&current); err != nil {
			return err
		}
		if stored, err = rows(ctx, q, keyPrefix, keyBehind); err == nil {
			ends, err = readUntil(ctx, q)
		}
		return err
	})
	if err != nil {
		return "", nil, err
	}
	held = map[string][]byte{}
	for kid, text := range stored {
		if until, retired := ends[kid]; retired && !until.After(k.clock()) {
			continue
		}
		// The name is sealed along, so that the rows can't be changed for each other.
		key, cause := k.seal.Open(keyPrefix+kid, text)
		if cause != nil {
			return "", nil, cause
		}
		if len(key) != keyBytes {
			return "", nil, fail.E(fail.Internal, nil, "stored token key %s has %d bytes", kid, len(key))
		}
		held[kid] = key
	}
	if held[current] == nil {
		return "", nil, fail.E(fail.Internal, nil, "token key %s is named and not there", current)
	}
	return current, held, nil
}

// rows answers the rows of meta between two names, by what follows the first.
func rows(ctx context.Context, q sqldb.Querier, prefix, behind string) (map[string]string, error) {
	all := map[string]string{}
	for row, err := range q.Rows(ctx, "SELECT k, v FROM meta WHERE k > ? AND k < ? ORDER BY k LIMIT ?", prefix, behind, mostKeys) {
		if err != nil {
			return nil, err
		}
		var name, text string
		if err = row.Scan(&name, &text); err != nil {
			return nil, err
		}
		all[strings.TrimPrefix(name, prefix)] = text
	}
	return all, nil
}

// load takes the keys that there are.
func (k *keys) load(ctx context.Context) error {
	current, held, err := k.find(ctx)
	if err != nil {
		return err
	}
	k.mu.Lock()
	before := k.held
	k.kid, k.held = current, held
	k.mu.Unlock()
	for kid := range before {
		if held[kid] == nil && k.lost != nil {
			k.lost()
			break
		}
	}
	return nil
}

// look takes the keys that there are if another one signs now.
func (k *keys) look(ctx context.Context) error {
	var current string
	if err := k.db.Row(ctx, "SELECT v FROM meta WHERE k = ?", currentKey).Scan(&current); err != nil {
		return fmt.Errorf("look for the token key: %w", err)
	}
	if kid, _ := k.signing(); kid == current {
		return nil
	}
	return k.load(ctx)
}

// signing answers the key that signs.
func (k *keys) signing() (kid string, key []byte) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.kid, k.held[k.kid]
}

// verifying answers the key with this id. One that is not known may be a new one: the database is asked, at most once in lookEvery.
func (k *keys) verifying(ctx context.Context, kid string) ([]byte, error) {
	k.mu.RLock()
	key := k.held[kid]
	k.mu.RUnlock()
	if key != nil {
		return key, nil
	}
	if !k.mayLook() {
		return nil, invalidToken(nil)
	}
	if err := k.load(ctx); err != nil {
		return nil, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if key = k.held[kid]; key == nil {
		return nil, invalidToken(nil)
	}
	return key, nil
}

func (k *keys) mayLook() bool {
	now := k.clock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if now.Sub(k.looked) < lookEvery {
		return false
	}
	k.looked = now
	return true
}
