package deployment

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// fake is a server that is no process.
type fake struct {
	mu              sync.Mutex
	running, paused bool
	starts          int
	refuses         error         // to start
	works           chan struct{} // closed when it does its work; nil: at once
}

func (f *fake) Start(ctx context.Context) error {
	err := f.Begin()
	if err != nil || f.works == nil {
		return err
	}
	select {
	case <-f.works:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *fake) Begin() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuses == nil {
		f.starts++
		f.running = true
	}
	return f.refuses
}

func (f *fake) Kill() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.running, f.paused = false, false
}

func (f *fake) pause(on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused = on
	return nil
}
func (f *fake) Pause() error  { return f.pause(true) }
func (f *fake) Resume() error { return f.pause(false) }

func (f *fake) Running() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.running
}
func (f *fake) Log() string { return "/nowhere/log" }

// stage is a lab of fakes, behind a real socket.
type stage struct {
	*Deployment
	client *Client
	socket *socket
	fakes  map[string]*fake
	ended  context.Context
}

// short makes a directory with a short path, for the test.
func short(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lab-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if removeErr := os.RemoveAll(dir); removeErr != nil {
			t.Error(removeErr)
		}
	})
	return dir
}

// newStage makes one with these parts: havn-1 is of the kind havn, and begun again when it ends.
func newStage(t *testing.T, names ...string) *stage {
	t.Helper()
	dir := short(t)
	place, err := enter(dir)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	s := &stage{
		Deployment: &Deployment{o: Options{Dir: dir}, say: t.Logf, proxy: &lab.HAProxy{URL: "http://front"}, nodes: []*lab.Havn{{}}, ldap: &lab.LDAP{}},
		client:     NewClient(dir), fakes: map[string]*fake{}, ended: ctx,
	}
	for _, name := range names {
		f := &fake{running: true}
		s.fakes[name] = f
		kind, _, _ := strings.Cut(name, "-")
		p := &part{name: name, kind: kind, server: f, check: func(context.Context) (string, error) { return "fine", nil }}
		if kind == "havn" {
			p.begin = f.Begin
		}
		s.parts = append(s.parts, p)
	}
	if s.socket, err = listen(ctx, cancel, s.Deployment); err != nil {
		t.Fatal(err)
	}
	s.socket.ready.Store(true)
	t.Cleanup(func() {
		cancel()
		if ctxErr := context.Cause(s.ended); ctxErr == nil {
			t.Error("the lab did not end")
		}
		s.socket.close(context.Background())
		if removeErr := place.remove(); removeErr != nil {
			t.Error(removeErr)
		}
	})
	return s
}

func (s *stage) do(t *testing.T, verb string, r Request) string {
	t.Helper()
	text, err := s.client.Do(t.Context(), verb, r)
	if err != nil {
		t.Fatalf("%s %v: %v", verb, r.Names, err)
	}
	return text
}

// states answers the states of all parts, by name.
func (s *stage) states(t *testing.T) (string, map[string]PartStatus) {
	t.Helper()
	got, err := s.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]PartStatus{}
	for _, p := range got.Parts {
		all[p.Name] = p
	}
	return got.State, all
}

func TestAKilledPartStaysDeadUntilItIsRestarted(t *testing.T) {
	t.Parallel()
	s := newStage(t, "redis-1", "havn-1", "havn-2")
	if state, all := s.states(t); state != Whole || all["havn-1"].State != Up || all["havn-1"].Note != "fine" {
		t.Errorf("%s %v", state, all)
	}
	s.do(t, "kill", Request{Names: []string{"havn-1", "redis"}})
	s.keep()
	state, all := s.states(t)
	if state != Damaged || all["havn-1"].State != Down || all["redis-1"].State != Down || all["havn-2"].State != Up {
		t.Errorf("%s %v", state, all)
	}
	s.do(t, "restart", Request{Names: []string{"redis-1", "havn"}})
	if state, all = s.states(t); state != Whole || s.fakes["havn-2"].starts != 1 {
		t.Errorf("%s %v", state, all)
	}
}

func TestANodeThatEndsByItselfIsStartedAgainAndOthersAreNot(t *testing.T) {
	t.Parallel()
	s := newStage(t, "redis-1", "havn-1")
	s.fakes["havn-1"].Kill()
	s.fakes["redis-1"].Kill()
	s.keep()
	_, all := s.states(t)
	if got := all["havn-1"]; got.State != Up || !strings.Contains(got.Note, "started again: 1") {
		t.Errorf("%v", got)
	}
	if got := all["redis-1"]; got.State != Down || !strings.Contains(got.Note, "by itself") {
		t.Errorf("%v", got)
	}
}

func TestVerbsDoNotWaitForANodeThatIsStartedAgain(t *testing.T) {
	t.Parallel()
	s := newStage(t, "redis-1", "havn-1")
	// It is not ready before redis-1 is healed, say.
	s.fakes["havn-1"].works = make(chan struct{})
	defer close(s.fakes["havn-1"].works)
	s.fakes["havn-1"].Kill()
	go s.keep()
	for deadline := time.Now().Add(time.Minute); !s.fakes["havn-1"].Running(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not started again")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if text, err := s.client.Do(ctx, "heal", Request{Names: []string{"redis-1"}}); err != nil {
		t.Errorf("heal: %q, %v", text, err)
	}
}

