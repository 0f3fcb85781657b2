package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// damage is an error that says that an object of a blob is absent, or not as long as its row says.
type damage struct{ error }

func (d damage) Unwrap() error { return d.error }

// IsDamage reports whether an error says that the store lost or changed an object of a blob.
func IsDamage(err error) bool {
	var d damage
	return errors.As(err, &d)
}

const damageHint = "the store lost or changed data: restore the object, or push the blob again"

// Reader reads a blob: its objects one after the other. It is an io.ReadSeekCloser, opens an object when its bytes are asked for, and holds one open at a
// time. It is not safe for concurrent use.
type Reader struct {
	// OnDamage is called when an object turns out to be absent or too short, before Read says so; nil: nobody is told.
	OnDamage func()

	ctx     context.Context
	store   *Store
	cache   Cache // nil: the store is read
	objects []Object
	digest  oci.Digest // of the whole, zero if it is not known
	size    int64
	pos     int64

	file   *os.File      // of the only object, where it is a file
	copied bool          // file is a copy: the store has the object too
	in     io.ReadCloser // of the object under pos, or nil
	left   int64         // bytes that in still has to bring
	moved  bool          // in brought bytes
	tries  Tries         // of the byte under pos, if it was tried before
}

// Open makes a reader of the objects in this order. A single object that is a file is opened at once and its size compared; other objects when they are
// read. The context bounds the reader's life.
func (s *Store) Open(ctx context.Context, objects []Object) (*Reader, error) {
	r := s.reader(ctx, objects)
	if s.opener == nil || len(objects) != 1 {
		return r, nil
	}
	var file *os.File
	err := s.again(ctx, "open", func(ctx context.Context) (tryErr error) {
		file, tryErr = s.opener.OpenFile(ctx, objects[0].Name)
		return tryErr
	})
	if err != nil {
		return nil, damaged(err, objects[0])
	}
	info, err := file.Stat()
	if err != nil {
		err = fail.E(s.driver.Classify(err), err, "stat object %s", objects[0].Name)
	} else if info.Size() != r.size {
		err = damage{fail.E(fail.Internal, nil, "damaged: object %s has %d bytes, its row says %d", objects[0].Name, info.Size(), r.size).Hint(damageHint)}
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	r.file = file
	return r, nil
}

// OpenCached is Open, from copies on this machine where there are some. digest is that of the whole.
func (s *Store) OpenCached(ctx context.Context, objects []Object, digest oci.Digest) (*Reader, error) {
	if s.cache == nil {
		return s.Open(ctx, objects)
	}
	r := s.reader(ctx, objects)
	r.cache, r.digest = s.cache, digest
	if len(objects) == 1 {
		r.file = s.cache.File(objects[0])
		r.copied = r.file != nil
	}
	return r, nil
}

func (s *Store) reader(ctx context.Context, objects []Object) *Reader {
	r := &Reader{ctx: ctx, store: s, objects: objects}
	for _, o := range objects {
		r.size += o.Size
	}
	return r
}

// damaged makes an object's absence an error of ours: its row says that it is there.
func damaged(err error, o Object) error {
	if fail.Is(err, fail.NotFound) {
		return damage{fail.E(fail.Internal, err, "damaged: object %s, which a blob is made of, is not in the store", o.Name).Hint(damageHint)}
	}
	return fmt.Errorf("open object %s: %w", o.Name, err)
}

// Size is the length of the blob in bytes.
func (r *Reader) Size() int64 { return r.size }

// File answers the file behind the blob if it is a single one, else nil. Its offset is the reader's own; the reader closes it.
func (r *Reader) File() *os.File { return r.file }

// Seek moves to an offset; nothing is opened or closed for it until the next Read.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	if r.file != nil {
		return r.file.Seek(offset, whence)
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.pos
	case io.SeekEnd:
		offset += r.size
	default:
		return 0, fail.E(fail.RangeInvalid, nil, "seek with whence %d", whence)
	}
	if offset < 0 {
		return 0, fail.E(fail.RangeInvalid, nil, "seek to %d", offset)
	}
	if offset != r.pos {
		if err := r.drop(); err != nil {
			return 0, err
		}
		r.pos = offset
	}
	return offset, nil
}

