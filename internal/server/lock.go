package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// lockName is the file in the data directory that one process holds.
	lockName = "havn.lock"
	// glancePause is waited for one who only looks whether a lock is held, which takes microseconds.
	glancePause = time.Millisecond
)

// Holder is what the lock's file says of the process that holds it.
type Holder struct {
	PID   int       `json:"pid"`
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
	// Version and Node are the program's and the incarnation's, and URL is where it answers, once it does.
	Version string `json:"version,omitempty"`
	Node    int64  `json:"node,omitempty,string"`
	URL     string `json:"url,omitempty"`
}

// String answers the holder in words.
func (h Holder) String() string {
	if h.PID == 0 {
		return "another process"
	}
	return fmt.Sprintf("process %d on %s since %s", h.PID, h.Host, h.Since.Format(time.RFC3339))
}

// lock is held on a file until it is released or the process ends, however it ends.
type lock struct {
	path   string
	file   *os.File
	holder Holder
	first  int64    // length of the file's first line
	made   []string // directories that were made for it, outermost first
}

// takeLock locks a file, making its directory if need be. A file that another process holds is a Conflict that names the process.
func takeLock(path string, holder Holder) (*lock, error) {
	l := &lock{path: path, holder: holder}
	var err error
	if l.made, err = makeDirs(filepath.Dir(path)); err != nil {
		return nil, err
	}
	for again := true; again; {
		if again, err = l.try(); err != nil {
			return nil, errors.Join(err, l.unmake())
		}
	}
	if err = l.write(); err != nil {
		return nil, errors.Join(err, l.abandon())
	}
	return l, nil
}

// try locks the file once. again: the file was removed in between, so that the lock would be on a file without a name; or somebody glances at it.
func (l *lock) try() (again bool, err error) {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return false, dirError(err, l.path)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	switch {
	case errors.Is(err, unix.EWOULDBLOCK) && unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB) == nil:
		time.Sleep(glancePause)
		return true, f.Close()
	case errors.Is(err, unix.EWOULDBLOCK):
		holder := readHolder(f)
		return false, errors.Join(fail.E(fail.Conflict, nil, "%s is in use by %s", filepath.Dir(l.path), holder).
			Detail(holder).Hint("stop it first, or give this one a data directory of its own (data_dir)"), f.Close())
	case err != nil:
		return false, errors.Join(fail.E(fail.Unavailable, err, "lock %s", l.path).Hint("the file system of the data directory must know file locks"), f.Close())
	}
	held, heldErr := f.Stat()
	named, namedErr := os.Stat(l.path)
	if heldErr == nil && namedErr == nil && os.SameFile(held, named) {
		l.file = f
		return false, nil
	}
	return true, f.Close()
}

// glance looks whether a process holds a lock, and which; nothing is written, and a lock that is free stays so but for a moment.
func glance(path string) (h Holder, held bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Holder{}, false, nil
	case err != nil:
		return Holder{}, false, dirError(err, path)
	}
	defer func() { err = errors.Join(err, f.Close()) }() // which gives the lock back
	switch err = unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB); {
	case errors.Is(err, unix.EWOULDBLOCK):
		return readHolder(f), true, nil
	case err != nil:
		return Holder{}, false, fail.E(fail.Unavailable, err, "look at the lock %s", path).Hint("the file system of the data directory must know file locks")
	}
	return Holder{}, false, nil
}

func readHolder(f io.ReaderAt) Holder {
	var last Holder // the zero one: the holder is about to write it
	for lines := json.NewDecoder(io.NewSectionReader(f, 0, 4096)); ; {
		var h Holder
		if err := lines.Decode(&h); err != nil {
			return last // the end, or a line that is being written
		}
		last = h
	}
}

// write says who holds the lock, on the file's first line.
func (l *lock) write() error {
	if err := l.file.Truncate(0); err != nil {
		return dirError(err, l.path)
	}
	return l.say(0)
}

// answers adds where the process answers, on a second line: whoever reads meanwhile finds the first one whole.
func (l *lock) answers(url, version string, node int64) error {
	l.holder.URL, l.holder.Version, l.holder.Node = url, version, node
	return l.say(l.first)
}

// say writes a line.
func (l *lock) say(at int64) error {
	body, err := json.Marshal(l.holder)
	if err == nil {
		_, err = l.file.WriteAt(append(body, '\n'), at)
	}
	if err != nil {
		return dirError(err, l.path)
	}
	if at == 0 {
		l.first = int64(len(body)) + 1
	}
	return nil
}

// release gives the lock back. The file stays, empty: removing it would need care, and it says nothing.
func (l *lock) release() error { return errors.Join(l.file.Truncate(0), l.free()) }

// abandon gives the lock back after a start that came to nothing, and takes away what was made for it, as far as it is empty.
func (l *lock) abandon() error {
	var err error
	if len(l.made) > 0 {
		err = os.Remove(l.path) // still held: whoever waits for it looks again
	}
	return errors.Join(err, l.free(), l.unmake())
}

// free lets others have the lock. To close the file is not enough: a child that was forked just now shares it until it runs its program.
func (l *lock) free() error {
	return errors.Join(unix.Flock(int(l.file.Fd()), unix.LOCK_UN), l.file.Close())
}

func (l *lock) unmake() error {
	for i := len(l.made) - 1; i >= 0; i-- {
		err := os.Remove(l.made[i])
		if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// makeDirs makes a directory and those above it, and answers which were not there.
func makeDirs(dir string) ([]string, error) {
	var missing []string
	for at := filepath.Clean(dir); ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err == nil && !info.IsDir() {
			return nil, fail.E(fail.Invalid, nil, "%s is not a directory", at).Hint("remove it, or set data_dir")
		}
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, dirError(err, at)
		}
		missing = append([]string{at}, missing...)
		if at == filepath.Dir(at) {
			break
		}
	}
	for i, at := range missing {
		if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, errors.Join(dirError(err, at), (&lock{made: missing[:i]}).unmake())
		}
	}
	return missing, nil
}

// dirError says what to do about a file or directory that can't be used.
func dirError(err error, path string) error {
	kind, hint := fail.Unavailable, "look at the file system"
	switch {
	case errors.Is(err, fs.ErrPermission):
		kind, hint = fail.Denied, fmt.Sprintf("give it to the user that Havn runs as (uid %d)", os.Getuid())
	case errors.Is(err, syscall.ENOTDIR):
		kind, hint = fail.Invalid, "a file is in the way: remove it, or set data_dir"
	case errors.Is(err, syscall.EROFS):
		hint = "the file system is read-only: set data_dir to one that is not"
	case errors.Is(err, syscall.ENOSPC):
		kind, hint = fail.Exhausted, "free some space"
	}
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return fail.E(kind, err, "%s", path).Hint("%s", hint)
}
