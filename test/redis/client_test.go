package redis

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/internal/redis"
)

// patience is for events that must come, on however busy a machine.
const patience = time.Minute

// slow is a time-out for tests of what is answered, not of how quickly.
const slow = 5 * time.Second

// account answers how Havn comes to a lab's Redis.
func account(t *testing.T, r *lab.Redis) redis.Config {
	t.Helper()
	c := redis.Config{Addrs: r.Addrs(), User: lab.User, Password: lab.Password, Timeout: slow}
	if r.Old() {
		c.User = ""
	}
	if r.CAFile != "" {
		pem, err := os.ReadFile(r.CAFile)
		need(t, err)
		c.TLS = &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12}
		if !c.TLS.RootCAs.AppendCertsFromPEM(pem) {
			t.Fatal("the lab's authority is no certificate")
		}
	}
	return c
}

// run runs a client until the test ends. It may not be connected yet.
func run(t *testing.T, conf redis.Config) *redis.Client {
	t.Helper()
	c, err := redis.New(conf)
	need(t, err)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case runErr := <-ended:
			if runErr != nil {
				t.Error(runErr)
			}
		case <-time.After(patience):
			t.Error("the client does not end")
		}
	})
	return c
}

// open runs a client and waits until all of Redis answers.
func open(t *testing.T, conf redis.Config) *redis.Client {
	t.Helper()
	c := run(t, conf)
	whole(t, c)
	return c
}

func whole(t *testing.T, c *redis.Client) {
	t.Helper()
	until(t, "all of Redis answers", func() error {
		if s := c.State(); s.Parts == 0 || s.Open > 0 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

func until(t *testing.T, what string, ask func() error) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
	}
}

func TestEveryKindOfRedisKeepsTheClientsWord(t *testing.T) {
	for _, o := range []lab.RedisOptions{
		{Mode: lab.RedisSingle, TLS: true},
		{Mode: lab.RedisSentinel, TLS: true},
		{Mode: lab.RedisCluster, TLS: true},
		{Mode: lab.RedisCluster, Old: true},
	} {
		name := string(o.Mode)
		if o.TLS {
			name += " with TLS"
		}
		if o.Old {
			name += " before version 6"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, o)
			t.Run("values come back", func(t *testing.T) { values(t, r) })
			t.Run("the mode is found out", func(t *testing.T) { modes(t, r) })
			t.Run("one address is enough", func(t *testing.T) { oneAddress(t, r) })
			t.Run("guesses are counted by all", func(t *testing.T) { guesses(t, r) })
			t.Run("what is wrong is said", func(t *testing.T) { mistakes(t, r) })
			t.Run("every server is shown, and the one that dies", func(t *testing.T) { servers(t, r) })
		})
	}
}

