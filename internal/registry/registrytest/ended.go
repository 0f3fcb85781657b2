package registrytest

import (
	"bytes"
	"io"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// subjectEnds ends the uploads of somebody whose rights were taken back, one of them while its bytes come; others' go on.
func subjectEnds(t *testing.T, w *World) {
	repo := Name("library/ended")
	who := registry.Pusher{Subject: "somebody whose rights end", MayCreate: true}
	begin := func(p registry.Pusher) registry.Upload {
		t.Helper()
		u, err := w.StartUpload(t.Context(), repo, registry.StartUpload{Pusher: p})
		if err != nil {
			t.Fatal(err)
		}
		return u
	}
	data := []byte("bytes of somebody whose rights end")
	d := oci.Sum(oci.SHA256, data)
	other, idle, done := w.Send(t, begin(Admin), data[:7]), begin(who), begin(who)
	finish := func() (oci.Descriptor, error) {
		return w.Finish(t.Context(), repo, done.ID, registry.Finish{Digest: d, Size: -1, Body: bytes.NewReader(data)})
	}
	if _, err := finish(); err != nil {
		t.Fatal(err)
	}
	under := begin(who)
	body, sent := io.Pipe()
	answer := make(chan error, 1)
	go func() {
		_, err := w.Finish(t.Context(), repo, under.ID, registry.Finish{Digest: d, Size: int64(len(data)), Body: body})
		answer <- err
	}()
	if _, err := sent.Write(data[:9]); err != nil { // some of it was read
		t.Fatal(err)
	}
	another := w.Another(t)
	for _, r := range []*registry.Registry{another, w.Registry, another} {
		if err := r.EndUploads(t.Context(), who.Subject); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sent.Write(data[9:]); err != nil {
		t.Fatal(err)
	}
	if err := sent.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; !fail.Is(err, fail.NotFound) || fail.CodeOf(err) != oci.CodeBlobUploadUnknown {
		t.Errorf("an upload that was under way ended with %v", err)
	}
	for _, u := range []registry.Upload{idle, under} {
		if _, err := w.Upload(t.Context(), repo, u.ID); !fail.Is(err, fail.NotFound) {
			t.Errorf("an upload that was ended: %v", err)
		}
	}
	w.At(t, other, 7)
	if _, err := finish(); err != nil {
		t.Errorf("the same PUT of an upload that was done before: %v", err)
	}
	w.End(t, other, data[7:], d)
}
