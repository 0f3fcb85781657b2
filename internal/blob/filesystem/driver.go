package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	fileMode, dirMode = 0o600, 0o700
	// bufferSize is one read from the network and one write to the file; larger ones were not faster.
	bufferSize = 128 << 10
	// pushEvery is after how many bytes the kernel is told to begin writing them, so that the flush at the end finds little to do.
	pushEvery = 4 << 20
	folders   = 256
)

// Driver is a blob.Driver on a directory.
type Driver struct {
	root    string
	buffers sync.Pool
	flushes flushes
}

// New opens the directory and makes it where it is absent. It proves that files can be written and that files and directories can be flushed there; one
// that can't is refused (Unavailable).
func New(root string) (*Driver, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "blob directory %s", root)
	}
	d := &Driver{root: abs}
	d.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	if err = d.layOut(); err != nil {
		return nil, fmt.Errorf("blob directory %s: %w", abs, err)
	}
	if err = d.probe(); err != nil {
		return nil, fmt.Errorf("blob directory %s: %w", abs, err)
	}
	return d, nil
}

// layOut makes the folders that objects go into, flushed from the top, so that no write has to make one.
func (d *Driver) layOut() error {
	objects := filepath.Join(d.root, "objects")
	if _, err := os.Stat(filepath.Join(objects, fmt.Sprintf("%02x", folders-1))); err == nil {
		return nil
	}
	if err := os.MkdirAll(objects, dirMode); err != nil {
		return classified(err, "make folder %s", objects)
	}
	for i := range folders {
		folder := filepath.Join(objects, fmt.Sprintf("%02x", i))
		if err := os.Mkdir(folder, dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return classified(err, "make folder %s", folder)
		}
	}
	for _, dir := range []string{objects, d.root, filepath.Dir(d.root)} {
		if err := flushDir(dir); err != nil {
			return err
		}
	}
	return nil
}

// probe writes, flushes and removes a file.
func (d *Driver) probe() error {
	f, err := os.CreateTemp(d.root, ".probe-*")
	if err != nil {
		return classified(err, "write a file")
	}
	_, err = f.WriteString("can this be flushed?\n")
	err = errors.Join(err, f.Sync(), f.Close())
	err = errors.Join(err, os.Remove(f.Name()))
	if err != nil {
		return fail.E(fail.Unavailable, err, "write and flush a file").Hint("Havn needs a directory whose files can be flushed to disk")
	}
	return flushDir(d.root)
}

func (d *Driver) path(name string) (string, error) {
	if name == "" || strings.HasPrefix(name, ".") || !filepath.IsLocal(name) || strings.ContainsRune(name, 0) {
		return "", fail.E(fail.Internal, nil, "object name %q", name)
	}
	return filepath.Join(d.root, filepath.FromSlash(name)), nil
}

// Put writes a file and flushes it and its directory: see blob.Driver. A power cut before the return leaves nothing, a part of the file, or all of
// it, under a name that no committed row has.
func (d *Driver) Put(ctx context.Context, name string, _ int64, r io.Reader) (blob.Written, error) {
	path, err := d.path(name)
	if err != nil {
		return blob.Written{}, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if err != nil {
		return blob.Written{}, classified(err, "make file %s", path)
	}
	n, err := d.fill(ctx, f, r)
	if err == nil {
		// fdatasync: also flushes the size, which is all the metadata that reading needs.
		err = unix.Fdatasync(int(f.Fd()))
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = d.flushes.dir(filepath.Dir(path))
	}
	if err != nil {
		// What is there has no committed row, so it may go; if it does not go, the sweep takes it.
		err = errors.Join(err, ignoreAbsent(os.Remove(path)))
		return blob.Written{}, classified(err, "write file %s", path)
	}
	return blob.Written{Size: n}, nil
}

func (d *Driver) fill(ctx context.Context, f *os.File, r io.Reader) (int64, error) {
	buf, ok := d.buffers.Get().(*[]byte)
	if !ok {
		return 0, fail.E(fail.Internal, nil, "pool of buffers")
	}
	defer d.buffers.Put(buf)
	var total, pushed int64
	for {
		n, err := readFull(r, *buf)
		if n > 0 {
			if _, writeErr := f.Write((*buf)[:n]); writeErr != nil {
				return total, writeErr
			}
			total += int64(n)
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return total, err
		}
		if total-pushed >= pushEvery {
			beginWriting(f, pushed, total-pushed)
			pushed = total
		}
	}
}

// readFull fills buf as far as r goes; io.EOF only together with the last bytes or none.
func readFull(r io.Reader, buf []byte) (int, error) {
	n := 0
	for n < len(buf) {
		m, err := r.Read(buf[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// OpenFile opens an object for reading: see blob.Opener.
func (d *Driver) OpenFile(_ context.Context, name string) (*os.File, error) {
	path, err := d.path(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, classified(err, "open file %s", path)
	}
	return f, nil
}

type section struct {
	io.Reader
	io.Closer
}

// Get reads a part of a file: see blob.Driver.
func (d *Driver) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	f, err := d.OpenFile(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err = f.Seek(off, io.SeekStart); err != nil {
		return nil, errors.Join(classified(err, "seek in %s", name), f.Close())
	}
	if n < 0 {
		return f, nil
	}
	return section{io.LimitReader(f, n), f}, nil
}

// Stat answers size and time of a file: see blob.Driver.
func (d *Driver) Stat(_ context.Context, name string) (blob.Info, error) {
	path, err := d.path(name)
	if err != nil {
		return blob.Info{}, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return blob.Info{}, classified(err, "stat file %s", path)
	}
	return blob.Info{Name: name, Size: info.Size(), ModTime: info.ModTime()}, nil
}

// Delete removes a file: see blob.Driver. The directory is not flushed: a file that comes back after a power cut is removed again.
func (d *Driver) Delete(_ context.Context, name string) error {
	path, err := d.path(name)
	if err != nil {
		return err
	}
	if err = ignoreAbsent(os.Remove(path)); err != nil {
		return classified(err, "remove file %s", path)
	}
	return nil
}

// Space answers the room on the file system, for users that are not root: see blob.Spacer.
func (d *Driver) Space(context.Context) (free, total int64, err error) {
	var s unix.Statfs_t
	if err = unix.Statfs(d.root, &s); err != nil {
		return 0, 0, classified(err, "ask for the room at %s", d.root)
	}
	return int64(s.Bavail) * s.Bsize, int64(s.Blocks) * s.Bsize, nil
}

// Classify answers the kind of a file's error: see blob.Driver.
func (d *Driver) Classify(err error) fail.Kind {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESTALE):
		return fail.NotFound
	case errors.Is(err, fs.ErrExist):
		return fail.Exists
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fail.Exhausted
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.EIO), errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fail.Unavailable
	}
	return fail.KindOf(err)
}

// classified gives an error of the operating system its kind and says what to do.
func classified(err error, format string, args ...any) error {
	e := fail.E((*Driver)(nil).Classify(err), err, format, args...)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e = e.Hint("the disk is full: free space, or delete tags and manifests that are not needed")
	case errors.Is(err, fs.ErrPermission):
		e = e.Hint("Havn's user must be able to read and write the directory")
	case errors.Is(err, syscall.EROFS):
		e = e.Hint("the file system is mounted read-only: look at the kernel's log, then mount it for writing")
	case errors.Is(err, syscall.EMFILE):
		e = e.Hint("too many open files: raise the limit (LimitNOFILE)")
	}
	return e
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
