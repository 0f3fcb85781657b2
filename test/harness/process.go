package harness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience is how long the harness waits for anything that should take a second: a loaded machine of two cores must not make a
// test fail, and a test that waits for an event costs nothing when the event comes early.
const Patience = 60 * time.Second

// shown is how many lines of a log a failing test prints: enough for the story, few enough to read.
const shown = 120

// Process is a program that runs until the test ends it.
type Process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // of Wait, to be read when done is closed
}

// Spawn says what Launch starts.
type Spawn struct {
	// Name names the process in messages and its log file.
	Name string
	// Log is the file to which output is appended; empty: one in a folder of the test's.
	Log  string
	Dir  string
	Env  []string // the whole environment
	Argv []string
	// Isolated: in namespaces of processes and mounts of its own, see isolated.
	Isolated bool
}

// Launch starts a process in a process group of its own. It is killed, with its group, when the test ends, and by the kernel
// when the test's process dies.
func Launch(t testing.TB, s Spawn) *Process {
	t.Helper()
	if s.Log == "" {
		s.Log = filepath.Join(t.TempDir(), s.Name+".log")
	}
	out, err := os.OpenFile(s.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	argv := s.Argv
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if s.Isolated {
		argv = isolated(attr, argv)
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = s.Dir, s.Env, out, out, attr
	p := &Process{name: s.Name, log: s.Log, cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// The signal at the parent's death is sent when the *thread* that started the child ends: keep this one until the child is gone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		startErr := cmd.Start()
		started <- startErr
		if startErr == nil {
			p.err = cmd.Wait()
		}
		close(p.done)
	}()
	err = errors.Join(<-started, out.Close())
	if err != nil {
		t.Fatalf("start %s: %v", strings.Join(s.Argv, " "), err)
	}
	t.Cleanup(func() {
		p.Kill(t)
		if t.Failed() {
			t.Logf("log of %s, its end:\n%s", p.name, tail(p.Log(), shown))
		}
	})
	return p
}

// PID is the number of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Log answers everything it has written so far; empty if it cannot be read.
func (p *Process) Log() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.done }

// Signal sends it a signal; one that has ended ignores it.
func (p *Process) Signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("signal %s to %s: %v", sig, p.name, err)
	}
}

// Kill ends it and its group with SIGKILL and waits until it is gone. It may be called again.
func (p *Process) Kill(t testing.TB) {
	t.Helper()
	select {
	case <-p.done:
	default:
		if err := syscall.Kill(-p.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Errorf("kill %s: %v", p.name, err)
		}
	}
	select {
	case <-p.done:
	case <-time.After(Patience):
		t.Errorf("%s is still there %s after SIGKILL", p.name, Patience)
	}
}

// Stop asks it to end with SIGTERM, waits, and answers the error with which it ended (nil for exit code 0).
func (p *Process) Stop(t testing.TB) error {
	t.Helper()
	p.Signal(t, syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(Patience):
		t.Fatalf("%s is still there %s after SIGTERM", p.name, Patience)
	}
	return p.err
}

// Await asks again and again until the condition holds, the process ends, or patience is over; the condition says what is
// still missing.
func (p *Process) Await(t testing.TB, condition func() error) {
	t.Helper()
	deadline := time.Now().Add(Patience)
	// Often, because starts are measured with it.
	for pause := time.Millisecond; ; pause = min(2*pause, 4*time.Millisecond) {
		missing := condition()
		if missing == nil {
			return
		}
		select {
		case <-p.done:
			t.Fatalf("%s ended (%v) while the test waited: %v", p.name, p.err, missing)
		case <-time.After(pause):
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: after %s still: %v", p.name, Patience, missing)
		}
	}
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}
