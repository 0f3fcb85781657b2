//go:build !linux

package quicktest

func inMemory() string { return "" }
