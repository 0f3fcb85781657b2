package registrytest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Start begins an upload.
func (w *World) Start(t *testing.T, repo oci.Name, a oci.Algorithm) registry.Upload {
	t.Helper()
	u, err := w.StartUpload(t.Context(), repo, registry.StartUpload{Pusher: Admin, Algorithm: a})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// Send appends a piece, and wants it all taken.
func (w *World) Send(t *testing.T, u registry.Upload, piece []byte) registry.Upload {
	t.Helper()
	got, err := w.Append(t.Context(), u.Repo, u.ID, registry.Append{At: u.Offset, Size: int64(len(piece)), Body: bytes.NewReader(piece)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Offset != u.Offset+int64(len(piece)) || got.ID != u.ID || got.Subject != Admin.Subject {
		t.Fatalf("%d bytes at %d lead to %+v", len(piece), u.Offset, got)
	}
	return got
}

// End finishes an upload with a last piece, and wants a blob of it.
func (w *World) End(t *testing.T, u registry.Upload, piece []byte, d oci.Digest) {
	t.Helper()
	got, err := w.Finish(t.Context(), u.Repo, u.ID, registry.Finish{At: u.Offset, Digest: d, Size: int64(len(piece)), Body: bytes.NewReader(piece)})
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != d || got.Size != u.Offset+int64(len(piece)) {
		t.Fatalf("finished as %+v", got)
	}
}

// At wants an upload to stand at an offset.
func (w *World) At(t *testing.T, u registry.Upload, offset int) registry.Upload {
	t.Helper()
	got, err := w.Upload(t.Context(), u.Repo, u.ID)
	if err != nil {
		t.Fatal(err)
	}
	if got.Offset != int64(offset) {
		t.Fatalf("upload stands at %d, want %d", got.Offset, offset)
	}
	return got
}

func pushedAnyWay(t *testing.T, w *World) {
	repo := Name("ways/app")
	for _, size := range []int{1, smallObject - 1, smallObject, smallObject + 1, 3 * smallObject, 3*smallObject + 7} {
		one := Content("whole", size)
		w.Push(t, repo, one)
		w.WantBlob(t, repo, Sum(one), one)

		two := Content("post and put", size)
		w.End(t, w.Start(t, repo, 0), two, Sum(two))
		w.WantBlob(t, repo, Sum(two), two)

		three := Content("chunks", size)
		u := w.Start(t, repo, oci.SHA256)
		for _, piece := range [][]byte{three[:size/3], three[size/3 : size/2], three[size/2:]} {
			u = w.Send(t, u, piece)
		}
		w.End(t, u, nil, Sum(three))
		w.WantBlob(t, repo, Sum(three), three)

		four := Content("unknown length", size)
		u = w.Start(t, repo, 0)
		got, err := w.Append(t.Context(), repo, u.ID, registry.Append{Size: -1, Body: iotest.HalfReader(bytes.NewReader(four[:size/2]))})
		if err != nil {
			t.Fatal(err)
		}
		rest := registry.Finish{At: got.Offset, Digest: Sum(four), Size: -1, Body: iotest.DataErrReader(bytes.NewReader(four[size/2:]))}
		if _, err = w.Finish(t.Context(), repo, u.ID, rest); err != nil {
			t.Fatal(err)
		}
		w.WantBlob(t, repo, Sum(four), four)
		d, err := w.StatBlob(t.Context(), repo, Sum(four), registry.ToPull)
		if err != nil || d.Size != int64(size) {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	// A part of a blob that lies in several objects.
	r, err := w.OpenBlob(t.Context(), repo, Sum(Content("whole", 3*smallObject)))
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, smallObject)
	if _, err = r.Seek(smallObject/2, io.SeekStart); err == nil {
		_, err = io.ReadFull(r, part)
	}
	if err = errors.Join(err, r.Close()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(part, Content("whole", 3*smallObject)[smallObject/2:][:smallObject]) {
		t.Fatal("a part of the blob is not what it should be")
	}
	_, err = w.OpenBlob(t.Context(), repo, Sum([]byte("absent")))
	WantCode(t, err, fail.NotFound, oci.CodeBlobUnknown)
	_, err = w.StatBlob(t.Context(), Name("ways/absent"), Sum([]byte("absent")), registry.ToPull)
	WantCode(t, err, fail.NotFound, oci.CodeNameUnknown)
}

func emptyBlob(t *testing.T, w *World) {
	for i, push := range []func(repo oci.Name){
		func(repo oci.Name) { w.Push(t, repo, []byte{}) },
		func(repo oci.Name) { w.End(t, w.Start(t, repo, 0), nil, Sum(nil)) },
		func(repo oci.Name) { w.End(t, w.Send(t, w.Start(t, repo, 0), nil), nil, Sum(nil)) },
	} {
		repo := Name("empty/" + string(rune('a'+i)))
		push(repo)
		w.WantBlob(t, repo, Sum(nil), []byte{})
	}
}

func otherAlgorithm(t *testing.T, w *World) {
	repo := Name("algorithms/app")
	const size = 2*smallObject + 5
	for _, c := range []struct {
		name       string
		start, end oci.Algorithm
		first      int // bytes sent by PATCH
	}{
		{"known at the start", oci.SHA512, oci.SHA512, 1500},
		{"asked for at the end", oci.SHA256, oci.SHA512, 1500},
		{"asked for at the end, with all bytes", oci.SHA256, oci.SHA512, 0},
		{"asked for at the end, without bytes", oci.SHA256, oci.SHA512, size},
		{"taken back at the end", oci.SHA512, oci.SHA256, 700},
	} {
		data := Content(c.name, size)
		u := w.Start(t, repo, c.start)
		if c.first > 0 {
			u = w.Send(t, u, data[:c.first])
		}
		w.End(t, u, data[c.first:], oci.Sum(c.end, data))
		w.WantBlob(t, repo, oci.Sum(c.end, data), data)
	}
	data := Content("whole sha512", size)
	d := oci.Sum(oci.SHA512, data)
	if _, err := w.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: d, Size: -1, Body: bytes.NewReader(data)}); err != nil {
		t.Fatal(err)
	}
	w.WantBlob(t, repo, d, data)

	u := w.Send(t, w.Start(t, repo, 0), data[:10])
	_, err := w.Finish(t.Context(), repo, u.ID, registry.Finish{At: 10, Digest: oci.Sum(oci.SHA512, data), Size: 0})
	WantCode(t, err, fail.Invalid, oci.CodeDigestInvalid)
	w.At(t, u, 10)

	// With its last bytes in the same request: who sends them again, with the right digest, finds the upload where it was.
	rest := data[10 : smallObject/2]
	wrong := registry.Finish{At: 10, Digest: oci.Sum(oci.SHA512, data), Size: int64(len(rest)), Body: bytes.NewReader(rest)}
	_, err = w.Finish(t.Context(), repo, u.ID, wrong)
	WantCode(t, err, fail.Invalid, oci.CodeDigestInvalid)
	w.At(t, u, 10)
	d = oci.Sum(oci.SHA512, data[:smallObject/2])
	w.End(t, u, rest, d)
	w.WantBlob(t, repo, d, data[:smallObject/2])
}

func wrongDigest(t *testing.T, w *World) {
	repo := Name("wrong/app")
	data := Content("wrong", 500)
	u := w.Send(t, w.Start(t, repo, 0), data[:200])
	_, err := w.Finish(t.Context(), repo, u.ID, registry.Finish{At: 200, Digest: Sum([]byte("other")), Size: 300, Body: bytes.NewReader(data[200:])})
	WantCode(t, err, fail.Invalid, oci.CodeDigestInvalid)
	_, err = w.StatBlob(t.Context(), repo, Sum([]byte("other")), registry.ToPull)
	WantCode(t, err, fail.NotFound, oci.CodeBlobUnknown)
	w.End(t, w.At(t, u, 200), data[200:], Sum(data))
	w.WantBlob(t, repo, Sum(data), data)

	_, err = w.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum([]byte("other")), Size: 500, Body: bytes.NewReader(data)})
	WantCode(t, err, fail.Invalid, oci.CodeDigestInvalid)
	_, err = w.StatBlob(t.Context(), repo, Sum([]byte("other")), registry.ToPush)
	WantCode(t, err, fail.NotFound, oci.CodeBlobUnknown)
}

func repeatedChunk(t *testing.T, w *World) {
	repo := Name("repeated/app")
	data := Content("repeated", 300)
	u := w.Start(t, repo, 0)
	first := registry.Append{At: 0, Size: 100, Body: bytes.NewReader(data[:100])}
	if _, err := w.Append(t.Context(), repo, u.ID, first); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{0, 50, 101} {
		_, err := w.Append(t.Context(), repo, u.ID, registry.Append{At: at, Size: 100, Body: bytes.NewReader(data[:100])})
		WantCode(t, err, fail.RangeInvalid, oci.CodeBlobUploadInvalid)
		if state, ok := fail.DetailOf(err).(registry.Upload); !ok || state.Offset != 100 || state.ID != u.ID {
			t.Fatalf("detail %+v", fail.DetailOf(err))
		}
		_, err = w.Finish(t.Context(), repo, u.ID, registry.Finish{At: at, Digest: Sum(data), Size: 100, Body: bytes.NewReader(data[:100])})
		WantCode(t, err, fail.RangeInvalid, oci.CodeBlobUploadInvalid)
	}
	w.End(t, w.At(t, u, 100), data[100:], Sum(data))
	_, err := w.Append(t.Context(), repo, u.ID, first)
	WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)
	_, err = w.Upload(t.Context(), repo, u.ID)
	WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)
	_, err = w.Append(t.Context(), repo, "absent", first)
	WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)
	_, err = w.Upload(t.Context(), Name("repeated/other"), w.Start(t, repo, 0).ID)
	WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)
}

