package azure

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/havn-registry/havn/internal/fail"
)

// probePrefix begins the names of objects that are written to see whether that works.
const probePrefix = "havn-probe-"

// probe proves that the container can be used.
func (d *Driver) probe(ctx context.Context) error {
	ctx = probing(ctx)
	if err := d.probeList(ctx); err != nil {
		return err
	}
	name := probePrefix + strings.ToLower(rand.Text())
	if err := d.probeWrite(ctx, name); err != nil {
		return fmt.Errorf("write an object: %w", err)
	}
	err := d.probeObject(ctx, name)
	return errors.Join(err, d.remove(ctx, name))
}

// probeList lists the container, and makes it if it is not there and that is allowed.
func (d *Driver) probeList(ctx context.Context) error {
	err := d.list(ctx)
	if !bloberror.HasCode(err, bloberror.ContainerNotFound) {
		if err != nil {
			return d.failed(err, "list the container")
		}
		return nil
	}
	if !d.cfg.Create {
		return fail.E(fail.NotFound, d.failed(err, "list the container"), "it is not there").
			Hint("make it (az storage container create --name %s), or set storage.azure.create_container to true", d.cfg.Container)
	}
	if _, err = d.client.Create(ctx, nil); err != nil && !bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
		return d.failed(err, "make the container, which is not there")
	}
	if err = d.list(ctx); err != nil {
		return d.failed(err, "list the container that was just made")
	}
	return nil
}

func (d *Driver) list(ctx context.Context) error {
	one := int32(1)
	_, err := d.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{MaxResults: &one, Prefix: &d.prefix}).NextPage(ctx)
	return err
}

func (d *Driver) probeWrite(ctx context.Context, name string) error {
	_, err := d.object(name).Upload(ctx, streaming.NopCloser(strings.NewReader(name)), &blockblob.UploadOptions{AccessConditions: absent()})
	if err != nil {
		return d.failed(err, "object %s", name)
	}
	return nil
}

// probeObject reads what was written, and sees that the server refuses to write over it.
func (d *Driver) probeObject(ctx context.Context, name string) error {
	out, err := d.object(name).DownloadStream(ctx, nil)
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
	switch err = d.probeWrite(ctx, name); {
	case err == nil:
		return fail.E(fail.Unavailable, nil, "the server writes over an object though it was asked not to").
			Hint("the server, or something on the way to it, does not know If-None-Match: Havn can't use it")
	case fail.Is(err, fail.Exists):
		return nil
	}
	return fmt.Errorf("write an object that is there: %w", err)
}
