package registrytest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// limit gives a project a quota, which is made if it is absent, and answers its number.
func (w *World) limit(t *testing.T, project string, bytes int64) int64 {
	t.Helper()
	if err := w.EnsureProject(t.Context(), registry.Project{Name: project}); err != nil {
		t.Fatal(err)
	}
	id := w.projectID(t, project)
	if err := w.SetQuota(t.Context(), id, bytes); err != nil {
		t.Fatal(err)
	}
	return id
}

// used answers what a project has by its quota, and what it holds.
func (w *World) used(t *testing.T, project int64) index.Usage {
	t.Helper()
	u, err := index.FindUsage(t.Context(), w.DB, project)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// WantUsed wants a project to have so many bytes.
func (w *World) wantUsed(t *testing.T, project, bytes int64) {
	t.Helper()
	if u := w.used(t, project); u.Used != bytes || u.Held < u.Used {
		t.Fatalf("used %d, held %d, of %d; want %d used", u.Used, u.Held, u.Limit, bytes)
	}
}

// refused wants a push to be refused by a quota, with words by which people know what happened.
func refused(t *testing.T, err error) {
	t.Helper()
	WantCode(t, err, fail.Denied, oci.CodeDenied)
	if !strings.Contains(err.Error(), "exceed the configured upper limit") || fail.HintOf(err) == "" {
		t.Fatalf("it is not told why: %v", err)
	}
}

func quotaCounts(t *testing.T, w *World) {
	one, two, elsewhere := Name("limited/one"), Name("limited/two"), Name("unlimited/app")
	project := w.limit(t, "limited", 10_000)
	config, layer := Content("limited config", 100), Content("limited layer", 3*smallObject)
	w.Push(t, elsewhere, config, layer)
	w.wantUsed(t, project, 0)
	w.Push(t, one, config, layer)
	w.Push(t, one, config, layer)
	w.wantUsed(t, project, 3100)
	for _, from := range []oci.Name{elsewhere, one} {
		if ok, err := w.Mount(t.Context(), two, registry.Mount{Pusher: Admin, Digest: Sum(layer), From: from, MayPull: all}); err != nil || !ok {
			t.Fatal(ok, err)
		}
	}
	w.Push(t, two, config)
	w.wantUsed(t, project, 3100)
	mounted := Content("limited mounted", 500)
	w.Push(t, elsewhere, mounted)
	if ok, err := w.Mount(t.Context(), two, registry.Mount{Pusher: Admin, Digest: Sum(mounted), From: elsewhere, MayPull: all}); err != nil || !ok {
		t.Fatal(ok, err)
	}
	w.wantUsed(t, project, 3600)
	body := Image("limited", nil, "", config, layer)
	size := int64(len(body))
	w.Put(t, one, oci.MediaTypeImageManifest, body, "v1")
	w.Put(t, one, oci.MediaTypeImageManifest, body, "v2")
	w.Put(t, two, oci.MediaTypeImageManifest, body, "v1")
	w.wantUsed(t, project, 3600+size)
	CheckInvariants(t, w.DB, w.Store)

	for _, step := range []struct {
		do   func() error
		used int64
	}{
		{func() error { return w.DeleteManifest(t.Context(), one, Sum(body)) }, 3600 + size},
		{func() error { return w.DeleteBlob(t.Context(), one, Sum(layer)) }, 3600 + size},
		{func() error { return w.DeleteBlob(t.Context(), two, Sum(mounted)) }, 3100 + size},
		{func() error { return w.DeleteManifest(t.Context(), two, Sum(body)) }, 3100},
		{func() error { return w.DeleteBlob(t.Context(), two, Sum(layer)) }, 100},
		{func() error { return w.DeleteRepository(t.Context(), two) }, 100},
		{func() error { return w.DeleteRepository(t.Context(), one) }, 0},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		w.wantUsed(t, project, step.used)
		CheckInvariants(t, w.DB, w.Store)
	}
	chunked := Content("limited chunked", 900)
	u := w.Start(t, one, 0)
	for _, piece := range [][]byte{chunked[:300], chunked[300:301], chunked[301:700]} {
		u = w.Send(t, u, piece)
	}
	w.wantUsed(t, project, 0)
	w.End(t, u, chunked[700:], Sum(chunked))
	w.wantUsed(t, project, 900)
	unknown := Content("limited unknown", 2*smallObject+5)
	u = w.Start(t, one, 0)
	state, err := w.Append(t.Context(), one, u.ID, registry.Append{Size: -1, Body: iotest.HalfReader(bytes.NewReader(unknown))})
	if err != nil {
		t.Fatal(err)
	}
	w.End(t, state, nil, Sum(unknown))
	w.wantUsed(t, project, 900+int64(len(unknown)))
	for _, end := range []func(id string) error{
		func(id string) error { return w.CancelUpload(t.Context(), one, id) },
		func(string) error {
			w.Forward(25 * time.Hour)
			_, expireErr := w.ExpireUploads(t.Context(), false, w.Now().Add(-24*time.Hour), 100)
			return expireErr
		},
	} {
		given := w.Send(t, w.Start(t, one, 0), Content("given up", 2*smallObject))
		if n := count(t, w, "SELECT SUM(bytes) FROM quota_holds"); n != 2*smallObject {
			t.Errorf("%d bytes are held for an upload", n)
		}
		if err = end(given.ID); err != nil {
			t.Fatal(err)
		}
		if n := count(t, w, "SELECT COUNT(*) FROM quota_holds"); n != 0 {
			t.Error("an upload that ended is held")
		}
	}
	w.wantUsed(t, project, 900+int64(len(unknown)))
}

// quotaRefuses fills a quota to the last byte, in all ways in which something comes.
func quotaRefuses(t *testing.T, w *World) {
	repo, elsewhere := Name("full/app"), Name("roomy/app")
	const most = 5000
	project := w.limit(t, "full", most)
	config := Content("full config", 100)
	body := Image("full", nil, "", config)
	layer := Content("full layer", most-100-len(body)-400) // of several objects
	w.Push(t, repo, config, layer)
	w.Push(t, elsewhere, config, Content("too large to mount", 401))
	tooMuch := Content("too much", 401)
	push := func(size int64) error {
		_, err := w.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum(tooMuch), Size: size, Body: bytes.NewReader(tooMuch)})
		return err
	}
	w.Put(t, repo, oci.MediaTypeImageManifest, body, "v1")
	w.wantUsed(t, project, most-400)
	began := time.Now()
	refused(t, push(401))
	refused(t, push(-1))
	refused(t, push(1<<50))
	_, err := w.Mount(t.Context(), repo, registry.Mount{Pusher: Admin, Digest: Sum(Content("too large to mount", 401)), From: elsewhere, MayPull: all})
	refused(t, err)
	_, err = w.TryPut(t.Context(), repo, oci.MediaTypeImageManifest, Image(strings.Repeat("long", 100), nil, "", config), "v2")
	refused(t, err)
	if took := time.Since(began); took > 10*time.Second && w.DB.Sole() {
		t.Errorf("it took %v to refuse, although nobody else has anything of the quota", took)
	}
	if _, err = w.Manifest(t.Context(), repo, Ref("v2")); !fail.Is(err, fail.NotFound) {
		t.Errorf("a manifest that was refused is there: %v", err)
	}
	w.wantUsed(t, project, most-400)

	// An upload that does not fit ends with all that came of it: nobody goes on with what was refused, and what it held would be missing to the others until it expires.
	ended := func(id string, err error) {
		t.Helper()
		refused(t, err)
		_, err = w.Upload(t.Context(), repo, id)
		WantCode(t, err, fail.NotFound, oci.CodeBlobUploadUnknown)
		if n := count(t, w, "SELECT COUNT(*) FROM quota_holds"); n != 0 {
			t.Error("an upload that was refused is held")
		}
		CheckInvariants(t, w.DB, w.Store)
	}
	u := w.Start(t, repo, 0)
	_, err = w.Append(t.Context(), repo, u.ID, registry.Append{Size: -1, Body: bytes.NewReader(tooMuch)})
	ended(u.ID, err)
	u = w.Send(t, w.Start(t, repo, 0), tooMuch[:300])
	_, err = w.Append(t.Context(), repo, u.ID, registry.Append{At: 300, Size: 101, Body: bytes.NewReader(tooMuch[300:])})
	ended(u.ID, err)
	u = w.Send(t, w.Start(t, repo, 0), tooMuch[:300])
	_, err = w.Finish(t.Context(), repo, u.ID, registry.Finish{At: 300, Digest: Sum(tooMuch), Size: -1, Body: bytes.NewReader(tooMuch[300:])})
	ended(u.ID, err)
	fits := Content("fits", 400)
	w.Push(t, repo, fits)
	if err = w.DeleteBlob(t.Context(), repo, Sum(fits)); err != nil {
		t.Fatal(err)
	}
	if err = w.SetQuota(t.Context(), project, most+1); err != nil {
		t.Fatal(err)
	}
	w.Push(t, repo, tooMuch)
	w.wantUsed(t, project, most+1)

	// What the project has may come to another of its repositories, and again, though there is no room at all; so does what has no bytes.
	other := Name("full/other")
	w.Push(t, other, config, tooMuch, nil, layer)
	w.Push(t, repo, config)
	w.Put(t, other, oci.MediaTypeImageManifest, body, "v1")
	w.Put(t, repo, oci.MediaTypeImageManifest, body, "v3")
	w.wantUsed(t, project, most+1)
	// A limit below what there is refuses all that is new, until enough is deleted.
	if err = w.SetQuota(t.Context(), project, most/2); err != nil {
		t.Fatal(err)
	}
	_, err = w.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum([]byte("x")), Size: 1, Body: strings.NewReader("x")})
	refused(t, err)
	for _, name := range []oci.Name{other, repo} {
		if err = w.DeleteRepository(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	w.wantUsed(t, project, 0)
	w.Push(t, repo, Content("full again", most/2))
	w.wantUsed(t, project, most/2)
}

// quotaCounted gives a quota to a project that has much, takes it away and gives it again, and counts behind somebody who changed rows.
func quotaCounted(t *testing.T, w *World) {
	one, two := Name("counted/one"), Name("counted/two")
	config, layer := Content("counted config", 100), Content("counted layer", 200)
	body := Image("counted", nil, "", config, layer)
	for _, repo := range []oci.Name{one, two} {
		w.Push(t, repo, config, layer)
		w.Put(t, repo, oci.MediaTypeImageManifest, body, "v1")
	}
	for i := range 50 {
		w.Push(t, one, fmt.Appendf(nil, "counted %03d", i))
	}
	w.Send(t, w.Start(t, one, 0), []byte("under way before there was a quota"))
	want := 300 + int64(len(body)) + 50*11
	w.Faults.AfterCommit("quota.counted", func() {}) // it is run again, and counts once
	project := w.limit(t, "counted", 1000)
	w.wantUsed(t, project, want)
	CheckInvariants(t, w.DB, w.Store)
	if n := count(t, w, "SELECT counts FROM quotas WHERE project = ?", project); n != 1 {
		t.Errorf("counted %d times", n)
	}
	exec(t, w, "UPDATE quota_charges SET repos = repos + 1 WHERE digest = ?", Sum(config).Bytes())
	exec(t, w, "DELETE FROM quota_charges WHERE digest = ?", Sum(layer).Bytes())
	exec(t, w, "INSERT INTO quota_charges (project, digest, size, repos, checked) VALUES (?, ?, 33, 1, 0)", project, Sum([]byte("nobody has it")).Bytes())
	exec(t, w, "UPDATE quotas SET held = held + 33 - 200 WHERE project = ?", project)
	w.Forward(time.Hour)
	for range 3 { // the second count of a new quota is the sweep's, and the last
		if _, err := w.CountNewQuotas(t.Context(), w.Now(), 10); err != nil {
			t.Fatal(err)
		}
	}
	if n := count(t, w, "SELECT counts FROM quotas WHERE project = ?", project); n != 2 {
		t.Errorf("counted %d times", n)
	}
	w.wantUsed(t, project, want)
	CheckInvariants(t, w.DB, w.Store)
	for range 2 {
		if err := w.SetQuota(t.Context(), project, registry.Unlimited); err != nil {
			t.Fatal(err)
		}
	}
	if u := w.used(t, project); u.Limit != registry.Unlimited || u.Used != -1 {
		t.Errorf("%+v", u)
	}
	for _, table := range []string{"quotas", "quota_charges", "quota_slices", "quota_holds"} {
		if n := count(t, w, "SELECT COUNT(*) FROM "+table+" WHERE project = ?", project); n != 0 {
			t.Errorf("%d rows of %s are left", n, table)
		}
	}
	w.Push(t, one, []byte("without a quota"))
	if err := w.DeleteBlob(t.Context(), one, Sum(fmt.Appendf(nil, "counted %03d", 7))); err != nil {
		t.Fatal(err)
	}
	project = w.limit(t, "counted", 1<<40)
	w.wantUsed(t, project, want-11+int64(len("without a quota")))
	quotaHalfGone(t, w, project)
	WantCode(t, w.SetQuota(t.Context(), 1<<40, 5), fail.NotFound, "")
	WantCode(t, w.SetQuota(t.Context(), 1<<40, registry.Unlimited), fail.NotFound, "")
	WantCode(t, w.SetQuota(t.Context(), project, -2), fail.Invalid, "")
}

// quotaHalfGone takes a quota away of which much is counted, and breaks off in the middle.
func quotaHalfGone(t *testing.T, w *World, project int64) {
	t.Helper()
	u := w.Send(t, w.Start(t, Name("counted/one"), 0), []byte("under way while the quota goes"))
	want := w.used(t, project).Used
	for i := range 600 {
		exec(t, w, "INSERT INTO quota_charges (project, digest, size, repos, checked) VALUES (?, ?, 33, 1, 0)", project, Sum(fmt.Appendf(nil, "counted only %d", i)).Bytes())
	}
	exec(t, w, "UPDATE quotas SET held = held + 33 * 600, counts = 2 WHERE project = ?", project)
	w.Faults.FailStep(2)
	err := w.SetQuota(t.Context(), project, registry.Unlimited)
	w.Faults.FailStep(0)
	if !errors.Is(err, ErrInjected) || count(t, w, "SELECT COUNT(*) FROM quotas WHERE project = ?", project) != 1 || count(t, w, "SELECT COUNT(*) FROM quota_charges WHERE project = ?", project) > 600 {
		t.Fatalf("it did not break off in the middle: %v", err)
	}
	w.Forward(time.Hour)
	for range 3 {
		if _, err = w.CountNewQuotas(t.Context(), w.Now(), 10); err != nil {
			t.Fatal(err)
		}
	}
	w.wantUsed(t, project, want)
	if err = w.CancelUpload(t.Context(), u.Repo, u.ID); err != nil {
		t.Fatal(err)
	}
	CheckInvariants(t, w.DB, w.Store)
}

// quotaSlices lets nodes take slices of a quota, use parts of them, and give them back, die with them, or have them taken away.
func quotaSlices(t *testing.T, s Stores) {
	w := Open(t, s, func(c *registry.Config) { c.QuotaSlice, c.MaxObjectBytes = 10_000, smallObject })
	repo := Name("sliced/app")
	project := w.limit(t, "sliced", 1_000_000)
	slices := func() int64 { return count(t, w, "SELECT COUNT(*) FROM quota_slices") }
	push := func(n *registry.Registry, symbol string) { // 100 bytes
		t.Helper()
		data := Content(symbol, 100)
		if _, err := n.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum(data), Size: 100, Body: bytes.NewReader(data)}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		push(w.Registry, fmt.Sprint("sliced ", i))
	}
	if u := w.used(t, project); slices() != 1 || u.Used != 2000 || u.Held != 10_100 {
		t.Errorf("%d slices, %+v: all should be of one slice, which was taken once", slices(), u)
	}
	other := w.Another(t)
	push(other, "sliced other")
	if slices() != 2 {
		t.Errorf("%d slices of two nodes", slices())
	}
	// An upload goes from node to node, and what was received is merged of both their slices.
	data := Content("sliced between", 2500)
	u := w.Send(t, w.Start(t, repo, 0), data[:700])
	state, err := other.Append(t.Context(), repo, u.ID, registry.Append{At: 700, Size: 900, Body: bytes.NewReader(data[700:1600])})
	if err != nil {
		t.Fatal(err)
	}
	CheckInvariants(t, w.DB, w.Store)
	w.End(t, state, data[1600:], Sum(data))
	CheckInvariants(t, w.DB, w.Store)
	// Nobody lives whose slices these are: they are given back under the nodes' hands, and these take others.
	for range 3 {
		if _, err = w.ReturnSlices(t.Context(), Free, 10); err != nil {
			t.Fatal(err)
		}
	}
	if u := w.used(t, project); slices() != 0 || u.Held != u.Used || u.Used != 2100+2500 {
		t.Errorf("%d slices, %+v: all is given back", slices(), u)
	}
	CheckInvariants(t, w.DB, w.Store)
	push(w.Registry, "sliced after")
	push(other, "sliced after that")
	kept := w.Send(t, w.Start(t, repo, 0), Content("sliced kept", 1700)[:1500])
	if _, err = w.ReturnSlices(t.Context(), Free, 10); err != nil {
		t.Fatal(err)
	}
	CheckInvariants(t, w.DB, w.Store)
	w.End(t, kept, Content("sliced kept", 1700)[1500:], Sum(Content("sliced kept", 1700)))
	w.wantUsed(t, project, 4600+200+1700)

	// A slice that is taken away while a body comes.
	late := Content("sliced late", 600)
	torn := io.MultiReader(bytes.NewReader(late[:300]), readerFunc(func([]byte) (int, error) {
		if _, tearErr := w.ReturnSlices(t.Context(), Free, 10); tearErr != nil {
			t.Error(tearErr)
		}
		return 0, io.EOF
	}), bytes.NewReader(late[300:]))
	if _, err = w.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum(late), Size: 600, Body: torn}); err != nil {
		t.Fatal(err)
	}
	w.wantUsed(t, project, 6500+600)
	CheckInvariants(t, w.DB, w.Store)
	// A limit that falls holds at once, whatever nodes took of it before.
	push(other, "sliced before the limit fell")
	push(w.Registry, "sliced before it fell")
	if err = w.SetQuota(t.Context(), project, w.used(t, project).Used+50); err != nil {
		t.Fatal(err)
	}
	for _, n := range []*registry.Registry{w.Registry, other} {
		late = Content("sliced too late", 51)
		_, err = n.PushBlob(t.Context(), repo, registry.PushBlob{Pusher: Admin, Digest: Sum(late), Size: 51, Body: bytes.NewReader(late)})
		refused(t, err)
	}
	CheckInvariants(t, w.DB, w.Store)
	w.Push(t, repo, Content("sliced last", 50))
	if err = w.SetQuota(t.Context(), project, 1_000_000); err != nil {
		t.Fatal(err)
	}
	quotaWaits(t, w, other, project)
}

