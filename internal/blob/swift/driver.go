package swift

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

// home answers the containers in which an object may be, its own first. What is not named by Havn's own form (the id of the store) is in the first.
func (d *Driver) home(name string) []string {
	all := d.cfg.Containers
	if len(all) == 1 || !blob.IsOwnName(name) {
		return all
	}
	h := fnv.New32a()
	h.Write([]byte(name))
	i := int(h.Sum32() % uint32(len(all)))
	return slices.Concat(all[i:i+1], all[:i], all[i+1:])
}

// find runs an operation in the container of an object, and in the others while it is not found.
func (d *Driver) find(name string, do func(container string) error) error {
	var err error
	for _, container := range d.home(name) {
		if err = do(container); !fail.Is(err, fail.NotFound) {
			return err
		}
	}
	return err
}

// Get reads a part of an object: see blob.Driver.
func (d *Driver) Get(ctx context.Context, name string, off, n int64) (r io.ReadCloser, err error) {
	if n == 0 { // no range says "nothing"
		if _, err = d.Stat(ctx, name); err != nil {
			return nil, err
		}
		return empty(), nil
	}
	err = d.find(name, func(container string) (tryErr error) {
		r, tryErr = d.get(ctx, container, name, off, n)
		return tryErr
	})
	return r, err
}

func (d *Driver) get(ctx context.Context, container, name string, off, n int64) (io.ReadCloser, error) {
	q := request{method: http.MethodGet, container: container, object: d.prefix + name}
	want := http.StatusPartialContent
	switch {
	case n > 0:
		q.header = map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", off, off+n-1)}
	case off > 0:
		q.header = map[string]string{"Range": fmt.Sprintf("bytes=%d-", off)}
	default:
		want = http.StatusOK
	}
	answer, err := d.do(ctx, q)
	if err != nil {
		err = d.failed(err, "read object %s", name)
		if fail.Is(err, fail.RangeInvalid) { // there is nothing behind the end, and that is what is answered
			return empty(), nil
		}
		return nil, err
	}
	if answer.StatusCode != want && (off > 0 || n < 0) {
		err = fail.E(fail.Unavailable, answer.Body.Close(), "read object %s from %d: the server answers %d, and no range", name, off, answer.StatusCode).
			Hint("does something on the way to the server drop the header Range?")
		return nil, err
	}
	if answer.StatusCode == http.StatusOK && n > 0 { // a whole object of no more than was asked for, or one whose rest is left
		return limited{io.LimitReader(answer.Body, n), answer.Body}, nil
	}
	return answer.Body, nil
}

func empty() io.ReadCloser { return io.NopCloser(bytes.NewReader(nil)) }

// limited is the beginning of a body.
type limited struct {
	io.Reader
	io.Closer
}

// Stat answers size and time: see blob.Driver.
func (d *Driver) Stat(ctx context.Context, name string) (info blob.Info, err error) {
	err = d.find(name, func(container string) (tryErr error) {
		info, tryErr = d.stat(ctx, container, name)
		return tryErr
	})
	return info, err
}

func (d *Driver) stat(ctx context.Context, container, name string) (blob.Info, error) {
	answer, err := d.do(ctx, request{method: http.MethodHead, container: container, object: d.prefix + name})
	if err = end(answer, err); err != nil {
		return blob.Info{}, d.failed(err, "look at object %s", name)
	}
	at, err := http.ParseTime(answer.Header.Get("Last-Modified"))
	if err != nil || answer.ContentLength < 0 {
		return blob.Info{}, fail.E(fail.Unavailable, err, "look at object %s: the server says no size or time", name)
	}
	return blob.Info{Name: name, Size: answer.ContentLength, ModTime: at}, nil
}

// Delete removes an object: see blob.Driver. One that another program wrote in segments goes with them.
func (d *Driver) Delete(ctx context.Context, name string) error {
	err := d.find(name, func(container string) error {
		if blob.IsOwnName(name) {
			return d.remove(ctx, container, d.prefix+name, nil)
		}
		return d.removeLarge(ctx, container, d.prefix+name)
	})
	if fail.Is(err, fail.NotFound) {
		return nil
	}
	return err
}

func (d *Driver) remove(ctx context.Context, container, object string, query url.Values) error {
	answer, err := d.do(ctx, request{method: http.MethodDelete, container: container, object: object, query: query})
	if err = end(answer, err); err != nil {
		return d.failed(err, "delete object %s", object)
	}
	return nil
}

// parseTime reads a time of a listing: in UTC, with or without a Z and a fraction.
func parseTime(text string) (time.Time, error) {
	if len(text) > 0 && text[len(text)-1] != 'Z' {
		text += "Z"
	}
	return time.Parse(time.RFC3339Nano, text)
}
