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

// Tidy aborts multipart uploads of Havn's own names that were begun before a time, by a node that died: see blob.Tidier. If one is still under way, its
// writer is refused at the end, and its client sends again.
func (d *Driver) Tidy(ctx context.Context, before time.Time) (int, error) {
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
		for i := range out.Uploads {
			gone, abortErr := d.abortOld(ctx, &out.Uploads[i], before)
			if abortErr != nil {
				return n, abortErr
			}
			if gone {
				n++
			}
		}
		if !aws.ToBool(out.IsTruncated) || out.NextKeyMarker == nil {
			return n, nil
		}
		in.KeyMarker, in.UploadIdMarker = out.NextKeyMarker, out.NextUploadIdMarker
	}
}

func (d *Driver) abortOld(ctx context.Context, u *types.MultipartUpload, before time.Time) (bool, error) {
	key := aws.ToString(u.Key)
	name, ours := strings.CutPrefix(key, d.prefix)
	if !ours || !blob.IsOwnName(name) || u.Initiated == nil || !u.Initiated.Before(before) {
		return false, nil
	}
	// A gateway that died between making the object and forgetting the upload leaves both, of the same parts: to abort the upload would empty the object.
	// (A name is written once, so an object there is this upload's.) Once the object is gone, so is the upload at the next time.
	if _, err := d.head(ctx, name); !fail.Is(err, fail.NotFound) {
		return false, err
	}
	_, err := d.client.AbortMultipartUpload(ctx, &sdk.AbortMultipartUploadInput{Bucket: d.bucket(), Key: aws.String(key), UploadId: u.UploadId})
	if a, ok := answerOf(err); err == nil || ok && a.code == "NoSuchUpload" {
		return true, nil
	}
	return false, d.failed(err, "abort the multipart upload of object %s", name)
}
