package blob

import (
	"context"
	"errors"
	"io"
	"iter"
	"os"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// Info is what a store knows of an object.
type Info struct {
	Name    string
	Size    int64     // bytes
	ModTime time.Time // by the store's clock
}

// Written is what a finished Put says.
type Written struct {
	Size int64 // bytes
}

// Driver is a place that keeps objects. It is safe for concurrent use, and passes blobtest.Run.
type Driver interface {
	// Put writes the object from r to its end and answers its size. On return without error it is durable: it survives a power cut. size is
	// the number of bytes to come, -1 if that is not known; it is a help, not a promise. A name that exists is Exists and stays as it is.
	// After an error nothing is left under the name, or something that Delete removes.
	Put(ctx context.Context, name string, size int64, r io.Reader) (Written, error)
	// Get reads n bytes from off, or to the end if n is -1. An absent object is NotFound. The context bounds the reader's life: when it ends, so does a Read that waits.
	Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error)
	// Stat answers NotFound for an absent object.
	Stat(ctx context.Context, name string) (Info, error)
	// Delete removes the object; an absent one is no error.
	Delete(ctx context.Context, name string) error
	// List answers the objects whose names are greater than after, in the order of their names. It holds no more than a bounded part of
	// them in memory. That an object is listed proves that it is there; that it is not listed proves nothing.
	List(ctx context.Context, after string) iter.Seq2[Info, error]
	// Classify answers the kind of an error that came out of an object's reader. What is Unavailable is read again from where it broke off.
	Classify(err error) fail.Kind
}

// Opener is a driver whose objects are files, which the kernel can send by itself.
type Opener interface {
	OpenFile(ctx context.Context, name string) (*os.File, error)
}

// Spacer is a driver that knows how much room is left.
type Spacer interface {
	// Space answers the free and the total bytes.
	Space(ctx context.Context) (free, total int64, err error)
}

// Signer is a driver whose objects can be read by anybody who has a URL with a signature in it.
type Signer interface {
	// SignGet answers a URL that reads the whole object, and ranges of it, by GET for so long. It does not look whether the object is there.
	SignGet(ctx context.Context, name string, life time.Duration) (url string, err error)
}

// Overwriter is a driver whose store may not be able to refuse a write over an object. It looks first, then, and that no other process writes the name between
// is left to chance: names are made by it.
type Overwriter interface {
	// Overwrites says why the store can't refuse it, and what may be done; nil: it does refuse.
	Overwrites() error
}

// Resender is a driver whose Put keeps the bytes until the store has them, and sends them again by itself while the store is Unavailable: nobody above needs to.
type Resender interface {
	Resends()
}

// Cache keeps copies of objects on this machine. It never fails a read: what it can't do is left to the store. It is safe for concurrent use.
type Cache interface {
	// File opens the copy of an object, nil if there is no whole one.
	File(o Object) *os.File
	// Read reads an object from off on, from its copy or from one that is being made: the first who asks makes it from what source opens. digest is the object's,
	// zero if it is not known. It answers nil where the store is to be read, and its reader fails with ErrNoCopy where the store is to be read on.
	Read(ctx context.Context, o Object, digest oci.Digest, off int64, source func(context.Context) io.ReadCloser) io.ReadCloser
	// Forget drops the copy of an object that is deleted.
	Forget(name string)
}

// ErrNoCopy says that a copy can't be read on.
var ErrNoCopy = errors.New("the copy can't be read on")

// Tidier is a driver in which a writer that died leaves what List does not show: pieces of an object that never came to be.
type Tidier interface {
	// Tidy removes such leftovers of Havn's own names that were begun before a time by the store's clock, and answers how many. A name that is known is being
	// written, or may be, however long ago that was begun, and is left alone.
	Tidy(ctx context.Context, before time.Time, known Known) (int, error)
}

// Known answers which of some names of objects are still of use. It is asked after the names were found, so one that is not known then will never be.
type Known func(ctx context.Context, names []string) (map[string]bool, error)
