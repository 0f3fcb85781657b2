package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// inside marks the process that runs in the namespace.
const inside = "CHAOS_NAMESPACE"

// TestMain runs the tests in a network namespace of their own: the firewall in it is nobody else's, and so are the ports.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		os.Exit(harness.Main(m))
	}
	code, err := enter()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// enter runs this program again, in a namespace. The program under test is built before: there is no way out of the namespace to what Go would load.
func enter() (code int, err error) {
	program := os.Getenv(harness.BinaryVariable)
	if program == "" {
		dir, dirErr := os.MkdirTemp("", "havn-test-")
		if dirErr != nil {
			return 1, dirErr
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		if program, err = harness.Build(dir); err != nil {
			return 1, err
		}
	}
	runtime.LockOSThread() // the kernel kills the child when this thread ends
	defer runtime.UnlockOSThread()
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1", harness.BinaryVariable+"="+program)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	var ended *exec.ExitError
	if err = cmd.Run(); errors.As(err, &ended) {
		return max(1, ended.ExitCode()), nil
	}
	return 0, err
}

// firstGroup is the group that the first node of Havn runs as, and behind those of all nodes come those of the OSDs and of the monitor: the firewall knows by it whose connections it sees.
const firstGroup = 61001

func groupOf(member int) int { return firstGroup + member }

// wall is the firewall of this process's namespace.
var wall *lab.Firewall

// connect brings the namespace's loopback up, and makes the firewall, which knows the nodes of Havn, the OSDs and the monitor by the groups that they run as.
func (d *deployment) connect(t *testing.T, members int) {
	t.Helper()
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Fatalf("loopback of the namespace: %v: %s", err, out)
	}
	var groups []int
	for n := range members {
		groups = append(groups, groupOf(n))
	}
	var err error
	wall, err = lab.NewFirewall(t.Context(), "chaos", groups...)
	need(t, err)
}

// of matches all packets of connections on which a node of Havn, an OSD or the monitor has sent something.
func of(member int) string { return wall.Of(groupOf(member)) }

// cut drops the packets that match any of some rules, as a broken network does: connections hang. It answers how to mend it.
func cut(t *testing.T, rules ...string) func() error {
	t.Helper()
	need(t, wall.Sever(t.Context(), rules...))
	return mend
}

func mend() error { return wall.Mend(context.Background()) }

// from matches what goes either way on connections that a node of Havn begins to some servers.
func from(node int, hosts ...string) string { return wall.From(groupOf(node), hosts...) }

// ips answers the addresses of servers as a set of the firewall's.
func ips(hosts ...string) string { return lab.IPs(hosts...) }