func repeatedFinish(t *testing.T, w *World) {
	repo := Name("repeated/put")
	data := Content("repeated put", 300)
	u := w.Send(t, w.Start(t, repo, 0), data[:100])
	w.End(t, u, data[100:], Sum(data))
	w.End(t, u, data[100:], Sum(data))
	_, err := w.Finish(t.Context(), repo, u.ID, registry.Finish{At: 100, Digest: Sum([]byte("other")), Size: -1, Body: bytes.NewReader(data[100:])})
	WantCode(t, err, fail.Invalid, oci.CodeDigestInvalid)
	if _, err = w.ExpireUploads(t.Context(), true, w.Now().Add(-time.Hour), 100); err != nil {
		t.Fatal(err)
	}
	w.End(t, u, data[100:], Sum(data))
	w.Forward(61 * time.Minute)
	for {
		n, expireErr := w.ExpireUploads(t.Context(), true, w.Now().Add(-time.Hour), 2)
		if expireErr != nil {
			t.Fatal(expireErr)
		}
		if n < 2 {
			break
		}
	}
	_, err = w.Finish(t.Context(), repo, u.ID, registry.Finish{At: 100, Digest: Sum(data), Size: -1, Body: bytes.NewReader(data[100:])})
	WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)
	w.WantBlob(t, repo, Sum(data), data)
}

