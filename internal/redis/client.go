package redis

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// maxUnderWay bounds the operations under way, those included whose callers have given up: a Redis that hangs must not collect goroutines.
	maxUnderWay = 256
	// MaxValue is the longest value that is stored: what a network of 1 Gbit/s moves in 2 ms, so that no reader waits much longer than for a short one.
	MaxValue = 256 << 10
	// laterBytes and laterCount bound what waits to be written.
	laterBytes = 2 << 20
	laterCount = 256
	laterTime  = time.Second
	writers    = 2
)

// store is what the library does with the servers. Absent keys are NotFound.
type store interface {
	get(ctx context.Context, key string) ([]byte, error)
	set(ctx context.Context, key string, value []byte, life time.Duration) error
	run(ctx context.Context, script string, keys, args []string) ([]int64, error)
	close()
}

// link is a store whose mode is known, with its circuits.
type link struct {
	mode     Mode
	store    store
	circuits []*circuit
}

func (l *link) circuit(key string) *circuit {
	return l.circuits[slotOf(key)*len(l.circuits)/slots]
}

// Client is safe for concurrent use. Run connects it; until then, and whenever Redis does not answer, every operation is Unavailable at once.
type Client struct {
	cfg     Config
	metrics *metrics
	connect func(ctx context.Context) (*link, error) // tests have their own

	link   atomic.Pointer[link] // nil until the first connection
	places chan struct{}        // one is taken by each operation under way, and all by Run at its end
	helped sync.WaitGroup       // what Run has begun

	later  chan write
	queued atomic.Int64 // bytes in later

	mu      sync.Mutex
	reason  string   // the last thing that went wrong
	hint    string   // what to do about it
	said    string   // the last thing that was said in the log
	servers []Server // as they were seen last
}

type write struct {
	key   string
	value []byte
	life  time.Duration
}

// New makes a client. It asks nobody: see Run.
func New(c Config) (*Client, error) {
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	client := &Client{cfg: c, metrics: newMetrics(c.Metrics), places: make(chan struct{}, maxUnderWay), later: make(chan write, laterCount)}
	client.connect = client.dial
	return client, nil
}

// Get answers a value. NotFound: there is none. Unavailable: do without.
func (c *Client) Get(ctx context.Context, key string) ([]byte, error) {
	key = c.cfg.Prefix + key
	return operate(ctx, c, "get", key, c.cfg.Timeout, func(ctx context.Context, s store) ([]byte, error) { return s.get(ctx, key) })
}

// Put stores a value at some later moment, or never: nobody waits for it. The value must not be changed any more. It is forgotten after its life, or before.
func (c *Client) Put(key string, value []byte, life time.Duration) {
	size := int64(len(value))
	if l := c.link.Load(); size > MaxValue || l == nil || l.circuit(c.cfg.Prefix+key).open.Load() {
		c.metrics.untried("put", resultAround)
		return
	}
	if c.queued.Add(size) > laterBytes {
		c.queued.Add(-size)
		c.metrics.untried("put", resultDropped)
		return
	}
	select {
	case c.later <- write{key, value, life}:
	default:
		c.queued.Add(-size)
		c.metrics.untried("put", resultDropped)
	}
}

// run runs a script on keys that are in one slot, and answers its numbers.
func (c *Client) run(ctx context.Context, operation, script string, keys, args []string) ([]int64, error) {
	for _, k := range keys[1:] {
		if slotOf(k) != slotOf(keys[0]) {
			return nil, fail.E(fail.Internal, nil, "keys %q of a script are in different slots", keys)
		}
	}
	return operate(ctx, c, operation, keys[0], c.cfg.Timeout, func(ctx context.Context, s store) ([]int64, error) { return s.run(ctx, script, keys, args) })
}

