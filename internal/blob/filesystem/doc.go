// Package filesystem keeps objects as files in a directory, also in one that several nodes share.
//
// An object is written under its final name, which nobody knows until its row is committed, so nothing is renamed. Put returns when the file and the directory
// that names it are flushed: one without the other may be gone after a power cut. Writers that have put files into one directory share its flush.
package filesystem
