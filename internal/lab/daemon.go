package lab

import (
	"context"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// askTime bounds one question to a daemon: a hung one must not hold the wait for it.
const askTime = 5 * time.Second

// Daemon is one process that runs until somebody ends it, and writes one log. Its methods are safe for concurrent use.
type Daemon struct {
	Name string

	log     string
	command func() (*exec.Cmd, error)
	ready   func(ctx context.Context) error

	mu sync.Mutex
	p  *process
}

// Start starts a daemon that is down, and waits until it does its work.
func (d *Daemon) Start(ctx context.Context) error {
	if err := d.Begin(); err != nil {
		return err
	}
	return d.wait(ctx)
}

// Begin starts a daemon that is down. Whether it does its work is not waited for.
func (d *Daemon) Begin() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.p != nil && !d.p.ended() {
		return fail.E(fail.Conflict, nil, "%s runs already", d.Name)
	}
	log, err := os.OpenFile(d.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fail.E(fail.Unavailable, err, "log of %s", d.Name)
	}
	defer closeLog(log)
	cmd, err := d.command()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = log, log
	if d.p, err = begin(cmd); err != nil {
		return err
	}
	return nil
}

// wait waits until the daemon does its work, and kills it if it never does.
func (d *Daemon) wait(ctx context.Context) error {
	p := d.process()
	err := p.until(ctx, d.log, d.ready)
	if err != nil {
		p.kill()
	}
	return err
}

func (d *Daemon) process() *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.p
}

// Log answers the file with the daemon's own log and what it writes to its terminal.
func (d *Daemon) Log() string { return d.log }

// Check asks the daemon whether it does its work.
func (d *Daemon) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return d.ready(ctx)
}

// Running reports whether the process is there, paused or not.
func (d *Daemon) Running() bool { return d.process().running() }

// Kill ends the daemon at once.
func (d *Daemon) Kill() {
	if p := d.process(); p != nil {
		p.kill()
	}
}

// Pause freezes the daemon: its connections stay open and nothing answers. Resume lets it go on.
func (d *Daemon) Pause() error { return d.process().signal(syscall.SIGSTOP) }

// Resume lets a paused daemon go on.
func (d *Daemon) Resume() error { return d.process().signal(syscall.SIGCONT) }

// Restart ends the daemon as Kill does, and starts it again.
func (d *Daemon) Restart(ctx context.Context) error {
	d.Kill()
	return d.Start(ctx)
}

func (d *Daemon) halt(s syscall.Signal) error {
	p := d.process()
	if p == nil {
		return nil
	}
	return p.stop(s)
}
