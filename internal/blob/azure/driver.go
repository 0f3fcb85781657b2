package azure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	sdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

// Driver is a blob.Driver on a container.
type Driver struct {
	cfg    Config
	client *container.Client
	prefix string // of every object: "" or with a slash at its end
}

// New makes a driver, makes the container if it may, and proves that objects can be listed, written, read and deleted in it. With Sign, the driver that it
// answers is a blob.Signer too. Errors say what to do; an absent container that may not be made is NotFound, all others are Unavailable or Invalid.
func New(ctx context.Context, c Config) (blob.Driver, error) {
	d := &Driver{cfg: c}
	if c.Prefix != "" {
		d.prefix = c.Prefix + "/"
	}
	client, whole, err := c.clients(ctx)
	if err != nil {
		return nil, fmt.Errorf("container %s: %w", d.Place(), err)
	}
	d.client = client
	ctx, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	if err = d.probe(ctx); err != nil {
		return nil, fmt.Errorf("container %s: %w", d.Place(), err)
	}
	if !c.Sign {
		return d, nil
	}
	s := &signing{Driver: d, service: whole}
	if err = s.prepare(ctx); err != nil {
		return nil, fmt.Errorf("signed URLs of container %s: %w", d.Place(), err)
	}
	return s, nil
}

// Place names the container for people.
func (d *Driver) Place() string {
	at := d.cfg.Container
	if d.prefix != "" {
		at += "/" + d.cfg.Prefix
	}
	return at + " at " + d.cfg.service().Redacted()
}

func (d *Driver) object(name string) *blockblob.Client {
	return d.client.NewBlockBlobClient(d.prefix + name)
}

// Get reads a part of an object: see blob.Driver.
func (d *Driver) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	if n == 0 { // no range says "nothing"
		if _, err := d.Stat(ctx, name); err != nil {
			return nil, err
		}
		return nothing(), nil
	}
	out, err := d.object(name).DownloadStream(ctx, &sdk.DownloadStreamOptions{Range: sdk.HTTPRange{Offset: off, Count: max(n, sdk.CountToEnd)}})
	if err != nil {
		err = d.failed(err, "read object %s", name)
		if fail.Is(err, fail.RangeInvalid) { // there is nothing behind the end, and that is what is answered
			return nothing(), nil
		}
		return nil, err
	}
	if (off > 0 || n > 0) && out.ContentRange == nil {
		return nil, fail.E(fail.Unavailable, out.Body.Close(), "read %d bytes of object %s from %d: the server answers no range", n, name, off).
			Hint("does something on the way to the server drop the header Range?")
	}
	return out.Body, nil
}

func nothing() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// Stat answers size and time: see blob.Driver.
func (d *Driver) Stat(ctx context.Context, name string) (blob.Info, error) {
	out, err := d.object(name).GetProperties(ctx, nil)
	if err != nil {
		return blob.Info{}, d.failed(err, "look at object %s", name)
	}
	if out.ContentLength == nil || out.LastModified == nil {
		return blob.Info{}, fail.E(fail.Unavailable, nil, "look at object %s: the server says no size or time", name)
	}
	return blob.Info{Name: name, Size: *out.ContentLength, ModTime: *out.LastModified}, nil
}

// Delete removes an object: see blob.Driver. One that somebody holds is a Conflict: that says nothing of the others, and the same at once makes no sense.
func (d *Driver) Delete(ctx context.Context, name string) error {
	err := d.remove(ctx, name)
	var a answered
	if errors.As(err, &a) && (a.code == string(bloberror.BlobImmutableDueToPolicy) || a.code == string(bloberror.LeaseIDMissing)) {
		return fail.E(fail.Conflict, err, "object %s is held", name).Hint("%s", fail.HintOf(err))
	}
	return err
}

// remove is Delete for an object that was written a moment ago: where that is held, so are all others, and the container is Unavailable. Snapshots that somebody made of an object go with it: without them the service
// would refuse for ever.
func (d *Driver) remove(ctx context.Context, name string) error {
	with := sdk.DeleteSnapshotsOptionTypeInclude
	if _, err := d.object(name).Delete(ctx, &sdk.DeleteOptions{DeleteSnapshots: &with}); err != nil {
		if err = d.failed(err, "delete object %s", name); !fail.Is(err, fail.NotFound) {
			return err
		}
	}
	return nil
}

// now is the time by which URLs end.
func (d *Driver) now() time.Time { return d.cfg.Clock().UTC() }
