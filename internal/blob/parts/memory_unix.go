//go:build unix

package parts

import (
	"errors"

	"golang.org/x/sys/unix"
)

// reserve answers memory that is taken from the machine when it is used.
func reserve(n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// giveBack lets the machine have the memory until it is used again. It is a favour: where it fails, the memory is kept.
func giveBack(b []byte) {
	if len(b) == 0 {
		return
	}
	if err := unix.Madvise(b, unix.MADV_DONTNEED); err != nil {
		return
	}
}

func isFull(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
