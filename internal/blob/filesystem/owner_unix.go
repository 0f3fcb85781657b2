//go:build unix

package filesystem

import (
	"os"
	"syscall"
)

// leave gives what root has made to the owner of the directory it is in: commands that operators run as root must leave nothing that the service, which is somebody else, can't read. Where it can't be given
// away (a file system that maps root to nobody, a user namespace) it stays whose it is: a service that runs as root reads it all the same.
func leave(path, dir string) {
	if os.Geteuid() != 0 {
		return
	}
	whole, err := os.Stat(dir)
	if err != nil {
		return
	}
	if of, ok := whole.Sys().(*syscall.Stat_t); ok && (of.Uid != 0 || of.Gid != 0) {
		//nolint:errcheck // see above
		_ = os.Lchown(path, int(of.Uid), int(of.Gid))
	}
}
