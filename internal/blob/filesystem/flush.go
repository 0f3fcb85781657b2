package filesystem

import (
	"errors"
	"os"
	"sync"

	"github.com/havn-registry/havn/internal/fail"
)

// flushes lets writers of one directory share its flush. One that asks gets a flush that begins after it asked: it joins the one that is waiting to begin, never
// the one under way.
type flushes struct {
	flush func(path string) error // flushDir

	mu   sync.Mutex
	dirs map[string]*directory // grows to the number of folders, no further
}

type directory struct {
	waiting *sharedFlush // has not begun; whoever made it leads it
	last    *sharedFlush // began last; a flush begins when the one before has ended
}

type sharedFlush struct {
	done chan struct{} // closed when it has ended
	err  error         // to be read then
}

// dir flushes a directory: the names that were in it before the call are durable after it.
func (f *flushes) dir(path string) error {
	f.mu.Lock()
	d := f.dirs[path]
	if d == nil {
		d = &directory{}
		f.dirs[path] = d
	}
	mine, before, leads := d.waiting, d.last, d.waiting == nil
	if leads {
		mine = &sharedFlush{done: make(chan struct{})}
		d.waiting = mine
	}
	f.mu.Unlock()
	if !leads {
		<-mine.done
		return mine.err
	}
	if before != nil {
		<-before.done
	}
	f.mu.Lock()
	d.waiting, d.last = nil, mine
	f.mu.Unlock()
	mine.err = f.flush(path)
	close(mine.done)
	return mine.err
}

// flushDir flushes a directory: the names in it.
func flushDir(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return classified(err, "open directory %s", path)
	}
	if err = errors.Join(f.Sync(), f.Close()); err != nil {
		return fail.E(fail.Unavailable, err, "flush directory %s", path).Hint(flushHint)
	}
	return nil
}