// Read reads on. What breaks off because the store is Unavailable goes on where it was. An object that is absent or too short is an Internal error, never the
// blob's end.
func (r *Reader) Read(p []byte) (int, error) {
	if r.file != nil {
		n, err := r.file.Read(p)
		switch {
		case r.copied && n == 0 && err != nil && r.LeaveFile():
			return r.Read(p)
		case err != nil && !errors.Is(err, io.EOF):
			err = fail.E(r.store.driver.Classify(err), err, "read blob")
		}
		return n, err
	}
	if r.pos >= r.size {
		return 0, io.EOF
	}
	for len(p) > 0 {
		n, err := r.step(p)
		if IsDamage(err) && r.OnDamage != nil {
			r.OnDamage()
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
	return 0, nil
}

// LeaveFile gives up a file that is a copy and can't be read where it stands, and reports whether it did: the reader goes on there, in the store.
func (r *Reader) LeaveFile() bool {
	if !r.copied {
		return false
	}
	var next [1]byte
	pos, err := r.file.Seek(0, io.SeekCurrent)
	if err != nil || pos >= r.size {
		return false
	}
	if _, err = r.file.ReadAt(next[:], pos); err == nil {
		return false
	}
	r.cache.Forget(r.objects[0].Name)
	_ = r.file.Close() //nolint:errcheck // it can't be read: how it takes being closed says nothing
	r.file, r.copied, r.cache, r.pos = nil, false, nil, pos
	r.store.resumed.Inc()
	return true
}

// step reads once. Neither bytes nor an error: the object is to be opened again.
func (r *Reader) step(p []byte) (int, error) {
	if r.in == nil {
		if err := r.next(); err != nil {
			return 0, err
		}
	}
	n, err := r.in.Read(p[:min(int64(len(p)), r.left)])
	r.pos += int64(n)
	r.left -= int64(n)
	if n > 0 {
		r.moved, r.tries = true, Tries{}
	}
	switch {
	case r.left == 0:
		return n, r.drop()
	case err == nil:
		return n, nil
	}
	if errors.Is(err, ErrNoCopy) {
		r.cache = nil
		return n, r.drop()
	}
	return n, r.broke(err)
}

// broke decides about an object that ended early: nil if it is to be opened again at pos. One that ends without having brought a byte is short; one that brought
// some may have come over a connection that was closed without a word, so it is asked once more.
func (r *Reader) broke(err error) error {
	if errors.Is(err, io.EOF) {
		if !r.moved {
			return damage{fail.E(fail.Internal, io.ErrUnexpectedEOF, "damaged: an object of the blob ends %d bytes early", r.left).Hint(damageHint)}
		}
	} else {
		if err = fail.E(r.store.kindOf(err), err, "read blob"); !fail.Is(err, fail.Unavailable) {
			return err
		}
		if r.tries.store == nil {
			r.tries = r.store.Tries()
		}
		if !r.tries.Another(r.ctx) {
			return err
		}
	}
	r.store.resumed.Inc()
	_ = r.drop() //nolint:errcheck // it is broken: how it takes being closed says nothing
	return nil
}

// next opens the object that has the byte at pos.
func (r *Reader) next() error {
	off := r.pos
	for _, o := range r.objects {
		if off >= o.Size {
			off -= o.Size
			continue
		}
		in, err := r.object(o, off)
		if err != nil {
			return damaged(err, o)
		}
		r.in, r.left, r.moved = in, o.Size-off, false
		return nil
	}
	return fail.E(fail.Internal, nil, "blob of %d bytes has no byte %d", r.size, r.pos)
}

// object opens an object: its copy, one that is made of it, or itself.
func (r *Reader) object(o Object, off int64) (io.ReadCloser, error) {
	if r.cache != nil {
		var digest oci.Digest
		if len(r.objects) == 1 {
			digest = r.digest
		}
		source := func(ctx context.Context) io.ReadCloser { return r.store.reader(ctx, []Object{o}) }
		if in := r.cache.Read(r.ctx, o, digest, off, source); in != nil {
			return in, nil
		}
	}
	return r.store.get(r.ctx, o.Name, off, o.Size-off)
}

func (r *Reader) drop() error {
	if r.in == nil {
		return nil
	}
	in := r.in
	r.in, r.left = nil, 0
	return in.Close()
}

// Close ends the reader.
func (r *Reader) Close() error {
	if r.file != nil {
		return r.file.Close()
	}
	return r.drop()
}
