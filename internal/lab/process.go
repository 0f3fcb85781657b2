package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// startTime bounds the start of a server: seconds as a rule, more on a loaded machine that recovers.
	startTime = 120 * time.Second
	// stopTime is what a server gets to end by itself before it is killed.
	stopTime = 30 * time.Second
	// pollTime is the pause between two looks at a server that starts.
	pollTime = 50 * time.Millisecond
	// tailBytes of a log are shown when a server did not start.
	tailBytes = 3000
)

// account is the user that a server runs as: the databases refuse to run as root.
type account struct {
	credential *syscall.Credential // nil: as ourselves
	uid, gid   int
}

// accountOf answers the account of a service's user if we are root, else our own.
func accountOf(name, pkg string) (account, error) {
	if os.Getuid() != 0 {
		return account{uid: os.Getuid(), gid: os.Getgid()}, nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return account{}, fail.E(fail.Unsupported, err, "user %s", name).Hint("apt-get install %s", pkg)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return account{}, fail.E(fail.Internal, err, "user %s", name)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return account{}, fail.E(fail.Internal, err, "user %s", name)
	}
	return account{credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, uid: uid, gid: gid}, nil
}

// in answers the same account with another group, if we are root and group is not 0.
func (a account) in(group int) account {
	if group != 0 && os.Getuid() == 0 {
		a.credential, a.gid = &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(group)}, group
	}
	return a
}

// command makes a command that runs as the account, in a process group of its own, and dies with us.
func (a account) command(dir, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...) //nolint:noctx // it outlives the call that starts it; kill and stop end it
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Credential: a.credential}
	return cmd
}

// run runs a command to its end, and shows its output if it fails.
func (a account) run(ctx context.Context, dir, name string, args ...string) error {
	cmd := a.command(dir, name, args...)
	out, err := os.CreateTemp(dir, "out-*")
	if err != nil {
		return fail.E(fail.Unavailable, err, "start %s", name)
	}
	defer closeLog(out)
	cmd.Stdout, cmd.Stderr = out, out
	p, err := begin(cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		p.kill()
		return fail.E(fail.Unavailable, ctx.Err(), "run %s", name)
	}
	if p.err != nil {
		return fail.E(fail.Internal, p.err, "run %s: %s", name, tail(out.Name()))
	}
	return nil
}

// process is a child that runs or has ended.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it ended
	err  error         // how it ended, after done
}

func begin(cmd *exec.Cmd) (*process, error) {
	if err := cmd.Start(); err != nil {
		return nil, fail.E(fail.Unavailable, err, "start %s", cmd.Path)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// signal signals the process itself, not its group: what its children do about it is its own matter.
func (p *process) signal(s syscall.Signal) error {
	if p.ended() {
		return nil
	}
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fail.E(fail.Internal, err, "signal %v to %s", s, p.cmd.Path)
	}
	if s == syscall.SIGSTOP {
		p.awaitStop()
	}
	return nil
}

// haltTime bounds the wait for a process that was told to stop: it goes on until the kernel comes to each of its threads.
const haltTime = time.Second

// awaitStop waits until the process does nothing any more. On a system without /proc it is believed.
func (p *process) awaitStop() {
	for end := time.Now().Add(haltTime); time.Now().Before(end) && !p.ended(); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		if err != nil {
			return
		}
		if _, after, found := strings.Cut(string(stat), ") "); found && strings.HasPrefix(after, "T") { // its name is in the brackets
			return
		}
	}
}

// signalAll signals the process and its children; one that ended meanwhile hears nothing.
func (p *process) signalAll(s syscall.Signal) error {
	err := p.signal(s)
	for _, pid := range childrenOf(p.cmd.Process.Pid) {
		if childErr := syscall.Kill(pid, s); childErr != nil && !errors.Is(childErr, syscall.ESRCH) {
			err = errors.Join(err, fail.E(fail.Internal, childErr, "signal %v to a child of %s", s, p.cmd.Path))
		}
	}
	return err
}

// running reports whether there is a process that has not ended. It may be asked of none.
func (p *process) running() bool { return p != nil && !p.ended() }

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process, its group and its children at once, and waits until they are gone: PostgreSQL's children are groups of
// their own, and hold its memory for a moment.
func (p *process) kill() {
	children := childrenOf(p.cmd.Process.Pid)
	p.killGroup()
	for _, pid := range children {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			panic(fmt.Sprintf("kill a child of %s: %v", p.cmd.Path, err))
		}
	}
	<-p.done
	for _, pid := range children {
		for range 1000 {
			if gone(pid) {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// childrenOf answers the processes that a process started, and what those started; none if it ended. A state transfer of Galera's is a script of a group of its own, and the rsync of that would
// keep its port.
func childrenOf(pid int) []int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil
	}
	var pids []int
	for _, field := range strings.Fields(string(b)) {
		if child, numErr := strconv.Atoi(field); numErr == nil {
			pids = append(append(pids, child), childrenOf(child)...)
		}
	}
	return pids
}

// gone reports whether a process ended; one that nobody waited for yet counts as gone: it has no command line any more.
func gone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err != nil || len(b) == 0
}

// killGroup is also called after the process ended: its children may not have.
func (p *process) killGroup() {
	if err := syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		// Only a group that is not ours could be refused.
		panic(fmt.Sprintf("kill group of %s: %v", p.cmd.Path, err))
	}
}

// stop asks the process to end, and kills it if it does not.
func (p *process) stop(s syscall.Signal) error {
	if err := p.signal(s); err != nil {
		return err
	}
	// A stopped process hears nothing else.
	if err := p.signal(syscall.SIGCONT); err != nil {
		return err
	}
	t := time.NewTimer(stopTime)
	defer t.Stop()
	select {
	case <-p.done:
	case <-t.C:
	}
	p.kill()
	return nil
}

// until asks ready until it says yes, the process ends or time is up.
func (p *process) until(ctx context.Context, logFile string, ready func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		pause := time.NewTimer(pollTime)
		select {
		case <-pause.C:
			continue
		case <-p.done:
			return fail.E(fail.Unavailable, p.err, "%s ended: %s", p.cmd.Path, tail(logFile))
		case <-ctx.Done():
			return fail.E(fail.Unavailable, errors.Join(ctx.Err(), err), "%s does not answer: %s", p.cmd.Path, tail(logFile))
		}
	}
}

// tail answers the end of a log for an error.
func tail(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return err.Error()
	}
	defer closeLog(f)
	if end, seekErr := f.Seek(0, io.SeekEnd); seekErr == nil {
		if _, seekErr = f.Seek(max(0, end-tailBytes), io.SeekStart); seekErr != nil {
			return seekErr.Error()
		}
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return err.Error()
	}
	return "\n" + string(b)
}

func closeLog(f *os.File) {
	if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		panic(fmt.Sprintf("close %s: %v", f.Name(), err))
	}
}
