package access

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
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
	sealedForm  = "sealed:"
	// mostKeys bounds the keys that are read: one signs, and each verifies for the life of a token after it signed.
	mostKeys = 100
	// lookEvery bounds how often strangers can make us ask the database for a key that nobody has.
	lookEvery = time.Second
	// minSecret is the shortest secret in bytes: who has the database can try secrets as fast as he likes.
	minSecret = 16
)

// keys are the cluster's, which are made once and kept in the database. RotateKey brings in a new one; the nodes take notice when they first see a token of it.
type keys struct {
	db    *sqldb.DB
	clock func() time.Time
	seal  cipher.AEAD // nil: no secret

	mu     sync.RWMutex
	kid    string
	held   map[string][]byte
	looked time.Time // when an unknown key was looked for last
}

// openKeys makes the first key where there is none: of several nodes, one wins.
func openKeys(ctx context.Context, c Config) (*keys, error) {
	k := &keys{db: c.DB, clock: c.Clock}
	var err error
	if k.seal, err = newSeal(c.Secret); err != nil {
		return nil, err
	}
	var current string
	err = c.DB.Row(ctx, "SELECT v FROM meta WHERE k = ?", currentKey).Scan(&current)
	if fail.Is(err, fail.NotFound) {
		err = k.make(ctx)
	}
	if err != nil {
		return nil, err
	}
	return k, k.load(ctx)
}

func newSeal(secret string) (cipher.AEAD, error) {
	if secret == "" {
		return nil, nil // no secret, no seal
	}
	if len(secret) < minSecret {
		return nil, fail.E(fail.Invalid, nil, "secret of %d bytes", len(secret)).Hint("tokens.secret: use at least %d, made by chance: openssl rand -hex 32", minSecret)
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "havn: keys of tokens", keyBytes)
	if err != nil {
		return nil, fail.E(fail.Internal, err, "derive a key from the secret")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fail.E(fail.Internal, err, "derive a key from the secret")
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// random makes a key, as it is stored.
func (k *keys) random() (kid, stored string) {
	var b [kidBytes + keyBytes]byte
	rand.Read(b[:])
	kid = hex.EncodeToString(b[:kidBytes])
	return kid, k.write(kid, b[kidBytes:])
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

// write answers how a key is stored.
func (k *keys) write(kid string, key []byte) string {
	if k.seal == nil {
		return hex.EncodeToString(key)
	}
	// The id is sealed along, so that the rows can't be changed for each other.
	return sealedForm + base64.RawStdEncoding.EncodeToString(k.seal.Seal(nil, nil, key, []byte(kid)))
}

// read answers a stored key, and whether it is stored as it should be.
func (k *keys) read(kid, stored string) (key []byte, asItShould bool, err error) {
	text, sealed := strings.CutPrefix(stored, sealedForm)
	switch {
	case !sealed:
		key, err = hex.DecodeString(stored)
	case k.seal == nil:
		return nil, false, fail.E(fail.Invalid, nil, "token key %s is sealed, and no secret is configured", kid).Hint("give this node the secret of the others: tokens.secret")
	default:
		if key, err = base64.RawStdEncoding.DecodeString(text); err == nil {
			key, err = k.seal.Open(nil, nil, key, []byte(kid))
		}
		if err != nil {
			return nil, false, fail.E(fail.Invalid, err, "token key %s is sealed with another secret", kid).Hint("give this node the secret of the others: tokens.secret")
		}
	}
	if err != nil || len(key) != keyBytes {
		return nil, false, fail.E(fail.Internal, err, "stored token key %s", kid)
	}
	return key, sealed == (k.seal != nil), nil
}

// find reads the keys that there are, the one that signs among them, and how those are stored that are not stored as they should be.
func (k *keys) find(ctx context.Context) (current string, held map[string][]byte, bare map[string]string, err error) {
	if err = k.db.Row(ctx, "SELECT v FROM meta WHERE k = ?", currentKey).Scan(&current); err != nil {
		return "", nil, nil, err
	}
	stored, err := rows(ctx, k.db, keyPrefix, keyBehind)
	if err != nil {
		return "", nil, nil, err
	}
	ends, err := readUntil(ctx, k.db)
	if err != nil {
		return "", nil, nil, err
	}
	held, bare = map[string][]byte{}, map[string]string{}
	for kid, text := range stored {
		if until, retired := ends[kid]; retired && !until.After(k.clock()) {
			continue
		}
		key, asItShould, cause := k.read(kid, text)
		if cause != nil {
			return "", nil, nil, cause
		}
		if held[kid] = key; !asItShould {
			bare[kid] = text
		}
	}
	if held[current] == nil {
		return "", nil, nil, fail.E(fail.Internal, nil, "token key %s is named and not there", current)
	}
	return current, held, bare, nil
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

// load takes the keys that there are, and seals those that were stored before there was a secret.
func (k *keys) load(ctx context.Context) error {
	current, held, bare, err := k.find(ctx)
	if err != nil {
		return err
	}
	for kid, stored := range bare {
		if err = k.sealStored(ctx, kid, stored, held[kid]); err != nil {
			return err
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.kid, k.held = current, held
	return nil
}

func (k *keys) sealStored(ctx context.Context, kid, stored string, key []byte) error {
	sealed := k.write(kid, key)
	err := k.db.Tx(ctx, "token.seal", func(tx *sqldb.Tx) error {
		_, cause := tx.Exec(ctx, "UPDATE meta SET v = ? WHERE k = ? AND v = ?", sealed, keyPrefix+kid, stored)
		return cause
	})
	if err != nil {
		return fmt.Errorf("seal token key %s: %w", kid, err)
	}
	return nil
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
