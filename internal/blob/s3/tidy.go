package s3

import (
	"context"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

// Tidy aborts multipart uploads of Havn's own names that are not known and were begun before a time, by a node that died: see blob.Tidier.
//
// Their age decides only when. It is told by the server's clock and compared with this node's, and a slow client's upload may be older than any limit: to abort
// one that is under way costs its client the push. And an abort that meets a completion, which radosgw does not keep apart in every release (Ceph issue 68982),
// leaves an object without bytes.
func (d *Driver) Tidy(ctx context.Context, before time.Time, known blob.Known) (int, error) {
	in := &sdk.ListMultipartUploadsInput{Bucket: d.bucket(), MaxUploads: aws.Int32(listAtOnce)}
	if d.prefix != "" {
		in.Prefix = aws.String(d.prefix)
	}
	n := 0
	for {
		out, err := d.client.ListMultipartUploads(ctx, in)
		if err != nil {
			if err = d.failed(err, "list multipart uploads of the bucket %s", d.Place()); fail.Is(err, fail.Unsupported) {
				return n, nil // OSS: the documentation asks for a lifecycle rule
			}
			return n, err
		}
		aborted, err := d.abortOld(ctx, out.Uploads, before, known)
		n += aborted
		if err != nil {
			return n, err
		}
		if !aws.ToBool(out.IsTruncated) || out.NextKeyMarker == nil {
			return n, nil
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
}

// abortOld aborts those of a page of uploads that are of no use, and answers how many.
func (d *Driver) abortOld(ctx context.Context, page []types.MultipartUpload, before time.Time, known blob.Known) (int, error) {
	var old []types.MultipartUpload
	var names []string
	for _, u := range page {
		name, ours := strings.CutPrefix(aws.ToString(u.Key), d.prefix)
		if ours && blob.IsOwnName(name) && u.Initiated != nil && u.Initiated.Before(before) {
			old, names = append(old, u), append(names, name)
		}
	}
	if len(old) == 0 {
		return 0, nil
	}
	used, err := known(ctx, names)
	if err != nil {
		return 0, err
	}
	n := 0
	for i, name := range names {
		if used[name] {
			continue
		}
		gone, abortErr := d.abandoned(ctx, name, old[i].UploadId)
		if abortErr != nil {
			return n, abortErr
		}
		if gone {
			n++
		}
	}
	return n, nil
}

// abandoned aborts an upload that nobody writes any more, unless there is an object of its name; it answers whether it did.
func (d *Driver) abandoned(ctx context.Context, name string, upload *string) (bool, error) {
	// A gateway that died between making the object and forgetting the upload leaves both, of the same parts: to abort the upload would empty the object.
	// (A name is written once, so an object there is this upload's.) Once the object is gone, so is the upload at the next time.
	if _, err := d.head(ctx, name); !fail.Is(err, fail.NotFound) {
		return false, err
	}
	_, err := d.client.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: d.bucket(), Key: d.key(name), UploadId: upload})
	if a, ok := answerOf(err); err == nil || ok && a.code == "NoSuchUpload" {
		return true, nil
	}
	return false, d.failed(err, "abort the multipart upload of object %s", name)
}
