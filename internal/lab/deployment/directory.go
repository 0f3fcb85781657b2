package deployment

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

const (
	// longestDir leaves room for the sockets of the services below it, whose paths the kernel takes up to 107 bytes.
	longestDir = 60
	// goneTime is how long the directory of a lab that ended may still be there.
	goneTime = 30 * time.Second

	lockName = "lab.lock"
	// LogName is the file in the directory into which a lab in the background writes.
	LogName = "up.log"
)

// directory is the place of a lab. Whoever holds its lock looks after the lab; the kernel lets go of it when that process dies.
type directory struct {
	path string
	lock *os.File
}

// enter makes a directory a lab's and locks it. One that holds anything else, or what an earlier lab left, is not touched.
func enter(path string) (*directory, error) {
	if len(path) > longestDir {
		return nil, fail.E(fail.Invalid, nil, "directory %s: its path is longer than %d", path, longestDir).Hint("give a shorter one: --dir")
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, fail.E(fail.Unavailable, err, "directory of the lab").Hint("give another one: --dir")
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fail.E(fail.Unavailable, err, "directory of the lab").Hint("give another one: --dir")
	}
	left, ours := 0, len(entries) == 0
	for _, e := range entries {
		ours = ours || e.Name() == lockName
		if !slices.Contains([]string{lockName, LogName}, e.Name()) {
			left++
		}
	}
	if !ours && left > 0 {
		return nil, fail.E(fail.Exists, nil, "directory %s: holds something, and no lab", path).Hint("give another one: --dir")
	}
	d := &directory{path: path}
	if err = d.hold(); err != nil {
		return nil, err
	}
	if left > 0 {
		return nil, errors.Join(fail.E(fail.Exists, nil, "directory %s: holds what a lab left that was killed", path).Hint("`havn lab down` removes it"), d.lock.Close())
	}
	return d, nil
}

// OpenLog opens the file into which a lab in the background writes: who starts it makes the directory.
func OpenLog(dir string) (*os.File, error) {
	d, err := enter(dir)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(dir, LogName), os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600) // it shows the password
	if err = errors.Join(err, d.lock.Close()); err != nil {
		return nil, fail.E(fail.Unavailable, err, "log of the lab")
	}
	return log, nil
}

// hold takes the lock.
func (d *directory) hold() error {
	lock, err := os.OpenFile(filepath.Join(d.path, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fail.E(fail.Unavailable, err, "lock of the lab").Hint("give another directory: --dir")
	}
	if err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(fail.E(fail.Conflict, err, "a lab runs in %s", d.path).Hint("`havn lab down` ends it; another directory (--dir) takes another lab"), lock.Close())
	}
	d.lock = lock
	return nil
}

// remove removes the directory, and lets go of it.
func (d *directory) remove() error {
	if err := errors.Join(os.RemoveAll(d.path), d.lock.Close()); err != nil {
		return fail.E(fail.Unavailable, err, "remove the lab's directory")
	}
	return nil
}

// table is the name of the lab's table of the firewall, and firstGroup the first of the groups that its servers run as: other labs have others.
func table(path string) string {
	sum := sha256.Sum256([]byte(path))
	return fmt.Sprintf("havn_lab_%x", sum[:4])
}

func firstGroup(path string) int {
	const from, labs, each = 61100, 400, 10
	sum := sha256.Sum256([]byte(path))
	return from + each*((int(sum[0])<<8+int(sum[1]))%labs)
}

// clean removes what a lab left that was killed. Its processes died with it.
func clean(ctx context.Context, path string) error {
	d := &directory{path: path}
	if err := d.hold(); err != nil {
		return err
	}
	return errors.Join(lab.RemoveFirewall(ctx, table(path)), d.remove())
}

// gone waits until the directory of a lab that ends is not there any more.
func gone(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, goneTime)
	defer cancel()
	for {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fail.E(fail.Unavailable, ctx.Err(), "the lab in %s does not end", path)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
