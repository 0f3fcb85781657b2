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
	"sync/atomic"
	"syscall"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	fileMode, dirMode = 0o600, 0o700
	// bufferSize is one read from the network and one write to the file; larger ones were not faster, and each upload under way holds one.
	bufferSize = 128 << 10
	// pushEvery is after how many bytes the kernel is told to begin writing them, so that the flush at the end finds little to do: four files of 100 MiB at
	// once took a tenth less time than with the flush alone. 1 and 16 MiB did the same; reserving the space (fallocate) brought nothing.
	pushEvery = 4 << 20
	// folders is how many folders blob.Store spreads its names over.
	folders = 256
	// objectsDir holds them. If it is gone while the program runs, or another, so is the file system under it.
	objectsDir = "objects"
)

// Driver is a blob.Driver on a directory.
type Driver struct {
	root    string
	buffers sync.Pool
	flushes flushes
	objects fs.FileInfo // of objectsDir, at the start
	// remade is set before a folder is made again while the program runs: from then on it may be there without being durable.
	remade atomic.Bool
}

// New opens the directory and makes it where it is absent. It proves that files can be written and that files and directories can be flushed there; one
// that can't is refused (Unavailable).
func New(root string) (*Driver, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "blob directory %s", root)
	}
	d := &Driver{root: abs, flushes: flushes{flush: flushDir, dirs: map[string]*directory{}}}
	d.buffers.New = func() any { b := make([]byte, bufferSize); return &b }
	if err = d.layOut(); err != nil {
		return nil, fmt.Errorf("blob directory %s: %w", abs, err)
	}
	if err = d.probe(); err != nil {
		return nil, fmt.Errorf("blob directory %s: %w", abs, err)
	}
	if d.objects, err = os.Stat(d.folder()); err != nil {
		return nil, fmt.Errorf("blob directory %s: %w", abs, classified(err, "look at folder %s", d.folder()))
	}
	return d, nil
}

// folder is the path of objectsDir.
func (d *Driver) folder() string { return filepath.Join(d.root, objectsDir) }

// here makes sure that the folder of all objects is the one that it was at the start. The directory under a mount point may have one of its own, of a time before it was one, or of a start without the mount: what
// is written there is lost to sight when the file system comes back, and what is not there is not lost.
func (d *Driver) here() error {
	now, err := os.Stat(d.folder())
	if err != nil {
		return fail.E(fail.Unavailable, err, "look at folder %s", d.folder()).Hint(mountHint)
	}
	if !sameFolder(d.objects, now) {
		return fail.E(fail.Unavailable, nil, "%s is not the folder that it was at the start", d.folder()).Hint(otherHint)
	}
	return nil
}

// layOut makes the folders that objects go into, so that no write has to make one. All that names them is flushed, every time: the last start may have
// been cut off between making and flushing.
func (d *Driver) layOut() error {
	objects := d.folder()
	if err := makeAll(objects); err != nil {
		return err
	}
	present, err := os.ReadDir(objects)
	if err != nil {
		return classified(err, "list folder %s", objects)
	}
	there := make(map[string]bool, len(present))
	for _, folder := range present {
		there[folder.Name()] = true
	}
	for i := range folders {
		folder := fmt.Sprintf("%02x", i)
		if there[folder] {
			continue
		}
		if err = os.Mkdir(filepath.Join(objects, folder), dirMode); err != nil && !errors.Is(err, fs.ErrExist) {
			return classified(err, "make folder %s in %s", folder, objects)
		}
		leave(filepath.Join(objects, folder), d.root)
	}
	if err = errors.Join(flushDir(objects), flushDir(d.root)); err != nil {
		return err
	}
	if err = flushDir(filepath.Dir(d.root)); errors.Is(err, fs.ErrPermission) {
		return nil // another's directory, who made the root in it
	}
	return err
}

// makeAll makes a folder and those above it that are absent, each flushed in its parent.
func makeAll(folder string) error {
	err := os.Mkdir(folder, dirMode)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeAll(filepath.Dir(folder)); err != nil {
			return err
		}
		err = os.Mkdir(folder, dirMode)
	}
	switch {
	case err == nil:
		leave(folder, filepath.Dir(folder))
		return flushDir(filepath.Dir(folder))
	case errors.Is(err, fs.ErrExist):
		return nil // if it is a file, the next step says so
	}
	return classified(err, "make folder %s", folder)
}

