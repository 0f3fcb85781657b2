package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// Cost is what a password's hash costs (argon2id, RFC 9106).
type Cost struct {
	Passes    uint32
	MemoryKiB uint32
}

// DefaultCost is one of the equally strong pairs that OWASP recommends for one thread: the one with little memory, of which one hash at a time needs this once.
var DefaultCost = Cost{Passes: 4, MemoryKiB: 9 << 10}

const (
	// maxPassword is the longest password in bytes: hashing begins with all of it.
	maxPassword = 1024
	// hashesAtOnce bounds memory: each needs Cost.MemoryKiB.
	hashesAtOnce = 1
	// hashesWaiting bounds the queue: at some 20 ms each, the last waits about a second.
	hashesWaiting = 64

	threads  = 1
	saltSize = 16
	keySize  = 32
)

// hasher makes and checks hashes, a bounded number at once.
type hasher struct {
	cost    Cost
	places  chan struct{}
	waiting atomic.Int64
}

func newHasher(c Cost) *hasher { return &hasher{cost: c, places: make(chan struct{}, hashesAtOnce)} }

func (h *hasher) key(ctx context.Context, password string, salt []byte, c Cost) ([]byte, error) {
	if h.waiting.Add(1) > hashesWaiting {
		h.waiting.Add(-1)
		return nil, fail.E(fail.Exhausted, nil, "too many logins at once").Code(oci.CodeTooManyRequests).RetryAfter(time.Second).Hint("use tokens, or try again in a moment")
	}
	defer h.waiting.Add(-1)
	select {
	case h.places <- struct{}{}:
	case <-ctx.Done():
		return nil, fail.E(fail.Unavailable, ctx.Err(), "check a password")
	}
	defer func() { <-h.places }()
	return argon2.IDKey([]byte(password), salt, c.Passes, c.MemoryKiB, threads, keySize), nil
}

// hash answers the PHC string of a password.
func (h *hasher) hash(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltSize)
	rand.Read(salt)
	key, err := h.key(ctx, password, salt, h.cost)
	if err != nil {
		return "", err
	}
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.cost.MemoryKiB, h.cost.Passes, threads, b64(salt), b64(key)), nil
}

// matches compares a password with a PHC string in constant time. A string of "" is nobody's: it takes as long and does not match.
func (h *hasher) matches(ctx context.Context, phc, password string) (bool, error) {
	var version, lanes int
	var salt64, key64 string
	c := h.cost
	salt, want := make([]byte, saltSize), []byte(nil)
	if phc != "" {
		_, err := fmt.Sscanf(phc, "$argon2id$v=%d$m=%d,t=%d,p=%d$%s", &version, &c.MemoryKiB, &c.Passes, &lanes, &salt64)
		if err == nil {
			salt64, key64, err = halves(salt64)
		}
		if err == nil {
			salt, err = base64.RawStdEncoding.DecodeString(salt64)
		}
		if err == nil {
			want, err = base64.RawStdEncoding.DecodeString(key64)
		}
		if err != nil || version != argon2.Version || lanes != threads || len(want) != keySize {
			return false, fail.E(fail.Internal, err, "stored hash of a password can't be read").Hint("set the password again")
		}
	}
	got, err := h.key(ctx, password, salt, c)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, want) == 1, nil
}

func halves(s string) (salt, key string, err error) {
	for i := range len(s) {
		if s[i] == '$' {
			return s[:i], s[i+1:], nil
		}
	}
	return "", "", fail.E(fail.Internal, nil, "hash without a key")
}
