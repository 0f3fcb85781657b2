package filesystem

import (
	"context"
	"errors"
	"os"

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

// Space answers the room on the file system, for users that are not root: see blob.Spacer.
func (d *Driver) Space(context.Context) (free, total int64, err error) {
	var s unix.Statfs_t
	if err = unix.Statfs(d.root, &s); err != nil {
		return 0, 0, classified(err, "ask for the room at %s", d.root)
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize, nil
}
