//go:build linux

package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab/deployment"
)

// followPause is the pause between two looks at what a lab in the background says.
const followPause = 100 * time.Millisecond

// labPackages installs what is missing, or says what is.
func (p *program) labPackages(ctx context.Context, o deployment.Options, install bool) error {
	missing := o.Missing()
	if len(missing) == 0 {
		return nil
	}
	by := "apt-get install --no-install-recommends " + strings.Join(missing, " ")
	none := fail.E(fail.Unsupported, nil, "packages of Debian are missing: %s", strings.Join(missing, ", "))
	switch {
	case !install:
		return none.Hint("havn lab up --install, or: %s", by)
	case os.Geteuid() != 0:
		return none.Hint("only root may install them: sudo %s", by)
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return none.Hint("this is no Debian: install them in its own way")
	}
	wait := []string{"-q", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=3"} // another apt may run
	for _, args := range [][]string{{"update"}, slices.Concat([]string{"install", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"}, missing)} {
		p.say(p.err, "$ apt-get "+strings.Join(args, " ")+"\n")
		cmd := exec.CommandContext(ctx, apt, append(slices.Clone(wait), args...)...)
		cmd.Env = append(slices.Clone(p.environ), "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1")
		cmd.Stdout, cmd.Stderr = p.err, p.err
		// Ctrl-C lets it end in order.
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		if err = cmd.Run(); err != nil {
			return fail.E(fail.Unavailable, err, "apt-get %s", args[0]).Hint("see above; by hand: %s", by)
		}
	}
	if still := o.Missing(); len(still) > 0 {
		return fail.E(fail.Unsupported, nil, "installed, and still not found: %s", strings.Join(still, ", "))
	}
	return nil
}

// labDetach starts the lab in a process of its own, passes on what it says until it is up, and leaves it alone.
func (p *program) labDetach(ctx context.Context, o deployment.Options) error {
	log, err := deployment.OpenLog(o.Dir)
	if err != nil {
		return err
	}
	cmd := exec.Command(o.Program, slices.DeleteFunc(slices.Clone(p.args), func(arg string) bool { //nolint:noctx // it outlives this process
		return arg == "--detach" || strings.HasPrefix(arg, "--detach=")
	})...)
	cmd.Env, cmd.Stdout, cmd.Stderr = p.environ, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err = cmd.Start(); err != nil {
		return fail.E(fail.Unavailable, errors.Join(err, log.Close()), "start the lab in the background")
	}
	said, err := os.Open(log.Name())
	if err = errors.Join(err, log.Close()); err != nil {
		return fail.E(fail.Unavailable, err, "log of the lab")
	}
	err = p.follow(ctx, cmd, said, o.Dir)
	if closeErr := said.Close(); err == nil && closeErr != nil {
		err = fail.E(fail.Unavailable, closeErr, "log of the lab")
	}
	return err
}

// follow passes on what a lab says, until it is up or ended. Whoever gives up ends it.
func (p *program) follow(ctx context.Context, cmd *exec.Cmd, said io.Reader, dir string) error {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	lab := deployment.NewClient(dir)
	pass := func() error {
		if _, err := io.Copy(p.err, said); err != nil {
			return fail.E(fail.Unavailable, err, "log of the lab")
		}
		return nil
	}
	interrupted := ctx.Done()
	for {
		pause := time.NewTimer(followPause)
		select {
		case <-interrupted:
			interrupted = nil
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				return fail.E(fail.Internal, err, "end the lab")
			}
		case err := <-ended:
			if passErr := pass(); passErr != nil {
				return passErr
			}
			if err == nil {
				return fail.E(fail.Unavailable, ctx.Err(), "the lab ended before it was up")
			}
			return outcome{code: exitFailed} // it said why
		case <-pause.C:
			s, err := lab.Status(context.WithoutCancel(ctx))
			// What it says last it says before it is up.
			if passErr := pass(); passErr != nil {
				return passErr
			}
			if err == nil && s.State != deployment.Starting {
				p.say(p.err, "\nIt goes on in the background; its log is "+filepath.Join(dir, deployment.LogName)+".\n")
				return nil
			}
		}
	}
}
