package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/havn-registry/havn/internal/fail"
)

// probePrefix begins the names of objects that are written to see whether that works.
const probePrefix = "havn-probe-"

// probe proves that the bucket can be used, and finds out what the server can do.
func (d *Driver) probe(ctx context.Context) error {
	// A list first: unlike the answer to a HEAD, the one to it says in words what is wrong.
	in := &sdk.ListObjectsV2Input{Bucket: d.bucket(), MaxKeys: aws.Int32(1)}
	if d.prefix != "" {
		in.Prefix = aws.String(d.prefix)
	}
	if _, err := d.client.ListObjectsV2(ctx, in, probing); err != nil {
		err = d.failed(err, "list the bucket")
		if fail.Is(err, fail.NotFound) {
			return fail.E(fail.Unavailable, err, "there is no such bucket").Hint("is %s the address of an S3 server, and storage.s3.path_style right?", d.cfg.AddressKey)
		}
		return err
	}
	name := probePrefix + strings.ToLower(rand.Text())
	if err := d.probeWrite(ctx, name, false); err != nil {
		return fmt.Errorf("write an object: %w", err)
	}
	err := d.probeObject(ctx, name)
	_, deleteErr := d.client.DeleteObject(ctx, &sdk.DeleteObjectInput{Bucket: d.bucket(), Key: d.key(name)}, probing)
	if deleteErr != nil {
		deleteErr = d.failed(deleteErr, "delete the object %s that was written for a try", name)
	}
	return errors.Join(err, deleteErr)
}

func (d *Driver) probeWrite(ctx context.Context, name string, conditional bool) error {
	sse, key := d.cfg.encryption()
	in := &sdk.PutObjectInput{
		Bucket: d.bucket(), Key: d.key(name), Body: strings.NewReader(name), ContentType: aws.String(contentType),
		ServerSideEncryption: sse, SSEKMSKeyId: key, StorageClass: d.storageClass(),
	}
	if conditional {
		in.IfNoneMatch = aws.String("*")
	}
	if _, err := d.client.PutObject(ctx, in, probing); err != nil {
		return d.failed(err, "object %s", name)
	}
	return nil
}

// probeObject reads what was written, and asks whether the server refuses to write over it.
func (d *Driver) probeObject(ctx context.Context, name string) error {
	out, err := d.client.GetObject(ctx, &sdk.GetObjectInput{Bucket: d.bucket(), Key: d.key(name)}, probing)
	if err != nil {
		return d.failed(err, "read the object that was just written")
	}
	body, err := io.ReadAll(io.LimitReader(out.Body, int64(len(name))+1))
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return d.failed(err, "read the object that was just written")
	}
	if !bytes.Equal(body, []byte(name)) {
		return fail.E(fail.Unavailable, nil, "the object that was just written has other bytes").Hint("does something on the way to the server change or compress answers?")
	}
	if err = d.probeRange(ctx, name); err != nil {
		return err
	}
	d.overwrites = refusal(d.probeWrite(ctx, name, true))
	return nil
}

// probeRange reads the end of the object that was written: a pull that breaks off goes on in the middle.
func (d *Driver) probeRange(ctx context.Context, name string) error {
	const from = int64(len(probePrefix))
	r, err := d.Get(ctx, name, from, 1)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil {
		return d.failed(err, "read a range of the object that was just written")
	}
	if string(got) != name[from:from+1] {
		return fail.E(fail.Unavailable, nil, "a range of the object that was just written has other bytes").Hint(rangeHint)
	}
	return nil
}

// refusal judges what came of a write over an object that was not to be written over: nil if it was refused for that.
func refusal(err error) error {
	const newer = "a newer release of the server may know it"
	switch {
	case fail.Is(err, fail.Exists):
		return nil
	case err == nil:
		return fail.E(fail.Unsupported, nil, "the server writes over an object although it is asked not to (If-None-Match: *)").Hint(newer)
	}
	e := fail.E(fail.Unsupported, err, "the server can't be asked not to write over an object (If-None-Match: *)")
	var a answered
	if errors.As(err, &a) && a.code == "SignatureDoesNotMatch" {
		return e.Hint("the same without that header is let in, so something on the way to the server takes it away: let it pass")
	}
	return e.Hint(newer)
}

// Overwrites says why the server does not refuse to write over an object: see blob.Overwriter.
func (d *Driver) Overwrites() error { return d.overwrites }
