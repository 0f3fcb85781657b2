//go:build !linux

package server

import "net"

// shorten does nothing where it is not known how.
func shorten(*net.TCPConn) {}

// unacknowledged does not know.
func unacknowledged(*net.TCPConn) (int, bool) { return 0, false }
