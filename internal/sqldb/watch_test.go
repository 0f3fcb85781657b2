package sqldb

import (
	"context"
	"database/sql/driver"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// town is a family of servers that a test moves: what each says of itself, or the error that it answers with.
type town struct {
	mu     sync.Mutex
	says   map[string]sight
	errors map[string]error
	looks  map[string]int
	dialed func(addr string) // where set, what happens while a connection is made
	slow   time.Duration     // before b:1 lets anybody in
}

// inn is a connection to a server of the town, for looks alone.
type inn struct {
	driver.Conn

	addr string
}

func (inn) Close() error { return nil }

func (f *town) put(addr string, s sight, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.says[addr], f.errors[addr] = s, err
}

func (f *town) connect(ctx context.Context, addr string, _ dialer) (driver.Conn, error) {
	if f.dialed != nil {
		f.dialed(addr)
	}
	c, err := f.visit(ctx, addr)
	return guest{Conn: c, addr: addr}, err
}

// guest is a connection to a server of the town that is handed to the pool.
type guest struct {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Pinger

	addr string
}

func (f *town) visit(_ context.Context, addr string) (driver.Conn, error) {
	if addr == "b:1" {
		<-time.After(f.slow)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.errors[addr] != nil {
		f.looks[addr]++
	}
	return inn{addr: addr}, f.errors[addr]
}

func (f *town) look(_ context.Context, c driver.Conn) (sight, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at, ok := c.(inn)
	if !ok {
		return sight{}, driver.ErrBadConn
	}
	f.looks[at.addr]++
	return f.says[at.addr], f.errors[at.addr]
}

func (f *town) classify(err error) meaning {
	if fail.HintOf(err) != "" {
		return meaning{kind: fail.Unavailable, hint: fail.HintOf(err)}
	}
	return meaning{reason: reasonNode, hint: adviceOn(err)}
}

// open starts to watch a town.
func (f *town) open(t *testing.T, clock func() time.Time, members string, hosts ...string) (*watch, error) {
	t.Helper()
	w := newWatch(&Config{Hosts: hosts, Discover: true, Members: members, Clock: clock, Log: slog.New(slog.DiscardHandler)}, newMetrics(nil), f)
	t.Cleanup(w.close)
	return w, w.start(t.Context())
}

func newTown() *town {
	return &town{says: map[string]sight{}, errors: map[string]error{}, looks: map[string]int{}}
}

// await waits until a server is the one that is written to; "": none is.
func await(t *testing.T, w *watch, addr string) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		w.mu.Lock()
		changed, current := w.changed, w.members.current
		w.mu.Unlock()
		if current == nil && addr == "" || current != nil && current.addr == addr {
			return
		}
		select {
		case <-changed:
		case <-time.After(20 * time.Millisecond): // a move without a change: somebody was slow
		}
		if time.Now().After(deadline) {
			t.Fatalf("%q is not written to; %+v", addr, w.servers())
		}
	}
}

func TestAServerThatWasDiscoveredTakesOverAndIsRemembered(t *testing.T) {
	t.Parallel()
	f := newTown()
	f.put("a:1", sight{cond: fit, group: "g", others: []string{"a:1", "b:1", "AUTO", ":0"}}, nil)
	f.put("b:1", sight{cond: fit, group: "g"}, nil)
	path := filepath.Join(t.TempDir(), "hosts.json")
	w, err := f.open(t, time.Now, path, "a:1")
	if err != nil {
		t.Fatal(err)
	}
	w.seen(t.Context())
	await(t, w, "a:1")
	f.put("a:1", sight{}, net.ErrClosed)
	await(t, w, "b:1")
	if len(w.servers()) != 2 {
		t.Errorf("the servers are %+v", w.servers())
	}
	// The next start, while the configured one is down.
	again, err := f.open(t, time.Now, path, "a:1")
	if err != nil {
		t.Fatal(err)
	}
	await(t, again, "b:1")
}

// looked waits until a server was looked at again, from the beginning to the end and what follows from it.
func (f *town) looked(t *testing.T, addr string) {
	t.Helper()
	count := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.looks[addr]
	}
	for begun, deadline := count(), time.Now().Add(time.Minute); count() < begun+3; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is not looked at", addr)
		}
	}
}

// has waits until exactly these servers are known.
func has(t *testing.T, w *watch, want ...string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		var have []string
		for _, s := range w.servers() {
			have = append(have, s.Addr)
		}
		if slices.Equal(have, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("known are %v, want %v", have, want)
		}
	}
}

// downBut waits until each server but these was seen to be down.
func downBut(t *testing.T, w *watch, up ...string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if !slices.ContainsFunc(w.servers(), func(s Server) bool { return s.State != down.String() && !slices.Contains(up, s.Addr) }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", w.servers())
		}
	}
}

