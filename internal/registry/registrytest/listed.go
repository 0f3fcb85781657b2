package registrytest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

// allReferrers reads all pages.
func (w *World) allReferrers(t *testing.T, repo oci.Name, d oci.Digest, artifactType string, n int) []oci.Descriptor {
	t.Helper()
	var found []oci.Descriptor
	for after, pages := "", 0; ; pages++ {
		page, err := w.Referrers(t.Context(), repo, d, artifactType, n, after)
		if err != nil {
			t.Fatal(err)
		}
		if n > 0 && len(page.Descriptors) > n || page.Filtered != (artifactType != "") || pages > 1000 {
			t.Fatalf("page %+v", page)
		}
		found = append(found, page.Descriptors...)
		if after = page.Next; after == "" {
			return found
		}
	}
}

func referrers(t *testing.T, w *World) {
	repo := Name("referrers/app")
	subject := Descriptor(oci.MediaTypeImageManifest, Image("the subject", nil, "", Content("subject config", 9)))
	if found := w.allReferrers(t, repo, subject.Digest, "", -1); len(found) != 0 {
		t.Fatalf("%+v", found)
	}
	config := Content("signature config", 30)
	w.Push(t, repo, config, Content("subject config", 9))
	var want []string
	for i := range 25 {
		kind := fmt.Sprintf("application/vnd.test.%d", i%2)
		body := Image(fmt.Sprintf("signature %d", i), &subject, kind, config)
		w.Put(t, repo, oci.MediaTypeImageManifest, body)
		want = append(want, Sum(body).String())
	}
	plain := Image("no type", &subject, "", config)
	pushed, err := w.PutManifest(t.Context(), repo, registry.PutManifest{Pusher: Admin, MediaType: oci.MediaTypeImageManifest, Body: plain, Digest: Sum(plain)})
	if err != nil || pushed.Subject == nil || *pushed.Subject != subject.Digest {
		t.Fatalf("%+v, %v", pushed, err)
	}
	want = append(want, Sum(plain).String())
	w.Put(t, repo, oci.MediaTypeImageManifest, Image("the subject", nil, "", Content("subject config", 9)), "v1")
	slices.Sort(want)
	for _, n := range []int{-1, 1, 5, 25, 26, 27} {
		var got []string
		for _, d := range w.allReferrers(t, repo, subject.Digest, "", n) {
			got = append(got, d.Digest.String())
			if d.Annotations["test"] == "" || d.MediaType != oci.MediaTypeImageManifest || d.ArtifactType == "" || d.Size == 0 {
				t.Fatalf("%+v", d)
			}
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d at a time: %v", n, got)
		}
	}
	if found := w.allReferrers(t, repo, subject.Digest, "application/vnd.test.1", 3); len(found) != 12 {
		t.Fatalf("%d of the type", len(found))
	}
	if found := w.allReferrers(t, repo, subject.Digest, configType, -1); len(found) != 1 || found[0].Digest != Sum(plain) {
		t.Fatalf("%+v", found)
	}
	if found := w.allReferrers(t, Name("referrers/absent"), subject.Digest, "", -1); len(found) != 0 {
		t.Fatalf("%+v", found)
	}
	if err = w.DeleteManifest(t.Context(), repo, Sum(plain)); err != nil {
		t.Fatal(err)
	}
	if found := w.allReferrers(t, repo, subject.Digest, "", 10); len(found) != 25 {
		t.Fatalf("%d", len(found))
	}
	// Annotations may be as large as a manifest; a page is not.
	for i := range 4 {
		w.Put(t, repo, oci.MediaTypeImageManifest, Image(strings.Repeat("long ", 100_000)+fmt.Sprint(i), &subject, "application/vnd.test.long", config))
	}
	page, err := w.Referrers(t.Context(), repo, subject.Digest, "application/vnd.test.long", -1, "")
	if err != nil || len(page.Descriptors) == 4 || page.Next == "" {
		t.Fatalf("%d descriptors, next %q, %v", len(page.Descriptors), page.Next, err)
	}
	if found := w.allReferrers(t, repo, subject.Digest, "", -1); len(found) != 29 {
		t.Fatalf("%d", len(found))
	}
	// Nor where a small one is followed by one that is alone as large as clients take: that is a page of its own.
	const most = "application/vnd.test.most"
	large := Image(strings.Repeat("x", 7<<19), &subject, most, config)
	var small []byte
	for i := 0; small == nil || bytes.Compare(Sum(small).Bytes(), Sum(large).Bytes()) > 0; i++ {
		small = Image(strings.Repeat("y", 1_000_000)+fmt.Sprint(i), &subject, most, config)
	}
	w.Put(t, repo, oci.MediaTypeImageManifest, large)
	w.Put(t, repo, oci.MediaTypeImageManifest, small)
	if page, err = w.Referrers(t.Context(), repo, subject.Digest, most, -1, ""); err != nil || len(page.Descriptors) != 1 || page.Next != Sum(small).String() {
		t.Fatalf("%d descriptors, next %q, %v", len(page.Descriptors), page.Next, err)
	}
	if found := w.allReferrers(t, repo, subject.Digest, most, -1); len(found) != 2 || found[1].Digest != Sum(large) {
		t.Fatalf("%d", len(found))
	}
}

