package swift

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	contentType = "application/octet-stream"
	// markHeader is the metadata by which a writer knows its own object again.
	markHeader = "X-Object-Meta-Havn-Write"
	// attemptStall ends an attempt of which the server takes no byte for so long: longer than a Ceph hangs when it loses a disk. Another server behind the
	// same address may take the next one.
	attemptStall = 30 * time.Second
	// lookTime is the same for a question before it.
	lookTime = 15 * time.Second
	// patience is how long an object of which nothing new gets through is tried again: longer than the restart of a gateway, shorter than a client waits for
	// an answer.
	patience = 30 * time.Second
	// firstPause doubles up to longestPause.
	firstPause   = 100 * time.Millisecond
	longestPause = 3 * time.Second
)

// Put writes an object: see blob.Driver. What was read of r is kept until the server has acknowledged it, so that it is sent again when a gateway dies.
//
// Swift refuses to write over an object if it is asked to (If-None-Match); radosgw does not heed that, so one of the name is looked for first, and a
// name is written once at a time in this process. Names are made by chance, so between processes that is enough. The look also settles, before a byte of
// the body is read, that the token is good and the connection alive.
func (d *Driver) Put(ctx context.Context, name string, _ int64, r io.Reader) (w blob.Written, err error) {
	if !d.taken.Take(name) {
		return w, fail.E(fail.Exists, nil, "object %s is being written", name)
	}
	defer d.taken.Give(name)
	src := newSource(r, d.cfg.Pool)
	defer func() {
		if dropErr := src.kept.Release(); err == nil && dropErr != nil {
			err = fail.E(fail.Unavailable, dropErr, "drop what was kept of object %s", name)
		}
	}()
	again := false
	var since time.Time // of the first failure behind the last byte that was new
	for before, pause := int64(-1), firstPause; ; pause = min(2*pause, longestPause) {
		if err = d.absent(ctx, name, src); err == nil {
			err = d.put(ctx, name, src)
			if again && fail.Is(err, fail.Exists) {
				// Which may be the object of an attempt whose answer was lost, though the look, at a replica that lags, did not find it: another look tells. The cause,
				// which says that it exists, would end the tries.
				err = fail.E(fail.Unavailable, nil, "write object %s: there is an object of an attempt before, or another's, that can't be seen yet", name)
			}
			again = true
		}
		if err == nil || errors.Is(err, errThere) {
			return blob.Written{Size: src.n}, nil
		}
		if !passing(err) || !src.again() {
			return w, err
		}
		now := d.cfg.Clock()
		if src.n > before {
			before, since, pause = src.n, now, firstPause
		}
		if now.Sub(since) > patience || wait(ctx, pause) != nil {
			return w, err
		}
	}
}

// Resends says that Put keeps what it sends: see blob.Resender.
func (d *Driver) Resends() {}

// errThere says that the whole object is there: an attempt succeeded whose answer was lost.
var errThere = errors.New("the object is there")

// absent looks whether there is an object of the name: Exists if so, unless it comes from an earlier attempt. One of those that is whole is errThere; one
// that is not is deleted.
func (d *Driver) absent(ctx context.Context, name string, src *source) error {
	looking, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	answer, err := d.do(looking, request{method: http.MethodHead, container: d.home(name)[0], object: d.prefix + name})
	if err = end(answer, err); err != nil {
		if err = d.failed(err, "look at object %s", name); fail.Is(err, fail.NotFound) {
			return nil
		}
		return err
	}
	switch {
	case answer.Header.Get(markHeader) != src.mark:
		return fail.E(fail.Exists, nil, "object %s", name)
	case src.ended && answer.ContentLength == src.n:
		return errThere
	}
	return d.Delete(looking, name)
}

// put makes one attempt.
func (d *Driver) put(ctx context.Context, name string, src *source) error {
	container := d.home(name)[0]
	watched, b, over := src.watch(ctx)
	answer, err := d.do(watched, request{
		method: http.MethodPut, container: container, object: d.prefix + name, body: b,
		header: map[string]string{"Content-Type": contentType, "If-None-Match": "*", markHeader: src.mark},
	})
	err = end(answer, err)
	over()
	switch {
	case src.err != nil:
		return fail.E(fail.KindOf(src.err), src.err, "write object %s: its source broke off", name)
	case err != nil && errors.Is(context.Cause(watched), errStalled):
		return fail.E(fail.Unavailable, err, "write object %s: the server takes no byte for %s", name, attemptStall).Hint("look at the server's log and its health")
	case err != nil:
		if err = d.failed(err, "write object %s", name); fail.Is(err, fail.NotFound) {
			err = fail.E(fail.Unavailable, err, "the container %s is gone", container).Hint("restore it, or correct storage.swift.container")
		}
		return err
	case !src.ended:
		return fail.E(fail.Unavailable, nil, "write object %s: the server was content with %d bytes and did not wait for the rest", name, src.n)
	}
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
