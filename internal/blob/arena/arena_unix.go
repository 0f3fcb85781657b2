//go:build unix

package arena

import "golang.org/x/sys/unix"

// Reserve answers n bytes, all zero, which the machine gives when they are used. They are never freed: see GiveBack.
func Reserve(n int) ([]byte, error) {
	if n == 0 {
		return nil, nil
	}
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
}

// GiveBack lets the machine have the memory until it is used again; what was in it may be lost. It is a favour: where it fails, the memory is kept.
func GiveBack(b []byte) {
	if len(b) == 0 {
		return
	}
	if err := unix.Madvise(b, unix.MADV_DONTNEED); err != nil {
		return
	}
}
