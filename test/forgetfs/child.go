package forgetfs

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// childVar holds the mount point in the environment of the process that serves the file system.
const childVar = "HAVN_TEST_FORGETFS"

// flushTime is about that of a good disk.
const flushTime = 2 * time.Millisecond

// Child serves the file system if this process was started for that, and answers whether it was. It returns when the test is over.
func Child() bool {
	dir := os.Getenv(childVar)
	if dir == "" {
		return false
	}
	s := served{dir: dir, disk: newDisk(flushTime)}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		answer := "ok"
		if err := s.obey(lines.Text()); err != nil {
			answer = strings.ReplaceAll(err.Error(), "\n", "; ")
		}
		fmt.Println(answer)
	}
	// The other end of the pipe is closed: the test has ended, or was killed.
	if err := s.unmount(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return true
}

type served struct {
	dir    string
	disk   *disk
	server *fuse.Server // nil: not mounted
}

func (s *served) obey(line string) error {
	var luck float64
	var seed uint64
	switch verb, _, _ := strings.Cut(line, " "); verb {
	case "mount":
		return s.mount()
	case "cut":
		s.disk.cut()
		return nil
	case "fail":
		var n int
		if _, err := fmt.Sscanf(line, "fail %d", &n); err != nil {
			return err
		}
		s.disk.failNext(n)
		return nil
	case "restore":
		if _, err := fmt.Sscanf(line, "restore %g %d", &luck, &seed); err != nil {
			return err
		}
		if err := s.unmount(); err != nil {
			return err
		}
		s.disk.restore(luck, seed)
		return s.mount()
	case "unmount":
		return s.unmount()
	}
	return fmt.Errorf("unknown command %q", line)
}

func (s *served) mount() (err error) {
	// The kernel may trust what it has seen: nobody else changes anything. A new mount after a cut has seen nothing.
	trust := time.Minute
	s.server, err = fs.Mount(s.dir, &node{d: s.disk, i: s.disk.root}, &fs.Options{
		EntryTimeout: &trust, AttrTimeout: &trust,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "forgetfs", Name: "forgetfs", DisableXAttrs: true, Options: []string{"default_permissions"}},
	})
	return err
}

// unmount takes the file system away. Whoever still has files of it open keeps a dead one.
func (s *served) unmount() error {
	if s.server == nil {
		return nil
	}
	s.server = nil
	if err := syscall.Unmount(s.dir, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("unmount %s: %w", s.dir, err)
	}
	return nil
}
