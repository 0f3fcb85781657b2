package registry

import (
	"fmt"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/oci"
)

func parsed(t *testing.T, name, tag string) (oci.Name, oci.Reference) {
	t.Helper()
	n, err := oci.ParseName(name)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := oci.ParseReference(tag)
	if err != nil {
		t.Fatal(err)
	}
	return n, ref
}

func remembered(text string, size int) *Manifest {
	return &Manifest{Descriptor: oci.Descriptor{Digest: oci.Sum(oci.SHA256, []byte(text))}, Body: make([]byte, size)}
}

func knows(c *recent, repo oci.Name, ref oci.Reference) bool {
	m, _ := c.manifest(repo, ref)
	return m != nil
}

func TestWhatWasReadBeforeOrDuringAWriteIsNotRemembered(t *testing.T) {
	t.Parallel()
	c := newRecent(true, time.Now)
	repo, ref := parsed(t, "app", "v1")
	m := remembered("old", 1)
	kept := func() bool { return knows(c, repo, ref) }

	c.keepManifest(repo, ref, c.begin(repo), m)
	if !kept() {
		t.Fatal("not remembered at all")
	}
	before := c.begin(repo)
	c.beginWrite(repo, nil)
	if kept() {
		t.Error("answered from memory during a write")
	}
	c.keepManifest(repo, ref, before, m)
	during := c.begin(repo)
	c.keepManifest(repo, ref, during, m)
	if kept() {
		t.Error("remembered during a write")
	}
	c.endWrite(repo)
	c.keepManifest(repo, ref, before, m)
	c.keepManifest(repo, ref, during, m)
	if kept() {
		t.Error("what was read before the write is remembered after it")
	}
	c.keepManifest(repo, ref, c.begin(repo), m)
	if !kept() {
		t.Error("what was read after the write is not remembered")
	}
	c.beginWrite(repo, nil)
	c.beginWrite(repo, nil)
	c.endWrite(repo)
	c.keepManifest(repo, ref, c.begin(repo), m)
	if kept() {
		t.Error("remembered while one of two writes goes on")
	}
	c.endWrite(repo)
	old := c.begin(repo)
	c.forget()
	c.keepManifest(repo, ref, old, m)
	if kept() {
		t.Error("what was read before everything changed is remembered")
	}
	if len(c.writers) != 0 {
		t.Error("a writer is left")
	}
}

// TestAGuessOfATagEndsWithAWriteOfThisNode: what a node has itself replaced, or may have, it does not answer in an outage.
func TestAGuessOfATagEndsWithAWriteOfThisNode(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := newRecent(false, func() time.Time { return now })
	repo, ref := parsed(t, "app", "v1")
	before, after := remembered("old", 1), remembered("new", 1)
	byDigest := oci.Reference{Digest: before.Descriptor.Digest}
	_, other := parsed(t, "app", "v2")
	c.keepManifest(repo, other, c.begin(repo), remembered("other", 1))

	early := c.begin(repo)
	now = now.Add(time.Second)
	late := c.begin(repo)
	c.keepManifest(repo, ref, late, after)
	c.keepManifest(repo, ref, early, before) // it was overtaken
	if m, at := c.manifest(repo, ref); m != after || !at.Equal(late.at) {
		t.Errorf("%v as of %s", m, at)
	}
	c.keepManifest(repo, ref, late, before)
	c.beginWrite(repo, []oci.Tag{ref.Tag})
	if knows(c, repo, ref) || !knows(c, repo, other) || !knows(c, repo, byDigest) {
		t.Error("during a write its tag must be unknown, and the rest known")
	}
	c.keepManifest(repo, ref, late, before)
	during := c.begin(repo)
	c.endWrite(repo)
	c.keepManifest(repo, ref, during, before)
	if knows(c, repo, ref) || !knows(c, repo, other) || !knows(c, repo, byDigest) {
		t.Error("what was read before or during a write is known of a tag behind it")
	}
	c.beginWrite(repo, nil)
	if knows(c, repo, other) {
		t.Error("a write to any tag left one")
	}
	c.endWrite(repo)
	c.keepManifest(repo, ref, c.begin(repo), after)
	c.old, c.young = c.young, map[oci.Name]*shelf{} // as when there is no more room
	at := now
	now = now.Add(time.Minute)
	for range 2 {
		if m, since := c.manifest(repo, ref); m != after || !since.Equal(at) {
			t.Errorf("%v as of %s: what is looked at is not younger", m, since)
		}
	}
	if len(c.writers) != 0 {
		t.Error("a writer is left")
	}
}

func TestMemoryIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	c := newRecent(true, time.Now)
	repo, used := parsed(t, "app", "used")
	c.keepManifest(repo, used, c.begin(repo), remembered("used", 1000))
	for i := range 1000 {
		name, ref := parsed(t, fmt.Sprintf("other/app%d", i), "v1")
		c.keepManifest(name, ref, c.begin(name), remembered(fmt.Sprint(i), 100_000))
		if !knows(c, repo, used) {
			t.Fatalf("what is used is forgotten after %d others", i)
		}
	}
	total := 0
	for _, generation := range []map[oci.Name]*shelf{c.young, c.old} {
		for _, s := range generation {
			for _, m := range s.digests {
				total += len(m.Body)
			}
		}
	}
	if total > 2*generationBytes || c.size > generationBytes {
		t.Errorf("%d bytes are kept", total)
	}
	if name, ref := parsed(t, "other/app0", "v1"); knows(c, name, ref) {
		t.Error("the first of many is still there")
	}
}

func BenchmarkManifestByTagFromMemory(b *testing.B) {
	c := newRecent(true, time.Now)
	name, err := oci.ParseName("library/app")
	if err != nil {
		b.Fatal(err)
	}
	tag, err := oci.ParseTag("v1")
	if err != nil {
		b.Fatal(err)
	}
	r := &Registry{recent: c, metrics: newMetrics(nil)}
	c.keepManifest(name, oci.Reference{Tag: tag}, c.begin(name), remembered("m", 1000))
	b.ReportAllocs()
	for b.Loop() {
		if _, err = r.Manifest(b.Context(), name, oci.Reference{Tag: tag}); err != nil {
			b.Fatal(err)
		}
	}
}