// TestAServerThatTheClusterNamesNoMoreIsDropped: it is not looked at, shown and remembered for as long as the process lives, but while it answers or is named, and while nobody can say who the
// cluster's servers are.
func TestAServerThatTheClusterNamesNoMoreIsDropped(t *testing.T) {
	t.Parallel()
	f := newTown()
	both := sight{cond: fit, group: "g", others: []string{"a:1", "b:1", "c:1"}}
	f.put("a:1", both, nil)
	f.put("b:1", both, nil)
	f.put("c:1", both, nil)
	var behind atomic.Int64
	clock := func() time.Time { return time.Unix(1700000000, behind.Load()) }
	path := filepath.Join(t.TempDir(), "hosts.json")
	w, err := f.open(t, clock, path, "a:1")
	if err != nil {
		t.Fatal(err)
	}
	has(t, w, "a:1", "b:1", "c:1")
	// b is down and still named; c is named by nobody, and answers.
	f.put("b:1", sight{}, net.ErrClosed)
	f.put("c:1", sight{cond: fit, group: "g"}, nil)
	f.put("a:1", sight{cond: fit, group: "g", others: []string{"a:1", "b:1"}}, nil)
	downBut(t, w, "a:1", "c:1")
	behind.Add(int64(2 * dropTime))
	f.looked(t, "a:1")
	has(t, w, "a:1", "b:1", "c:1")
	// c is down too, and a can't say anything.
	f.put("a:1", sight{}, net.ErrClosed)
	f.put("c:1", sight{}, net.ErrClosed)
	await(t, w, "")
	downBut(t, w)
	behind.Add(int64(2 * dropTime))
	f.looked(t, "a:1")
	has(t, w, "a:1", "b:1", "c:1")
	f.put("a:1", sight{cond: fit, group: "g", others: []string{"a:1", "b:1"}}, nil)
	has(t, w, "a:1", "b:1")
	// The file is written behind that.
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		body, readErr := os.ReadFile(path)
		if readErr == nil && !strings.Contains(string(body), "c:1") && strings.Contains(string(body), "b:1") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("remembered are %s, %v", body, readErr)
		}
	}
	// It comes back where it is named again.
	f.put("c:1", both, nil)
	f.put("a:1", both, nil)
	has(t, w, "a:1", "b:1", "c:1")
	f.put("a:1", sight{}, net.ErrClosed)
	await(t, w, "c:1")
}

// TestANewServerTakesThePlaceOfOneThatIsGone: in a cluster whose servers get another address with each restart.
func TestANewServerTakesThePlaceOfOneThatIsGone(t *testing.T) {
	t.Parallel()
	f := newTown()
	old := []string{"a:1"}
	for i := range mostMembers - 1 {
		old = append(old, fmt.Sprintf("b:%d", 100+i))
		f.put(old[i+1], sight{}, net.ErrClosed)
	}
	f.put("a:1", sight{cond: fit, group: "g", others: old}, nil)
	var behind atomic.Int64
	w, err := f.open(t, func() time.Time { return time.Unix(1700000000, behind.Load()) }, "", "a:1")
	if err != nil {
		t.Fatal(err)
	}
	has(t, w, old...)
	downBut(t, w, "a:1")
	f.put("b:200", sight{cond: fit, group: "g"}, nil)
	f.put("a:1", sight{cond: fit, group: "g", others: []string{"a:1", "b:200"}}, nil)
	f.looked(t, "a:1")
	has(t, w, old...) // they may be away for a moment
	behind.Add(int64(crowdedTime))
	has(t, w, slices.Concat([]string{"a:1"}, old[2:], []string{"b:200"})...)
	f.put("a:1", sight{}, net.ErrClosed)
	await(t, w, "b:200")
}

func TestAConnectionToAServerThatWasLeftWhileItWasMadeIsNotUsed(t *testing.T) {
	t.Parallel()
	f := newTown()
	f.put("a:1", sight{cond: fit}, nil)
	f.put("b:1", sight{cond: fit}, nil)
	w, err := f.open(t, time.Now, "", "a:1", "b:1")
	if err != nil {
		t.Fatal(err)
	}
	w.seen(t.Context())
	await(t, w, "a:1")
	f.dialed = func(addr string) {
		if addr == "a:1" {
			f.put("a:1", sight{cond: unfit, why: "is a standby"}, nil)
			await(t, w, "b:1")
		}
	}
	c, err := w.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, ok := c.(*memberConn)
	if !ok || got.m.addr != "b:1" || !got.IsValid() {
		t.Errorf("the connection is %+v", c)
	}
	// Servers that are left again and again are no connection at all, and worth another try.
	f.dialed = func(string) { w.turn.Add(1) }
	if c, err = w.Connect(t.Context()); c != nil || !isRefusal(err) {
		t.Errorf("the connection is %+v, %v", c, err)
	}
}

