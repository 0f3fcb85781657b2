//go:build !linux

package server

// roomOf answers that nobody knows.
func roomOf(string) (free int64, ok bool) { return 0, false }

// sameDisk is asked only where roomOf knows something.
func sameDisk(string, string) bool { return false }
