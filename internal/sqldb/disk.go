package sqldb

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"modernc.org/sqlite"
	sqlitelib "modernc.org/sqlite/lib"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// diskBytes bounds how much of a file is read to find out whether its disk can be read: about a second.
	diskBytes = 1 << 30
	diskPiece = 1 << 20
	// diskAge is how long the answer counts, so that a database that is really damaged is not read through for every request.
	diskAge = 10 * time.Second
)

// disk tells a disk that can't be read from a file that is damaged. SQLite does not: its unixRead takes EIO for a damaged file system, and reports a malformed database
// (os_unix.c, SQLITE_IOERR_CORRUPTFS, which the VDBE turns into SQLITE_CORRUPT). The first passes, or calls for a new disk; only the second calls for a backup.
type disk struct {
	path  string
	clock func() time.Time
	mu    sync.Mutex
	at    time.Time
	bad   bool
	// kept is the database's file, once it was looked at. Closing it would end all locks that this process has on the file (fcntl(2)), SQLite's too: another process, a backup
	// perhaps, would then take itself for the only one, and remove the log under this one.
	kept *os.File
}

// classify is classifySQLite, with a second look at what SQLite calls a malformed database.
func (d *disk) classify(err error) meaning {
	var se *sqlite.Error
	if !errors.As(err, &se) || se.Code()&0xff != sqlitelib.SQLITE_CORRUPT || !d.unreadable() {
		return classifySQLite(err)
	}
	return meaning{kind: fail.Unavailable, hint: "the disk of the data directory answers with errors: look at the system's log"}
}

// unreadable reports whether the database's files can't be read, looking at most once in a while.
func (d *disk) unreadable() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock()
	if age := now.Sub(d.at); d.at.IsZero() || age < 0 || age >= diskAge {
		d.bad = !d.readable() || !readable(d.path+"-wal")
		d.at = d.clock()
	}
	return d.bad
}

// readable reads the database's file.
func (d *disk) readable() bool {
	named, err := os.Stat(d.path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	if d.kept != nil {
		held, heldErr := d.kept.Stat()
		if heldErr != nil {
			return false
		}
		if !os.SameFile(held, named) {
			return readable(d.path) // not the file that is locked
		}
	} else if d.kept, err = os.Open(d.path); err != nil {
		d.kept = nil
		return false
	}
	return drain(io.NewSectionReader(d.kept, 0, diskBytes)) == nil
}

// close ends the look at the file, after SQLite's own connections.
func (d *disk) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.kept == nil {
		return nil
	}
	return d.kept.Close()
}

func drain(r io.Reader) error {
	_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{r}, make([]byte, diskPiece))
	return err
}

// readable reads a file. One that is absent is no trouble of the disk.
func readable(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	return errors.Join(drain(io.LimitReader(f, diskBytes)), f.Close()) == nil
}
