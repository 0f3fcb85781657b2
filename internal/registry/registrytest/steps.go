package registrytest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// livesAWorld is how many lives one world sees: each leaves something, and all of it is checked after each. A server's database is dearer to make than to check.
const livesAWorld = 25

// everyStep lives the life of an image again and again, and fails each of its steps once: a step of the registry, which its client sees and tries again, and a
// commit of the database, which is run again unseen; both before it happened and after. After each life, all that was acknowledged must be whole.
func everyStep(t *testing.T, open func() *World) {
	lived, w := 0, open()
	for _, kind := range []struct {
		name string
		fail func(f *Faults, n int)
	}{
		{"step", (*Faults).FailStep},
		{"commit", (*Faults).FailCommit},
	} {
		for n := 1; ; n++ {
			if lived > 0 && lived%livesAWorld == 0 && w.DB.Sole() {
				w.end(t)
				w = open()
			}
			l := &life{t: t, w: w, id: fmt.Sprintf("%s%d", kind.name, n)}
			kind.fail(w.Faults, n)
			l.live()
			failed := w.Faults.Failed()
			kind.fail(w.Faults, 0)
			CheckInvariants(t, w.DB, w.Store)
			if t.Failed() {
				t.Fatalf("%s number %d failed: %s", kind.name, n, failed)
			}
			if failed == "" {
				break
			}
			lived++
		}
	}
	// A life has at least these: uploads begun, objects opened, put and settled, blobs committed and mounted, manifests put and deleted, contents buried.
	if lived < 100 {
		t.Fatalf("only %d steps were failed", lived)
	}
	w.end(t)
}

// end buries what is dead and looks at the rest.
func (w *World) end(t *testing.T) {
	t.Helper()
	w.Sweep(t)
	CheckInvariants(t, w.DB, w.Store)
}

// life is that of an image in a repository of its own.
type life struct {
	t  *testing.T
	w  *World
	id string
}

// tries bounds a client's tries: one fault is injected a life.
const tries = 4

// again does something until it works, as a client would that was told of a failure; done says which answer means that it had worked before.
func (l *life) again(what string, done func(error) bool, do func() error) {
	l.t.Helper()
	for range tries {
		err := do()
		if err == nil || done != nil && done(err) {
			return
		}
		if !errors.Is(err, ErrInjected) {
			l.t.Fatalf("%s: %v", what, err)
		}
	}
	l.t.Fatalf("%s: does not end", what)
}

func gone(err error) bool { return fail.Is(err, fail.NotFound) }

func (l *life) content(symbol string, size int) []byte { return Content(l.id+symbol, size) }

func (l *life) live() {
	l.t.Helper()
	repo, second := Name("steps/"+l.id), Name("steps/"+l.id+"/second")
	config, layer, chunked, other := l.content("config", 100), l.content("layer", 200), l.content("chunked", 300), l.content("other algorithm", 150)

	l.whole(repo, config)
	l.postPut(repo, layer, Sum(layer))
	l.chunks(repo, chunked, 100)
	l.postPut(repo, other, oci.Sum(oci.SHA512, other))
	l.whole(second, chunked)
	l.again("mount", nil, func() error {
		ok, err := l.w.Mount(l.t.Context(), second, registry.Mount{Pusher: Admin, Digest: Sum(layer), From: repo, MayPull: all})
		if err == nil && !ok {
			l.t.Fatal("not mounted")
		}
		return err
	})
	l.w.WantBlob(l.t, second, Sum(layer), layer)

	image := Image(l.id, nil, "", config, layer, chunked)
	l.put(repo, oci.MediaTypeImageManifest, image, "v1", "latest")
	newer := Image(l.id+" newer", nil, "", config, layer)
	l.put(repo, oci.MediaTypeImageManifest, newer)
	index := Index(Descriptor(oci.MediaTypeImageManifest, image), Descriptor(oci.MediaTypeImageManifest, newer))
	l.put(repo, oci.MediaTypeImageIndex, index, "multi")
	l.put(repo, oci.MediaTypeImageManifest, newer, "latest")
	l.w.WantManifest(l.t, repo, "v1", image)

	l.w.Forward(13 * time.Hour)
	l.again("head", nil, func() error {
		_, err := l.w.StatBlob(l.t.Context(), repo, Sum(config), registry.ToPush)
		return err
	})
	l.uploadsThatEnd(repo)

	l.again("delete tag", gone, func() error { return l.w.DeleteTag(l.t.Context(), repo, Tag("v1")) })
	l.again("delete index", gone, func() error { return l.w.DeleteManifest(l.t.Context(), repo, Sum(index)) })
	l.again("delete manifest", gone, func() error { return l.w.DeleteManifest(l.t.Context(), repo, Sum(image)) })
	l.again("delete blob", gone, func() error { return l.w.DeleteBlob(l.t.Context(), repo, Sum(chunked)) })
	page, err := l.w.Tags(l.t.Context(), repo, -1, "")
	if err != nil || !slices.Equal(page.Names, []string{"latest"}) {
		l.t.Fatalf("tags %+v, %v", page, err)
	}
	l.w.WantManifest(l.t, repo, "latest", newer)
	l.w.WantBlob(l.t, repo, Sum(layer), layer)
	l.w.WantBlob(l.t, repo, oci.Sum(oci.SHA512, other), other)
	l.w.WantBlob(l.t, second, Sum(chunked), chunked)
	l.sweep(repo, newer)
	l.w.label(l.t, repo, Sum(newer))
	id := l.w.repositoryID(l.t, repo)
	l.again("delete repository", gone, func() error { return l.w.DeleteRepository(l.t.Context(), repo) })
	if n := l.w.rowsOf(l.t, id); n != 0 {
		l.t.Fatalf("%d rows are left of the repository", n)
	}
	l.w.WantBlob(l.t, second, Sum(chunked), chunked)
}

