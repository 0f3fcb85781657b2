package registry

import (
	"context"
	"encoding"
	"fmt"
	"hash"
	"io"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Upload is an upload session under way, as every node sees it.
type Upload struct {
	ID        string
	Repo      oci.Name
	Offset    int64 // bytes that are durable
	Subject   string
	Algorithm oci.Algorithm
}

// StartUpload says who begins an upload and how it is hashed.
type StartUpload struct {
	Pusher
	Algorithm oci.Algorithm // zero: sha256
}

// Append is a piece of an upload.
type Append struct {
	At   int64 // the offset that it begins at
	Size int64 // bytes to come, -1 if that is not known
	Body io.Reader
}

// Finish ends an upload, with its last bytes if Body is not nil.
type Finish struct {
	At     int64
	Digest oci.Digest
	Size   int64 // bytes to come, -1 if that is not known
	Body   io.Reader
}

// PushBlob is a blob in one request.
type PushBlob struct {
	Pusher
	Digest oci.Digest
	Size   int64 // bytes to come, -1 if that is not known
	Body   io.Reader
}

// StartUpload opens an upload session. Denied or NAME_UNKNOWN if there is no such project and none is made; Exhausted if there is no room. It leaves a row that expires.
func (r *Registry) StartUpload(ctx context.Context, repo oci.Name, s StartUpload) (Upload, error) {
	row, err := r.startUpload(ctx, repo, s)
	return asUpload(repo, row), err
}

func (r *Registry) startUpload(ctx context.Context, repo oci.Name, s StartUpload) (index.Upload, error) {
	if err := r.room(ctx); err != nil {
		return index.Upload{}, err
	}
	id, err := r.repository(ctx, repo, s.Pusher)
	if err != nil {
		return index.Upload{}, err
	}
	if s.Algorithm == 0 {
		s.Algorithm = oci.SHA256
	}
	row := index.Upload{ID: sqldb.NewToken(), Repo: id, Subject: s.Subject, Algorithm: s.Algorithm, Content: sqldb.NewID()}
	err = r.DB.TxRelaxed(ctx, "upload.start", func(tx *sqldb.Tx) error {
		if _, err := index.UploadByID(ctx, tx, row.ID); !fail.Is(err, fail.NotFound) {
			return err // an earlier run of this transaction did it
		}
		return index.AddUpload(ctx, tx, row)
	})
	if err != nil {
		return index.Upload{}, fmt.Errorf("start upload in %s: %w", repo, err)
	}
	return row, nil
}

func asUpload(repo oci.Name, u index.Upload) Upload {
	return Upload{ID: u.ID, Repo: repo, Offset: u.Off, Subject: u.Subject, Algorithm: u.Algorithm}
}

// Upload answers a session under way; BLOB_UPLOAD_UNKNOWN if there is none, or if it is done.
func (r *Registry) Upload(ctx context.Context, repo oci.Name, id string) (Upload, error) {
	row, err := r.findUpload(ctx, repo, id)
	if err == nil && !row.Done.IsZero() {
		err = uploadUnknown(repo, id)
	}
	return asUpload(repo, row), err
}

func (r *Registry) findUpload(ctx context.Context, repo oci.Name, id string) (index.Upload, error) {
	row, err := index.FindUpload(ctx, r.DB, repo, id)
	if fail.Is(err, fail.NotFound) {
		return row, uploadUnknown(repo, id)
	}
	if err != nil {
		return row, fmt.Errorf("find upload %s: %w", id, err)
	}
	return row, nil
}

func uploadUnknown(repo oci.Name, id string) error {
	return fail.E(fail.NotFound, nil, "upload %.64q in %s", id, repo).Code(oci.CodeBlobUploadUnknown).Hint("it is done, cancelled or expired: start a new one")
}

// Append adds a piece to an upload and answers where it stands then: all of it is durable. A wrong offset, or another request that was faster, is RangeInvalid
// with the Upload as detail. If the body breaks off, what came of it is kept and settled, and the error is Invalid with BLOB_UPLOAD_INVALID.
func (r *Registry) Append(ctx context.Context, repo oci.Name, id string, a Append) (Upload, error) {
	row, err := r.findUpload(ctx, repo, id)
	if err != nil {
		return Upload{}, err
	}
	if !row.Done.IsZero() {
		return Upload{}, uploadUnknown(repo, id)
	}
	if a.At != row.Off {
		return Upload{}, outOfPlace(repo, row, a.At)
	}
	s, err := r.openSession(repo, row)
	if err != nil {
		return Upload{}, err
	}
	last, err := s.receive(ctx, a.Body, a.Size)
	if last != nil {
		if settleErr := s.settle(ctx, last); settleErr != nil {
			return Upload{}, settleErr
		}
	}
	return asUpload(repo, s.row), err
}

// outOfPlace says that a piece does not begin where the upload stands.
func outOfPlace(repo oci.Name, row index.Upload, at int64) error {
	return fail.E(fail.RangeInvalid, nil, "upload %s stands at %d bytes, not at %d", row.ID, row.Off, at).Code(oci.CodeBlobUploadInvalid).
		Detail(asUpload(repo, row)).Hint("go on from the Range that is answered")
}

// session is an upload's row together with the hash of its bytes, in one request.
type session struct {
	r    *Registry
	repo oci.Name
	row  index.Upload
	hash hash.Hash
}

func (r *Registry) openSession(repo oci.Name, row index.Upload) (*session, error) {
	s := &session{r: r, repo: repo, row: row, hash: row.Algorithm.New()}
	if row.Off == 0 {
		return s, nil
	}
	state, ok := s.hash.(encoding.BinaryUnmarshaler)
	if !ok {
		return nil, fail.E(fail.Internal, nil, "hash %s has no state", row.Algorithm)
	}
	if err := state.UnmarshalBinary(row.Hash); err != nil {
		return nil, fail.E(fail.Internal, err, "hash state of upload %s", row.ID)
	}
	return s, nil
}

func (s *session) state() ([]byte, error) {
	state, ok := s.hash.(encoding.BinaryMarshaler)
	if !ok {
		return nil, fail.E(fail.Internal, nil, "hash %s has no state", s.row.Algorithm)
	}
	return state.MarshalBinary()
}

// CancelUpload ends an upload under way; its content is dead. BLOB_UPLOAD_UNKNOWN if there is none. Conflict if it moves at the same moment.
func (r *Registry) CancelUpload(ctx context.Context, repo oci.Name, id string) error {
	row, err := r.findUpload(ctx, repo, id)
	if err != nil {
		return err
	}
	if !row.Done.IsZero() {
		return uploadUnknown(repo, id)
	}
	dropped, err := r.dropUpload(ctx, row)
	if err != nil {
		return fmt.Errorf("cancel upload %s: %w", id, err)
	}
	if !dropped {
		return fail.E(fail.Conflict, nil, "upload %s moves at this moment", id).Code(oci.CodeBlobUploadInvalid).Hint("cancel it when its requests have ended")
	}
	return nil
}

// dropUpload deletes an upload's row if it is as it was seen. Unless it was done, its content is dead from then on.
func (r *Registry) dropUpload(ctx context.Context, row index.Upload) (bool, error) {
	var dropped bool
	op, now := sqldb.NewToken(), r.Clock()
	err := r.DB.Tx(ctx, "upload.drop", func(tx *sqldb.Tx) error {
		fresh, err := index.ClaimOp(ctx, tx, op)
		if err != nil || !fresh {
			return err // not fresh: an earlier run dropped it, and said so
		}
		if dropped, err = index.DropUpload(ctx, tx, row); err != nil || !dropped {
			return err
		}
		if row.Done.IsZero() {
			return index.AddDead(ctx, tx, row.Content, now)
		}
		return nil
	})
	return dropped, err
}
