package server

import (
	"net"

	"golang.org/x/sys/unix"
)

// shortQueue is how much may wait unsent in the kernel for a connection with TLS: the answers of HTTP/2 share it, and one must not wait for minutes behind
// another on a slow line.
const shortQueue = 64 << 10

// shorten bounds what waits unsent. A kernel that does not know how is no reason not to serve.
func shorten(c *net.TCPConn) {
	control(c, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, shortQueue)
	})
}

// unacknowledged answers how many bytes that were written the other end did not confirm yet; not ok if the kernel does not tell.
func unacknowledged(c *net.TCPConn) (n int, ok bool) {
	ok = control(c, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.SIOCOUTQ)
		return err
	})
	return n, ok
}

func control(c *net.TCPConn, do func(fd int) error) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = do(int(fd)) })
	return err == nil && failed == nil
}