// uploadsThatEnd begins uploads that never become blobs.
func (l *life) uploadsThatEnd(repo oci.Name) {
	l.t.Helper()
	var u registry.Upload
	l.again("start", nil, func() (err error) {
		u, err = l.w.StartUpload(l.t.Context(), repo, registry.StartUpload{Pusher: Admin})
		return err
	})
	l.again("append", func(err error) bool { return fail.Is(err, fail.RangeInvalid) }, func() error {
		_, err := l.w.Append(l.t.Context(), repo, u.ID, registry.Append{Size: 5, Body: bytes.NewReader([]byte("never"))})
		return err
	})
	l.w.At(l.t, u, 5)
	l.again("cancel", gone, func() error { return l.w.CancelUpload(l.t.Context(), repo, u.ID) })
	l.again("start", nil, func() (err error) {
		u, err = l.w.StartUpload(l.t.Context(), repo, registry.StartUpload{Pusher: Admin})
		return err
	})
	l.w.Forward(25 * time.Hour)
	l.again("expire", nil, func() error {
		_, err := l.w.ExpireUploads(l.t.Context(), false, l.w.Now().Add(-24*time.Hour), 10)
		return err
	})
	l.again("forget", nil, func() error {
		_, err := l.w.ExpireUploads(l.t.Context(), true, l.w.Now().Add(-time.Hour), 10)
		return err
	})
	if _, err := l.w.Upload(l.t.Context(), repo, u.ID); !gone(err) {
		l.t.Fatalf("the upload did not expire: %v", err)
	}
}

// sweep buries what is dead and folds the counts; afterwards nothing is left of what nobody needs.
func (l *life) sweep(repo oci.Name, image []byte) {
	l.t.Helper()
	l.w.CountPull(repo, Ref("latest"), Sum(image))
	l.w.FlushPulls(l.t.Context())
	l.again("fold", nil, func() error {
		_, err := l.w.FoldPulls(l.t.Context(), Free, 10)
		return err
	})
	l.w.Forward(25 * time.Hour)
	for after := (registry.DeadMark{}); ; {
		l.again("bury", nil, func() error {
			_, last, err := l.w.BuryDead(l.t.Context(), Free, l.w.Now(), after, 100)
			if err == nil {
				after = last
			}
			return err
		})
		if after == (registry.DeadMark{}) {
			break
		}
	}
	var dead int64
	if err := l.w.DB.Row(l.t.Context(), "SELECT COUNT(*) FROM dead").Scan(&dead); err != nil || dead > 0 {
		l.t.Fatalf("%d dead contents are left, %v", dead, err)
	}
}

func (l *life) whole(repo oci.Name, data []byte) {
	l.t.Helper()
	l.again("push whole", nil, func() error {
		_, err := l.w.PushBlob(l.t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum(data), Size: int64(len(data)), Body: bytes.NewReader(data)})
		return err
	})
	l.w.WantBlob(l.t, repo, Sum(data), data)
}

func (l *life) put(repo oci.Name, mediaType string, body []byte, tags ...string) {
	l.t.Helper()
	l.again("put manifest", nil, func() error {
		_, err := l.w.TryPut(l.t.Context(), repo, mediaType, body, tags...)
		return err
	})
	l.w.WantManifest(l.t, repo, Sum(body).String(), body)
	for _, tag := range tags {
		l.w.WantManifest(l.t, repo, tag, body)
	}
}

func (l *life) postPut(repo oci.Name, data []byte, d oci.Digest) {
	l.t.Helper()
	l.upload(repo, data, len(data), true, d)
}

func (l *life) chunks(repo oci.Name, data []byte, size int) {
	l.t.Helper()
	l.upload(repo, data, size, false, Sum(data))
}

// upload sends data in chunks; the last one with the PUT if inPut. A client whose request failed asks where the upload stands, and goes on there.
func (l *life) upload(repo oci.Name, data []byte, chunk int, inPut bool, d oci.Digest) {
	l.t.Helper()
	var u registry.Upload
	l.again("start", nil, func() (err error) {
		u, err = l.w.StartUpload(l.t.Context(), repo, registry.StartUpload{Pusher: Admin})
		return err
	})
	l.again("upload", nil, func() error {
		for {
			rest := data[u.Offset:]
			if len(rest) == 0 || inPut && len(rest) <= chunk {
				_, err := l.w.Finish(l.t.Context(), repo, u.ID, registry.Finish{At: u.Offset, Digest: d, Size: int64(len(rest)), Body: bytes.NewReader(rest)})
				if err != nil {
					l.ask(repo, &u)
				}
				return err
			}
			piece := rest[:min(len(rest), chunk)]
			next, err := l.w.Append(l.t.Context(), repo, u.ID, registry.Append{At: u.Offset, Size: int64(len(piece)), Body: bytes.NewReader(piece)})
			if err != nil {
				l.ask(repo, &u)
				return err
			}
			u = next
		}
	})
	l.w.WantBlob(l.t, repo, d, data)
}

// ask asks where an upload stands. One that is done is unknown: then the PUT is repeated as it was.
func (l *life) ask(repo oci.Name, u *registry.Upload) {
	l.t.Helper()
	state, err := l.w.Upload(l.t.Context(), repo, u.ID)
	switch {
	case err == nil:
		*u = state
	case !gone(err):
		l.t.Fatal(err)
	}
}
