package filesystem

import (
	"os"

	"golang.org/x/sys/unix"
)

// beginWriting tells the kernel to write a part of the file now. It is advice: whether it was taken shows at the flush.
func beginWriting(f *os.File, off, n int64) {
	if err := unix.SyncFileRange(int(f.Fd()), off, n, unix.SYNC_FILE_RANGE_WRITE); err != nil {
		return
	}
}