// commitRunLate runs commits a second time after what they left was changed: a clock that is ahead let the sweep forget the upload, somebody deleted the blob.
func commitRunLate(t *testing.T, w *World) {
	repo, other := Name("late/commit"), Name("late/other")
	data := Content("late commit", 2500)
	u := w.Send(t, w.Start(t, repo, 0), data[:1200])
	w.Faults.AfterCommit("blob.commit", func() {
		if n, err := w.ExpireUploads(t.Context(), true, w.Now().Add(time.Minute), 1000); err != nil || n == 0 {
			t.Errorf("%d uploads forgotten, %v", n, err)
		}
	})
	w.End(t, u, data[1200:], Sum(data))
	w.WantBlob(t, repo, Sum(data), data)

	data = Content("late push", 2500)
	w.Faults.AfterCommit("blob.commit", func() {
		if err := w.DeleteBlob(t.Context(), repo, Sum(data)); err != nil {
			t.Error(err)
		}
	})
	w.Push(t, repo, data)
	w.Push(t, other, data)
	w.WantBlob(t, other, Sum(data), data)
}

func mountRunLate(t *testing.T, w *World) {
	source, target := Name("late/source"), Name("late/target")
	data := Content("late mount", 1500)
	w.Push(t, source, data)
	w.Faults.AfterCommit("blob.mount", func() {
		if err := w.DeleteBlob(t.Context(), target, Sum(data)); err != nil {
			t.Error(err)
		}
	})
	if ok, err := w.Mount(t.Context(), target, registry.Mount{Pusher: Admin, Digest: Sum(data), From: source, MayPull: all}); err != nil || !ok {
		t.Fatalf("%v, %v", ok, err)
	}
	_, err := w.StatBlob(t.Context(), target, Sum(data), registry.ToPull)
	WantCode(t, err, fail.NotFound, oci.CodeBlobUnknown)
}

