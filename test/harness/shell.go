package harness

import (
	"bytes"
	"context"
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

// commandLimit ends a client that hangs. It is far above what any takes, so that a loaded machine does not meet it.
const commandLimit = 5 * time.Minute

// Shell runs commands in a home directory of its own: no configuration, credential or cache of the machine is seen or touched.
type Shell struct {
	// Home is HOME, and the parent of the folder for temporary files.
	Home string
	// Env is added to the little that every command gets.
	Env []string
	// Isolated: each command in namespaces of processes and mounts of its own.
	Isolated bool
}

// Folder makes a folder that goes with the test. Other than t.TempDir's, its name is short, for sockets and for podman, which
// refuses long ones, and in lower case, for programs that make image names of it.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hv")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if removeErr := os.RemoveAll(dir); removeErr != nil {
			t.Errorf("remove the test's folder: %v", removeErr)
		}
	})
	return dir
}

// NewShell makes a shell with a fresh home.
func NewShell(t testing.TB) *Shell {
	t.Helper()
	home := Folder(t)
	if err := os.Mkdir(filepath.Join(home, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	return &Shell{Home: home}
}

// Environ is the whole environment of a command.
func (s *Shell) Environ() []string {
	env := []string{
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:" + os.Getenv("PATH"),
		"HOME=" + s.Home, "TMPDIR=" + filepath.Join(s.Home, "tmp"), "LANG=C.UTF-8",
		// Nothing of these tests is outside this machine.
		"NO_PROXY=*", "no_proxy=*",
	}
	return append(env, s.Env...)
}

// Path answers a path below the home.
func (s *Shell) Path(parts ...string) string {
	return filepath.Join(append([]string{s.Home}, parts...)...)
}

// Write makes a file below the home, with its folders.
func (s *Shell) Write(t testing.TB, name, text string) string {
	t.Helper()
	path := s.Path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Run runs a command, which must succeed, and answers its standard output.
func (s *Shell) Run(t testing.TB, argv ...string) string {
	t.Helper()
	return s.Feed(t, "", argv...)
}

// Feed is Run with a standard input.
func (s *Shell) Feed(t testing.TB, input string, argv ...string) string {
	t.Helper()
	stdout, stderr, err := s.try(t, input, argv)
	if err != nil {
		t.Fatalf("$ %s\n%s%s%v", strings.Join(argv, " "), stdout, stderr, err)
	}
	return stdout
}

// Refused runs a command, which must fail with an exit code of its own, and answers everything it printed.
func (s *Shell) Refused(t testing.TB, argv ...string) string {
	t.Helper()
	stdout, stderr, err := s.try(t, "", argv)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() < 0 {
		t.Fatalf("$ %s\n%s%sshould have been refused, but ended with: %v", strings.Join(argv, " "), stdout, stderr, err)
	}
	return stdout + stderr
}

// Try runs a command that may fail, and answers everything it printed.
func (s *Shell) Try(t testing.TB, argv ...string) (string, error) {
	t.Helper()
	stdout, stderr, err := s.try(t, "", argv)
	return stdout + stderr, err
}

// Answers is a condition for a daemon: a command that talks to it succeeds.
func (s *Shell) Answers(t testing.TB, argv ...string) func() error {
	return func() error {
		out, err := s.Try(t, argv...)
		if err != nil {
			return errors.Join(err, errors.New(strings.TrimSpace(out)))
		}
		return nil
	}
}

func (s *Shell) try(t testing.TB, input string, argv []string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), commandLimit)
	defer cancel()
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if s.Isolated {
		argv = isolated(attr, argv)
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	var out, errs bytes.Buffer
	cmd.Dir, cmd.Env, cmd.SysProcAttr = s.Home, s.Environ(), attr
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	// A grandchild that keeps the output open must not hold up the test.
	cmd.WaitDelay = 10 * time.Second
	ran := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // see Launch
		defer runtime.UnlockOSThread()
		ran <- cmd.Run()
	}()
	err = <-ran
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return out.String(), errs.String(), err
}
