package registry

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Upload is an upload under way. What it says is durable: any node goes on from Offset.
type Upload struct {
	ID        string
	Repo      oci.Name
	Offset    int64 // bytes received
	Subject   string
	Algorithm oci.Algorithm
}

// StartUpload says who begins an upload. Algorithm is what the blob's digest is expected to be of; zero means sha256.
type StartUpload struct {
	Pusher
	Algorithm oci.Algorithm
}

// Append is the next piece of an upload. It begins at byte At, which must be where the upload stands. Size is -1 if it is not known.
type Append struct {
	At   int64
	Size int64
	Body io.Reader
}

// Finish ends an upload, with its last piece if Body is not nil.
type Finish struct {
	At     int64
	Digest oci.Digest
	Size   int64
	Body   io.Reader
}

// PushBlob is a whole blob. Size is -1 if it is not known.
type PushBlob struct {
	Pusher
	Digest oci.Digest
	Size   int64
	Body   io.Reader
}

// StartUpload begins an upload, and makes the repository at its first push. Exhausted: too many are under way, or no room.
//
// A power cut may forget the upload (its client begins another), a crash of the process does not.
func (r *Registry) StartUpload(ctx context.Context, name oci.Name, s StartUpload) (Upload, error) {
	u, object, err := r.start(ctx, name, s.Pusher, s.Algorithm, 0)
	if err != nil {
		return Upload{}, err
	}
	r.prepared.put(u.ID, object)
	return shown(name, u), nil
}

// start writes the rows of an upload and of its first object, and answers that object's name, which is the caller's to use once. size is that of the body that comes with it.
func (r *Registry) start(ctx context.Context, name oci.Name, p Pusher, a oci.Algorithm, size int64) (index.Upload, string, error) {
	if err := r.checkRoom(ctx, size); err != nil {
		return index.Upload{}, "", err
	}
	if a == 0 {
		a = oci.SHA256
	}
	object, seq, f := r.blobs.NewName(), unsettledSeq(), firstPush(p, name)
	u := index.Upload{ID: sqldb.NewToken(), Subject: p.Subject, Algorithm: a, Content: sqldb.NewID()}
	var repo index.Repository
	err := r.keyedRelaxed(ctx, "upload.start", func(tx *sqldb.Tx) error {
		now := micros(tx.Now())
		var err error
		if repo, err = r.ensure(ctx, tx, f); err != nil {
			return err
		}
		fresh, err := index.InsertContent(ctx, tx, u.Content, now)
		if err != nil || !fresh {
			return err // not fresh: an earlier run was committed
		}
		n, err := index.CountUploads(ctx, tx, p.Subject, maxOpenUploads)
		if err != nil {
			return err
		}
		if n >= maxOpenUploads {
			return fail.E(fail.Exhausted, nil, "%d uploads are under way", n).Code(oci.CodeTooManyRequests).RetryAfter(busyRetry).
				Hint("finish or cancel some; those without progress expire")
		}
		row := u
		row.Repo, row.ActiveAt = repo.ID, now
		if err = index.InsertUpload(ctx, tx, row); err != nil {
			return err
		}
		return index.InsertObject(ctx, tx, u.Content, seq, object, now)
	})
	if err != nil {
		return index.Upload{}, "", fmt.Errorf("start upload to %s: %w", name, err)
	}
	u.Repo, u.Quota = repo.ID, repo.Quota
	return u, object, nil
}

// unsettledSeq draws the number of an object that is yet to be written.
func unsettledSeq() int64 { return -sqldb.NewID() }

// Upload answers how far an upload is. One that is done, expired or of another repository is NotFound with BLOB_UPLOAD_UNKNOWN.
func (r *Registry) Upload(ctx context.Context, name oci.Name, id string) (Upload, error) {
	u, err := r.findUpload(ctx, name, id)
	if err == nil && !u.Done.IsZero() {
		err = uploadUnknown(name, id)
	}
	if err != nil {
		return Upload{}, err
	}
	return shown(name, u), nil
}

// UploadSubject answers who began an upload, be it under way or done: BLOB_UPLOAD_UNKNOWN if it is neither.
func (r *Registry) UploadSubject(ctx context.Context, name oci.Name, id string) (string, error) {
	u, err := r.findUpload(ctx, name, id)
	return u.Subject, err
}

func (r *Registry) findUpload(ctx context.Context, name oci.Name, id string) (index.Upload, error) {
	u, err := index.FindUpload(ctx, r.db, name, id)
	if fail.Is(err, fail.NotFound) {
		return u, uploadUnknown(name, id)
	}
	if err != nil {
		return u, fmt.Errorf("find upload %s: %w", id, err)
	}
	return u, nil
}

func shown(name oci.Name, u index.Upload) Upload {
	return Upload{ID: u.ID, Repo: name, Offset: u.Off, Subject: u.Subject, Algorithm: u.Algorithm}
}

