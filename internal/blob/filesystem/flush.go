package filesystem

import (
	"errors"
	"os"
	"sync"

	"github.com/havn-registry/havn/internal/fail"
)

// flushes lets writers of one directory share its flush. One that asks gets a flush that began after it asked: it joins the one that is waiting to begin, never
// the one under way.
type flushes struct {
	mu   sync.Mutex
	dirs map[string]*directory
}

type directory struct {
	flushing sync.Mutex // held during a flush
	waiting  *flush     // the one that has not begun, or nil; under flushes.mu
}

type flush struct {
	done bool // under directory.flushing, as err
	err  error
}

func (f *flushes) dir(path string) error {
	f.mu.Lock()
	if f.dirs == nil {
		f.dirs = map[string]*directory{}
	}
	d := f.dirs[path]
	if d == nil {
		d = &directory{}
		f.dirs[path] = d
	}
	if d.waiting == nil {
		d.waiting = &flush{}
	}
	mine := d.waiting
	f.mu.Unlock()

	d.flushing.Lock()
	defer d.flushing.Unlock()
	if mine.done {
		return mine.err
	}
	f.mu.Lock()
	d.waiting = nil
	f.mu.Unlock()
	mine.err, mine.done = flushDir(path), true
	return mine.err
}

func flushDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return classified(err, "open directory %s", path)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fail.E(fail.Unavailable, err, "flush directory %s", path).Hint("Havn needs a file system whose directories can be flushed to disk")
	}
	return nil
}
