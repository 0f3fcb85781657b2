package forgetfs

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long an answer of the other process may take.
const patience = time.Minute

// Volume is a mounted file system that forgets.
type Volume struct {
	// Path is where it is mounted.
	Path string

	in      io.WriteCloser
	answers chan string
	ended   chan error
}

// New mounts an empty volume, which goes with the test.
func New(t testing.TB) *Volume {
	t.Helper()
	v := &Volume{Path: filepath.Join(t.TempDir(), "volume"), answers: make(chan string), ended: make(chan error, 1)}
	if err := os.Mkdir(v.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program)
	cmd.Env = []string{childVar + "=" + v.Path}
	cmd.Stderr = os.Stderr
	// A session of its own: who kills the test's whole process group must not kill the one that cleans up.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	v.in, err = cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err = cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			v.answers <- lines.Text()
		}
		close(v.answers)
		v.ended <- cmd.Wait()
	}()
	t.Cleanup(func() { v.end(t, cmd.Process) })
	v.order(t, "mount")
	return v
}

// Cut is the power cut: from now on each operation fails and nothing is flushed any more.
func (v *Volume) Cut(t testing.TB) {
	t.Helper()
	v.order(t, "cut")
}

// FailFlush lets the next n flushes of files fail with EIO, as Linux does it: what was to be flushed by them is forgotten at the next cut, although programs see it until then and later flushes
// succeed, unless it is written again.
func (v *Volume) FailFlush(t testing.TB, n int) {
	t.Helper()
	v.order(t, fmt.Sprintf("fail %d", n))
}

// Restore mounts the volume again with what was flushed. Of the rest, each page, size and name has survived by luck with that probability, chosen by
// the seed. Programs that had files open should have been ended.
func (v *Volume) Restore(t testing.TB, luck float64, seed uint64) {
	t.Helper()
	v.order(t, fmt.Sprintf("restore %g %d", luck, seed))
}

func (v *Volume) order(t testing.TB, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(v.in, line); err != nil {
		t.Fatalf("forgetfs: %s: %v", line, err)
	}
	select {
	case answer, ok := <-v.answers:
		if !ok {
			t.Fatalf("forgetfs: the process that serves it has ended at %q", line)
		}
		if answer != "ok" {
			t.Fatalf("forgetfs: %s: %s; this needs root and /dev/fuse", line, answer)
		}
	case <-time.After(patience):
		t.Fatalf("forgetfs: no answer to %q", line)
	}
}

// end unmounts and waits for the other process.
func (v *Volume) end(t testing.TB, process *os.Process) {
	if err := v.in.Close(); err != nil {
		t.Error(err)
	}
	kill := time.AfterFunc(patience, func() {
		if err := process.Kill(); err != nil {
			t.Errorf("forgetfs: %v", err)
		}
	})
	for answer := range v.answers {
		t.Logf("forgetfs: late answer %q", answer)
	}
	if err := <-v.ended; err != nil {
		t.Errorf("forgetfs: %v", err)
	}
	kill.Stop()
	if mounted(t, v.Path) {
		t.Errorf("forgetfs: %s was still mounted: %v", v.Path, syscall.Unmount(v.Path, syscall.MNT_DETACH))
	}
}

func mounted(t testing.TB, path string) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Error(err)
	}
	return strings.Contains(string(table), " "+path+" ")
}