// TestAPrimaryThatWasReplacedIsLeftSoon: it may go on answering what it knew, and only the new one says so.
func TestAPrimaryThatWasReplacedIsLeftSoon(t *testing.T) {
	t.Parallel()
	for engine, want := range map[Engine]time.Duration{Postgres: lookEvery, MySQL: restEvery} {
		w := newWatch(&Config{Engine: engine, Hosts: []string{"a:1", "b:1"}, Clock: time.Now, Log: slog.New(slog.DiscardHandler)}, newMetrics(nil), newTown())
		defer w.close()
		w.note(w.members.all[0], sight{cond: fit})
		if got := w.pause(w.members.all[1]); got != want {
			t.Errorf("%s: the servers that are not in use are looked at after %s, want %s", engine, got, want)
		}
	}
}

// TestReadsMayBeAheadWhereAnyServerWaitsForAnother: which one answers may change between two statements, and not all have the same settings.
func TestReadsMayBeAheadWhereAnyServerWaitsForAnother(t *testing.T) {
	t.Parallel()
	w := newWatch(&Config{Engine: Postgres, Hosts: []string{"a:1", "b:1"}, Clock: time.Now, Log: slog.New(slog.DiscardHandler)}, newMetrics(nil), newTown())
	defer w.close()
	a, b := w.members.all[0], w.members.all[1]
	w.note(a, sight{cond: fit})
	w.note(b, sight{cond: unfit, standby: true})
	if w.ahead() {
		t.Error("reads are ahead of commits that wait for nobody")
	}
	w.note(b, sight{cond: unfit, standby: true, ahead: true})
	if !w.ahead() {
		t.Error("a standby that will wait for others when it is promoted is forgotten")
	}
	w.note(b, sight{cond: unfit, standby: true})
	w.note(a, sight{cond: fit, ahead: true})
	w.failed(a, net.ErrClosed)
	if !w.ahead() {
		t.Error("what a server said of itself is forgotten while it does not answer")
	}
}

func TestAPrimaryThatWasReplacedIsNotUsedAfterARestart(t *testing.T) {
	t.Parallel()
	f := newTown()
	old, promoted := sight{cond: fit, group: "g", timeline: 1}, sight{cond: fit, group: "g", timeline: 2}
	f.put("a:1", old, nil)
	f.put("b:1", sight{cond: unfit, group: "g", standby: true}, nil)
	path := filepath.Join(t.TempDir(), "hosts.json")
	open := func(kept bool) (*watch, error) {
		w := newWatch(&Config{Engine: Postgres, Hosts: []string{"a:1", "b:1"}, Members: path, KeepMembers: kept, Clock: time.Now, Log: slog.New(slog.DiscardHandler)}, newMetrics(nil), f)
		t.Cleanup(w.close)
		return w, w.start(t.Context())
	}
	w, err := open(false)
	if err != nil {
		t.Fatal(err)
	}
	await(t, w, "a:1")
	f.put("b:1", promoted, nil)
	await(t, w, "b:1")
	w.close()

	// The new primary is down, and the old one, which knows nothing, is there again.
	f.put("b:1", sight{}, net.ErrClosed)
	for _, kept := range []bool{true, false} {
		if w, err = open(kept); err == nil {
			t.Fatalf("a primary that was replaced is used: %+v", w.servers())
		}
		if !strings.Contains(err.Error(), "it was replaced") || !strings.Contains(fail.HintOf(settled(err)), path) {
			t.Errorf("%v, hint %q", err, fail.HintOf(settled(err)))
		}
		w.close()
	}
	// Another cluster counts its own.
	f.put("a:1", sight{cond: fit, group: "h", timeline: 1}, nil)
	if w, err = open(true); err != nil {
		t.Fatal(err)
	}
	await(t, w, "a:1")
	w.close()
	f.put("a:1", old, nil)
	f.put("b:1", promoted, nil)
	if w, err = open(false); err != nil {
		t.Fatal(err)
	}
	await(t, w, "b:1")
	w.close()
	// Somebody decided for the old one.
	if err = os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.put("b:1", sight{}, net.ErrClosed)
	if w, err = open(false); err != nil {
		t.Fatal(err)
	}
	await(t, w, "a:1")
}

// TestAStartWaitsForTheServerThatReplacedAnother: the one that was replaced answers first.
func TestAStartWaitsForTheServerThatReplacedAnother(t *testing.T) {
	t.Parallel()
	f := newTown()
	f.slow = settleTime + settleTime/4
	f.put("a:1", sight{cond: fit, group: "g", timeline: 1}, nil)
	f.put("b:1", sight{cond: fit, group: "g", timeline: 2}, nil)
	w := newWatch(&Config{Engine: Postgres, Hosts: []string{"a:1", "b:1"}, Clock: time.Now, Log: slog.New(slog.DiscardHandler)}, newMetrics(nil), f)
	t.Cleanup(w.close)
	if err := w.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m, _, err := w.target(); err != nil || m.addr != "b:1" {
		t.Errorf("begun with another: %v; %+v", err, w.servers())
	}
}

