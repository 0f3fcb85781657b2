// Package filesystem keeps objects as files in a directory, also in one that several nodes share: no locks, no mapped memory, no renames.
//
// An object is written under its final name, which nobody knows until its row is committed. Put returns when the file and the directory that names it are
// flushed: one without the other may be gone after a power cut. Large files are written back while they arrive, so that the flush at the end is short, and
// writers that have put files into one directory share its flush.
//
// Measured on ext4 with 16 writers: the directory's flush costs little, because the file's own flush has committed the journal that holds both; flushing the
// directory before the file was slower.
package filesystem
