package main

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a server under test, with the processes it started (nginx has workers). Without a command it is a server that somebody else runs, or several nodes.
type process struct {
	cmd   *exec.Cmd
	log   string
	nodes []*process
}

// add makes a node a part of it.
func (p *process) add(node *process) { p.nodes = append(p.nodes, node) }

// ticks is how many clock ticks Linux counts in a second of CPU time, on every architecture that Go runs on.
const ticks = 100

// start runs a server in a process group of its own and waits until it takes connections at addr.
func start(ctx context.Context, dir, addr string, env []string, argv ...string) (*process, error) {
	log := filepath.Join(dir, "server.log")
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer closed(out)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, append(os.Environ(), env...), out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err = cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, log: log}
	for range 3000 {
		var conn net.Conn
		conn, err = net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			closed(conn)
			return p, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.stop()
	return nil, fmt.Errorf("%s does not listen at %s after 30 s: %w; its log is %s", argv[0], addr, err, log)
}

// stop asks the server to end, and ends it if it does not.
func (p *process) stop() {
	for _, n := range p.nodes {
		n.stop()
	}
	if p.cmd == nil {
		return
	}
	group := -p.cmd.Process.Pid
	if err := syscall.Kill(group, syscall.SIGTERM); err != nil {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.cmd.Wait(); err != nil {
			return // a server that is ended by a signal answers an error: that is what it was asked for
		}
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		if err := syscall.Kill(group, syscall.SIGKILL); err == nil {
			<-ended
		}
	}
}

// members lists the process and its children.
func (p *process) members() []int {
	if p.cmd == nil {
		var pids []int
		for _, n := range p.nodes {
			pids = append(pids, n.members()...)
		}
		return pids
	}
	pids := []int{p.cmd.Process.Pid}
	task := fmt.Sprintf("/proc/%d/task/%d/children", pids[0], pids[0])
	text, err := os.ReadFile(task)
	if err != nil {
		return pids
	}
	for _, f := range strings.Fields(string(text)) {
		if pid, cause := strconv.Atoi(f); cause == nil {
			pids = append(pids, pid)
		}
	}
	return pids
}

// cpu answers the seconds of CPU that the server and its children have used.
func (p *process) cpu() float64 {
	sum := 0
	for _, pid := range p.members() {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		for _, i := range []int{11, 12} { // utime and stime, counted from the state
			if n, cause := strconv.Atoi(fields[i]); cause == nil {
				sum += n
			}
		}
	}
	return float64(sum) / ticks
}

// peak answers the largest resident memory so far, in bytes.
func (p *process) peak() int64 {
	var sum int64
	for _, pid := range p.members() {
		f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if rest, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
				if kib, cause := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); cause == nil {
					sum += kib << 10
				}
			}
		}
		closed(f)
	}
	return sum
}

// freePort finds a port that nobody has at this moment.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer closed(l)
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("listener at %s has no TCP address", l.Addr())
	}
	return addr.Port, nil
}