func uploadUnknown(name oci.Name, id string) *fail.Error {
	return fail.E(fail.NotFound, nil, "upload %.64s of %s", id, name).Code(oci.CodeBlobUploadUnknown).Hint("it is done, cancelled or expired: begin another")
}

// misplaced answers that a piece does not begin where the upload stands.
func misplaced(name oci.Name, u index.Upload, at int64) error {
	return fail.E(fail.RangeInvalid, nil, "upload %s is at byte %d, not %d", u.ID, u.Off, at).Code(oci.CodeBlobUploadInvalid).Detail(shown(name, u)).
		Hint("go on at byte %d", u.Off)
}

// Append takes the next piece of an upload. What came is durable on return, also if the body broke off: then the error is Invalid with
// BLOB_UPLOAD_INVALID, and Upload tells how far it got. Of two that append at once, one gets RangeInvalid with the Upload as its detail. Denied: it does not fit into the project's quota, and the upload has ended.
func (r *Registry) Append(ctx context.Context, name oci.Name, id string, a Append) (Upload, error) {
	u, err := r.findUpload(ctx, name, id)
	if err != nil {
		return Upload{}, err
	}
	if !u.Done.IsZero() {
		return Upload{}, uploadUnknown(name, id)
	}
	if a.At != u.Off {
		return Upload{}, misplaced(name, u, a.At)
	}
	in, end, err := r.intake(ctx, name, u, u.Algorithm, a.Size)
	if err != nil {
		return Upload{}, err
	}
	defer end()
	last, err := in.take(a.Body, a.Size)
	if last != nil && !fail.Is(err, fail.Denied) {
		if settleErr := in.settle(*last); settleErr != nil {
			return Upload{}, in.refused(settleErr)
		}
	}
	if err != nil {
		return Upload{}, fmt.Errorf("append to upload %s of %s: %w", id, name, in.refused(err))
	}
	return shown(name, in.up), nil
}

// Finish ends an upload: its blob is durable and in the repository on return. The same Finish again, for an hour, answers the same. A digest that does not fit
// is Invalid with DIGEST_INVALID and leaves the upload where it was. Denied: it does not fit into the project's quota, and the upload has ended.
func (r *Registry) Finish(ctx context.Context, name oci.Name, id string, f Finish) (oci.Descriptor, error) {
	u, err := r.findUpload(ctx, name, id)
	if err != nil {
		return oci.Descriptor{}, err
	}
	if !u.Done.IsZero() {
		return r.doneBefore(ctx, name, id, f.Digest)
	}
	if f.At != u.Off {
		return oci.Descriptor{}, misplaced(name, u, f.At)
	}
	algorithm := u.Algorithm
	if u.Off == 0 {
		algorithm = f.Digest.Algorithm()
	}
	d, err := r.finish(ctx, name, u, algorithm, f)
	if fail.CodeOf(err) == oci.CodeBlobUploadUnknown {
		// The same PUT, sent twice at once, may have been done meanwhile.
		if row, findErr := r.findUpload(ctx, name, id); findErr == nil && !row.Done.IsZero() {
			return r.doneBefore(ctx, name, id, f.Digest)
		}
	}
	if err != nil {
		return oci.Descriptor{}, fmt.Errorf("finish upload %s of %s: %w", id, name, err)
	}
	r.prepared.take(id)
	return d, nil
}

func (r *Registry) finish(ctx context.Context, name oci.Name, u index.Upload, a oci.Algorithm, f Finish) (oci.Descriptor, error) {
	in, end, err := r.intake(ctx, name, u, a, f.Size)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer end()
	in.wanted = f.Digest
	last, err := in.take(f.Body, f.Size)
	if err != nil {
		if last != nil && !fail.Is(err, fail.Denied) {
			err = in.keepOf(*last, err)
		}
		return oci.Descriptor{}, in.refused(err)
	}
	d, err := in.commit(ctx, last, f.Digest, false)
	return d, in.refused(err)
}

// doneBefore answers a Finish of an upload that was seen to be done: what was seen may be on one server of the database alone.
func (r *Registry) doneBefore(ctx context.Context, name oci.Name, id string, d oci.Digest) (oci.Descriptor, error) {
	var u index.Upload
	err := r.db.Durable(ctx, "upload.done", func(q sqldb.Querier) (err error) {
		u, err = index.FindUpload(ctx, q, name, id)
		return err
	})
	switch {
	case fail.Is(err, fail.NotFound):
		return oci.Descriptor{}, uploadUnknown(name, id)
	case err != nil:
		return oci.Descriptor{}, fmt.Errorf("find upload %s: %w", id, err)
	case u.Done.IsZero():
		return oci.Descriptor{}, fail.E(fail.Unavailable, nil, "upload %s was done on a server of the database that another one replaced", id).RetryAfter(busyRetry)
	}
	return again(u, d)
}

