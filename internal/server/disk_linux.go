package server

import (
	"golang.org/x/sys/unix"

	"github.com/havn-registry/havn/internal/blob/filesystem"
)

// roomOf answers the free bytes of the file system that a directory is on, for users that are not root; not ok if nobody knows.
func roomOf(dir string) (free int64, ok bool) {
	free, _, err := filesystem.Room(dir)
	return free, err == nil
}

// sameDisk reports whether two directories are on one file system.
func sameDisk(a, b string) bool {
	var one, other unix.Stat_t
	return unix.Stat(a, &one) == nil && unix.Stat(b, &other) == nil && one.Dev == other.Dev
}