func values(t *testing.T, r *lab.Redis) {
	one, two := open(t, account(t, r)), open(t, account(t, r))
	const many = 300
	for i := range many {
		one.Put(fmt.Sprint("value:", i), fmt.Appendf(nil, "of %d\x00\r\n", i), time.Hour)
		if i%50 == 49 { // what waits to be written is bounded
			until(t, "values are stored", func() error { _, err := two.Get(t.Context(), fmt.Sprint("value:", i)); return err })
		}
	}
	for i := range many {
		until(t, "values come back", func() error {
			got, err := two.Get(t.Context(), fmt.Sprint("value:", i))
			if err == nil && string(got) != fmt.Sprintf("of %d\x00\r\n", i) {
				t.Fatalf("value %d is %q", i, got)
			}
			return err
		})
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), redis.MaxValue/16)
	one.Put("large", large, time.Hour)
	until(t, "the largest value comes back", func() error {
		got, err := two.Get(t.Context(), "large")
		if err == nil && !bytes.Equal(got, large) {
			t.Fatal("it is another one")
		}
		return err
	})
	if _, err := two.Get(t.Context(), "absent"); !fail.Is(err, fail.NotFound) {
		t.Errorf("an absent value: %v", err)
	}
	one.Put("short", []byte("lived"), 50*time.Millisecond)
	one.Put("short", []byte("lived"), 50*time.Millisecond)
	until(t, "a life ends", func() error {
		if _, err := two.Get(t.Context(), "short"); !fail.Is(err, fail.NotFound) {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
	if took, err := two.Ping(t.Context()); err != nil || took <= 0 {
		t.Errorf("ping: %s, %v", took, err)
	}
}

func modes(t *testing.T, r *lab.Redis) {
	for _, mode := range []redis.Mode{redis.Auto, redis.Single, redis.Sentinel, redis.Cluster} {
		conf := account(t, r)
		conf.Mode = mode
		c, err := redis.New(conf)
		need(t, err)
		report := c.Check(t.Context())
		if mode == redis.Auto || mode == redis.Mode(r.Mode) {
			if report.Err != nil || report.Mode != redis.Mode(r.Mode) || report.Slowest <= 0 {
				t.Errorf("redis.mode %s: %+v", mode, report)
			}
			continue
		}
		if !fail.Is(report.Err, fail.Invalid) || !strings.Contains(report.Err.Error(), string(r.Mode)) || fail.HintOf(report.Err) == "" {
			t.Errorf("redis.mode %s is taken for right: %+v", mode, report)
		}
	}
}

func oneAddress(t *testing.T, r *lab.Redis) {
	conf := account(t, r)
	nobody := "127.0.0.1:1" // a port that only root may open, and nobody does
	conf.Addrs = []string{nobody, conf.Addrs[len(conf.Addrs)-1]}
	c := open(t, conf)
	c.Put("found", []byte("yes"), time.Hour)
	until(t, "stored", func() error { _, err := c.Get(t.Context(), "found"); return err })
	report := c.Check(t.Context())
	if len(report.Servers) != 2 || report.Servers[0].Err == nil || report.Servers[1].Err != nil || report.Err != nil {
		t.Errorf("half of the addresses are wrong: %+v", report)
	}
}

func guesses(t *testing.T, r *lab.Redis) {
	rules := redis.GuessRules{FreePerPair: 3, LongestWait: time.Hour, ForgetAfter: 2 * time.Hour, FreePerAddress: 5, Refill: time.Hour}
	one, two := redis.NewGuesses(open(t, account(t, r)), rules), redis.NewGuesses(open(t, account(t, r)), rules)
	nodes := []*redis.Guesses{one, two}
	begin := func(n int, address, pair string) time.Duration {
		t.Helper()
		wait, err := nodes[n%2].Begin(t.Context(), address, pair)
		need(t, err)
		return wait
	}
	for i := range 3 {
		if wait := begin(i, "a", "alice"); wait != 0 {
			t.Fatalf("free guess %d waits %s", i, wait)
		}
	}
	// The first wait is a second: only one that is longer is certain on a busy machine.
	need(t, two.Right(t.Context(), "a", "alice"))
	wait, err := one.Wait(t.Context(), "a", "alice")
	if err != nil || wait != 0 {
		t.Errorf("after a right password: %s, %v", wait, err)
	}
	for i := range 20 { // begun and never found out
		if wait = begin(i, "a", "bob"); wait != 0 {
			t.Fatalf("attempt %d that nobody judged waits %s", i, wait)
		}
		need(t, nodes[(i+1)%2].Unknown(t.Context(), "a", "bob"))
	}
	// alice's right one gave back one of three: two are spent.
	for i := range 3 {
		if wait = begin(i, "a", fmt.Sprint("user", i)); wait != 0 {
			t.Fatalf("guess %d within the address's allowance waits %s", i, wait)
		}
	}
	if wait = begin(0, "a", "user9"); wait < 30*time.Minute || wait > time.Hour {
		t.Errorf("an address without an allowance waits %s, want nearly an hour", wait)
	}
	if wait = begin(0, "b", "user9"); wait != 0 {
		t.Errorf("another address waits %s", wait)
	}
	wide := rules
	wide.FreePerAddress, wide.FreePerPair = 1000, 0
	patient := redis.NewGuesses(open(t, account(t, r)), wide)
	waits := []time.Duration{}
	for range 9 { // each counts once its predecessor's wait is over, so only the first is counted; the waits are what the count says
		w, beginErr := patient.Begin(t.Context(), "c", "carol")
		need(t, beginErr)
		waits = append(waits, w)
	}
	if waits[0] != 0 || waits[8] <= 0 || waits[8] > 2*time.Second {
		t.Errorf("waits %v, want none and then up to two seconds", waits)
	}
}

func mistakes(t *testing.T, r *lab.Redis) {
	for name, spoil := range map[string]func(*redis.Config){
		"a wrong password": func(c *redis.Config) { c.Password = "wrong" },
		"an unknown user":  func(c *redis.Config) { c.User = "nobody" },
		"no password":      func(c *redis.Config) { c.User, c.Password = "", "" },
		"nobody there":     func(c *redis.Config) { c.Addrs = []string{"127.0.0.1:1", "127.0.0.2:1"} },
		"the wrong scheme": func(c *redis.Config) {
			if c.TLS != nil {
				c.TLS = nil
			} else {
				c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
			}
		},
		"a foreign prefix": func(c *redis.Config) { c.Prefix = "foreign:" },
	} {
		if r.Old() && strings.Contains(name, "foreign") {
			continue // one user may do everything
		}
		conf := account(t, r)
		spoil(&conf)
		c := run(t, conf)
		if report := c.Check(t.Context()); report.Err == nil || fail.HintOf(report.Err) == "" {
			t.Errorf("%s: %v, hint %q", name, report.Err, fail.HintOf(report.Err))
		} else {
			t.Logf("%s: %v (%s)", name, report.Err, fail.HintOf(report.Err))
		}
		if _, err := c.Get(t.Context(), "a"); !fail.Is(err, fail.Unavailable) {
			t.Errorf("%s: a request gets %v", name, err)
		}
	}
}