// probe writes, flushes and removes a file. A full disk takes no bytes, but flushes all the same: what is on it is served.
func (d *Driver) probe() (err error) {
	f, err := os.CreateTemp(d.root, ".probe-*")
	if err != nil {
		return classified(err, "write a file")
	}
	_, err = f.WriteString("can this be flushed?\n")
	if err == nil || d.Classify(err) == fail.Exhausted {
		err = flushFile(f)
	}
	if err != nil && d.Classify(err) == fail.Exhausted { // as NFS says it
		err = nil
	}
	if err = errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		if kind := d.Classify(err); kind != fail.Internal {
			return classified(err, "write and flush a file")
		}
		return fail.E(fail.Unavailable, err, "write and flush a file").Hint(flushHint)
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
	f, err := d.create(path)
	if err != nil {
		return blob.Written{}, err
	}
	n, err := d.fill(ctx, f, r)
	if err == nil {
		err = flushFile(f)
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = d.flushNames(filepath.Dir(path))
	}
	if err != nil {
		// What is there has no committed row, so it may go; if it does not go, the sweep takes it.
		err = errors.Join(err, ignoreAbsent(os.Remove(path)))
		return blob.Written{}, classified(err, "write file %s", path)
	}
	return blob.Written{Size: n}, nil
}

// flushNames makes the names in a folder durable, and the folder's own where another writer may have made it a moment ago.
func (d *Driver) flushNames(folder string) error {
	err := d.flushes.dir(folder)
	if err == nil && d.remade.Load() {
		err = d.flushes.dir(filepath.Dir(folder))
	}
	return err
}

// create makes the file; also its folder, if somebody removed it. It never makes the folder above: where that is gone, the file system is not
// mounted, and what is written would be lost to sight when it comes back.
func (d *Driver) create(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
	if errors.Is(err, fs.ErrNotExist) {
		folder := filepath.Dir(path)
		d.remade.Store(true)
		if err = os.Mkdir(folder, dirMode); err == nil || errors.Is(err, fs.ErrExist) {
			leave(folder, d.root)
			f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, fileMode)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fail.E(fail.Unavailable, err, "make file %s", path).Hint(mountHint)
		}
	}
	if err != nil {
		return nil, classified(err, "make file %s", path)
	}
	if err = d.here(); err != nil {
		return nil, errors.Join(err, f.Close(), ignoreAbsent(os.Remove(path)))
	}
	leave(path, d.root)
	return f, nil
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
		return nil, d.absent(err, "open", path)
	}
	return f, nil
}

// absent tells a file that is gone from a file system that is gone.
func (d *Driver) absent(err error, verb, path string) error {
	if errors.Is(err, fs.ErrNotExist) {
		if gone := d.here(); gone != nil {
			return fmt.Errorf("%s file %s: %w", verb, path, gone)
		}
	}
	return classified(err, "%s file %s", verb, path)
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
		return blob.Info{}, d.absent(err, "stat", path)
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
	return d.here()
}

// Classify answers the kind of a file's error: see blob.Driver. A stale handle (NFS) is Unavailable: the server may be back, and opening again tells.
func (d *Driver) Classify(err error) fail.Kind {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fail.NotFound
	case errors.Is(err, fs.ErrExist):
		return fail.Exists
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fail.Exhausted
	case errors.Is(err, fs.ErrPermission):
		return fail.Unavailable
	}
	for _, e := range unavailable {
		if errors.Is(err, e) {
			return fail.Unavailable
		}
	}
	return fail.KindOf(err)
}

// unavailable are the errors of a disk or a shared file system that does not answer, and of too many open files.
var unavailable = []syscall.Errno{
	syscall.EROFS, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ESTALE, syscall.ENOTCONN, syscall.ECONNABORTED, syscall.ECONNREFUSED,
	syscall.ETIMEDOUT, syscall.EHOSTDOWN, syscall.EHOSTUNREACH, syscall.ENXIO, syscall.ENODEV,
}

const (
	flushHint = "Havn needs a file system whose files and directories can be flushed to disk"
	mountHint = "the blob directory lost its folders: is its file system mounted?"
	otherHint = "is the file system of the blob directory mounted? If this is the right directory, start Havn again"
)

// classified gives an error of the operating system its kind and says what to do.
func classified(err error, format string, args ...any) error {
	e := fail.E((*Driver)(nil).Classify(err), err, format, args...)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e = e.Hint("the disk is full: free space, or delete repositories, whose room is free after sweep.dead_grace")
	case errors.Is(err, fs.ErrPermission):
		e = e.Hint("Havn's user must be able to read and write the directory")
	case errors.Is(err, syscall.EROFS):
		e = e.Hint("the file system is mounted read-only: look at the kernel's log, then mount it for writing; under systemd, the unit must name the directory in ReadWritePaths")
	case errors.Is(err, syscall.EIO):
		e = e.Hint("the disk or the file system fails: look at the kernel's log")
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
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
