package registry

import (
	"fmt"
	"testing"

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

func TestWhatWasReadBeforeOrDuringAWriteIsNotRemembered(t *testing.T) {
	t.Parallel()
	c := newRecent(true)
	repo, ref := parsed(t, "app", "v1")
	m := remembered("old", 1)
	kept := func() bool { return c.manifest(repo, ref) != nil }

	c.keepManifest(repo, ref, c.begin(repo), m)
	if !kept() {
		t.Fatal("not remembered at all")
	}
	before := c.begin(repo)
	c.beginWrite(repo)
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
	c.beginWrite(repo)
	c.beginWrite(repo)
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

func TestMemoryIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	t.Parallel()
	c := newRecent(true)
	repo, used := parsed(t, "app", "used")
	c.keepManifest(repo, used, c.begin(repo), remembered("used", 1000))
	for i := range 1000 {
		name, ref := parsed(t, fmt.Sprintf("other/app%d", i), "v1")
		c.keepManifest(name, ref, c.begin(name), remembered(fmt.Sprint(i), 100_000))
		if c.manifest(repo, used) == nil {
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
	if name, ref := parsed(t, "other/app0", "v1"); c.manifest(name, ref) != nil {
		t.Error("the first of many is still there")
	}
}

func BenchmarkManifestByTagFromMemory(b *testing.B) {
	c := newRecent(true)
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
