package registry

import (
	"errors"
	"hash"
	"io"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// body is a client's body as the blob store reads it: cut into objects, hashed on the way, and never failing: where it breaks off it ends, and err says why.
type body struct {
	from   io.Reader
	sum    hash.Hash
	limit  int64 // bytes until the object ends
	n      int64 // bytes read in all
	err    error // why it broke off; nil if it did not
	ended  bool
	peeked bool
	peek   [1]byte
	kept   kept // of the object under way

	allow func(least, most int64) (int64, error) // answers how many bytes the body may have, of so many that it would like; nil: as many as it has
	room  int64                                  // bytes that it may have

	fits   func(n int64) error // says whether the store has room for what still comes, and is told how much came since it was asked last; nil: it always has
	looked int64               // how many bytes there were then
}

const (
	// firstRoom is what a body of unknown length is allowed before it has sent anything, if there is so much, and mostRoom what it is allowed at a time: as much as it has had, in between.
	firstRoom = 1 << 20
	mostRoom  = 64 << 20
)

// ask makes sure that there is room for another byte. If not, the body ends here, and err says why.
func (b *body) ask() bool {
	if b.fits != nil && b.n-b.looked >= roomEvery {
		if err := b.fits(b.n - b.looked); err != nil {
			b.end(err)
			return false
		}
		b.looked = b.n
	}
	if b.allow == nil || b.n < b.room {
		return true
	}
	room, err := b.allow(b.n+1, b.room+min(max(b.room, firstRoom), mostRoom))
	if err != nil {
		b.end(err)
		return false
	}
	b.room = room
	return true
}

// end ends the body here.
func (b *body) end(why error) { b.ended, b.peeked, b.err = true, false, why }

// kept is what was read for an object, as far as it can be read again: the hash has it already.
type kept struct {
	bytes []byte
	room  int64 // how much is kept; what is beyond it can't be had again
	lost  bool  // more came than there was room for
	at    int   // what is to be read again begins here
}

func (k *kept) add(p []byte) {
	if k.lost || len(p) == 0 {
		return
	}
	if int64(len(k.bytes)+len(p)) > k.room {
		k.lost, k.bytes, k.at = true, nil, 0
		return
	}
	k.bytes = append(k.bytes, p...)
	k.at = len(k.bytes)
}

// rewind goes back to where the object begins, if all that was read of it is kept, or nothing was read.
func (b *body) rewind() bool {
	if b.kept.lost {
		return false
	}
	n := int64(b.kept.at)
	b.limit += n
	b.n -= n
	b.kept.at = 0
	return true
}

// more reports whether there is another byte.
func (b *body) more() bool {
	for !b.peeked && !b.ended {
		n, err := b.from.Read(b.peek[:])
		b.peeked = n > 0
		b.note(err)
	}
	return b.peeked
}

func (b *body) note(err error) {
	if err == nil || b.ended {
		return
	}
	b.ended = true
	if !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		b.err = err
	}
}

// Read is for the blob store: it ends with the object.
func (b *body) Read(p []byte) (int, error) {
	p = p[:min(int64(len(p)), b.limit)]
	if len(p) == 0 {
		if b.limit == 0 {
			return 0, io.EOF
		}
		return 0, nil
	}
	if !b.ask() {
		return 0, io.EOF
	}
	if b.allow != nil {
		p = p[:min(int64(len(p)), b.room-b.n)]
	}
	n := copy(p, b.kept.bytes[b.kept.at:])
	if n > 0 {
		b.kept.at += n
		return b.count(n), nil
	}
	if b.peeked {
		p[0], b.peeked, n = b.peek[0], false, 1
	}
	if n < len(p) && !b.ended {
		m, err := b.from.Read(p[n:])
		n += m
		b.note(err)
	}
	b.sum.Write(p[:n])
	b.kept.add(p[:n])
	if n == 0 && b.ended {
		return 0, io.EOF
	}
	return b.count(n), nil
}

func (b *body) count(n int) int {
	b.limit -= int64(n)
	b.n += int64(n)
	return n
}

// verdict says what is wrong with a body that ended: it broke off, or is not as long as was said.
func (b *body) verdict(size int64) error {
	var known *fail.Error
	switch {
	case errors.As(b.err, &known):
		return b.err
	case b.err != nil:
		return fail.E(fail.Invalid, b.err, "the body broke off after %d bytes", b.n).Code(oci.CodeBlobUploadInvalid).Hint("ask for the upload's state and go on there")
	case size >= 0 && b.n != size:
		return fail.E(fail.Invalid, nil, "the body has %d bytes, not %d", b.n, size).Code(oci.CodeSizeInvalid).Hint("ask for the upload's state and go on there")
	}
	return nil
}