// broken is a body that breaks off after some bytes, as when the client is killed; the request's context ends at the same moment.
func broken(t *testing.T, data []byte) (context.Context, io.Reader) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx, io.MultiReader(bytes.NewReader(data), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, io.ErrUnexpectedEOF
	}))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func brokenBody(t *testing.T, w *World) {
	repo := Name("broken/app")
	const size = 4 * smallObject
	for _, came := range []int{0, 1, smallObject, 2*smallObject + 77} {
		data := Content("broken off", size+came)
		u := w.Start(t, repo, 0)
		ctx, body := broken(t, data[:came])
		_, err := w.Append(ctx, repo, u.ID, registry.Append{Size: int64(len(data)), Body: body})
		WantCode(t, err, fail.Invalid, oci.CodeBlobUploadInvalid)
		u = w.At(t, u, came)
		CheckInvariants(t, w.DB, w.Store)

		ctx, body = broken(t, data[came:came+1500])
		_, err = w.Finish(ctx, repo, u.ID, registry.Finish{At: u.Offset, Digest: Sum(data), Size: -1, Body: body})
		WantCode(t, err, fail.Invalid, oci.CodeBlobUploadInvalid)
		u = w.At(t, u, came+1500)
		w.End(t, u, data[u.Offset:], Sum(data))
		w.WantBlob(t, repo, Sum(data), data)
	}
	data := Content("broken whole", size)
	ctx, body := broken(t, data[:2500])
	_, err := w.PushBlob(ctx, repo, registry.PushBlob{Pusher: Admin, Digest: Sum(data), Size: size, Body: body})
	WantCode(t, err, fail.Invalid, oci.CodeBlobUploadInvalid)
	var open int64
	if err = w.DB.Row(t.Context(), "SELECT COUNT(*) FROM uploads u JOIN repositories r ON r.id = u.repo WHERE r.name = ? AND u.done_at IS NULL", repo.String()).Scan(&open); err != nil || open > 0 {
		t.Fatalf("%d uploads are left, %v", open, err)
	}
	u := w.Start(t, repo, 0)
	_, err = w.Append(t.Context(), repo, u.ID, registry.Append{Size: 200, Body: bytes.NewReader(data[:100])})
	WantCode(t, err, fail.Invalid, oci.CodeSizeInvalid)
	w.At(t, u, 100)
}

func otherNode(t *testing.T, w *World) {
	repo := Name("nodes/app")
	data := Content("nodes", 3000)
	u := w.Send(t, w.Start(t, repo, 0), data[:700])
	other := w.Another(t)
	state, err := other.Append(t.Context(), repo, u.ID, registry.Append{At: 700, Size: 1000, Body: bytes.NewReader(data[700:1700])})
	if err != nil {
		t.Fatal(err)
	}
	w.End(t, state, data[1700:], Sum(data))
	w.WantBlob(t, repo, Sum(data), data)

	// An upload whose first object's name only the first node knows.
	u = w.Start(t, repo, 0)
	late := Content("nodes, late", 3000)
	if _, err = other.Finish(t.Context(), repo, u.ID, registry.Finish{Digest: Sum(late), Size: 3000, Body: bytes.NewReader(late)}); err != nil {
		t.Fatal(err)
	}
	w.WantBlob(t, repo, Sum(late), late)
}

func tooManyObjects(t *testing.T, w *World) {
	repo := Name("many/app")
	u := w.Start(t, repo, 0)
	set := func(seq int) {
		exec(t, w, "UPDATE uploads SET seq = ? WHERE id = ?", seq, u.ID)
	}
	set(10_000)
	_, err := w.Append(t.Context(), repo, u.ID, registry.Append{Size: 1, Body: bytes.NewReader([]byte("x"))})
	WantCode(t, err, fail.TooLarge, oci.CodeBlobUploadInvalid)
	set(0)
	w.At(t, u, 0)
}

func cancelled(t *testing.T, w *World) {
	repo := Name("cancelled/app")
	u := w.Send(t, w.Start(t, repo, 0), Content("cancelled", 100))
	if err := w.CancelUpload(t.Context(), repo, u.ID); err != nil {
		t.Fatal(err)
	}
	WantCode(t, w.CancelUpload(t.Context(), repo, u.ID), fail.NotFound, oci.CodeBlobUploadUnknown)
	_, err := w.Append(t.Context(), repo, u.ID, registry.Append{At: 100, Size: 1, Body: bytes.NewReader([]byte("x"))})
	WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)
	_, err = w.Finish(t.Context(), repo, u.ID, registry.Finish{At: 100, Digest: Sum(Content("cancelled", 100))})
	WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)

	done := w.Start(t, repo, 0)
	w.End(t, done, []byte("done"), Sum([]byte("done")))
	WantCode(t, w.CancelUpload(t.Context(), repo, done.ID), fail.NotFound, oci.CodeBlobUploadUnknown)

	// A cancel while a body is on its way: what came is of no use, and leaves nothing.
	u = w.Start(t, repo, 0)
	body := io.MultiReader(bytes.NewReader([]byte("some")), readerFunc(func([]byte) (int, error) {
		if cancelErr := w.CancelUpload(t.Context(), repo, u.ID); cancelErr != nil {
			t.Error(cancelErr)
		}
		w.Sweep(t)
		return 0, io.EOF
	}))
	_, err = w.Append(t.Context(), repo, u.ID, registry.Append{Size: -1, Body: body})
	WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)
}

