package oci_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

// The grammars, word for word from the Distribution Specification, "Pulling manifests". The parsers are written by hand for speed; these judge them.
var (
	nameGrammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
)

var names = []string{
	"app", "library/app", "a/b/c/d", "0/1", "a.b", "a_b", "a__b", "a-b", "a---b", "a.b_c__d-e/f", "blobs/manifests/tags", "v2/_catalog", "a",
	"", "/", "a/", "/a", "a//b", "A/b", "a/B", "-a", "a-", ".a", "a.", "_a", "a_", "a..b", "a___b", "a._b", "a_.b", "a-_b", "a_-b", "a.-b", "a-.b", "a-.-b",
	"..", "../etc", "a/../b", "a/./b", "a b", "a\x00b", "a\nb", "a%2fb", "ä/b", "a/\xff", "a/b\xc0\xaf", "a:b", "a@b", "a\\b", "ſ/a",
	strings.Repeat("a", 127) + "/" + strings.Repeat("b", 127), strings.Repeat("a/", 127) + "b",
	strings.Repeat("a", 127) + "/" + strings.Repeat("b", 128), strings.Repeat("a", 247), strings.Repeat("a", 248), strings.Repeat("a/", 40_000),
}

func checkName(t *testing.T, s string) {
	t.Helper()
	n, err := oci.ParseName(s)
	full := s
	if !strings.Contains(s, "/") {
		full = "library/" + s
	}
	if want := nameGrammar.MatchString(s) && len(full) <= 255; want != (err == nil) {
		t.Fatalf("name %.300q: error %v, the grammar says good=%v", s, err, want)
	}
	if err != nil {
		if !n.IsZero() || !fail.Is(err, fail.Invalid) || fail.CodeOf(err) != oci.CodeNameInvalid || fail.HintOf(err) == "" {
			t.Fatalf("name %.300q: %v, kind %v, code %q", s, err, fail.KindOf(err), fail.CodeOf(err))
		}
		return
	}
	if n.String() != full || n.Project()+"/"+n.Rest() != full || strings.Contains(n.Project(), "/") || n.IsZero() {
		t.Fatalf("name %q: %q, project %q, rest %q", s, n, n.Project(), n.Rest())
	}
	again, err := oci.ParseName(n.String())
	if err != nil || again != n {
		t.Fatalf("name %q: %q is read as %q, %v", s, n, again, err)
	}
}

func TestNamesFollowTheGrammar(t *testing.T) {
	t.Parallel()
	for _, s := range names {
		checkName(t, s)
	}
}

func TestANameOfOneSegmentIsInLibrary(t *testing.T) {
	t.Parallel()
	short, err := oci.ParseName("app")
	if err != nil {
		t.Fatal(err)
	}
	long, err := oci.ParseName("library/app")
	if err != nil || short != long || short.Project() != oci.DefaultProject {
		t.Fatalf("app is %q, library/app is %q (%v)", short, long, err)
	}
}

func FuzzName(f *testing.F) {
	for _, s := range names {
		f.Add(s)
	}
	f.Fuzz(checkName)
}

var tags = []string{
	"1", "latest", "v1.0.0-rc.1", "_", "__a", "A", "a.b-c_d", "sha256-" + strings.Repeat("0", 64), strings.Repeat("t", 128),
	"", ".a", "-a", "a b", "a:b", "a/b", "a@b", "a+b", "ä", "a\x00", "a\n", "\xff", "..", "../a", "%61", strings.Repeat("t", 129), strings.Repeat("t", 100_000),
}

func checkTag(t *testing.T, s string) {
	t.Helper()
	tag, err := oci.ParseTag(s)
	if want := tagGrammar.MatchString(s); want != (err == nil) {
		t.Fatalf("tag %.300q: error %v, the grammar says good=%v", s, err, want)
	}
	if err == nil {
		if tag.String() != s || tag.IsZero() {
			t.Fatalf("tag %q is %q", s, tag)
		}
		return
	}
	if !tag.IsZero() || !fail.Is(err, fail.Invalid) || fail.CodeOf(err) != oci.CodeTagInvalid || len(err.Error()) > 1000 {
		t.Fatalf("tag %.300q: %.300v, kind %v, code %q", s, err, fail.KindOf(err), fail.CodeOf(err))
	}
}

func TestTagsFollowTheGrammar(t *testing.T) {
	t.Parallel()
	for _, s := range tags {
		checkTag(t, s)
	}
}

func FuzzTag(f *testing.F) {
	for _, s := range tags {
		f.Add(s)
	}
	f.Fuzz(checkTag)
}

func checkReference(t *testing.T, s string) {
	t.Helper()
	r, err := oci.ParseReference(s)
	_, tagErr := oci.ParseTag(s)
	_, digestErr := oci.ParseDigest(s)
	if (err == nil) != (tagErr == nil || digestErr == nil) {
		t.Fatalf("reference %.300q: %v; as a tag: %v; as a digest: %v", s, err, tagErr, digestErr)
	}
	if err != nil {
		if r != (oci.Reference{}) || !fail.Is(err, fail.Invalid) {
			t.Fatalf("reference %.300q: %+v, %v", s, r, err)
		}
		return
	}
	if r.String() != s || r.IsDigest() != (digestErr == nil) || r.Tag.IsZero() == r.Digest.IsZero() {
		t.Fatalf("reference %q: %+v", s, r)
	}
}

func TestAReferenceIsATagOrADigest(t *testing.T) {
	t.Parallel()
	for _, s := range append(tags, digests...) {
		checkReference(t, s)
	}
	for s, code := range map[string]string{"sha256:12": oci.CodeDigestInvalid, "a/b": oci.CodeTagInvalid, "tag@sha256:12": oci.CodeDigestInvalid} {
		if _, err := oci.ParseReference(s); fail.CodeOf(err) != code {
			t.Errorf("reference %q: code %q, want %q", s, fail.CodeOf(err), code)
		}
	}
}

func FuzzReference(f *testing.F) {
	for _, s := range append(tags, digests...) {
		f.Add(s)
	}
	f.Fuzz(checkReference)
}

func TestATagSaysWhatItsSignatureIsOf(t *testing.T) {
	t.Parallel()
	hex := strings.Repeat("0a", 32)
	for text, want := range map[string]string{
		"sha256-" + hex + ".sig": "sha256:" + hex, "sha256-" + hex: "", hex + ".sig": "", "sha256-" + hex[1:] + ".sig": "", "sha256-" + strings.ToUpper(hex) + ".sig": "", "sha512-" + hex + ".sig": "",
		"sha256-" + hex + ".att": "", "latest": "",
	} {
		tag, err := oci.ParseTag(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := tag.Signs(); got.IsZero() != (want == "") || want != "" && got.String() != want {
			t.Errorf("%s signs %v, want %s", text, got, want)
		}
	}
}
