//go:build !linux

package filesystem

import "os"

// beginWriting does nothing where the kernel takes no such advice.
func beginWriting(*os.File, int64, int64) {}

// flushFile flushes a file.
func flushFile(f *os.File) error { return f.Sync() }