func fallbackReferrers(t *testing.T, w *World) {
	repo := Name("fallback/app")
	subject := Descriptor(oci.MediaTypeImageManifest, w.image(t, repo, "fallback subject", "v1"))
	config := Content("fallback config", 30)
	w.Push(t, repo, config)
	var listed []oci.Descriptor
	for i := range 6 {
		body := Image(fmt.Sprintf("old signature %d", i), nil, fmt.Sprintf("application/vnd.old.%d", i%2), config)
		d := w.Put(t, repo, oci.MediaTypeImageManifest, body)
		d.ArtifactType = fmt.Sprintf("application/vnd.old.%d", i%2)
		listed = append(listed, d, d)
	}
	var both oci.Descriptor
	for i := range 5 {
		both = w.Put(t, repo, oci.MediaTypeImageManifest, Image(fmt.Sprintf("new signature %d", i), &subject, "application/vnd.old.1", config))
	}
	both.ArtifactType = "application/vnd.old.1"
	listed = append(listed, both)
	tag := "sha256-" + subject.Digest.Hex()
	w.Put(t, repo, oci.MediaTypeImageIndex, Index(listed...), tag)
	whole := w.allReferrers(t, repo, subject.Digest, "", -1)
	if len(whole) != 11 {
		t.Fatalf("%d referrers", len(whole))
	}
	for n := 1; n <= 12; n++ {
		paged := w.allReferrers(t, repo, subject.Digest, "", n)
		if !slices.EqualFunc(paged, whole, func(a, b oci.Descriptor) bool { return a.Digest == b.Digest }) {
			t.Fatalf("%d at a time: %d others", n, len(paged))
		}
	}
	if found := w.allReferrers(t, repo, subject.Digest, "application/vnd.old.1", 2); len(found) != 8 {
		t.Fatalf("%d of the type", len(found))
	}
	// The tag stays an ordinary one; one that is no index lists nothing.
	w.WantManifest(t, repo, tag, Index(listed...))
	w.image(t, repo, "just a tag", tag)
	if found := w.allReferrers(t, repo, subject.Digest, "", -1); len(found) != 5 {
		t.Fatalf("%d referrers", len(found))
	}
}

func lists(t *testing.T, w *World) {
	repo := Name("lists/app")
	want := []string{"A", "B", "Z", "_", "a", "a-1", "a.1", "a1", "aA", "b", "v1", "v10", "v2", "z"}
	w.image(t, repo, "listed", want...)
	for _, n := range []int{-1, 1, 3, len(want), len(want) + 1} {
		var got []string
		for last := ""; ; {
			page, err := w.Tags(t.Context(), repo, n, last)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, page.Names...)
			if !page.More {
				break
			}
			last = page.Names[len(page.Names)-1]
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d at a time: %v", n, got)
		}
	}
	page, err := w.Tags(t.Context(), repo, 0, "")
	if err != nil || len(page.Names) != 0 || page.More {
		t.Fatalf("%+v, %v", page, err)
	}
	page, err = w.Tags(t.Context(), repo, 5, "zz")
	if err != nil || len(page.Names) != 0 {
		t.Fatalf("%+v, %v", page, err)
	}
	_, err = w.Tags(t.Context(), Name("lists/absent"), -1, "")
	WantCode(t, err, fail.NotFound, oci.CodeNameUnknown)

	for _, s := range []string{"lists/zoo", "lists/app/sub", "lists-2/app", "library/listed"} {
		w.Put(t, Name(s), oci.MediaTypeImageIndex, Index(), "v1")
	}
	w.Push(t, Name("lists/blobs-only"), Content("listed blob", 5))
	names := func(v registry.Viewer, n int) []string {
		var got []string
		for last := ""; ; {
			p, listErr := w.Repositories(t.Context(), v, n, last)
			if listErr != nil {
				t.Fatal(listErr)
			}
			got = append(got, p.Names...)
			if !p.More {
				return got
			}
			last = p.Names[len(p.Names)-1]
		}
	}
	everything := names(registry.Viewer{All: true}, 3)
	if !slices.IsSorted(everything) || !slices.Contains(everything, "lists-2/app") {
		t.Fatalf("%v", everything)
	}
	public := names(registry.Viewer{}, 1)
	if !slices.Contains(public, "library/listed") || slices.Contains(public, "lists/app") {
		t.Fatalf("%v", public)
	}
	for what, v := range map[string]registry.Viewer{"a member": w.Member(t, "lists", "lists-2"), "a member by groups": w.GroupMember(t, "lists", "lists-2"), "a robot": w.Robot(t, "lists", "lists-2")} {
		got := slices.DeleteFunc(names(v, 2), func(name string) bool { return slices.Contains(public, name) })
		if !slices.Equal(got, []string{"lists-2/app", "lists/app", "lists/app/sub", "lists/zoo"}) {
			t.Errorf("%s sees %v", what, got)
		}
	}
	if got := names(w.Robot(t), -1); !slices.Equal(got, public) {
		t.Errorf("a robot without permissions sees %v", got)
	}
}