func expired(t *testing.T, w *World) {
	repo := Name("expired/app")
	idle, busy := w.Start(t, repo, 0), w.Send(t, w.Start(t, repo, 0), []byte("some"))
	w.Forward(20 * time.Hour)
	busy = w.Send(t, busy, []byte("more"))
	w.Forward(5 * time.Hour)
	for {
		n, err := w.ExpireUploads(t.Context(), false, w.Now().Add(-24*time.Hour), 2)
		if err != nil {
			t.Fatal(err)
		}
		if n < 2 {
			break
		}
	}
	_, err := w.Upload(t.Context(), repo, idle.ID)
	WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)
	w.End(t, w.At(t, busy, 8), nil, Sum([]byte("somemore")))
}

func duplicate(t *testing.T, w *World) {
	repo, other := Name("duplicate/app"), Name("duplicate/other")
	data := Content("twice", 2500)
	w.Push(t, repo, data)
	w.Sweep(t)
	before := files(t, w)
	w.Push(t, other, data)
	w.End(t, w.Send(t, w.Start(t, repo, 0), data[:1500]), data[1500:], Sum(data))
	w.WantBlob(t, repo, Sum(data), data)
	w.WantBlob(t, other, Sum(data), data)
	CheckInvariants(t, w.DB, w.Store)
	w.Sweep(t)
	if after := files(t, w); after != before {
		t.Fatalf("%d objects, %d before", after, before)
	}
	w.WantBlob(t, other, Sum(data), data)
}

func files(t *testing.T, w *World) int {
	t.Helper()
	n := 0
	for _, err := range w.Store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	return n
}

