package nfs

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// remembered is how long a mount trusts what it saw: NFS's default is 3 s for files and up to 60 s for directories.
	remembered = 5 * time.Second
	// late is the longest that an answer takes.
	late = 3 * time.Millisecond
)

// share is a directory of the server's; each mount of it is another client.
type share struct{ dir string }

func newShare(t *testing.T) *share {
	t.Helper()
	return &share{t.TempDir()}
}

// mount mounts the share once more, as another machine would. It goes with the test.
func (s *share) mount(t *testing.T) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "mnt")
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := fs.NewLoopbackRoot(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	trust := remembered
	server, err := fs.Mount(at, wrap(root), &fs.Options{
		EntryTimeout: &trust, AttrTimeout: &trust, NegativeTimeout: &trust,
		MountOptions: fuse.MountOptions{DirectMountStrict: true, FsName: "havn-test-nfs", Name: "nfs", DisableXAttrs: true, Options: []string{"default_permissions"}},
	})
	if err != nil {
		t.Fatalf("mount a shared directory: %v; this needs root and /dev/fuse", err)
	}
	t.Cleanup(func() {
		if unmountErr := syscall.Unmount(at, syscall.MNT_DETACH); unmountErr != nil {
			t.Error(unmountErr)
		}
		server.Wait()
	})
	return at
}

// node is a file or a folder of a mount.
type node struct{ *fs.LoopbackNode }

func wrap(of fs.InodeEmbedder) fs.InodeEmbedder {
	plain, ok := of.(*fs.LoopbackNode)
	if !ok {
		panic("not a node of the loopback file system")
	}
	return &node{plain}
}

// WrapChild implements fs.NodeWrapChilder.
func (n *node) WrapChild(_ context.Context, child fs.InodeEmbedder) fs.InodeEmbedder {
	return wrap(child)
}

func wait() { time.Sleep(rand.N(late)) }

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	wait()
	return n.LoopbackNode.Lookup(ctx, name, out)
}

func (n *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	wait()
	return n.LoopbackNode.Create(ctx, name, flags, mode, out)
}

func (n *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	wait()
	return n.LoopbackNode.Open(ctx, flags)
}

func (n *node) Unlink(ctx context.Context, name string) syscall.Errno {
	wait()
	return n.LoopbackNode.Unlink(ctx, name)
}

// OpendirHandle lets the kernel keep a listing, and use it again, however old it is, as long as the folder's attributes are remembered.
func (n *node) OpendirHandle(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	wait()
	h, flag, errno := n.LoopbackNode.OpendirHandle(ctx, flags)
	return h, flag | fuse.FOPEN_CACHE_DIR | fuse.FOPEN_KEEP_CACHE, errno
}
