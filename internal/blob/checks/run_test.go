package checks_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/checks"
	"github.com/havn-registry/havn/internal/blob/filesystem"
	"github.com/havn-registry/havn/internal/blob/memory"
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
	if len(results) != len(checks.All()) {
		t.Errorf("%d results of %d checks", len(results), len(checks.All()))
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
