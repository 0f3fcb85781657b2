package access

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// mark stands for a name and a password.
type mark [sha256.Size]byte

// verified remembers credentials that were right a moment ago, so that a client that sends them with each request costs one hash every some seconds. It holds
// a keyed hash of them, with a key that lives as long as the process.
type verified struct {
	clock  func() time.Time
	key    []byte
	mu     sync.Mutex
	held   map[mark]verifiedLogin
	times  int           // how often something was forgotten
	all    int           // the last of these times at which all were
	lately map[owner]int // or, behind that, somebody's
}

// owner is whose login it was: one of both is 0.
type owner struct{ user, robot int64 }

type verifiedLogin struct {
	who Identity
	end time.Time
}

const (
	// verifiedTime is how long a login counts: a withdrawn password is good for that long on other nodes.
	verifiedTime = 10 * time.Second
	// verifiedMost bounds the table; beyond it, it begins anew.
	verifiedMost = 10_000
	// latelyMost bounds whose logins are known to have been forgotten; beyond it, all are.
	latelyMost = 1000
)

func newVerified(clock func() time.Time) *verified {
	v := &verified{clock: clock, key: make([]byte, sha256.Size), held: map[mark]verifiedLogin{}, lately: map[owner]int{}}
	rand.Read(v.key)
	return v
}

func (v *verified) mark(name, password string) (m mark) {
	h := hmac.New(sha256.New, v.key)
	h.Write(fmt.Appendf(nil, "%d %s%s", len(name), name, password))
	h.Sum(m[:0])
	return m
}

func (v *verified) get(m mark) (Identity, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	l, ok := v.held[m]
	return l.who, ok && v.clock().Before(l.end)
}

// count answers how often something was forgotten, for put.
func (v *verified) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.times
}

// put remembers a login, unless somebody's of the same were forgotten since it began: it may have read the user before the change that this is about.
func (v *verified) put(m mark, who Identity, before int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.all > before || v.lately[owner{who.User, who.Robot}] > before {
		return
	}
	if len(v.held) >= verifiedMost {
		clear(v.held)
	}
	v.held[m] = verifiedLogin{who, v.clock().Add(verifiedTime)}
}

// forget forgets the logins of some. Those of others stay: whoever may change something of his own all the time must not make theirs slow.
func (v *verified) forget(whose ...owner) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.times++
	if len(v.lately)+len(whose) > latelyMost {
		v.drop()
		return
	}
	for _, o := range whose {
		v.lately[o] = v.times
	}
	maps.DeleteFunc(v.held, func(_ mark, l verifiedLogin) bool { return v.lately[owner{l.who.User, l.who.Robot}] == v.times })
}

// forgetAll forgets everybody's logins.
func (v *verified) forgetAll() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.times++
	v.drop()
}

func (v *verified) drop() {
	clear(v.held)
	clear(v.lately)
	v.all = v.times
}

// flights lets requests that bring the same credentials at the same time share one check: a client that opens ten connections costs one hash, and makes one guess.
type flights struct {
	mu    sync.Mutex
	under map[mark]*flight
}

type flight struct {
	done   chan struct{}
	shared bool // the result is anybody's, not only of the one that checked
	who    Identity
	err    error
}

func newFlights() *flights { return &flights{under: map[mark]*flight{}} }

// do runs check, or waits for one that runs already and takes its result if that is to be shared.
func (f *flights) do(ctx context.Context, m mark, check func() (who Identity, shared bool, err error)) (Identity, error) {
	for {
		f.mu.Lock()
		other := f.under[m]
		if other == nil {
			break
		}
		f.mu.Unlock()
		select {
		case <-ctx.Done():
			return Identity{}, fail.E(fail.Unavailable, ctx.Err(), "check a password")
		case <-other.done:
		}
		if other.shared {
			return other.who, other.err
		}
	}
	own := &flight{done: make(chan struct{})}
	f.under[m] = own
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.under, m)
		f.mu.Unlock()
		close(own.done)
	}()
	own.who, own.shared, own.err = check()
	return own.who, own.err
}
