package filesystem

import (
	"context"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// beginWriting tells the kernel to write a part of the file now. It is advice: whether it was taken shows at the flush.
func beginWriting(f *os.File, off, n int64) {
	if err := unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE); err != nil {
		return
	}
}

// flushFile flushes the bytes of a file and its size. That is fdatasync: of what it leaves out, the times alone, a reader needs nothing. (A new
// file's mode and owner come to disk with its name.)
func flushFile(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if !errors.Is(err, unix.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// sameFolder reports whether a folder is the one that it was: whether it has the number on its file system that it had. The number of a device may change when that is attached again, and file systems in user space,
// which are on none (major number 0), may change the numbers of their files at any time.
func sameFolder(was, now os.FileInfo) bool {
	a, known := was.Sys().(*syscall.Stat_t)
	b, too := now.Sys().(*syscall.Stat_t)
	if !known || !too {
		return os.SameFile(was, now)
	}
	return a.Ino == b.Ino || a.Dev == b.Dev && unix.Major(a.Dev) == 0
}

// Space answers the room on the file system, for users that are not root: see blob.Spacer.
func (d *Driver) Space(context.Context) (free, total int64, err error) {
	return Room(d.root)
}

// Room answers the free and the total bytes of the file system that a directory is on, for users that are not root.
func Room(dir string) (free, total int64, err error) {
	var s unix.Statfs_t
	if err = unix.Statfs(dir, &s); err != nil {
		return 0, 0, classified(err, "ask for the room at %s", dir)
	}
	free, total = roomIn(&s)
	return free, total, nil
}

// roomIn counts in the file system's own unit. That is not always the size in which it likes to be written to: file systems in user space may say 1 MiB there, and count 4 KiB.
func roomIn(s *unix.Statfs_t) (free, total int64) {
	unit := s.Frsize
	if unit == 0 { // it tells no other
		unit = s.Bsize
	}
	return int64(s.Bavail) * unit, int64(s.Blocks) * unit
}
