package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/havn-registry/havn/test/programs"
)

func debian(ctx context.Context) error {
	missing := programs.Missing()
	if len(missing) == 0 {
		say("Debian: nothing is missing")
		return nil
	}
	by := "apt-get install --no-install-recommends " + strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("these are missing, and this is no Debian: install %s", strings.Join(missing, ", "))
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("these are missing, and installing them needs root: sudo %s", by)
	}
	return locked(ctx, "debian", func() error { return install(ctx, missing) })
}

func install(ctx context.Context, missing []string) error {
	began := time.Now()
	say("Debian: missing are %s", strings.Join(missing, ", "))
	env := []string{"DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"}
	// Another apt may run on this machine: wait for its locks. Its lock on the lists is not waited for, so a try is repeated.
	apt := []string{"apt-get", "-q", "-o", "DPkg::Lock::Timeout=600", "-o", "Acquire::Retries=5"}
	if err := step(ctx, "/", env, append(apt, "update")...); err != nil {
		return err
	}
	args := append(apt, "install", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0")
	if err := step(ctx, "/", env, append(args, missing...)...); err != nil {
		return err
	}
	if still := programs.Missing(); len(still) > 0 {
		return fmt.Errorf("after apt-get install these are still not found: %s", strings.Join(still, ", "))
	}
	say("Debian: installed in %s", time.Since(began).Round(time.Second))
	return nil
}
