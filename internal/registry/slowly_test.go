package registry_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	rt "github.com/havn-registry/havn/internal/registry/registrytest"
)

// drip is a body that comes one byte a minute.
type drip struct{ left []byte }

func (d *drip) Read(p []byte) (int, error) {
	if len(d.left) == 0 {
		return 0, io.EOF
	}
	time.Sleep(time.Minute)
	n := copy(p, d.left[:1])
	d.left = d.left[n:]
	return n, nil
}

// lazy is a store that takes two hours to make a thing durable, and as long to give it back.
type lazy struct{ blob.Driver }

func (d lazy) Put(ctx context.Context, name string, size int64, r io.Reader) (blob.Written, error) {
	w, err := d.Driver.Put(ctx, name, size, r)
	time.Sleep(2 * time.Hour)
	return w, err
}

func (d lazy) Get(ctx context.Context, name string, off, n int64) (io.ReadCloser, error) {
	time.Sleep(2 * time.Hour)
	return d.Driver.Get(ctx, name, off, n)
}

// TestAnUploadThatIsBeingSentDoesNotExpire sends blobs for hours, where an upload expires after one. However large an object may be, one takes it all.
func TestAnUploadThatIsBeingSentDoesNotExpire(t *testing.T) {
	t.Parallel()
	data := rt.Content("slow", 150)
	for name, push := range map[string]func(*rt.World) error{
		"in one request": func(w *rt.World) error {
			_, err := w.PushBlob(t.Context(), rt.Name("app/x"), registry.PushBlob{Pusher: rt.Admin, Digest: rt.Sum(data), Size: -1, Body: &drip{data}})
			return err
		},
		"in a PATCH": func(w *rt.World) error {
			u := w.Start(t, rt.Name("app/x"), 0)
			u, err := w.Append(t.Context(), u.Repo, u.ID, registry.Append{Size: -1, Body: &drip{data}})
			if err == nil {
				_, err = w.Finish(t.Context(), u.Repo, u.ID, registry.Finish{At: u.Offset, Digest: rt.Sum(data)})
			}
			return err
		},
		"of another algorithm than was thought": func(w *rt.World) error {
			u := w.Start(t, rt.Name("app/x"), 0)
			u, err := w.Append(t.Context(), u.Repo, u.ID, registry.Append{Size: -1, Body: &drip{data}})
			if err == nil {
				_, err = w.Finish(t.Context(), u.Repo, u.ID, registry.Finish{At: u.Offset, Digest: oci.Sum(oci.SHA512, data)})
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := rt.Open(t, rt.Stores{Database: embedded(t), Driver: lazy{memory.New(time.Now)}}, nil)
				pushed := make(chan error)
				go func() { pushed <- push(w) }()
				every := time.NewTicker(5 * time.Minute)
				defer every.Stop()
				for {
					select {
					case <-every.C:
						if n, err := w.ExpireUploads(t.Context(), false, w.Now().Add(-time.Hour), 10); err != nil || n != 0 {
							t.Errorf("%d expired, %v", n, err)
						}
						continue
					case err := <-pushed:
						if err != nil {
							t.Error(err)
						}
					}
					break
				}
				// One that nobody sends to does.
				w.Start(t, rt.Name("app/x"), 0)
				w.Forward(2 * time.Hour)
				if n, err := w.ExpireUploads(t.Context(), false, w.Now().Add(-time.Hour), 10); err != nil || n != 1 {
					t.Errorf("%d expired, %v", n, err)
				}
			})
		})
	}
}
