package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// partsAtOnce is how many parts of one object are sent at once: Amazon gives one connection 50 to 100 MB/s.
	partsAtOnce = 4
	// abortPatience is what is spent on cleaning up after a write that failed. What stays then is Tidy's.
	abortPatience = 30 * time.Second
	// mark is the metadata by which a writer knows its own object again.
	mark        = "havn-write"
	contentType = "application/octet-stream"
)

// Put writes an object: see blob.Driver.
//
// A write whose answer was lost is sent again, and may find its own object there. So each bears a random mark, and "exists" counts as written if the
// mark is ours.
//
// Not every server refuses to write over an object, and at the end of a multipart upload few do. So one of the name is looked for first, and a name is
// written once at a time in this process. Names are made by chance, so between processes that is enough.
//
//  1. A multipart upload is begun. A crash leaves it, without parts: see Tidy.
//  2. Parts. A crash leaves them with the upload; they are not listed, and cost room until Tidy.
//  3. It is completed: the object is there, whole and durable.
func (d *Driver) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	if !d.taken.Take(name) {
		return blob.Written{}, fail.E(fail.Exists, nil, "object %s is being written", name)
	}
	defer d.taken.Give(name)
	cut := d.cfg.Pool.Cut(r, size, d.cfg.PartBytes)
	first, err := cut.Next(ctx)
	if err != nil {
		return blob.Written{}, fmt.Errorf("read what is to be written: %w", err)
	}
	if d.overwrites != nil || !first.Last {
		if err = d.vacant(ctx, name); err != nil {
			return blob.Written{}, errors.Join(err, first.Release())
		}
	}
	w := write{d: d, name: name, mark: rand.Text()}
	if first.Last {
		err = errors.Join(w.whole(ctx, first), first.Release())
		return blob.Written{Size: first.Size}, err
	}
	n, err := w.multipart(ctx, cut, first)
	return blob.Written{Size: n}, err
}

// Resends says that Put keeps what it sends: see blob.Resender.
func (d *Driver) Resends() {}

// vacant refuses a name that an object has.
func (d *Driver) vacant(ctx context.Context, name string) error {
	_, err := d.head(ctx, name, writing)
	if err == nil {
		return fail.E(fail.Exists, nil, "object %s", name)
	}
	if fail.Is(err, fail.NotFound) {
		return nil
	}
	return err
}

// write is one object on its way.
type write struct {
	d      *Driver
	name   string
	mark   string
	upload string // of a multipart upload

	mu   sync.Mutex
	done []types.CompletedPart
}

func (w *write) whole(ctx context.Context, p *parts.Part) error {
	c := &w.d.cfg
	sse, key := c.encryption()
	in := &sdk.PutObjectInput{
		Bucket: w.d.bucket(), Key: w.d.key(w.name), Body: p.Body(), ContentLength: aws.Int64(p.Size), ContentType: aws.String(contentType),
		Metadata: map[string]string{mark: w.mark}, ServerSideEncryption: sse, SSEKMSKeyId: key, StorageClass: w.d.storageClass(),
	}
	if w.d.overwrites == nil {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := w.d.client.PutObject(ctx, in, writing)
	if err == nil {
		return nil
	}
	return w.ours(ctx, w.d.failed(err, "write object %s", w.name), p.Size)
}

// ours turns "exists" into success where the object is the one that this write made.
func (w *write) ours(ctx context.Context, err error, size int64) error {
	if !fail.Is(err, fail.Exists) {
		return err
	}
	out, headErr := w.d.head(ctx, w.name, writing)
	if headErr != nil {
		return errors.Join(err, headErr)
	}
	if out.Metadata[mark] == w.mark && aws.ToInt64(out.ContentLength) == size {
		return nil
	}
	return err
}

func (w *write) multipart(ctx context.Context, cut *parts.Cutter, first *parts.Part) (int64, error) {
	c := &w.d.cfg
	sse, key := c.encryption()
	out, err := w.d.client.CreateMultipartUpload(ctx, &sdk.CreateMultipartUploadInput{
		Bucket: w.d.bucket(), Key: w.d.key(w.name), ContentType: aws.String(contentType), Metadata: map[string]string{mark: w.mark},
		ServerSideEncryption: sse, SSEKMSKeyId: key, StorageClass: w.d.storageClass(),
	}, writing)
	if err != nil {
		return 0, errors.Join(w.d.failed(err, "begin a multipart upload of object %s", w.name), first.Release())
	}
	w.upload = aws.ToString(out.UploadId)
	n, err := cut.Send(ctx, first, partsAtOnce, w.part)
	if err == nil {
		err = w.complete(ctx, n)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("multipart upload of object %s: %w", w.name, err), w.abort(ctx))
	}
	return n, nil
}

