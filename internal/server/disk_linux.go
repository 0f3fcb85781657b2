package server

import "golang.org/x/sys/unix"

// roomOf answers the free bytes of the file system that a directory is on, for users that are not root; not ok if nobody knows.
func roomOf(dir string) (free int64, ok bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}

// sameDisk reports whether two directories are on one file system.
func sameDisk(a, b string) bool {
	var one, other unix.Stat_t
	return unix.Stat(a, &one) == nil && unix.Stat(b, &other) == nil && one.Dev == other.Dev
}
