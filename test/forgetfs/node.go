package forgetfs

import (
	"context"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
)

// node shows an inode of the disk to the kernel.
type node struct {
	fs.Inode
	d *disk
	i *inode
}

// alive locks the disk; after a cut it answers the error of every operation.
func (n *node) alive() (unlock func(), errno syscall.Errno) {
	n.d.mu.Lock()
	if n.d.dead {
		n.d.mu.Unlock()
		return func() {}, syscall.EIO
	}
	return n.d.mu.Unlock, 0
}

func (n *node) attr(out *fuse.Attr) {
	i := n.i
	out.Ino, out.Mode, out.Nlink, out.Blksize = i.id, i.mode, i.links, pageSize
	out.Owner = fuse.Owner{Uid: i.uid, Gid: i.gid}
	out.Size = uint64(i.seen.size)
	out.Blocks = uint64(len(i.seen.pages)) * pageSize / 512
	out.SetTimes(&i.changed, &i.changed, &i.changed)
}

// child shows an inode under this directory to the kernel.
func (n *node) child(ctx context.Context, i *inode, out *fuse.EntryOut) *fs.Inode {
	c := &node{d: n.d, i: i}
	c.attr(&out.Attr)
	return n.NewInode(ctx, c, fs.StableAttr{Mode: i.mode & syscall.S_IFMT, Ino: i.id})
}

func (n *node) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	unlock, errno := n.alive()
	defer unlock()
	if errno != 0 {
		return nil, errno
	}
	i := n.i.names[name]
	if i == nil {
		return nil, syscall.ENOENT
	}
	return n.child(ctx, i, out), 0
}

func (n *node) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	unlock, errno := n.alive()
	defer unlock()
	if errno == 0 {
		n.attr(&out.Attr)
	}
	return errno
}

func (n *node) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	unlock, errno := n.alive()
	defer unlock()
	if errno != 0 {
		return errno
	}
	if size, ok := in.GetSize(); ok {
		n.i.truncate(int64(size))
	}
	if mode, ok := in.GetMode(); ok {
		n.i.mode = n.i.mode&syscall.S_IFMT | mode&0o7777
	}
	if uid, ok := in.GetUID(); ok {
		n.i.uid = uid
	}
	if gid, ok := in.GetGID(); ok {
		n.i.gid = gid
	}
	if at, ok := in.GetMTime(); ok {
		n.i.changed = at
	}
	n.attr(&out.Attr)
	return 0
}

// add makes an inode under a name that is not taken.
func (n *node) add(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	unlock, errno := n.alive()
	defer unlock()
	if errno != 0 {
		return nil, errno
	}
	if n.i.names[name] != nil {
		return nil, syscall.EEXIST
	}
	i := n.d.make(mode)
	if caller, ok := fuse.FromContext(ctx); ok {
		i.uid, i.gid = caller.Uid, caller.Gid
	}
	i.links = 1
	n.i.names[name], n.i.changed = i, time.Now()
	return n.child(ctx, i, out), 0
}

func (n *node) Create(ctx context.Context, name string, _, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	child, errno := n.add(ctx, name, syscall.S_IFREG|mode&0o7777, out)
	return child, nil, 0, errno
}

func (n *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	return n.add(ctx, name, syscall.S_IFDIR|mode&0o7777, out)
}

func (n *node) Link(ctx context.Context, target fs.InodeEmbedder, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	unlock, errno := n.alive()
	defer unlock()
	if errno != 0 {
		return nil, errno
	}
	t, ok := target.(*node)
	if !ok || t.i.isDir() {
		return nil, syscall.EPERM
	}
	if n.i.names[name] != nil {
		return nil, syscall.EEXIST
	}
	t.i.links++
	n.i.names[name] = t.i
	return n.child(ctx, t.i, out), 0
}

func (n *node) Unlink(_ context.Context, name string) syscall.Errno { return n.remove(name, false) }

func (n *node) Rmdir(_ context.Context, name string) syscall.Errno { return n.remove(name, true) }

func (n *node) remove(name string, dir bool) syscall.Errno {
	unlock, errno := n.alive()
	defer unlock()
	i := n.i.names[name]
	switch {
	case errno != 0:
		return errno
	case i == nil:
		return syscall.ENOENT
	case dir && !i.isDir():
		return syscall.ENOTDIR
	case !dir && i.isDir():
		return syscall.EISDIR
	case len(i.names) != 0:
		return syscall.ENOTEMPTY
	}
	i.links--
	delete(n.i.names, name)
	n.i.changed = time.Now()
	return 0
}

func (n *node) Rename(_ context.Context, name string, parent fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	unlock, errno := n.alive()
	defer unlock()
	if errno != 0 {
		return errno
	}
	const noReplace = 1
	to, ok := parent.(*node)
	if !ok || flags&^noReplace != 0 {
		return syscall.EINVAL
	}
	i, there := n.i.names[name], to.i.names[newName]
	switch {
	case i == nil:
		return syscall.ENOENT
	case there == i:
		return 0
	case there == nil:
	case flags == noReplace:
		return syscall.EEXIST
	case there.isDir() != i.isDir():
		return syscall.EISDIR
	case len(there.names) != 0:
		return syscall.ENOTEMPTY
	default:
		there.links--
	}
	delete(n.i.names, name)
	to.i.names[newName] = i
	return 0
}

func (n *node) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	unlock, errno := n.alive()
	defer unlock()
	if errno != 0 {
		return nil, errno
	}
	list := make([]fuse.DirEntry, 0, len(n.i.names))
	for name, i := range n.i.names {
		list = append(list, fuse.DirEntry{Name: name, Ino: i.id, Mode: i.mode})
	}
	return fs.NewListDirStream(list), 0
}

func (n *node) Open(context.Context, uint32) (fs.FileHandle, uint32, syscall.Errno) {
	unlock, errno := n.alive()
	defer unlock()
	return nil, 0, errno
}

func (n *node) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	unlock, errno := n.alive()
	defer unlock()
	if errno != 0 {
		return nil, errno
	}
	return fuse.ReadResultData(dest[:n.i.read(dest, off)]), 0
}

func (n *node) Write(_ context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	unlock, errno := n.alive()
	defer unlock()
	if errno != 0 {
		return 0, errno
	}
	n.i.write(data, off)
	return uint32(len(data)), 0
}

// Fsync is fsync and fdatasync, of files and of directories.
func (n *node) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	unlock, errno := n.alive()
	unlock()
	if errno != 0 {
		return errno
	}
	return n.d.flush(n.i)
}

func (n *node) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	const blocks = 64 << 30 / pageSize // far from full: a full disk is another test
	out.Bsize, out.Frsize, out.NameLen = pageSize, pageSize, 255
	out.Blocks, out.Bfree, out.Bavail = blocks, blocks, blocks
	return 0
}