func (w *write) part(ctx context.Context, p *parts.Part) error {
	number := int32(p.Number)
	out, err := w.d.client.UploadPart(ctx, &sdk.UploadPartInput{
		Bucket: w.d.bucket(), Key: w.d.key(w.name), UploadId: aws.String(w.upload), PartNumber: aws.Int32(number), Body: p.Body(), ContentLength: aws.Int64(p.Size),
	}, writing)
	if err != nil {
		return w.d.failed(err, "send %d bytes", p.Size)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = append(w.done, types.CompletedPart{
		ETag: out.ETag, PartNumber: aws.Int32(number), ChecksumCRC32: out.ChecksumCRC32, ChecksumCRC64NVME: out.ChecksumCRC64NVME,
	})
	return nil
}

// complete makes the object of its parts.
func (w *write) complete(ctx context.Context, size int64) error {
	slices.SortFunc(w.done, func(a, b types.CompletedPart) int { return int(aws.ToInt32(a.PartNumber) - aws.ToInt32(b.PartNumber)) })
	in := &sdk.CompleteMultipartUploadInput{
		Bucket: w.d.bucket(), Key: w.d.key(w.name), UploadId: aws.String(w.upload), MultipartUpload: &types.CompletedMultipartUpload{Parts: w.done},
	}
	if w.d.overwrites == nil && !w.d.noConditionalEnd.Load() {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := w.d.client.CompleteMultipartUpload(ctx, in, writing)
	if err != nil && in.IfNoneMatch != nil {
		if a, ok := answerOf(err); ok && (a.status == http.StatusNotImplemented || a.code == "InvalidArgument" || a.code == "InvalidRequest") {
			w.d.noConditionalEnd.Store(true)
			in.IfNoneMatch = nil
			_, err = w.d.client.CompleteMultipartUpload(ctx, in, writing)
		}
	}
	if err == nil {
		return nil
	}
	a, ok := answerOf(err)
	err = w.d.failed(err, "complete")
	if !ok || a.code != "NoSuchUpload" {
		return w.ours(ctx, err, size)
	}
	// Completed by an earlier try, whose answer was lost; or aborted by somebody else. An abort that met the completion leaves an object that is listed and has a size,
	// and no bytes. (Where a server removes them later, as the garbage collector of radosgw does, this look comes too early: so Tidy leaves alone what is under way.)
	if lookErr := w.ours(ctx, fail.E(fail.Exists, err, "complete"), size); lookErr == nil {
		if lookErr = w.ends(ctx, size); lookErr == nil {
			return nil
		}
		err = errors.Join(err, lookErr)
	}
	return fail.E(fail.Unavailable, err, "the upload was ended by somebody else").
		Hint("does a lifecycle rule of the bucket abort uploads too early? Give it a day at least")
}

// ends reads the last byte of an object.
func (w *write) ends(ctx context.Context, size int64) error {
	r, err := w.d.Get(ctx, w.name, size-1, 1)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, r)
	if err = errors.Join(err, r.Close()); err != nil {
		return w.d.failed(err, "read the end of object %s", w.name)
	}
	if n != 1 {
		return fail.E(fail.Unavailable, nil, "object %s has no byte at %d", w.name, size-1)
	}
	return nil
}

// abort ends an upload that came to nothing, also where the request has ended.
func (w *write) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortPatience)
	defer cancel()
	_, err := w.d.client.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: w.d.bucket(), Key: w.d.key(w.name), UploadId: aws.String(w.upload)})
	if a, ok := answerOf(err); err == nil || ok && a.code == "NoSuchUpload" {
		return nil
	}
	return w.d.failed(err, "abort the multipart upload of object %s", w.name)
}
