package redis

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/redis"
	"github.com/havn-registry/havn/test/harness"
)

const (
	// mostExtra is what a dying master may cost one operation; the slowest one in a hundred may cost lateness times more than the machine itself is late to wake who
	// sleeps, because an operation waits for several who are woken.
	mostExtra = 50 * time.Millisecond
	lateness  = 3
	// mostAround is what an operation costs while all of Redis is gone, in the mean of a thousand.
	mostAround = 2 * time.Millisecond
	// mostLag is how long after the cluster or the Sentinels have a new master it must be used again, everywhere. The client's own rhythm is a tenth of a second;
	// the rest is for busy machines. A client that reads the cluster's slots by the minute would need one.
	mostLag = 15 * time.Second
)

// load asks Redis from many goroutines without a pause, as requests do, and remembers how long each operation took.
type load struct {
	c     *redis.Client
	drift *harness.Drift
	stop  chan struct{}
	all   sync.WaitGroup

	mu    sync.Mutex
	took  []time.Duration
	fine  int
	wrong []error
}

func begin(t *testing.T, c *redis.Client) *load {
	t.Helper()
	l := &load{c: c, drift: harness.MeasureDrift(), stop: make(chan struct{})}
	rules := redis.GuessRules{FreePerPair: 1 << 30, LongestWait: time.Second, ForgetAfter: time.Minute, FreePerAddress: 1 << 30, Refill: time.Millisecond}
	counts := redis.NewGuesses(c, rules)
	for n := range 8 {
		l.all.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-l.stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				key := fmt.Sprintf("load:%d", (i*8+n)%1000)
				c.Put(key, []byte(key), time.Hour)
				begun := time.Now()
				var err error
				if i%2 == 0 {
					var got []byte
					if got, err = c.Get(context.Background(), key); err == nil && string(got) != key {
						err = fmt.Errorf("%s is %q", key, got)
					}
				} else {
					_, err = counts.Begin(context.Background(), key, "pair")
				}
				l.add(time.Since(begun), err)
			}
		})
	}
	return l
}

func (l *load) add(took time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.took = append(l.took, took)
	switch {
	case err == nil, fail.Is(err, fail.NotFound): // replication may be behind
		l.fine++
	case !fail.Is(err, fail.Unavailable) && !fail.Is(err, fail.Conflict):
		l.wrong = append(l.wrong, err)
	}
}

// end stops the load and holds it to its bounds.
func (l *load) end(t *testing.T, what string) {
	t.Helper()
	close(l.stop)
	l.all.Wait()
	late := l.drift.End()
	slices.Sort(l.took)
	n := len(l.took)
	if n == 0 {
		t.Fatalf("%s: nothing was asked", what)
	}
	most, longest := l.took[n*99/100], l.took[n-1]
	t.Logf("%s: %d operations, %d fine; median %s, 99 %% %s, longest %s; the machine was up to %s late", what, n, l.fine, l.took[n/2], most, longest, late)
	if most > mostExtra || longest > mostExtra+lateness*late {
		t.Errorf("%s: of 100 operations 99 took up to %s, and the longest %s; want %s, and where this machine is late some more", what, most, longest, mostExtra)
	}
	for _, err := range l.wrong {
		t.Errorf("%s: %v", what, err)
	}
	if l.fine == 0 {
		t.Errorf("%s: no operation was fine", what)
	}
}

func TestAMasterThatDiesOrHangsCostsARequestMilliseconds(t *testing.T) {
	for _, o := range []lab.RedisOptions{{Mode: lab.RedisCluster}, {Mode: lab.RedisSentinel, TLS: true}} {
		t.Run(string(o.Mode), func(t *testing.T) {
			r := start(t, o)
			conf := account(t, r)
			conf.Timeout = redis.DefaultTimeout
			c := open(t, conf)
			hang(t, r, c, r.Masters(t.Context())[0])
			for _, m := range r.Masters(t.Context()) {
				die(t, r, c, m)
			}
		})
	}
}

func hang(t *testing.T, r *lab.Redis, c *redis.Client, m *lab.RedisNode) {
	t.Helper()
	const what = "SIGSTOP of a master"
	l := begin(t, c)
	seen(t, l, 500)
	need(t, m.Pause())
	need(t, r.Moved(t.Context(), m))
	back(t, c, what)
	seen(t, l, 500)
	l.end(t, what)
	l = begin(t, c)
	need(t, m.Resume())
	need(t, r.Settle(t.Context()))
	whole(t, c)
	seen(t, l, 500)
	l.end(t, "a former master that wakes")
}

// die leaves the master dead: its shard goes on with what was its replica.
func die(t *testing.T, r *lab.Redis, c *redis.Client, m *lab.RedisNode) {
	t.Helper()
	const what = "kill -9 of a master"
	l := begin(t, c)
	seen(t, l, 500)
	m.Kill()
	need(t, r.Moved(t.Context(), m))
	back(t, c, what)
	seen(t, l, 500)
	l.end(t, what)
	if r.Mode == lab.RedisCluster { // a cluster that has lost most of its masters elects none
		need(t, m.Start(t.Context()))
	}
}

