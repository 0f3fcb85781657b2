package lab

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// askTime bounds one question to a daemon: a hung one must not hold the wait for it.
	askTime = 5 * time.Second
	// maxStatus bounds the answer of an admin socket.
	maxStatus = 1 << 20
)

// CephDaemon is one process of a Ceph. Its methods are safe for concurrent use.
type CephDaemon struct {
	Name string // as Ceph calls it: mon.a, osd.0, client.rgw

	a       account
	dir     string
	command func() (*exec.Cmd, error)
	ready   func(ctx context.Context) error

	mu sync.Mutex
	p  *process
}

// Start starts a daemon that is down, and waits until it does its work.
func (d *CephDaemon) Start(ctx context.Context) error {
	if err := d.begin(); err != nil {
		return err
	}
	return d.wait(ctx)
}

func (d *CephDaemon) begin() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.p != nil && !d.p.ended() {
		return fail.E(fail.Conflict, nil, "%s runs already", d.Name)
	}
	log, err := os.OpenFile(d.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
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
func (d *CephDaemon) wait(ctx context.Context) error {
	p := d.process()
	err := p.until(ctx, d.log(), d.ready)
	if err != nil {
		p.kill()
	}
	return err
}

// log is the file with the daemon's own log and what it writes to its terminal.
func (d *CephDaemon) log() string { return filepath.Join(d.dir, "log", d.Name+".log") }

func (d *CephDaemon) process() *process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.p
}

// Running reports whether the process is there, paused or not.
func (d *CephDaemon) Running() bool {
	p := d.process()
	return p != nil && !p.ended()
}

// Kill ends the daemon at once.
func (d *CephDaemon) Kill() {
	if p := d.process(); p != nil {
		p.kill()
	}
}

// Pause freezes the daemon: its connections stay open and nothing answers. Resume lets it go on.
func (d *CephDaemon) Pause() error { return d.process().signal(syscall.SIGSTOP) }

// Resume lets a paused daemon go on.
func (d *CephDaemon) Resume() error { return d.process().signal(syscall.SIGCONT) }

// Restart ends the daemon as Kill does, and starts it again.
func (d *CephDaemon) Restart(ctx context.Context) error {
	d.Kill()
	return d.Start(ctx)
}

func (d *CephDaemon) halt(s syscall.Signal) error {
	p := d.process()
	if p == nil {
		return nil
	}
	return p.stop(s)
}

// state answers a question for until: does the admin socket's answer to a command say the state?
func (d *CephDaemon) state(command, want string) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		var status struct{ State string }
		if err := d.ask(ctx, command, &status); err != nil {
			return err
		}
		if status.State != want {
			return fail.E(fail.Unavailable, nil, "%s is %q, not %q", d.Name, status.State, want)
		}
		return nil
	}
}

// ask asks the daemon's admin socket: a command in JSON that a zero ends, then the answer behind its length.
func (d *CephDaemon) ask(ctx context.Context, command string, into any) (err error) {
	socket := filepath.Join(d.dir, "run", fmt.Sprintf("%s.%d.asok", d.Name, d.process().cmd.Process.Pid))
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if deadline, ok := ctx.Deadline(); ok {
		if err = conn.SetDeadline(deadline); err != nil {
			return err
		}
	}
	if _, err = fmt.Fprintf(conn, `{"prefix":%q}`+"\x00", command); err != nil {
		return err
	}
	var size uint32
	if err = binary.Read(conn, binary.BigEndian, &size); err != nil {
		return err
	}
	if size > maxStatus {
		return fail.E(fail.Internal, nil, "%s answers %d bytes to %s", d.Name, size, command)
	}
	body := make([]byte, size)
	if _, err = io.ReadFull(conn, body); err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}
