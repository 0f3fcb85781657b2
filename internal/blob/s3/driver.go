package s3

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

// listAtOnce is S3's own most.
const listAtOnce = 1000

// Driver is a blob.Driver on a bucket.
type Driver struct {
	cfg    Config
	client *sdk.Client
	signer *sdk.PresignClient
	prefix string // of every key: "" or with a slash at its end
	// overwrites is why the server can't be asked to refuse to write over an object (If-None-Match); nil: it does refuse. Where it does not, it is asked whether
	// there is one first.
	overwrites error
	// noConditionalEnd is set when the server refuses the same at the end of a multipart upload.
	noConditionalEnd atomic.Bool
	taken            blob.Taken
}

// New makes a driver and proves that objects can be listed, written, read and deleted in the bucket. Errors are Unavailable or Invalid, and say what
// to do.
func New(ctx context.Context, c Config) (*Driver, error) {
	d := &Driver{cfg: c}
	if c.Prefix != "" {
		d.prefix = c.Prefix + "/"
	}
	o, err := c.options(ctx)
	if err != nil {
		return nil, err
	}
	d.client = sdk.New(o)
	d.signer = sdk.NewPresignClient(d.client)
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	if err = d.probe(ctx); err != nil {
		return nil, fmt.Errorf("bucket %s: %w", d.Place(), err)
	}
	return d, nil
}

// Place names the bucket for people.
func (d *Driver) Place() string {
	at := d.cfg.Bucket
	if d.prefix != "" {
		at += "/" + d.cfg.Prefix
	}
	if d.cfg.Endpoint != nil {
		return at + " at " + d.cfg.Endpoint.Redacted()
	}
	return at
}

func (d *Driver) key(name string) *string { return aws.String(d.prefix + name) }

func (d *Driver) bucket() *string { return aws.String(d.cfg.Bucket) }

// Get reads a part of an object: see blob.Driver.
func (d *Driver) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	in := &sdk.GetObjectInput{Bucket: d.bucket(), Key: d.key(name)}
	switch {
	case n == 0: // no range says "nothing"
		if _, err := d.Stat(ctx, name); err != nil {
			return nil, err
		}
		return io.NopCloser(bytes.NewReader(nil)), nil
	case n > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", off, off+n-1))
	case off > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", off))
	}
	out, err := d.client.GetObject(ctx, in)
	if err != nil {
		err = d.failed(err, "read object %s", name)
		if fail.Is(err, fail.RangeInvalid) { // there is nothing behind the end, and that is what is answered
			return io.NopCloser(bytes.NewReader(nil)), nil
		}
		return nil, err
	}
	return d.ranged(out, name, off, n)
}

// ranged answers what was asked for of an object's body, and refuses one that begins elsewhere: a proxy that drops the header Range passes the whole object on.
func (d *Driver) ranged(out *sdk.GetObjectOutput, name string, off, n int64) (io.ReadCloser, error) {
	got := aws.ToString(out.ContentRange)
	switch {
	case got == "" && off > 0, got != "" && !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", off)):
		return nil, fail.E(fail.Unavailable, out.Body.Close(), "read object %s from %d: the server answers with the range %q", name, off, got).Hint(rangeHint)
	case got == "" && n > 0: // the whole object, of which the rest is left
		return limited{io.LimitReader(out.Body, n), out.Body}, nil
	}
	return out.Body, nil
}

// rangeHint is what may be wrong where another range comes than was asked for.
const rangeHint = "does something on the way to the server drop the header Range?"

// limited is the beginning of a body.
type limited struct {
	io.Reader
	io.Closer
}

// Stat answers size and time: see blob.Driver.
func (d *Driver) Stat(ctx context.Context, name string) (blob.Info, error) {
	out, err := d.head(ctx, name)
	if err != nil {
		return blob.Info{}, err
	}
	return blob.Info{Name: name, Size: aws.ToInt64(out.ContentLength), ModTime: aws.ToTime(out.LastModified)}, nil
}

func (d *Driver) head(ctx context.Context, name string, opts ...func(*sdk.Options)) (*sdk.HeadObjectOutput, error) {
	out, err := d.client.HeadObject(ctx, &sdk.HeadObjectInput{Bucket: d.bucket(), Key: d.key(name)}, opts...)
	if err != nil {
		return nil, d.failed(err, "look at object %s", name)
	}
	return out, nil
}

// Delete removes an object: see blob.Driver.
func (d *Driver) Delete(ctx context.Context, name string) error {
	_, err := d.client.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: d.bucket(), Key: d.key(name)})
	if err == nil {
		return nil
	}
	if err = d.failed(err, "delete object %s", name); fail.Is(err, fail.NotFound) { // GCS answers 404, Amazon 204
		return nil
	}
	return err
}

// List answers the objects in order, a page at a time: see blob.Driver.
func (d *Driver) List(ctx context.Context, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		in := &sdk.ListObjectsV2Input{Bucket: d.bucket(), MaxKeys: aws.Int32(listAtOnce)}
		if d.prefix != "" {
			in.Prefix = aws.String(d.prefix)
		}
		if after != "" {
			in.StartAfter = d.key(after)
		}
		for {
			out, err := d.client.ListObjectsV2(ctx, in)
			if err != nil {
				yield(blob.Info{}, d.failed(err, "list the bucket %s", d.Place()))
				return
			}
			for _, o := range out.Contents {
				name := strings.TrimPrefix(aws.ToString(o.Key), d.prefix)
				if name == "" {
					continue // what consoles make for a "folder"
				}
				if !yield(blob.Info{Name: name, Size: aws.ToInt64(o.Size), ModTime: aws.ToTime(o.LastModified)}, nil) {
					return
				}
			}
			if !aws.ToBool(out.IsTruncated) || out.NextContinuationToken == nil {
				return
			}
			in.ContinuationToken, in.StartAfter = out.NextContinuationToken, nil
		}
	}
}

// SignGet answers a URL at which the object can be read for a while without credentials: see blob.Signer.
func (d *Driver) SignGet(ctx context.Context, name string, life time.Duration) (string, error) {
	r, err := d.signer.PresignGetObject(ctx, &sdk.GetObjectInput{Bucket: d.bucket(), Key: d.key(name)}, sdk.WithPresignExpires(life))
	if err != nil {
		return "", d.failed(err, "sign a URL for object %s", name)
	}
	return r.URL, nil
}
