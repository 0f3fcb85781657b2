package azure

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	sdk "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// blocksAtOnce is how many blocks of one object are sent at once: Azure gives one connection some 60 MB/s.
	blocksAtOnce = 4
	// abortPatience is what is spent on cleaning up after a write that failed. What stays then is dropped by the service after a week.
	abortPatience = 30 * time.Second
	// mark is the metadata by which a writer knows its own object again. Metadata of Azure have names as in C#.
	mark = "havnwrite"
)

// Put writes an object: see blob.Driver.
//
// A write whose answer was lost is sent again, and may find its own object there. So each bears a random mark, and "exists" counts as written if the mark is ours.
//
//  1. Blocks are staged. A crash leaves them; they are listed nowhere, and the service drops them a week later.
//  2. Their list is committed: the object is there, whole and durable.
func (d *Driver) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	cut := d.cfg.Pool.Cut(r, size, d.cfg.BlockBytes)
	first, err := cut.Next(ctx)
	if err != nil {
		return blob.Written{}, fmt.Errorf("read what is to be written: %w", err)
	}
	w := write{d: d, name: name, object: d.object(name), mark: rand.Text()}
	if first.Last {
		err = errors.Join(w.whole(ctx, first), first.Release())
		return blob.Written{Size: first.Size}, err
	}
	n, err := w.blocks(ctx, cut, first)
	return blob.Written{Size: n}, err
}

// Resends says that Put keeps what it sends: see blob.Resender.
func (d *Driver) Resends() {}

// write is one object on its way.
type write struct {
	d      *Driver
	name   string
	object *blockblob.Client
	mark   string
}

// absent is the condition that there is no object of the name.
func absent() *sdk.AccessConditions {
	any := azcore.ETagAny
	return &sdk.AccessConditions{ModifiedAccessConditions: &sdk.ModifiedAccessConditions{IfNoneMatch: &any}}
}

func (w *write) metadata() map[string]*string { return map[string]*string{mark: &w.mark} }

func (w *write) whole(ctx context.Context, p *parts.Part) error {
	_, err := w.object.Upload(writing(ctx), streaming.NopCloser(p.Body()), &blockblob.UploadOptions{Metadata: w.metadata(), AccessConditions: absent()})
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
	out, lookErr := w.object.GetProperties(writing(ctx), nil)
	if lookErr != nil {
		return errors.Join(err, w.d.failed(lookErr, "look at object %s", w.name))
	}
	for name, value := range out.Metadata { // names come as headers do, whose letters may change on the way
		if strings.EqualFold(name, mark) && value != nil && *value == w.mark && out.ContentLength != nil && *out.ContentLength == size {
			return nil
		}
	}
	return err
}

// block names one. Names of all blocks of an object, also of other writers', have to be of one length.
func (w *write) block(number int) string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s-%05d", w.mark, number))
}

func (w *write) blocks(ctx context.Context, cut *parts.Cutter, first *parts.Part) (int64, error) {
	n, err := cut.Send(ctx, first, blocksAtOnce, w.stage)
	if err == nil {
		err = w.commit(ctx, int((n+w.d.cfg.BlockBytes-1)/w.d.cfg.BlockBytes), n)
	}
	if err != nil {
		return 0, errors.Join(fmt.Errorf("object %s in blocks: %w", w.name, err), w.abort(ctx, err))
	}
	return n, nil
}

func (w *write) stage(ctx context.Context, p *parts.Part) error {
	if _, err := w.object.StageBlock(writing(ctx), w.block(p.Number), streaming.NopCloser(p.Body()), nil); err != nil {
		return w.d.failed(err, "send %d bytes", p.Size)
	}
	return nil
}

// commit makes the object of its blocks.
func (w *write) commit(ctx context.Context, blocks int, size int64) error {
	ids := make([]string, blocks)
	for i := range ids {
		ids[i] = w.block(i + 1)
	}
	_, err := w.object.CommitBlockList(writing(ctx), ids, &blockblob.CommitBlockListOptions{Metadata: w.metadata(), AccessConditions: absent()})
	if err == nil {
		return nil
	}
	gone := bloberror.HasCode(err, bloberror.InvalidBlockList, bloberror.InvalidBlockID)
	err = w.d.failed(err, "commit %d blocks", blocks)
	if !gone {
		return w.ours(ctx, err, size)
	}
	// Committed by an earlier try, whose answer was lost; or by somebody else, or dropped.
	if w.ours(ctx, fail.E(fail.Exists, err, "commit"), size) == nil {
		return nil
	}
	return fail.E(fail.Unavailable, err, "blocks are gone before they were committed").Hint("does something else write or delete in the container %s?", w.d.cfg.Container)
}

// abort drops the blocks of a write that came to nothing, also where the request has ended. Only a commit drops blocks, so an empty object is made, and removed;
// a crash between the two leaves it, without a row, to the sweep.
func (w *write) abort(ctx context.Context, why error) error {
	if fail.Is(why, fail.Exists) { // whose commit dropped them
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortPatience)
	defer cancel()
	_, err := w.object.CommitBlockList(ctx, nil, &blockblob.CommitBlockListOptions{AccessConditions: absent()})
	if err == nil {
		return w.d.remove(ctx, w.name)
	}
	if err = w.d.failed(err, "drop the blocks of object %s", w.name); fail.Is(err, fail.Exists) {
		return nil
	}
	return err
}
