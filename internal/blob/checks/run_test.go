package checks_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/checks"
	"github.com/havn-registry/havn/internal/blob/filesystem"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/fail"
)

// used makes a store in which there is something already, and answers it and what is there.
func used(t *testing.T, d blob.Driver) []string {
	t.Helper()
	names := []string{"havn-store-id", "havn-checked", "a", "zz"}
	for _, name := range names {
		if _, err := d.Put(t.Context(), name, 1, bytes.NewReader([]byte("x"))); err != nil {
			t.Fatal(err)
		}
	}
	return names
}

func list(t *testing.T, d blob.Driver) (names []string) {
	t.Helper()
	for info, err := range d.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	return names
}

func run(t *testing.T, drivers ...blob.Driver) map[string]checks.Result {
	t.Helper()
	results := map[string]checks.Result{}
	if err := checks.Run(t.Context(), drivers, time.Now, func(r checks.Result) { results[r.Name] = r }); err != nil {
		t.Error(err)
	}
	return results
}

func TestAGoodStorePassesAndIsLeftAsItWas(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var drivers []blob.Driver
	for range 3 {
		d, err := filesystem.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		drivers = append(drivers, d)
	}
	names := used(t, drivers[0])
	results := run(t, drivers...)
	if len(results) != len(checks.All())+1 {
		t.Errorf("%d results of %d checks, and one of several nodes", len(results), len(checks.All()))
	}
	for _, r := range results {
		if !r.OK {
			t.Errorf("%s: %v", r.Name, r.Problems)
		}
	}
	if left := list(t, drivers[1]); len(left) != len(names) {
		t.Errorf("left are %v", left)
	}
}

// flawed is a store that breaks one promise at a time.
type flawed struct {
	*memory.Driver
	overwrites, forgets bool
}

func (f flawed) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	if f.overwrites {
		if err := f.Delete(ctx, name); err != nil {
			return blob.Written{}, err
		}
	}
	return f.Driver.Put(ctx, name, size, r)
}

func (f flawed) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if f.forgets && off > 0 {
		off--
	}
	return f.Driver.Get(ctx, name, off, n)
}

func TestABrokenPromiseIsNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		store  flawed
		broken []string
	}{
		// Whether its writers meet, so that more than one wins, is up to the machine: OneOfManyWritersWins may miss it.
		"writes over":  {flawed{overwrites: true}, []string{"ANameIsWrittenOnce"}},
		"wrong ranges": {flawed{forgets: true}, []string{"WhatWasPutIsRead"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.store.Driver = memory.New(time.Now)
			results := run(t, c.store)
			for _, check := range c.broken {
				if r := results[check]; r.OK || len(r.Problems) == 0 {
					t.Errorf("%s: %+v", check, r)
				}
			}
			if r := results["DeleteIsIdempotent"]; !r.OK {
				t.Errorf("%+v", r)
			}
			if left := list(t, c.store.Driver); len(left) > 0 {
				t.Errorf("left are %v", left)
			}
		})
	}
}

// careless is a store that takes every write. Two writers of the race's name meet before they write.
type careless struct {
	*memory.Driver
	mu   sync.Mutex
	here atomic.Int64
	both chan struct{}
}

func (c *careless) meet() {
	switch c.here.Add(1) {
	case 1:
		<-c.both
	case 2:
		close(c.both)
	}
}

func (c *careless) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.Delete(ctx, name); err != nil {
		return blob.Written{}, err
	}
	return c.Driver.Put(ctx, name, size, r)
}

// racing is a node on it: it looks before it writes, as the drivers for such stores do.
type racing struct {
	*careless
	taken   blob.Taken
	why     error
	refuses error // what a writer gets in the race instead
}

func (r *racing) Overwrites() error { return r.why }

func (r *racing) Put(ctx context.Context, name string, size int64, in io.Reader) (blob.Written, error) {
	if !r.taken.Take(name) {
		return blob.Written{}, fail.E(fail.Exists, nil, "object %s is being written", name)
	}
	defer r.taken.Give(name)
	if _, err := r.Stat(ctx, name); err == nil {
		return blob.Written{}, fail.E(fail.Exists, nil, "object %s", name)
	}
	if strings.Contains(name, fmt.Sprintf("-%d-", len(checks.All()))) {
		r.meet()
		if r.refuses != nil {
			return blob.Written{}, r.refuses
		}
	}
	return r.careless.Put(ctx, name, size, in)
}

// TestAStoreThatWritesOverObjectsIsGoodEnough: its operator is told what it is about, once, and that Havn does without. Two writers of a name meet, and a third may look before they have
// written.
func TestAStoreThatWritesOverObjectsIsGoodEnough(t *testing.T) {
	t.Parallel()
	why := fail.E(fail.Unsupported, nil, "the server knows no conditions").Hint("take a newer release")
	for name, c := range map[string]struct {
		why, refuses error
		minor        bool
		problems     []string
		hint         []string
	}{
		"its driver says so":    {why: why, minor: true, problems: []string{"knows no conditions", "of 8 writers of one name were told"}, hint: []string{"Havn does without", "take a newer release"}},
		"its driver says no":    {minor: true, problems: []string{"of 8 writers of one name were told"}, hint: []string{"Havn does without"}},
		"its writers all fail":  {refuses: fail.E(fail.Unavailable, nil, "out of order").Hint("repair it"), problems: []string{"out of order"}, hint: []string{"repair it"}},
		"nobody's write counts": {refuses: fail.E(fail.Exists, nil, "object"), problems: []string{"none of 8 writers"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			place := &careless{Driver: memory.New(time.Now), both: make(chan struct{})}
			results := run(t, &racing{careless: place, why: c.why, refuses: c.refuses}, &racing{careless: place, why: c.why, refuses: c.refuses})
			for name, r := range results {
				if !r.OK && name != "OneOfManyNodesWins" {
					t.Errorf("%s: %v", name, r.Problems)
				}
			}
			r := results["OneOfManyNodesWins"]
			said := strings.Join(r.Problems, "\n")
			if r.OK || r.Minor != c.minor || len(r.Problems) == 0 {
				t.Errorf("%+v", r)
			}
			for _, text := range c.problems {
				if !strings.Contains(said, text) {
					t.Errorf("%q is not in %s", text, said)
				}
			}
			for _, text := range c.hint {
				if !strings.Contains(r.Hint, text) {
					t.Errorf("%q is not in %s", text, r.Hint)
				}
			}
			if left := list(t, place); len(left) > 0 {
				t.Errorf("left are %v", left)
			}
		})
	}
}

func TestWhoGivesUpLeavesNothing(t *testing.T) {
	t.Parallel()
	d := memory.New(time.Now)
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	err := checks.Run(ctx, []blob.Driver{d}, time.Now, func(checks.Result) {
		if n++; n == 2 {
			cancel()
		}
	})
	if err == nil || n != 2 {
		t.Errorf("%d checks, %v", n, err)
	}
	if left := list(t, d); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

func TestLeftoversOfEarlierRunsGo(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := memory.New(func() time.Time { return now })
	if _, err := d.Put(t.Context(), "havn-check-old-1-x", 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	later := func() time.Time { return now.Add(25 * time.Hour) }
	if err := checks.Run(t.Context(), []blob.Driver{d}, later, func(checks.Result) {}); err != nil {
		t.Error(err)
	}
	if left := list(t, d); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}
