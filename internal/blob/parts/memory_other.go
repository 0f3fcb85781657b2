//go:build !unix

package parts

func reserve(n int) ([]byte, error) { return make([]byte, n), nil }

func giveBack([]byte) {}

func isFull(error) bool { return false }
