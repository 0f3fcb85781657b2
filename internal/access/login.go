package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// Authenticate answers whose name and password these are. Unauthenticated if they do not match, whoever the user is or is not; Exhausted, with a time to wait, for an address
// that failed too often. addr is the client's address. Wrong passwords cost an unknown user's and a known user's guesser the same.
func (a *Access) Authenticate(ctx context.Context, name, password, addr string) (Identity, error) {
	if name == "" || len(name) > maxName || len(password) > maxPassword {
		a.logins.WithLabelValues("refused").Inc()
		return Identity{}, wrong()
	}
	mark := a.verified.mark(name, password)
	if who, ok := a.verified.get(mark); ok {
		return who, nil
	}
	if wait := a.guard.wait(name, addr); wait > 0 {
		a.logins.WithLabelValues("slowed").Inc()
		return Identity{}, fail.E(fail.Exhausted, nil, "too many failed logins as this user from this address").Code(oci.CodeTooManyRequests).
			RetryAfter(wait).Hint("wait %s; other addresses are not held up", wait.Round(time.Second))
	}
	u, err := findUser(ctx, a.DB, name)
	if err != nil && !fail.Is(err, fail.NotFound) {
		return Identity{}, fmt.Errorf("find user: %w", err)
	}
	ok, err := a.hasher.matches(ctx, u.hash, password)
	if err != nil {
		return Identity{}, err
	}
	if !ok || u.disabled {
		a.guard.failed(name, addr)
		a.logins.WithLabelValues("failed").Inc()
		a.Log.InfoContext(ctx, "login failed", "user", name, "address", addr)
		return Identity{}, wrong()
	}
	a.guard.succeeded(name, addr)
	a.logins.WithLabelValues("succeeded").Inc()
	who := Identity{Subject: u.name, Admin: u.admin}
	a.verified.put(mark, who)
	return who, nil
}

// maxName is the longest user name in bytes.
const maxName = 255

func wrong() error {
	return fail.E(fail.Unauthenticated, nil, "wrong user name or password").Code(oci.CodeUnauthorized)
}

// verified remembers credentials that were right a moment ago, so that a client that sends them with each request costs one hash every some seconds. It holds
// a keyed hash of them, with a key that lives as long as the process.
type verified struct {
	clock func() time.Time
	key   []byte
	mu    sync.Mutex
	held  map[[sha256.Size]byte]verifiedLogin
}

type verifiedLogin struct {
	who Identity
	end time.Time
}

const (
	// verifiedTime is how long a login counts: a withdrawn password is good for that long on this node.
	verifiedTime = 10 * time.Second
	// verifiedMost bounds the table; beyond it, it begins anew.
	verifiedMost = 10_000
)

func newVerified(clock func() time.Time) *verified {
	v := &verified{clock: clock, key: make([]byte, sha256.Size), held: map[[sha256.Size]byte]verifiedLogin{}}
	rand.Read(v.key)
	return v
}

func (v *verified) mark(name, password string) (m [sha256.Size]byte) {
	h := hmac.New(sha256.New, v.key)
	h.Write(fmt.Appendf(nil, "%d %s%s", len(name), name, password))
	h.Sum(m[:0])
	return m
}

func (v *verified) get(m [sha256.Size]byte) (Identity, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := v.held[m]
	return l.who, ok && v.clock().Before(l.end)
}

func (v *verified) put(m [sha256.Size]byte, who Identity) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.held) >= verifiedMost {
		clear(v.held)
	}
	v.held[m] = verifiedLogin{who, v.clock().Add(verifiedTime)}
}

func (v *verified) clear() {
	v.mu.Lock()
	defer v.mu.Unlock()
	clear(v.held)
}
