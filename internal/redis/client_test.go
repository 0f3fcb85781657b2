package redis

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// patience is for events that must come, on however busy a machine.
const patience = time.Minute

// servers is a store in memory that can be made to fail, to hang and to be slow.
type servers struct {
	mu     sync.Mutex
	held   map[string][]byte
	fault  error         // of every operation
	reads  error         // of every get
	hang   chan struct{} // operations wait for its end, whatever their time
	asked  atomic.Int64
	closed atomic.Bool
}

func (s *servers) enter() error {
	s.asked.Add(1)
	s.mu.Lock()
	hang, fault := s.hang, s.fault
	s.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return fault
}

func (s *servers) be(fault error, hang chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.hang = fault, hang
}

func (s *servers) get(_ context.Context, key string) ([]byte, error) {
	if err := s.enter(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reads != nil {
		return nil, s.reads
	}
	if v, ok := s.held[key]; ok {
		return v, nil
	}
	return nil, fail.E(fail.NotFound, nil, "key")
}

func (s *servers) set(_ context.Context, key string, value []byte, _ time.Duration) error {
	if err := s.enter(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held[key] = value
	return nil
}

func (s *servers) run(context.Context, string, []string, []string) ([]int64, error) {
	return []int64{0}, s.enter()
}

func (s *servers) close() { s.closed.Store(true) }

// begin runs a client on stores that connect makes, until the test ends.
func begin(t *testing.T, c Config, connect func() (*servers, error)) *Client {
	t.Helper()
	c.Addrs = []string{"127.0.0.1:1"}
	client, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	client.connect = func(context.Context) (*link, error) {
		s, connectErr := connect()
		if connectErr != nil {
			return nil, connectErr
		}
		return &link{mode: Single, store: s, circuits: newCircuits(Single, client.cfg.Prefix, client.cfg.Clock())}, nil
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- client.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if runErr := <-ended; runErr != nil {
			t.Error(runErr)
		}
	})
	return client
}

// until waits for something that must become true.
func until(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !yes(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func reached(c *Client) func() bool {
	return func() bool { s := c.State(); return s.Parts > 0 && s.Open == 0 }
}

func one(s *servers) func() (*servers, error) { return func() (*servers, error) { return s, nil } }

func TestValuesComeBack(t *testing.T) {
	t.Parallel()
	s := &servers{held: map[string][]byte{}}
	c := begin(t, Config{Timeout: patience}, one(s))
	if _, err := c.Get(t.Context(), "early"); err != nil && !fail.Is(err, fail.Unavailable) && !fail.Is(err, fail.NotFound) {
		t.Fatal(err)
	}
	until(t, "reached", reached(c))
	if _, err := c.Get(t.Context(), "a"); !fail.Is(err, fail.NotFound) {
		t.Fatalf("an absent key: %v", err)
	}
	c.Put("a", []byte("value"), time.Hour)
	until(t, "stored", func() bool {
		got, err := c.Get(t.Context(), "a")
		return err == nil && string(got) == "value"
	})
	if !slices.Contains(keys(s), "havn:a") {
		t.Errorf("keys %q lack the prefix", keys(s))
	}
	c.Put("large", bytes.Repeat([]byte("x"), MaxValue+1), time.Hour)
	c.Put("last", nil, time.Hour)
	until(t, "stored", func() bool { return slices.Contains(keys(s), "havn:last") })
	if slices.Contains(keys(s), "havn:large") {
		t.Error("a value beyond the bound was stored")
	}
}

func keys(s *servers) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for k := range s.held {
		all = append(all, k)
	}
	return all
}

func TestWhatHangsIsGoneAroundAndFoundAgain(t *testing.T) {
	t.Parallel()
	s := &servers{held: map[string][]byte{}}
	c := begin(t, Config{Timeout: 20 * time.Millisecond}, one(s))
	until(t, "reached", reached(c))
	hang := make(chan struct{})
	s.be(nil, hang)
	until(t, "gone around", func() bool {
		_, err := c.Get(t.Context(), "a")
		if !fail.Is(err, fail.Unavailable) {
			t.Fatalf("a server that hangs: %v", err)
		}
		return c.State().Open == 1
	})
	before := s.asked.Load()
	for range 1000 {
		if _, err := c.Get(t.Context(), "a"); !fail.Is(err, fail.Unavailable) {
			t.Fatalf("while it hangs: %v", err)
		}
	}
	if n := s.asked.Load() - before; n > 100 { // the probes
		t.Errorf("%d of 1000 requests asked a server that hangs", n)
	}
	if c.State().Reason == "" {
		t.Error("nobody says why it is gone around")
	}
	s.be(nil, nil)
	close(hang)
	until(t, "found again", reached(c))
}

// TestSlowWritesDoNotSpeakForRedis has every read time out, and between two of them as many writes succeed as outweigh one, each slower than a read may be.
func TestSlowWritesDoNotSpeakForRedis(t *testing.T) {
	t.Parallel()
	c, err := New(Config{Addrs: []string{"127.0.0.1:1"}})
	if err != nil {
		t.Fatal(err)
	}
	l := &link{mode: Single, circuits: newCircuits(Single, c.cfg.Prefix, c.cfg.Clock())}
	l.circuits[0].close(c.cfg.Clock())
	for range tripWeight {
		c.judge(l, "a", "get", unanswered(), c.cfg.Timeout)
		for range failureWeight {
			c.judge(l, "a", "put", nil, 2*c.cfg.Timeout)
		}
	}
	if !l.circuits[0].open.Load() {
		t.Error("a Redis that answers too late for every request is asked on")
	}
}

// TestWhatComesAndGoesIsSaidOnce has probes succeed and reads fail.
func TestWhatComesAndGoesIsSaidOnce(t *testing.T) {
	t.Parallel()
	var log journal
	s := &servers{held: map[string][]byte{}}
	c := begin(t, Config{Timeout: patience, Log: slog.New(slog.NewTextHandler(&log, nil))}, one(s))
	until(t, "reached", reached(c))
	s.mu.Lock()
	s.reads = fail.E(fail.Unavailable, nil, "no read")
	s.mu.Unlock()
	for range 3 {
		until(t, "gone around", func() bool {
			if _, err := c.Get(t.Context(), "a"); err == nil {
				t.Error("a read succeeds")
			}
			return c.State().Open == 1
		})
		until(t, "asked again", reached(c))
	}
	if n := log.count("requests go around it"); n != 1 {
		t.Errorf("that it does not answer is said %d times", n)
	}
	if n := log.count(allWell); n != 1 {
		t.Errorf("that all is well is said %d times", n)
	}
}

// journal is a log that is read while it is written.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *journal) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *journal) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

func TestAPingFindsOutAboutPartsThatNobodyUses(t *testing.T) {
	t.Parallel()
	s := &servers{held: map[string][]byte{}}
	c := begin(t, Config{Timeout: patience}, one(s))
	until(t, "reached", reached(c))
	all := newCircuits(Cluster, c.cfg.Prefix, c.cfg.Clock())
	for _, part := range all {
		part.close(c.cfg.Clock())
	}
	dead := &servers{}
	dead.be(fail.E(fail.Unavailable, nil, "gone"), nil)
	c.link.Store(&link{mode: Cluster, store: dead, circuits: all})
	for range 2 {
		if _, err := c.Ping(t.Context()); !fail.Is(err, fail.Unavailable) {
			t.Errorf("a ping of one that is gone: %v", err)
		}
	}
	if state := c.State(); state.Open != state.Parts || state.Parts != parts {
		t.Errorf("after two pings: %+v", state)
	}
	c.link.Load().store.close()
}

func TestOneThatGivesUpDoesNotMakeRedisLookDead(t *testing.T) {
	t.Parallel()
	s := &servers{held: map[string][]byte{}}
	c := begin(t, Config{Timeout: patience}, one(s))
	until(t, "reached", reached(c))
	hang := make(chan struct{})
	s.be(nil, hang)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 50 {
		if _, err := c.Get(ctx, "a"); !fail.Is(err, fail.Unavailable) {
			t.Fatalf("a caller that is gone: %v", err)
		}
	}
	s.be(nil, nil)
	close(hang)
	if open := c.State().Open; open != 0 {
		t.Error("callers that gave up opened the circuit")
	}
}

func TestAHungRedisCollectsNoGoroutines(t *testing.T) {
	t.Parallel()
	s := &servers{held: map[string][]byte{}}
	c := begin(t, Config{Timeout: patience}, one(s))
	until(t, "reached", reached(c))
	hang := make(chan struct{})
	s.be(nil, hang)
	before := s.asked.Load()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 * maxUnderWay {
		if _, err := c.Get(ctx, "a"); err == nil {
			t.Fatal("an answer from one that hangs")
		}
	}
	until(t, "all asked", func() bool { return s.asked.Load()-before >= maxUnderWay })
	if n := s.asked.Load() - before; n > maxUnderWay {
		t.Errorf("%d under way, want at most %d", n, maxUnderWay)
	}
	for range 10 * laterCount {
		c.Put("a", make([]byte, 100<<10), time.Hour)
	}
	if n := c.queued.Load(); n > laterBytes {
		t.Errorf("%d bytes wait to be written, want at most %d", n, laterBytes)
	}
	s.be(nil, nil)
	close(hang)
}

func TestErrorsOfOneKeyAreNoReasonToGoAround(t *testing.T) {
	t.Parallel()
	s := &servers{held: map[string][]byte{}}
	c := begin(t, Config{Timeout: patience}, one(s))
	until(t, "reached", reached(c))
	for _, kind := range []fail.Kind{fail.Exhausted, fail.Conflict, fail.Internal} {
		s.be(fail.E(kind, nil, "no"), nil)
		for range 20 {
			if _, err := c.Get(t.Context(), "a"); !fail.Is(err, kind) {
				t.Fatalf("%s came back as %v", kind, err)
			}
		}
	}
	if c.State().Open != 0 {
		t.Error("errors of single operations opened the circuit")
	}
}

func TestAMovedRedisIsFoundByBeginningAnew(t *testing.T) {
	t.Parallel()
	var offset, dials atomic.Int64
	first, second := &servers{held: map[string][]byte{}}, &servers{held: map[string][]byte{}}
	c := begin(t, Config{Timeout: patience, Clock: func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }}, func() (*servers, error) {
		switch dials.Add(1) {
		case 1:
			return first, nil
		case 2:
			return nil, fail.E(fail.Unavailable, nil, "nobody is there")
		}
		return second, nil
	})
	until(t, "reached", reached(c))
	first.be(fail.E(fail.Unavailable, errors.New("gone"), "Redis"), nil)
	until(t, "another connection", func() bool {
		if _, err := c.Get(t.Context(), "a"); err == nil {
			t.Fatal("an answer from one that is gone")
		}
		offset.Add(int64(time.Second))
		time.Sleep(time.Millisecond)
		return c.link.Load().store == store(second)
	})
	until(t, "found again", reached(c))
	until(t, "the former connection is closed", first.closed.Load)
}

func TestAConfigurationThatCantWorkIsRefused(t *testing.T) {
	t.Parallel()
	for _, bad := range []Config{{}, {Addrs: []string{"a:1"}, Mode: "clusters"}} {
		if _, err := New(bad); !fail.Is(err, fail.Invalid) || fail.HintOf(err) == "" {
			t.Errorf("%+v: %v, hint %q", bad, err, fail.HintOf(err))
		}
	}
}
