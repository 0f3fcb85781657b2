package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"time"

	"github.com/havn-registry/havn/test/programs"
)

// building begins the names of folders in which a client is being built.
const building = ".building-"

func clients(ctx context.Context) error {
	return locked(ctx, "clients", func() error {
		began := time.Now()
		if err := sweep(); err != nil {
			return err
		}
		for i, c := range programs.Clients {
			if err := build(ctx, c); err != nil {
				return fmt.Errorf("build %s %s (%d of %d): %w", c.Name, c.Version, i+1, len(programs.Clients), err)
			}
		}
		say("clients: all %d there after %s", len(programs.Clients), time.Since(began).Round(time.Second))
		return nil
	})
}

// sweep removes what a prepare left that was killed.
func sweep() error {
	cache, err := programs.Cache()
	if err != nil {
		return err
	}
	left, err := filepath.Glob(filepath.Join(cache, "bin", building+"*"))
	for _, dir := range left {
		err = errors.Join(err, os.RemoveAll(dir))
	}
	return err
}

// build makes one client under a temporary name and moves it to its place when it is whole: a file with the right name is
// a finished one, however this program ended.
func build(ctx context.Context, c programs.Client) (err error) {
	to, err := c.Path()
	if err != nil {
		return err
	}
	if _, err = os.Stat(to); err == nil {
		say("%s %s: there already", c.Name, c.Version)
		return nil
	}
	began := time.Now()
	temp, err := os.MkdirTemp(filepath.Dir(to), building)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
	// GOFLAGS of the caller may hold what does not fit here, as -mod=vendor. Built in another folder than this module's, so that
	// nothing of it (a go.work above it, say) counts. One thread in each compiler, of which there are as many as processors.
	env := []string{"GOBIN=" + temp, "GOFLAGS=", "GOWORK=off", "GOMAXPROCS=1", "GOGC=400"}
	what := c.Package + "@" + c.Version
	if c.Together {
		if err = together(ctx, temp, env); err != nil {
			return err
		}
		what = c.Package
	}
	// With the lowest priority: tests may run meanwhile.
	argv := []string{"nice", "-n", "19", "go", "install", "-p", fmt.Sprint(runtime.NumCPU()), "-ldflags=-s -w"}
	// Neither inlined nor with what debuggers read, which is a third of the minutes; Go's own library as it is in the cache already.
	for _, domain := range []string{"com", "dev", "in", "io", "land", "net", "org", "sh"} {
		argv = append(argv, "-gcflags=...."+domain+"/...=-l -dwarf=false")
	}
	argv = append(argv, what)
	if err = step(ctx, temp, env, argv...); err != nil {
		return err
	}
	if err = os.Rename(filepath.Join(temp, path.Base(c.Package)), to); err != nil {
		return err
	}
	say("%s %s: built in %s", c.Name, c.Version, time.Since(began).Round(time.Second))
	return nil
}

// together makes the module in dir of which the clients are built that share one. Which versions of libraries it gets follows from the clients' alone.
func together(ctx context.Context, dir string, env []string) error {
	if err := step(ctx, dir, env, "go", "mod", "init", "clients"); err != nil {
		return err
	}
	argv := []string{"go", "get", "-tool"}
	for _, c := range programs.Clients {
		if c.Together {
			argv = append(argv, c.Package+"@"+c.Version)
		}
	}
	return step(ctx, dir, env, argv...)
}
