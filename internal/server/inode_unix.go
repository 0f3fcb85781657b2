//go:build unix

package server

import (
	"io/fs"
	"syscall"
)

// inode answers what a file is on its file system: a file that was replaced by one of the same size and time has another.
func inode(info fs.FileInfo) any {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return nil
}