// quotaWaits lets one node find a quota used up because another holds some of it that it does not use, and gives back within a second or two.
func quotaWaits(t *testing.T, w *World, other *registry.Registry, project int64) {
	if w.DB.Sole() {
		return // there is no other node
	}
	ctx := t.Context()
	if _, err := w.ReturnSlices(ctx, Free, 10); err != nil {
		t.Fatal(err)
	}
	if err := w.SetQuota(ctx, project, w.used(t, project).Used+5_000); err != nil {
		t.Fatal(err)
	}
	repo := Name("sliced/waits")
	small, large := Content("waits small", 10), Content("waits large", 4_990)
	if _, err := other.PushBlob(ctx, repo, registry.PushBlob{Pusher: Admin, Digest: Sum(small), Size: 10, Body: bytes.NewReader(small)}); err != nil {
		t.Fatal(err)
	}
	if u := w.used(t, project); u.Limit-u.Held >= 4_990 {
		t.Fatalf("%+v: the other node holds nothing that it does not use", u)
	}
	var done sync.WaitGroup
	done.Go(func() {
		time.Sleep(300 * time.Millisecond)
		if _, err := w.ReturnSlices(ctx, Free, 10); err != nil {
			t.Error(err)
		}
	})
	w.Push(t, repo, large)
	done.Wait()
	if u := w.used(t, project); u.Used != u.Limit {
		t.Errorf("%+v: it fits to the last byte", u)
	}
}

// errQuota tells an error of a quota from others.
func isRefused(err error) bool {
	return fail.Is(err, fail.Denied) && strings.Contains(err.Error(), "exceed the configured upper limit") && !errors.Is(err, ErrInjected)
}
