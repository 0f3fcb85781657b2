package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/havn-registry/havn/test/programs"
)

// tries is how often a step that reaches the network is tried: mirrors and proxies fail for seconds, seldom for longer.
const tries = 4

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		say("%v", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch what := strings.Join(args, " "); what {
	case "":
		return errors.Join(debian(ctx), azurite(ctx), clients(ctx))
	case "debian":
		return debian(ctx)
	case "azurite":
		return azurite(ctx)
	case "clients":
		return clients(ctx)
	default:
		return fmt.Errorf("what is %q? Say debian, azurite, clients, or nothing for all", what)
	}
}

// say prints a line with the time, so that one who waits sees what takes long.
func say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05")+" prepare: "+format+"\n", args...)
}

// locked runs one prepare at a time: two would only build the same things twice.
func locked(ctx context.Context, name string, do func() error) (err error) {
	cache, err := programs.Cache()
	if err != nil {
		return err
	}
	if err = os.MkdirAll(filepath.Join(cache, "bin"), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(filepath.Join(cache, name+".lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	for waited := false; ; waited = true {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return do()
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return fmt.Errorf("lock %s: %w", lock.Name(), err)
		}
		if !waited {
			say("another prepare does %s; waiting for it", name)
		}
		if err = pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// step runs a command in a process group of its own, tried again with growing pauses.
func step(ctx context.Context, dir string, env []string, argv ...string) error {
	return again(ctx, func() error {
		say("$ %s", strings.Join(argv, " "))
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), os.Stderr, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%s: %w", strings.Join(argv, " "), err)
		}
		return nil
	})
}

// again does what reaches the network, and does it again with growing pauses where it fails.
func again(ctx context.Context, do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || try == tries || ctx.Err() != nil {
			return err
		}
		wait := time.Duration(try*try) * 5 * time.Second
		say("%v; again in %s (%d of %d tries)", err, wait, try+1, tries)
		if err = pause(ctx, wait); err != nil {
			return err
		}
	}
}