// damaged takes an object away behind the registry's back: a push mends the blob, whether the client only looked for it, read it, or neither.
func damaged(t *testing.T, w *World) {
	repo := Name("damaged/app")
	lose := func(data []byte) {
		t.Helper()
		for row, err := range w.DB.Rows(t.Context(), "SELECT o.name FROM objects o JOIN blobs b ON b.content = o.content WHERE b.digest = ? ORDER BY o.seq LIMIT 1", Sum(data).Bytes()) {
			var name string
			if err == nil {
				err = row.Scan(&name)
			}
			if err == nil {
				err = w.Store.Delete(t.Context(), name)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	unread := Content("damaged and not read", 1500)
	w.Push(t, repo, unread)
	lose(unread)
	w.Push(t, repo, unread)
	w.WantBlob(t, repo, Sum(unread), unread)

	data := Content("damaged", 1500)
	w.Push(t, repo, data)
	w.WantBlob(t, repo, Sum(data), data)
	lose(data)
	in, err := w.OpenBlob(t.Context(), repo, Sum(data))
	if err == nil {
		_, err = io.Copy(io.Discard, in)
		if closeErr := in.Close(); closeErr != nil {
			t.Fatal(closeErr)
		}
	}
	WantCode(t, err, fail.Internal, "")
	_, err = w.StatBlob(t.Context(), repo, Sum(data), registry.ToPush)
	WantCode(t, err, fail.NotFound, oci.CodeBlobUnknown)
	mounted, err := w.Mount(t.Context(), repo, registry.Mount{Pusher: Admin, Digest: Sum(data), From: repo, MayPull: all})
	if err != nil || mounted {
		t.Fatalf("mounted %v, %v", mounted, err)
	}
	w.Push(t, repo, data)
	w.Sweep(t)
	w.WantBlob(t, repo, Sum(data), data)
	if _, err = w.StatBlob(t.Context(), repo, Sum(data), registry.ToPush); err != nil {
		t.Fatal(err)
	}

	// The commit that mends it is run again, and what is remembered of the blob goes all the same.
	twice := Content("damaged, and mended by a commit in doubt", 1500)
	w.Push(t, repo, twice)
	lose(twice)
	for range 2 { // the first marks it, and the second is remembered
		if in, err = w.OpenBlob(t.Context(), repo, Sum(twice)); err == nil {
			_, err = io.Copy(io.Discard, in)
			if closeErr := in.Close(); closeErr != nil {
				t.Fatal(closeErr)
			}
		}
		WantCode(t, err, fail.Internal, "")
	}
	w.Faults.AfterCommit("blob.commit", func() {})
	w.Push(t, repo, twice)
	w.WantBlob(t, repo, Sum(twice), twice)
}

func all(oci.Name) bool { return true }

func mounted(t *testing.T, w *World) {
	source, target := Name("mount/source"), Name("mounted/target")
	data := Content("mounted", 1500)
	w.Push(t, source, data)
	w.Push(t, Name("mounted/other"), Content("another that is mounted", 10))
	look := func(to oci.Name, from oci.Name, v registry.Viewer, may func(oci.Name) bool) bool {
		t.Helper()
		ok, err := w.Mount(t.Context(), to, registry.Mount{Pusher: Admin, Digest: Sum(data), From: from, MayPull: may, Viewer: v})
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	try := func(to oci.Name, from oci.Name, may func(oci.Name) bool) bool {
		t.Helper()
		return look(to, from, registry.Viewer{All: true}, may)
	}
	for _, v := range []registry.Viewer{{}, {User: sqldb.NewID()}, {Robot: sqldb.NewID()}, w.Member(t, "mounted")} {
		asked := func(n oci.Name) bool {
			t.Errorf("%s is asked for by a caller who may see %+v: the time that takes tells that it has the blob", n, v)
			return true
		}
		if look(target, oci.Name{}, v, asked) {
			t.Errorf("mounted for a caller who may see %+v", v)
		}
	}
	if look(target, oci.Name{}, w.Member(t, "mount"), func(oci.Name) bool { return false }) {
		t.Error("mounted from what the caller sees and may not pull")
	}
	if try(target, source, func(oci.Name) bool { return false }) {
		t.Error("mounted from where the caller may not pull")
	}
	if try(target, Name("mount/absent"), all) {
		t.Error("mounted from a repository that is absent")
	}
	if try(target, oci.Name{}, func(n oci.Name) bool { return n != source }) {
		t.Error("mounted from anywhere, though the caller may not pull there")
	}
	_, err := w.StatBlob(t.Context(), target, Sum(data), registry.ToPull)
	WantCode(t, err, fail.NotFound, oci.CodeNameUnknown)
	if !try(target, source, func(n oci.Name) bool { return n == source }) {
		t.Error("not mounted")
	}
	w.WantBlob(t, target, Sum(data), data)
	if !try(target, oci.Name{}, func(oci.Name) bool { return false }) {
		t.Error("what is here already is not mounted")
	}
	if !try(Name("mounted/any"), oci.Name{}, all) {
		t.Error("not mounted from anywhere")
	}
	w.WantBlob(t, Name("mounted/any"), Sum(data), data)
	if !look(Name("mounted/seen"), oci.Name{}, w.Member(t, "mount"), all) {
		t.Error("not mounted from what the caller sees")
	}
	if err = w.DeleteBlob(t.Context(), source, Sum(data)); err != nil {
		t.Fatal(err)
	}
	w.WantBlob(t, target, Sum(data), data)
}

func firstPushes(t *testing.T, w *World) {
	user := registry.Pusher{Subject: "user"}
	_, err := w.StartUpload(t.Context(), Name("nobody/app"), registry.StartUpload{Pusher: user})
	WantCode(t, err, fail.NotFound, oci.CodeNameUnknown)
	_, err = w.Project(t.Context(), "nobody")
	WantCode(t, err, fail.NotFound, oci.CodeNameUnknown)
	if _, err = w.StartUpload(t.Context(), Name("library/new"), registry.StartUpload{Pusher: user}); err != nil {
		t.Fatal(err)
	}
	if p, findErr := w.Project(t.Context(), "library"); findErr != nil || !p.Public {
		t.Fatalf("library is %+v, %v", p, findErr)
	}
	w.Start(t, Name("made/app"), 0)
	if p, findErr := w.Project(t.Context(), "made"); findErr != nil || p.Public {
		t.Fatalf("made is %+v, %v", p, findErr)
	}
	if err = w.EnsureProject(t.Context(), registry.Project{Name: "made", Public: true}); err != nil {
		t.Fatal(err)
	}
	if p, findErr := w.Project(t.Context(), "made"); findErr != nil || p.Public {
		t.Fatalf("made became %+v, %v", p, findErr)
	}
}
