package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// settleTime bounds the steps that keep what came of a broken request: they outlive its context.
const settleTime = 30 * time.Second

// piece is an object that is durable, and not yet counted in its upload.
type piece struct {
	seq, size int64
}

// body reads what a client sends. When the client breaks off it ends, so that what came is kept, and remembers why.
type body struct {
	in   io.Reader
	hash hash.Hash
	left int64 // bytes until the object ends
	n    int64
	err  error
	eof  bool
}

func (b *body) Read(p []byte) (int, error) {
	if b.left == 0 || b.eof || b.err != nil {
		return 0, io.EOF
	}
	n, err := b.in.Read(p[:min(int64(len(p)), b.left)])
	b.n += int64(n)
	b.left -= int64(n)
	b.hash.Write(p[:n])
	switch {
	case errors.Is(err, io.EOF):
		b.eof = true
	case err != nil:
		b.err, err = err, io.EOF
	}
	return n, err
}

// receive writes a body into objects. All but the last object are settled when it returns; the last one is the caller's, to settle alone or together with the commit.
// It is nil if no byte came. If the body broke off, last is what came and the error says so.
//
// For each object: 1. its row, without a size (left by a crash: removed with the upload). 2. its bytes, durable on return (left: an object that its row names, removed with
// the upload). 3. settle, by settle or commit.
func (s *session) receive(ctx context.Context, in io.Reader, size int64) (last *piece, err error) {
	if in == nil || size == 0 {
		return nil, nil
	}
	if err = s.r.room(ctx); err != nil {
		return nil, err
	}
	end, err := s.r.senders.begin(s.row.Subject)
	if err != nil {
		return nil, err
	}
	defer end()
	s.r.metrics.uploads.Inc()
	defer s.r.metrics.uploads.Dec()
	b := &body{in: in, hash: s.hash}
	for {
		// Is there a byte? An object of none is not worth a row.
		var one [1]byte
		b.left = 1
		n, readErr := io.ReadFull(b, one[:])
		if n == 0 {
			return last, s.broken(errors.Join(b.err, ignoreEOF(readErr)))
		}
		if last != nil {
			if err = s.settle(ctx, last); err != nil {
				return nil, err
			}
		}
		b.n, b.left = 1, s.r.MaxObjectBytes-1
		if last, err = s.writeObject(ctx, io.MultiReader(bytes.NewReader(one[:]), b), b, size); err != nil {
			return nil, err
		}
		if b.err != nil || b.eof {
			return last, s.broken(b.err)
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

func (s *session) broken(err error) error {
	if err == nil {
		return nil
	}
	return fail.E(fail.Invalid, err, "body of upload %s broke off", s.row.ID).Code(oci.CodeBlobUploadInvalid).Hint("ask for the upload's state and go on from there")
}

// writeObject does steps 1 and 2. Its context is not the request's: a client that breaks off ends the body, not the writing of what came.
func (s *session) writeObject(ctx context.Context, in io.Reader, b *body, size int64) (*piece, error) {
	ctx = context.WithoutCancel(ctx)
	name := s.r.Blobs.NewName()
	var seq int64
	err := s.r.DB.TxRelaxed(ctx, "object.add", func(tx *sqldb.Tx) error {
		var err error
		if seq, err = index.HasObject(ctx, tx, name); !fail.Is(err, fail.NotFound) {
			return err // an earlier run of this transaction did it
		}
		seq, err = index.AddObject(ctx, tx, s.row.Content, name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("announce object of upload %s: %w", s.row.ID, err)
	}
	if seq >= maxObjects {
		return nil, fail.E(fail.TooLarge, nil, "upload %s has %d pieces", s.row.ID, seq).Code(oci.CodeBlobUploadInvalid).
			Hint("start again with larger pieces: at most %d make a blob, and OCI-Chunk-Min-Length says how large they should be", maxObjects)
	}
	if err = s.r.fault("put before"); err != nil {
		return nil, err
	}
	w, err := s.r.Blobs.Put(ctx, name, min(size, s.r.MaxObjectBytes), in)
	if err == nil {
		err = s.r.fault("put after")
	}
	if err != nil {
		return nil, fmt.Errorf("receive upload %s: %w", s.row.ID, err)
	}
	if w.Size != b.n {
		return nil, fail.E(fail.Internal, nil, "object %s has %d bytes, %d were sent", name, w.Size, b.n)
	}
	s.r.metrics.bytes.Add(float64(w.Size))
	return &piece{seq: seq, size: w.Size}, nil
}

// settle is step 3: the upload moves over the piece, in one transaction with the object's size, unless somebody else moved it.
func (s *session) settle(ctx context.Context, p *piece) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	state, err := s.state()
	if err != nil {
		return err
	}
	op, off := sqldb.NewToken(), s.row.Off+p.size
	moved := false
	var now index.Upload
	err = s.r.DB.Tx(ctx, "upload.settle", func(tx *sqldb.Tx) error {
		if moved, err = index.Settle(ctx, tx, s.row, off, state, op); err != nil {
			return err
		}
		if moved {
			_, err = index.SizeObject(ctx, tx, s.row.Content, p.seq, p.size)
			return err
		}
		if now, err = index.UploadByID(ctx, tx, s.row.ID); fail.Is(err, fail.NotFound) {
			return uploadUnknown(s.repo, s.row.ID)
		}
		moved = err == nil && now.Op == op // an earlier run of this transaction did it
		return err
	})
	if err != nil {
		return fmt.Errorf("settle upload %s: %w", s.row.ID, err)
	}
	if !moved {
		return outOfPlace(s.repo, now, s.row.Off)
	}
	s.row.Off, s.row.Hash = off, state
	return nil
}