// again answers a Finish of an upload that is done.
func again(u index.Upload, d oci.Digest) (oci.Descriptor, error) {
	if u.Done != d {
		return oci.Descriptor{}, fail.E(fail.Invalid, nil, "upload %s is done, as %s", u.ID, u.Done).Code(oci.CodeDigestInvalid).Hint("begin another upload")
	}
	return oci.Descriptor{MediaType: blobMediaType, Digest: d, Size: u.Off}, nil
}

// PushBlob takes a whole blob: it is durable and in the repository on return. Nothing is kept of one that breaks off or has another digest.
func (r *Registry) PushBlob(ctx context.Context, name oci.Name, p PushBlob) (oci.Descriptor, error) {
	// The place comes before the rows: each refused try would leave an upload, and they count for the subject until they expire.
	free, err := r.senders.begin(p.Subject)
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer free()
	u, object, err := r.start(ctx, name, p.Pusher, p.Digest.Algorithm(), p.Size)
	if err != nil {
		return oci.Descriptor{}, err
	}
	in, end, err := r.admitted(ctx, name, u, p.Digest.Algorithm())
	if err != nil {
		return oci.Descriptor{}, err
	}
	defer end()
	in.object, in.wanted = object, p.Digest
	last, err := in.take(p.Body, p.Size)
	var d oci.Descriptor
	if err == nil {
		d, err = in.commit(ctx, last, p.Digest, true)
	}
	if err != nil {
		in.giveUp(func(index.Upload) bool { return true }) // nobody else knows it
		return oci.Descriptor{}, fmt.Errorf("push blob %s to %s: %w", p.Digest, name, err)
	}
	return d, nil
}

// cancelTries bounds the tries to cancel an upload that goes on meanwhile.
const cancelTries = 10

// CancelUpload ends an upload without a blob. BLOB_UPLOAD_UNKNOWN if it is not under way.
func (r *Registry) CancelUpload(ctx context.Context, name oci.Name, id string) error {
	for range cancelTries {
		u, err := r.findUpload(ctx, name, id)
		if err != nil {
			return err
		}
		if !u.Done.IsZero() {
			return uploadUnknown(name, id)
		}
		gone, err := r.endUpload(ctx, "upload.cancel", u)
		if err != nil {
			return fmt.Errorf("cancel upload %s of %s: %w", id, name, err)
		}
		if gone {
			r.prepared.take(id)
			return nil
		}
	}
	return fail.E(fail.Conflict, nil, "upload %s of %s goes on", id, name).Code(oci.CodeBlobUploadInvalid).Hint("stop the client that appends to it")
}

// endAtOnce bounds the uploads that are ended between two queries.
const endAtOnce = 100

// EndUploads ends the uploads of a subject that are under way, also those of which bytes come at this moment. Several nodes may do so at once.
func (r *Registry) EndUploads(ctx context.Context, subject string) error {
	for try := 0; try < cancelTries; {
		under, err := index.SubjectUploads(ctx, r.db, subject, endAtOnce)
		if err != nil || len(under) == 0 {
			return err
		}
		try++
		for _, u := range under {
			gone, endErr := r.endUpload(ctx, "upload.end", u)
			if endErr != nil {
				return fmt.Errorf("end upload %s: %w", u.ID, endErr)
			}
			if gone {
				try = 0
			}
		}
	}
	return fail.E(fail.Conflict, nil, "uploads of %s go on", subject)
}

// endUpload removes an upload if nothing happened to it since it was seen, and buries its content. It is gone as well if somebody else removed it.
func (r *Registry) endUpload(ctx context.Context, title string, u index.Upload) (gone bool, err error) {
	remove := func(tx *sqldb.Tx) error {
		n, txErr := index.DeleteUploadSeen(ctx, tx, u)
		if txErr != nil {
			return txErr
		}
		if gone = n > 0; gone {
			if txErr = index.Bury(ctx, tx, u.Content, micros(tx.Now())); txErr != nil {
				return txErr
			}
			return forgetHold(ctx, tx, u)
		}
		_, txErr = index.UploadByID(ctx, tx, u.ID)
		if gone = fail.Is(txErr, fail.NotFound); gone {
			return nil
		}
		return txErr
	}
	err = r.ending(ctx, func() error { return r.tx(ctx, title, remove) })
	return gone, err
}

// maxPrepared bounds the prepared names: uploads that began here and got no byte yet.
const maxPrepared = 4096

// prepared holds the names of first objects whose rows were written together with their uploads, which saves the first piece a transaction. A name is taken
// out once, so two writers never have the same; what a crash forgets is an object that was never written.
type prepared struct {
	mu    sync.Mutex
	names map[string]string // by upload
}

func newPrepared() *prepared { return &prepared{names: map[string]string{}} }

func (p *prepared) put(upload, object string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.names) >= maxPrepared {
		for id := range p.names {
			delete(p.names, id)
			break
		}
	}
	p.names[upload] = object
}

func (p *prepared) take(upload string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	object := p.names[upload]
	delete(p.names, upload)
	return object
}
