package filesystem

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/havn-registry/havn/internal/fail"
)

// numbered is a folder with numbers of its own.
type numbered struct {
	os.FileInfo
	dev, ino uint64
}

// Sys answers the numbers.
func (n numbered) Sys() any { return &syscall.Stat_t{Dev: n.dev, Ino: n.ino} }

func TestAFolderIsTheOneThatItWas(t *testing.T) {
	t.Parallel()
	disk, another, network, userspace := unix.Mkdev(8, 1), unix.Mkdev(8, 17), unix.Mkdev(0, 50), unix.Mkdev(0, 51)
	was := func(dev, ino uint64) numbered { return numbered{dev: dev, ino: ino} }
	for _, c := range []struct {
		what     string
		was, now numbered
		same     bool
	}{
		{"the same", was(disk, 7), was(disk, 7), true},
		{"replaced", was(disk, 7), was(disk, 8), false},
		{"under a mount point", was(disk, 7), was(another, 8), false},
		{"under the mount point of a network file system", was(network, 7), was(disk, 8), false},
		{"of a disk that was attached again", was(disk, 7), was(another, 7), true},
		{"of a network file system that was mounted again", was(network, 7), was(userspace, 7), true},
		{"of a file system that counts anew", was(userspace, 7), was(userspace, 8), true},
	} {
		if got := sameFolder(c.was, c.now); got != c.same {
			t.Errorf("%s: the same: %v", c.what, got)
		}
	}
}

func TestRoomIsCountedInTheUnitOfTheFileSystem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ bsize, frsize int64 }{{4096, 4096}, {1 << 20, 4096}, {4096, 0}} {
		if free, total := roomIn(&unix.Statfs_t{Bsize: c.bsize, Frsize: c.frsize, Bavail: 10, Blocks: 30}); free != 10*4096 || total != 30*4096 {
			t.Errorf("written in %d, counted in %d: %d of %d bytes are free", c.bsize, c.frsize, free, total)
		}
	}
}

// TestAnotherDirectoryInItsPlaceIsNotTheStore lets the file system go and leave a directory that looks like a store: one that a start without the mount has laid out.
func TestAnotherDirectoryInItsPlaceIsNotTheStore(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d, err := New(root)
	if err != nil {
		t.Fatal(err)
	}
	const there, late = "objects/ab/there", "objects/ab/late"
	put := func(name string) error {
		_, putErr := d.Put(t.Context(), name, 1, strings.NewReader("x"))
		return putErr
	}
	if err = put(there); err != nil {
		t.Fatal(err)
	}
	mounted := d.objects
	d.objects = numbered{mounted, unix.Mkdev(8, 1), 1 << 60}
	_, statErr := d.Stat(t.Context(), "objects/ab/absent")
	_, openErr := d.OpenFile(t.Context(), "objects/ab/absent")
	for what, e := range map[string]error{"put": put(late), "stat": statErr, "open": openErr, "delete": d.Delete(t.Context(), "objects/ab/absent")} {
		if !fail.Is(e, fail.Unavailable) || fail.HintOf(e) == "" {
			t.Errorf("%s: kind %v, hint %q, %v", what, fail.KindOf(e), fail.HintOf(e), e)
		}
	}
	if _, err = os.Stat(filepath.Join(root, late)); !os.IsNotExist(err) {
		t.Errorf("what was refused is there: %v", err)
	}
	// When it comes back, it is used again.
	d.objects = mounted
	if _, err = d.Stat(t.Context(), there); err != nil {
		t.Error(err)
	}
	if err = put(late); err != nil {
		t.Error(err)
	}
}
