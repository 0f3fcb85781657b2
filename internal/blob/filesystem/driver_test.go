package filesystem_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/filesystem"
	"github.com/havn-registry/havn/internal/fail"
)

// rooted remembers where a driver keeps its files.
type rooted struct {
	*filesystem.Driver
	root string
}

func open(t *testing.T, root string) rooted {
	t.Helper()
	d, err := filesystem.New(root)
	if err != nil {
		t.Fatal(err)
	}
	return rooted{d, root}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	blobtest.Run(t,
		func(t *testing.T) blob.Driver { return open(t, filepath.Join(t.TempDir(), "new", "blobs")) },
		func(t *testing.T, d blob.Driver) blob.Driver {
			r, ok := d.(rooted)
			if !ok {
				t.Fatalf("driver %T", d)
			}
			return open(t, r.root)
		})
}

// TestWhatRootMakesIsTheDirectorysOwners: `havn store confirm` is run by root, and the service, which is somebody else, must read what it wrote. An ordinary user makes files of his own in a directory of his own.
func TestWhatRootMakesIsTheDirectorysOwners(t *testing.T) {
	t.Parallel()
	const somebody = 4321
	root := filepath.Join(t.TempDir(), "data")
	if err := os.Mkdir(root, 0o700); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(root, somebody, somebody); err != nil {
			t.Fatal(err)
		}
	}
	want := ownerOf(t, root)
	root = filepath.Join(root, "blobs")
	d := open(t, root)
	name := blobtest.Store(d).NewName()
	if _, err := d.Put(t.Context(), name, 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{".", filepath.Dir(filepath.Dir(name)), filepath.Dir(name), name} {
		if got := ownerOf(t, filepath.Join(root, path)); got != want {
			t.Errorf("%s is of user and group %v, want %v", path, got, want)
		}
	}
}

// ownerOf answers whose a file is.
func ownerOf(t *testing.T, path string) [2]uint32 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		t.Fatalf("%T", info.Sys())
	}
	return [2]uint32{s.Uid, s.Gid}
}

func TestFilesAreTheOwnersAlone(t *testing.T) {
	t.Parallel()
	root := filepath.Join(t.TempDir(), "blobs")
	d := open(t, root)
	name := blobtest.Store(d).NewName()
	if _, err := d.Put(t.Context(), name, 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{name: 0o600, filepath.Dir(name): 0o700, ".": 0o700} {
		info, err := os.Stat(filepath.Join(root, path))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: mode %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestNamesStayInsideTheDirectory(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	for _, name := range []string{"", "../x", "a/../../x", "/etc/passwd", ".hidden", "a\x00b"} {
		if _, err := d.Put(t.Context(), name, 1, strings.NewReader("x")); !fail.Is(err, fail.Internal) {
			t.Errorf("put %q: %v", name, err)
		}
		if err := d.Delete(t.Context(), name); !fail.Is(err, fail.Internal) {
			t.Errorf("delete %q: %v", name, err)
		}
	}
}

func TestADirectoryThatCannotBeUsedIsRefused(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := filesystem.New(filepath.Join(file, "blobs")); err == nil {
		t.Error("a directory below a file was taken")
	}
	// No file can be made in /proc, not even by root.
	if _, err := filesystem.New("/proc/self/blobs"); err == nil {
		t.Error("/proc was taken")
	}
}

func TestALostMountIsNotALostObject(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := open(t, root)
	s := blobtest.Store(d)
	name := s.NewName()
	if _, err := s.Put(t.Context(), name, 1, strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	// A folder that somebody removed comes back.
	if err := os.RemoveAll(filepath.Dir(filepath.Join(root, name))); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Stat(t.Context(), name); !fail.Is(err, fail.NotFound) {
		t.Errorf("without its folder: %v", err)
	}
	if _, err := s.Put(t.Context(), name, 1, strings.NewReader("x")); err != nil {
		t.Errorf("write into a removed folder: %v", err)
	}
	// All of them gone is what a mount point looks like when nothing is mounted.
	if err := os.RemoveAll(filepath.Join(root, "objects")); err != nil {
		t.Fatal(err)
	}
	_, err := s.Put(t.Context(), name, 1, strings.NewReader("x"))
	_, statErr := s.Stat(t.Context(), name)
	_, openErr := s.Open(t.Context(), []blob.Object{{Name: name, Size: 1}})
	for _, e := range []error{err, statErr, openErr} {
		if !fail.Is(e, fail.Unavailable) || fail.HintOf(e) == "" {
			t.Errorf("without the file system: kind %v, hint %q, %v", fail.KindOf(e), fail.HintOf(e), e)
		}
	}
}

func TestAFullDiskIsExhausted(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatalf("/dev/full: %v", err)
	}
	_, cause := full.WriteString("x")
	if err = full.Close(); err != nil {
		t.Fatal(err)
	}
	d := open(t, t.TempDir())
	if kind := d.Classify(cause); kind != fail.Exhausted {
		t.Errorf("%v is %v", cause, kind)
	}
}

func TestAFailedPutRemovesItsFile(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := open(t, root)
	name := blobtest.Store(d).NewName()
	if _, err := d.Put(t.Context(), name, 1, failing{}); err == nil {
		t.Fatal("no error")
	}
	if _, err := os.Stat(filepath.Join(root, name)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("cut") }

func TestManyWritersOfOneFolder(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	s := blobtest.Store(d)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			name := s.NewName()
			if _, err := s.Put(t.Context(), name, -1, bytes.NewReader(blobtest.Noise(uint64(i), 1000))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	count := 0
	for _, err := range s.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		count++
	}
	if count != 64 {
		t.Errorf("%d objects, want 64", count)
	}
}

func TestForeignFilesAreListedUnderTheirNames(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := open(t, root)
	for _, name := range []string{"objects-old", "objects/zz/deep/file", "a", "lost+found/x"} {
		path := filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var names []string
	for info, err := range d.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Name)
	}
	if want := []string{"a", "objects-old", "objects/zz/deep/file"}; !slices.Equal(names, want) {
		t.Errorf("listed %v, want %v", names, want)
	}
	for _, name := range names {
		if blob.IsOwnName(name) {
			t.Errorf("%s counts as ours", name)
		}
	}
	if name := blobtest.Store(d).NewName(); !blob.IsOwnName(name) {
		t.Errorf("%s does not count as ours", name)
	}
}
