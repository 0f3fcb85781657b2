package seal

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

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// LeastSecret is the shortest secret in bytes: who has the database can try secrets as fast as he likes.
	LeastSecret = 16
	secretBytes = 32
	keyBytes    = 32
	// form stands before what is sealed, and names how.
	form = "sealed:"
	// mark is the row of meta that only the database's secret opens. It is written by the first node.
	mark = "cluster_secret"

	sameHint = "give this node the secret of the others: cluster.secret, or the file cluster-secret from the data directory of the node that was started first"
)

// Seal seals and opens. It is safe for concurrent use.
type Seal struct{ key cipher.AEAD }

// Random makes a secret.
func Random() string {
	var b [secretBytes]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

func derive(secret string) (*Seal, error) {
	if len(secret) < LeastSecret {
		return nil, fail.E(fail.Invalid, nil, "cluster secret of %d bytes", len(secret)).Hint("use at least %d, made by chance: openssl rand -hex 32", LeastSecret)
	}
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, "havn: secrets in the database", keyBytes)
	if err != nil {
		return nil, fail.E(fail.Internal, err, "derive a key from the cluster secret")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fail.E(fail.Internal, err, "derive a key from the cluster secret")
	}
	sealer, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fail.E(fail.Internal, err, "derive a key from the cluster secret")
	}
	return &Seal{sealer}, nil
}

// Open answers the seal of a database. The first secret that a database is opened with is its own from then on; any other is Invalid.
func Open(ctx context.Context, db *sqldb.DB, secret string) (*Seal, error) {
	s, err := Check(ctx, db, secret)
	if !fail.Is(err, fail.NotFound) {
		return s, err
	}
	if s, err = derive(secret); err != nil {
		return nil, err
	}
	first := s.Seal(mark, nil)
	err = db.Tx(ctx, "seal.mark", func(tx *sqldb.Tx) error {
		_, cause := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, mark, first)
		return cause
	})
	if err != nil {
		return nil, fmt.Errorf("seal the database: %w", err)
	}
	return Check(ctx, db, secret) // of several nodes that start at once, one was first
}

// Check is Open without writing: NotFound if the database has no secret yet.
func Check(ctx context.Context, db *sqldb.DB, secret string) (*Seal, error) {
	var stored string
	if err := db.Row(ctx, "SELECT v FROM meta WHERE k = ?", mark).Scan(&stored); err != nil {
		return nil, err
	}
	if secret == "" {
		return nil, fail.E(fail.Invalid, nil, "the secrets in the database are sealed, and this node has no cluster secret").Hint(sameHint)
	}
	s, err := derive(secret)
	if err != nil {
		return nil, err
	}
	if _, err = s.Open(mark, stored); err != nil {
		return nil, fail.E(fail.Invalid, nil, "the secrets in the database are sealed with another cluster secret than this node's").Hint(sameHint)
	}
	return s, nil
}

// Seal answers how a secret is stored under a name. It is opened under that name alone, so that rows can't be changed for each other.
func (s *Seal) Seal(name string, secret []byte) string {
	return form + base64.RawStdEncoding.EncodeToString(s.key.Seal(nil, nil, secret, []byte(name)))
}

// Open answers a secret that was stored under a name, Invalid if it was sealed with another secret or under another name.
func (s *Seal) Open(name, stored string) ([]byte, error) {
	text, sealed := strings.CutPrefix(stored, form)
	if !sealed {
		return nil, fail.E(fail.Internal, nil, "%s is not sealed", name)
	}
	body, err := base64.RawStdEncoding.DecodeString(text)
	if err == nil {
		body, err = s.key.Open(nil, nil, body, []byte(name))
	}
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "%s is not sealed with this node's cluster secret", name).Hint(sameHint)
	}
	return body, nil
}
