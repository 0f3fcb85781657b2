package azure

import (
	"context"
	"iter"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/havn-registry/havn/internal/blob"
)

// listAtOnce keeps a page small; the service gives up to 5000.
const listAtOnce = 1000

// List answers the objects in order, a page at a time: see blob.Driver. The service can go on only where a page of its own ended. So what comes before a name
// is stepped over folder by folder, and only in the name's own folder object by object.
func (d *Driver) List(ctx context.Context, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		d.walk(ctx, "", after, yield)
	}
}

// walk lists what is in a folder, which is "" or ends with a slash, behind a name in it, and reports whether to go on.
func (d *Driver) walk(ctx context.Context, folder, after string, yield func(blob.Info, error) bool) bool {
	segment, rest, deeper := strings.Cut(after, "/")
	if !deeper {
		return d.flat(ctx, folder, folder+after, yield)
	}
	inner := folder + segment + "/"
	if !d.walk(ctx, inner, rest, yield) {
		return false
	}
	for e, err := range d.entries(ctx, folder) {
		switch {
		case err != nil:
			yield(blob.Info{}, err)
			return false
		case e.Name <= inner:
		case strings.HasSuffix(e.Name, "/"):
			if !d.flat(ctx, e.Name, "", yield) {
				return false
			}
		case !yield(e, nil):
			return false
		}
	}
	return true
}

// flat lists all objects whose names begin so and are greater than after, and reports whether to go on.
func (d *Driver) flat(ctx context.Context, begin, after string, yield func(blob.Info, error) bool) bool {
	limit, whole := int32(listAtOnce), d.prefix+begin
	pages := d.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{MaxResults: &limit, Prefix: &whole})
	for pages.More() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			yield(blob.Info{}, d.failed(err, "list the container"))
			return false
		}
		for _, item := range page.Segment.BlobItems {
			if info, ok := d.info(item); ok && info.Name > after && !yield(info, nil) {
				return false
			}
		}
	}
	return true
}

// entries lists what is directly in a folder: objects, and folders, whose names end with a slash, in order.
func (d *Driver) entries(ctx context.Context, folder string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		limit, whole := int32(listAtOnce), d.prefix+folder
		pages := d.client.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{MaxResults: &limit, Prefix: &whole})
		for pages.More() {
			page, err := pages.NextPage(ctx)
			if err != nil {
				yield(blob.Info{}, d.failed(err, "list the container"))
				return
			}
			// Objects and folders of a page come apart, each in order.
			objects, folders := page.Segment.BlobItems, page.Segment.BlobPrefixes
			for len(objects) > 0 || len(folders) > 0 {
				if len(objects) == 0 || len(folders) > 0 && *folders[0].Name < *objects[0].Name {
					if !yield(blob.Info{Name: strings.TrimPrefix(*folders[0].Name, d.prefix)}, nil) {
						return
					}
					folders = folders[1:]
					continue
				}
				if info, ok := d.info(objects[0]); ok && !yield(info, nil) {
					return
				}
				objects = objects[1:]
			}
		}
	}
}

// info reads an entry of a listing; false for what is no object of ours, like the marks that some tools make for folders.
func (d *Driver) info(item *container.BlobItem) (blob.Info, bool) {
	if item.Name == nil || item.Properties == nil || item.Properties.ContentLength == nil || item.Properties.LastModified == nil {
		return blob.Info{}, false
	}
	name := strings.TrimPrefix(*item.Name, d.prefix)
	if name == "" || strings.HasSuffix(name, "/") {
		return blob.Info{}, false
	}
	return blob.Info{Name: name, Size: *item.Properties.ContentLength, ModTime: *item.Properties.LastModified}, true
}
