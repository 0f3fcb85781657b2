package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// secretKey is the row of meta with the key that hashes secrets. It is no token's key: `havn key rotate` leaves it alone, with --revoke too, and so robots go on.
	secretKey = "secret_key"
	// The shortest and the longest secret that somebody may choose, and the length of one that is made: 256 bits in base 62.
	leastSecret, mostSecret = 8, 128
	madeSecret              = 43
	base62                  = 62
)

// secrets makes and compares hashes of secrets that programs send: keyed, not slow. One that was made has 256 random bits, which nobody tries out; one that was chosen is safe as
// long as the database and the cluster secret, which seals the key, are not in the same hands.
type secrets struct{ key []byte }

// openSecrets makes the key where there is none: of several nodes, one wins.
func openSecrets(ctx context.Context, c Config) (*secrets, error) {
	find := func(q sqldb.Querier) (stored string, err error) {
		return stored, q.Row(ctx, "SELECT v FROM meta WHERE k = ?", secretKey).Scan(&stored)
	}
	stored, err := find(c.DB)
	if fail.Is(err, fail.NotFound) {
		fresh := c.Seal.Seal(secretKey, randomKey())
		err = c.DB.Tx(ctx, "secret.key", func(tx *sqldb.Tx) error {
			_, insertErr := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, secretKey, fresh)
			if insertErr == nil {
				stored, insertErr = find(tx)
			}
			return insertErr
		})
	}
	if err != nil {
		return nil, err
	}
	return unsealSecrets(c.Seal, stored)
}

func unsealSecrets(s *seal.Seal, stored string) (*secrets, error) {
	key, err := s.Open(secretKey, stored)
	if err != nil {
		return nil, err
	}
	if len(key) != keyBytes {
		return nil, fail.E(fail.Internal, nil, "stored key of secrets has %d bytes", len(key))
	}
	return &secrets{key}, nil
}

func randomKey() []byte {
	var b [keyBytes]byte
	rand.Read(b[:])
	return b[:]
}

// hash answers how a secret is stored. The owner's kind and number are in it, so that rows can't be changed for each other.
func (s *secrets) hash(kind string, owner int64, secret string) []byte {
	h := hmac.New(sha256.New, s.key)
	h.Write(fmt.Appendf(nil, "%s %d %s", kind, owner, secret))
	return h.Sum(nil)
}

// matches compares in constant time.
func (s *secrets) matches(stored []byte, kind string, owner int64, secret string) bool {
	return subtle.ConstantTimeCompare(s.hash(kind, owner, secret), stored) == 1
}

// newSecret makes a secret: 256 random bits as letters and digits, which clients, shells and URLs take as they are.
func newSecret() string {
	for {
		text := new(big.Int).SetBytes(randomKey()).Text(base62)
		text = strings.Repeat("0", madeSecret-len(text)) + text
		if CheckSecret(text) == nil { // all but one of two thousand
			return text
		}
	}
}

// CheckSecret refuses what Harbor refuses as a password of a user or a secret of a robot: 8 to 128 characters, an upper and a lower case letter and a digit among them. Invalid.
func CheckSecret(secret string) error {
	has := func(first, last byte) bool {
		return strings.ContainsFunc(secret, func(r rune) bool { return r >= rune(first) && r <= rune(last) })
	}
	if len(secret) < leastSecret || len(secret) > mostSecret || !utf8.ValidString(secret) || strings.ContainsFunc(secret, unicode.IsControl) || !has('a', 'z') || !has('A', 'Z') || !has('0', '9') {
		return fail.E(fail.Invalid, nil, "password or secret of %d bytes", len(secret)).
			Hint("use %d to %d characters, with at least one uppercase letter, one lowercase letter and one digit, and no control characters", leastSecret, mostSecret)
	}
	return nil
}
