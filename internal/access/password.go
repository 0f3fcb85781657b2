package access

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"math"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"sync"
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
	// hashesWaiting bounds the queue: at some 20 ms each, the last waits less than three seconds. One address has at most waitingOfAddress of its places, and one /48 of IPv6
	// waitingOfSite, so that a guesser can't take all of them and keep everybody else from logging in.
	hashesWaiting    = 128
	waitingOfAddress = 16
	waitingOfSite    = 32

	threads  = 1
	saltSize = 16
	keySize  = 32

	// maxPasses and maxMemoryKiB bound what a stored hash may ask for.
	maxPasses    = 64
	maxMemoryKiB = 64 << 10
	maxHashText  = 255
)

// hasher makes and checks hashes, a bounded number at once.
type hasher struct {
	cost   Cost
	places chan struct{}
	made   atomic.Int64 // hashes in all, for tests: a wrong guess costs one, whoever it names

	mu      sync.Mutex
	waiting int            // in the queue, or being made
	of      map[string]int // how many of these each address and site has
}

func newHasher(c Cost) *hasher {
	return &hasher{cost: c, places: make(chan struct{}, hashesAtOnce), of: map[string]int{}}
}

// queue takes a place in the queue for somebody at an address; "" is this process itself. It reports whether there is one.
func (h *hasher) queue(addr string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	near, around := network(addr), site(addr)
	if h.waiting >= hashesWaiting || addr != "" && (h.of[near] >= waitingOfAddress || h.of[around] >= waitingOfSite) {
		return false
	}
	h.change(near, around, 1)
	return true
}

// leave gives the place back.
func (h *hasher) leave(addr string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.change(network(addr), site(addr), -1)
}

func (h *hasher) change(near, around string, by int) {
	h.waiting += by
	for _, k := range []string{near, around} {
		if h.of[k] += by; h.of[k] == 0 {
			delete(h.of, k)
		}
		if near == around {
			return
		}
	}
}

func (h *hasher) key(ctx context.Context, addr, password string, salt []byte, c Cost) ([]byte, error) {
	if !h.queue(addr) {
		return nil, fail.E(fail.Exhausted, nil, "too many logins at once").Code(oci.CodeTooManyRequests).RetryAfter(time.Second).Hint("use tokens, or try again in a moment")
	}
	defer h.leave(addr)
	select {
	case h.places <- struct{}{}:
	case <-ctx.Done():
		return nil, fail.E(fail.Unavailable, ctx.Err(), "check a password")
	}
	defer func() { <-h.places }()
	h.made.Add(1)
	key := argon2.IDKey([]byte(password), salt, c.Passes, c.MemoryKiB, threads, keySize)
	if c.MemoryKiB<<10 >= liveHeap()/2 {
		runtime.GC()
	}
	return key, nil
}

// liveHeap is what the last collection left, in bytes. A collection while a hash is made takes its memory for live and lets the heap grow to twice of it; where that is much of what
// the program has at all, one more brings the heap back. It takes a fraction of the hash's time, as there is little to look through.
func liveHeap() uint32 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return uint32(min(sample[0].Value.Uint64(), math.MaxUint32))
}

// hash answers the PHC string of a password, for somebody at an address ("": for this process itself, or whom it trusts).
func (h *hasher) hash(ctx context.Context, addr, password string) (string, error) {
	p := phc{cost: h.cost, salt: make([]byte, saltSize)}
	rand.Read(p.salt)
	var err error
	if p.key, err = h.key(ctx, addr, password, p.salt, h.cost); err != nil {
		return "", err
	}
	return p.String(), nil
}

// matches compares the password that came from an address with a PHC string in constant time. A string of "" is nobody's: it takes as long and does not match.
func (h *hasher) matches(ctx context.Context, addr, text, password string) (bool, error) {
	p := phc{cost: h.cost, salt: make([]byte, saltSize)}
	if text != "" {
		var err error
		if p, err = parsePHC(text); err != nil {
			return false, err
		}
	}
	got, err := h.key(ctx, addr, password, p.salt, p.cost)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(got, p.key) == 1, nil
}

// isStale reports whether a hash, which was read before, was made at another cost than today's.
func (h *hasher) isStale(text string) bool {
	p, err := parsePHC(text)
	return err == nil && p.cost != h.cost
}

// phc is a hash in the form that others write too: $argon2id$v=19$m=9216,t=4,p=1$salt$key.
type phc struct {
	cost      Cost
	salt, key []byte
}

// String answers the form that parsePHC reads.
func (p phc) String() string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.cost.MemoryKiB, p.cost.Passes, threads, b64(p.salt), b64(p.key))
}

func parsePHC(text string) (phc, error) {
	bad := func(cause error) (phc, error) {
		return phc{}, fail.E(fail.Internal, cause, "stored hash of a password can't be read").Hint("set the password again")
	}
	parts := strings.Split(text, "$")
	if len(text) > maxHashText || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" || parts[2] != "v="+strconv.Itoa(argon2.Version) {
		return bad(nil)
	}
	var p phc
	memory, rest, _ := strings.Cut(parts[3], ",")
	passes, lanes, _ := strings.Cut(rest, ",")
	var okMemory, okPasses bool
	p.cost.MemoryKiB, okMemory = parameter(memory, "m=", maxMemoryKiB)
	p.cost.Passes, okPasses = parameter(passes, "t=", maxPasses)
	if !okMemory || !okPasses || lanes != "p="+strconv.Itoa(threads) {
		return bad(nil)
	}
	var err error
	if p.salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4]); err != nil || len(p.salt) < saltSize/2 {
		return bad(err)
	}
	if p.key, err = base64.RawStdEncoding.Strict().DecodeString(parts[5]); err != nil || len(p.key) != keySize {
		return bad(err)
	}
	return p, nil
}

func parameter(text, name string, most uint64) (uint32, bool) {
	digits, ok := strings.CutPrefix(text, name)
	n, err := strconv.ParseUint(digits, 10, 32)
	return uint32(n), ok && err == nil && n >= 1 && n <= most
}
