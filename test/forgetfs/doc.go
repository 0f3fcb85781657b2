// Package forgetfs is a file system for power cuts: at a cut it forgets everything that was not flushed. kill -9 proves nothing about flushing, because the
// kernel's page cache survives it; here the bytes of a file count only after fsync or fdatasync of that file, and a name (made, renamed, removed) only
// after fsync of its directory. That is less than any file system of today keeps, and all that POSIX promises.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) {
//		if forgetfs.Child() {
//			return
//		}
//		…
//	}
//
// because the file system is served by another process, the test's own program run again: a process that maps files of a file system that it serves
// itself can wait for itself for ever (SQLite maps its -shm file). Everything is kept in that process's memory. When the test dies, however it dies, the end of
// its pipe tells the other process to unmount and to end.
package forgetfs