func TestAPartHangsForAsLongAsWasSaid(t *testing.T) {
	t.Parallel()
	s := newStage(t, "redis-1")
	s.do(t, "kill", Request{Names: []string{"redis-1"}, Hang: time.Hour})
	if state, all := s.states(t); state != Damaged || all["redis-1"].State != Hangs {
		t.Errorf("%s %v", state, all)
	}
	// What hangs anew hangs for the new time.
	s.do(t, "kill", Request{Names: []string{"redis-1"}, Hang: time.Millisecond})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		state, all := s.states(t)
		if state == Whole {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s %v", state, all)
		}
	}
	s.fakes["redis-1"].mu.Lock()
	paused := s.fakes["redis-1"].paused
	s.fakes["redis-1"].mu.Unlock()
	if paused {
		t.Error("it was not let go on")
	}
	s.do(t, "kill", Request{Names: []string{"redis-1"}})
	if _, err := s.client.Do(t.Context(), "kill", Request{Names: []string{"redis-1"}, Hang: time.Second}); !fail.Is(err, fail.Conflict) {
		t.Errorf("a dead one hangs: %v", err)
	}
}

func TestARefusalReachesTheOneWhoAsked(t *testing.T) {
	t.Parallel()
	s := newStage(t, "redis-1")
	_, err := s.client.Do(t.Context(), "kill", Request{Names: []string{"redis-7"}})
	if !fail.Is(err, fail.NotFound) || !strings.Contains(err.Error(), "redis-7") || !strings.Contains(fail.HintOf(err), "redis-1") {
		t.Errorf("%v, hint %q", err, fail.HintOf(err))
	}
	s.fakes["redis-1"].refuses = fail.E(fail.Unavailable, errors.New("no room"), "start redis-1").Hint("make room")
	_, err = s.client.Do(t.Context(), "restart", Request{Names: []string{"redis-1"}})
	if !fail.Is(err, fail.Unavailable) || err.Error() != "start redis-1: no room" || fail.HintOf(err) != "make room" {
		t.Errorf("%v, hint %q", err, fail.HintOf(err))
	}
	s.socket.ready.Store(false)
	if _, err = s.client.Do(t.Context(), "restart", Request{Names: []string{"redis-1"}}); !fail.Is(err, fail.Unavailable) {
		t.Errorf("while it starts: %v", err)
	}
	if state, _ := s.states(t); state != Starting {
		t.Errorf("while it starts: %s", state)
	}
}

func TestOneLabAtATimeInADirectoryAndNothingElseInIt(t *testing.T) {
	t.Parallel()
	dir := short(t)
	first, err := enter(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = enter(dir); !fail.Is(err, fail.Conflict) {
		t.Errorf("a second lab: %v", err)
	}
	mine := filepath.Join(dir, "data")
	// A process that ends lets go of its lock. To close the file is not enough here: what other tests fork at this moment has it too, until it runs another program.
	if err = errors.Join(os.WriteFile(mine, nil, 0o600), syscall.Flock(int(first.lock.Fd()), syscall.LOCK_UN), first.lock.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err = enter(dir); !fail.Is(err, fail.Exists) || !strings.Contains(fail.HintOf(err), "havn lab down") {
		t.Errorf("after a lab that was killed: %v", err)
	}
	if err = os.Remove(filepath.Join(dir, lockName)); err != nil {
		t.Fatal(err)
	}
	if _, err = enter(dir); !fail.Is(err, fail.Exists) || !strings.Contains(err.Error(), "no lab") {
		t.Errorf("somebody's directory: %v", err)
	}
	if was, downErr := NewClient(dir).Down(t.Context()); was || downErr != nil {
		t.Errorf("the end of no lab: %v %v", was, downErr)
	}
	if _, err = os.Stat(mine); err != nil {
		t.Errorf("somebody's file is gone: %v", err)
	}
	if _, err = enter(dir + strings.Repeat("x", longestDir)); !fail.Is(err, fail.Invalid) {
		t.Errorf("a path that is too long: %v", err)
	}
}

func TestDownRemovesWhatAKilledLabLeft(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	if was, err := NewClient(s.o.Dir + "-none").Down(t.Context()); was || err != nil {
		t.Errorf("none: %v %v", was, err)
	}
	dir := short(t)
	d, err := enter(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err = errors.Join(os.WriteFile(filepath.Join(dir, "left"), nil, 0o600), d.lock.Close()); err != nil {
		t.Fatal(err)
	}
	if was, downErr := NewClient(dir).Down(t.Context()); !was || downErr != nil {
		t.Errorf("left by a killed lab: %v %v", was, downErr)
	}
	if _, err = os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}

func TestTheGroupsOfALabAreDistinctAndItsTableIsItsOwn(t *testing.T) {
	t.Parallel()
	d := &Deployment{o: Options{Dir: "/var/lib/havn-lab"}}
	groups := d.groups()
	slices.Sort(groups)
	if len(slices.Compact(slices.Clone(groups))) != nodes+len(cephNames()) {
		t.Errorf("groups %v", groups)
	}
	if table("/a") == table("/b") {
		t.Error("two labs share a table")
	}
}