// Ping writes to all parts of Redis at once, and answers how long the slowest took. Unavailable: a part does not answer, or is gone around. So who pings finds out what
// nobody uses.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	l := c.link.Load()
	if l == nil {
		return 0, c.around()
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var slowest time.Duration
	var wrong error
	for _, part := range l.circuits {
		all.Go(func() {
			for _, key := range part.probes {
				begin := c.cfg.Clock()
				_, err := operate(ctx, c, "ping", key, c.cfg.Timeout, func(ctx context.Context, s store) (struct{}, error) { return struct{}{}, probe(ctx, s, key) })
				took := c.cfg.Clock().Sub(begin)
				mu.Lock()
				slowest = max(slowest, took)
				if err != nil {
					wrong = err
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return slowest, wrong
}

// operate does one operation on one key's part of Redis. The caller waits no longer than the time given, whatever the library does meanwhile.
func operate[T any](ctx context.Context, c *Client, name, key string, patience time.Duration, do func(context.Context, store) (T, error)) (T, error) {
	var none T
	l := c.link.Load()
	if l == nil || l.circuit(key).open.Load() {
		c.metrics.untried(name, resultAround)
		return none, c.around()
	}
	select {
	case c.places <- struct{}{}:
	default:
		c.metrics.untried(name, resultAround)
		return none, c.around()
	}
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	// A caller that goes away must not make Redis look as if it did not answer.
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	go func() {
		defer func() { <-c.places }()
		defer cancel()
		value, err := do(bounded, l.store)
		answers <- answer{value, err}
	}()
	begin := c.cfg.Clock()
	a := answer{err: unanswered()}
	select {
	case a = <-answers:
	case <-bounded.Done():
		select {
		case a = <-answers: // an answer ends the time too, and is there before
		default:
		}
	case <-ctx.Done():
		return none, fail.E(fail.Unavailable, ctx.Err(), "Redis")
	}
	c.judge(l, key, name, a.err, c.cfg.Clock().Sub(begin))
	return a.value, a.err
}

// judge counts an operation, for its circuit too.
func (c *Client) judge(l *link, key, operation string, err error, took time.Duration) {
	part := l.circuit(key)
	result := resultOK
	switch {
	case err == nil:
		if took <= c.cfg.Timeout { // a write for later may take longer than a request waits
			part.succeeded()
		}
	case fail.Is(err, fail.NotFound):
		part.succeeded()
		result = resultAbsent
	case fail.Is(err, fail.Conflict):
		result = resultError
	case !fail.Is(err, fail.Unavailable):
		result = resultError
		c.warn("Redis refuses an operation", err, "operation", operation)
	default:
		result = resultError
		if errors.Is(err, context.DeadlineExceeded) {
			result = resultTimeout
		}
		c.note(err)
		if part.failed(c.cfg.Clock()) {
			c.metrics.trips.Inc()
			c.gauge(l)
			c.warn("Redis does not answer: requests go around it", err, "parts", len(l.circuits), "open", openOf(l))
		}
	}
	c.metrics.tried(operation, result, took)
}

// note keeps what went wrong.
func (c *Client) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reason, c.hint = err.Error(), fail.HintOf(err)
}

// warn says what is wrong, once until all is well or something else is to be done about it: not for each part, and not for each try.
func (c *Client) warn(message string, err error, args ...any) {
	c.note(err)
	what := message + fail.HintOf(err)
	c.mu.Lock()
	known := c.said == what
	c.said = what
	c.mu.Unlock()
	level := slog.LevelWarn
	if known {
		level = slog.LevelDebug
	}
	c.cfg.Log.Log(context.Background(), level, message, append(args, "error", err.Error(), "hint", fail.HintOf(err))...)
}

// well says that all of Redis answers, if something else was said before or nothing.
func (c *Client) well(l *link) {
	c.mu.Lock()
	first := c.said != allWell
	c.said = allWell
	c.mu.Unlock()
	if first {
		c.cfg.Log.Info(allWell, "mode", string(l.mode), "parts", len(l.circuits))
	}
}

const allWell = "all of Redis answers"

func (c *Client) around() error {
	return fail.E(fail.Unavailable, nil, "Redis does not answer, and is not asked until it does")
}

func openOf(l *link) int {
	n := 0
	for _, part := range l.circuits {
		if part.open.Load() {
			n++
		}
	}
	return n
}

func (c *Client) gauge(l *link) {
	c.metrics.known.Set(float64(len(l.circuits)))
	c.metrics.open.Set(float64(openOf(l)))
}

// State is what is known of Redis without asking it.
type State struct {
	Mode        Mode   // "" until it was reached once
	Parts, Open int    // how many parts there are, and how many of them are gone around
	Reason      string // what went wrong last, "" if nothing is gone around
	Hint        string // what to do about it
}

// State answers what is known now.
func (c *Client) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := State{Reason: c.reason, Hint: c.hint}
	if l := c.link.Load(); l != nil {
		if s.Mode, s.Parts, s.Open = l.mode, len(l.circuits), openOf(l); s.Open == 0 {
			s.Reason, s.Hint = "", ""
		}
	}
	return s
}