func TestAStartWithTwoServersWithoutGaleraFails(t *testing.T) {
	t.Parallel()
	f := newTown()
	f.slow = settleTime + settleTime/4
	f.put("a:1", sight{cond: fit, group: "a", alone: true}, nil)
	f.put("b:1", sight{cond: fit, group: "b", alone: true}, nil)
	w, err := f.open(t, time.Now, "", "a:1", "b:1")
	if !fail.Is(err, fail.Invalid) || isRefusal(err) || !strings.Contains(fail.HintOf(err), "Galera") {
		t.Fatalf("it begins with one of them: %v", err)
	}
	w.close()
	// One of them follows the other, or is down.
	for _, other := range []error{nil, net.ErrClosed} {
		f.put("b:1", sight{cond: unfit, why: "is read-only", group: "b", alone: true}, other)
		if w, err = f.open(t, time.Now, "", "a:1", "b:1"); err != nil {
			t.Fatal(err)
		}
		await(t, w, "a:1")
	}
	// It can be written to later, and the one in use is down.
	f.put("b:1", sight{cond: fit, group: "b", alone: true}, nil)
	f.put("a:1", sight{}, net.ErrClosed)
	await(t, w, "")
	w.seen(t.Context())
	if m, _, targetErr := w.target(); targetErr == nil {
		t.Errorf("%s is used", m.addr)
	}
}

func TestAStartWithoutAServerSaysOfEachWhyAndWhatToDo(t *testing.T) {
	t.Parallel()
	unknown := &net.DNSError{Err: "no such host", Name: "b"}
	refused := fail.E(fail.Unavailable, nil, "access denied").Hint("look at the password")
	for _, c := range []struct {
		name  string
		a, b  error
		hint  string
		again bool // it may pass by itself
	}{
		{"nobody is there", net.ErrClosed, net.ErrClosed, "look at the servers; `havn db check` says more", true},
		{"a name is unknown", net.ErrClosed, unknown, "correct the name in database.hosts, or look at this machine's name servers", true},
		{"one refuses us", net.ErrClosed, refused, "look at the password", false},
		{"one refuses us, and a name is unknown", refused, unknown, "look at the password", false},
	} {
		f := newTown()
		f.put("a:1", sight{}, c.a)
		f.put("b:1", sight{}, c.b)
		_, err := f.open(t, time.Now, "", "a:1", "b:1")
		if isRefusal(err) != c.again || fail.HintOf(settled(err)) != c.hint {
			t.Errorf("%s: %v, hint %q, may pass %v", c.name, err, fail.HintOf(settled(err)), isRefusal(err))
		}
	}
}

func TestCallersAreRefusedAtOnceWhenNoServerWasThereForLong(t *testing.T) {
	t.Parallel()
	f := newTown()
	f.put("a:1", sight{cond: fit}, nil)
	var mu sync.Mutex
	now := time.Unix(1700000000, 0)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}
	w, err := f.open(t, clock, "", "a:1")
	if err != nil {
		t.Fatal(err)
	}
	f.put("a:1", sight{cond: unfit, why: "has no quorum"}, nil)
	await(t, w, "")
	if err = w.hopeless(); err != nil {
		t.Errorf("at once it is given up: %v", err)
	}
	mu.Lock()
	now = now.Add(hopelessTime)
	mu.Unlock()
	if err = w.hopeless(); err == nil {
		t.Error("it is waited for a server that does not come")
	}
	f.put("a:1", sight{cond: fit}, nil)
	await(t, w, "a:1")
	if err = w.hopeless(); err != nil {
		t.Errorf("with a server that is back it is given up: %v", err)
	}
}

// TestALookThatEndedIsNotFoundToHang lets the timer of a look come to its turn behind the look's end.
func TestALookThatEndedIsNotFoundToHang(t *testing.T) {
	t.Parallel()
	w := newWatch(&Config{Hosts: []string{"a:1", "b:1"}, Clock: time.Now, Log: slog.New(slog.DiscardHandler)}, newMetrics(nil), nil)
	defer w.close()
	a, b := w.members.all[0], w.members.all[1]
	for _, m := range []*member{a, b} {
		w.note(m, sight{cond: fit})
	}
	late, next := new(bool), new(bool)
	w.answered(a, late)
	w.hung(a, late)
	if w.members.current != a {
		t.Errorf("%s is used: %s", w.members.current.addr, w.members.describe(time.Now()))
	}
	w.hung(a, next)
	if w.members.current != b {
		t.Errorf("one that hangs is used: %s", w.members.describe(time.Now()))
	}
}