// seen waits until a load was answered some more times.
func seen(t *testing.T, l *load, more int) {
	t.Helper()
	l.mu.Lock()
	want := l.fine + more
	l.mu.Unlock()
	until(t, "operations are fine", func() error {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.fine < want {
			return fmt.Errorf("%d of %d; %+v", l.fine, want, l.c.State())
		}
		return nil
	})
}

// back waits until all of Redis is used again, and holds that to its bound.
func back(t *testing.T, c *redis.Client, what string) {
	t.Helper()
	begun := time.Now()
	whole(t, c)
	lag := time.Since(begun)
	t.Logf("%s: used again %s after another took its place", what, lag.Round(time.Millisecond))
	if lag > mostLag {
		t.Errorf("%s: used again after %s, want at most %s", what, lag, mostLag)
	}
}

func TestWithoutAllOfRedisRequestsGoAroundIt(t *testing.T) {
	for _, o := range []lab.RedisOptions{{Mode: lab.RedisSingle}, {Mode: lab.RedisSentinel}, {Mode: lab.RedisCluster}} {
		t.Run(string(o.Mode), func(t *testing.T) {
			t.Parallel()
			r := start(t, o)
			conf := account(t, r)
			conf.Timeout = redis.DefaultTimeout
			c := open(t, conf)
			l := begin(t, c)
			seen(t, l, 300)
			all := append(slices.Clone(r.Nodes), r.Sentinels...)
			for _, n := range all {
				n.Kill()
			}
			gone(t, c)
			around(t, c)
			for _, n := range all {
				need(t, n.Start(t.Context()))
			}
			whole(t, c)
			seen(t, l, 300)
			for _, n := range all {
				need(t, n.Pause())
			}
			gone(t, c)
			around(t, c)
			for _, n := range all {
				need(t, n.Resume())
			}
			whole(t, c)
			seen(t, l, 300)
			l.end(t, "all of Redis gone, twice")
		})
	}
}

func gone(t *testing.T, c *redis.Client) {
	t.Helper()
	until(t, "all is gone around", func() error {
		if s := c.State(); s.Open < s.Parts || s.Reason == "" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// around measures what an operation costs while nobody is there.
func around(t *testing.T, c *redis.Client) {
	t.Helper()
	const many = 1000
	begun := time.Now()
	for i := range many {
		if _, err := c.Get(t.Context(), fmt.Sprint("load:", i)); !fail.Is(err, fail.Unavailable) {
			t.Fatalf("nobody is there, and the answer is %v", err)
		}
	}
	mean := time.Since(begun) / many
	t.Logf("gone around in %s", mean)
	if mean > mostAround {
		t.Errorf("an operation costs %s while nobody is there, want at most %s", mean, mostAround)
	}
}

func TestSlotsMoveWhileTheyServe(t *testing.T) {
	t.Parallel()
	r := start(t, lab.RedisOptions{Mode: lab.RedisCluster})
	c := open(t, account(t, r))
	for i := range 1000 {
		key := fmt.Sprint("kept:", i)
		until(t, "stored", func() error {
			c.Put(key, []byte(key), time.Hour)
			_, err := c.Get(t.Context(), key)
			return err
		})
	}
	counts := redis.NewGuesses(c, redis.GuessRules{FreePerPair: 1 << 30, LongestWait: time.Second, ForgetAfter: time.Hour, FreePerAddress: 1 << 30, Refill: time.Second})
	ctx, stop := context.WithCancel(t.Context())
	var asked, refused atomic.Int64
	var all sync.WaitGroup
	for n := range 4 {
		all.Go(func() {
			for i := n; ctx.Err() == nil; i = (i + 4) % 1000 {
				key := fmt.Sprint("kept:", i)
				got, err := c.Get(context.Background(), key)
				if err != nil || string(got) != key {
					t.Errorf("%s while its slot may be on the move: %q, %v", key, got, err)
					return
				}
				asked.Add(1)
				// Two keys of a slot on the move may be in two places for a moment.
				if _, err = counts.Begin(context.Background(), fmt.Sprint(i%50), "pair"); fail.Is(err, fail.Conflict) && strings.Contains(err.Error(), "TRYAGAIN") {
					refused.Add(1)
				} else if err != nil {
					t.Errorf("count: %v", err)
					return
				}
			}
		})
	}
	masters := r.Masters(t.Context())
	for i, m := range masters {
		need(t, r.Reshard(t.Context(), m, masters[(i+1)%len(masters)], 200))
	}
	stop()
	all.Wait()
	t.Logf("%d reads, %d counts refused for a moment", asked.Load(), refused.Load())
	if s := c.State(); s.Open > 0 {
		t.Errorf("resharding made the client go around Redis: %+v", s)
	}
}
