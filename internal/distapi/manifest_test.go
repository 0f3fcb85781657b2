package distapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/oci"
)

func TestAManifestIsServedAsItWasPushed(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.pushImage("app", "v1")
	for _, ref := range []string{"v1", d} {
		for _, name := range []string{"app", "library/app"} {
			for _, accept := range []string{"", "application/json", oci.MediaTypeDockerManifest, "*/*"} {
				got := s.do(http.MethodGet, "/v2/"+name+"/manifests/"+ref, nil, header("Accept", accept)).is(http.StatusOK)
				got.has("Content-Type", oci.MediaTypeImageManifest).has("Docker-Content-Digest", d).has("ETag", `"`+d+`"`)
				if string(got.body) != image("") {
					t.Fatalf("%s", got.body)
				}
			}
		}
		got := s.do(http.MethodHead, "/v2/app/manifests/"+ref, nil).is(http.StatusOK).has("Content-Type", oci.MediaTypeImageManifest)
		got.has("Content-Length", strconv.Itoa(len(image("")))).has("Docker-Content-Digest", d)
	}
	s.do(http.MethodGet, "/v2/app/manifests/v1", nil).has("Cache-Control", "private, no-cache")
	s.do(http.MethodGet, "/v2/app/manifests/"+d, nil).has("Cache-Control", "private, max-age=31536000, immutable")
}

func TestAManifestThatTheClientHasIsNotSentAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.pushImage("app", "v1")
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		for _, known := range []string{`"` + d + `"`, `W/"` + d + `"`, `"other", "` + d + `"`, "*"} {
			got := s.do(method, "/v2/app/manifests/v1", nil, header("If-None-Match", known)).is(http.StatusNotModified).has("ETag", `"`+d+`"`)
			if len(got.body) > 0 {
				t.Errorf("%s", got.body)
			}
		}
		s.do(method, "/v2/app/manifests/v1", nil, header("If-None-Match", `"`+sum("other")+`"`)).is(http.StatusOK)
	}
}

func TestATagMovesOnlyFromWhereTheClientSawIt(t *testing.T) {
	t.Parallel()
	s := start(t)
	old := s.pushImage("app", "v1")
	text := image(`,"annotations":{"n":"2"}`)
	fresh := sum(text)
	for _, c := range []struct{ key, value, ref string }{
		{"If-None-Match", "*", "v1"},
		{"If-None-Match", `"` + fresh + `", "` + old + `"`, "v1"},
		{"If-Match", `"` + fresh + `"`, "v1"},
		{"If-Match", `"` + old + `"`, "absent"},
		{"If-Match", "*", "absent"},
		{"If-Match", "*", fresh},
	} {
		s.putManifest("app", c.ref+"?tag=extra", text, header(c.key, c.value)).is(http.StatusPreconditionFailed, oci.CodePreconditionFailed)
	}
	s.do(http.MethodHead, "/v2/app/manifests/v1", nil).has("Docker-Content-Digest", old)
	for _, ref := range []string{fresh, "absent", "extra"} {
		s.do(http.MethodHead, "/v2/app/manifests/"+ref, nil).is(http.StatusNotFound)
	}
	s.putManifest("app", "v1", text, header("If-Match", `"`+fresh+`", "`+old+`"`)).is(http.StatusCreated)
	s.putManifest("app", "v1", text, header("If-Match", "*"), header("If-None-Match", `"`+old+`"`)).is(http.StatusCreated)
	s.putManifest("app", "new", text, header("If-None-Match", "*")).is(http.StatusCreated)
	for _, ref := range []string{"v1", "new"} {
		s.do(http.MethodHead, "/v2/app/manifests/"+ref, nil).has("Docker-Content-Digest", fresh)
	}
	s.putManifest("app", fresh, text, header("If-None-Match", "*")).is(http.StatusPreconditionFailed, oci.CodePreconditionFailed)
}

func TestSeveralTagsInOnePut(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushBlob("app", config)
	s.pushBlob("app", layer)
	d := sum(image(""))
	s.putManifest("app", d+"?tag=1&tag=1.2&tag=latest&tag=1", image("")).is(http.StatusCreated).has("OCI-Tag", "1, 1.2, latest").has("Location", "/v2/app/manifests/"+d)
	s.putManifest("app", "main?tag=extra", image("")).is(http.StatusCreated).has("OCI-Tag", "extra")
	for _, tag := range []string{"1", "1.2", "latest", "main", "extra"} {
		s.do(http.MethodHead, "/v2/app/manifests/"+tag, nil).is(http.StatusOK).has("Docker-Content-Digest", d)
	}
	s.putManifest("app", d+"?tag=ok&tag=-bad", image("")).is(http.StatusBadRequest, oci.CodeTagInvalid)
	s.putManifest("app", d+"?tag=ok&tag=%zz", image("")).is(http.StatusBadRequest, oci.CodeTagInvalid)
	s.do(http.MethodHead, "/v2/app/manifests/ok", nil).is(http.StatusNotFound)
	s.putManifest("app", d+"?tag=t"+strings.Repeat("&tag=t", 100), image("")).is(http.StatusBadRequest, oci.CodeTagInvalid)
}

func TestASubjectIsAcknowledgedAndListed(t *testing.T) {
	t.Parallel()
	s := start(t)
	subject := sum(image(""))
	with := `,"artifactType":"application/vnd.test","annotations":{"a":"<&>"},"subject":` + descriptor(oci.MediaTypeImageManifest, image(""))
	s.pushBlob("app", config)
	s.pushBlob("app", layer)
	d := s.putManifest("app", sum(image(with)), image(with)).is(http.StatusCreated).has("OCI-Subject", subject).header.Get("Docker-Content-Digest")
	var list struct {
		SchemaVersion int
		MediaType     string
		Manifests     []oci.Descriptor
	}
	s.do(http.MethodGet, "/v2/app/referrers/"+subject, nil).is(http.StatusOK).has("Content-Type", oci.MediaTypeImageIndex).has("OCI-Filters-Applied", "").decode(&list)
	if list.SchemaVersion != 2 || list.MediaType != oci.MediaTypeImageIndex || len(list.Manifests) != 1 {
		t.Fatalf("%+v", list)
	}
	if m := list.Manifests[0]; m.Digest.String() != d || m.ArtifactType != "application/vnd.test" || m.Annotations["a"] != "<&>" {
		t.Errorf("%+v", m)
	}
	s.putManifest("app", "v1", image("")).is(http.StatusCreated).has("OCI-Subject", "").has("OCI-Tag", "")
}

func TestBadManifestsAreRefusedAndNothingIsStored(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushBlob("app", config)
	s.pushBlob("app", layer)
	good := image("")
	huge := image(`,"annotations":{"a":"` + strings.Repeat("x", oci.MaxManifestBytes) + `"}`)
	schema1 := func(r *http.Request) {
		r.Header.Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+json")
	}
	sentAs := func(r *http.Request) { r.Header.Set("Content-Type", oci.MediaTypeImageIndex) }
	for _, c := range []struct {
		what, ref, text string
		status          int
		code            string
		options         []with
	}{
		{"5 MiB", "v1", huge, 413, oci.CodeManifestInvalid, nil},
		{"5 MiB without a length", "v1", huge, 413, oci.CodeManifestInvalid, []with{streamed}},
		{"nothing", "v1", "", 400, oci.CodeManifestInvalid, nil},
		{"no JSON", "v1", "hello", 400, oci.CodeManifestInvalid, nil},
		{"half a JSON", "v1", good[:len(good)/2], 400, oci.CodeManifestInvalid, nil},
		{"deeply nested", "v1", image(`,"x":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)), 400, oci.CodeManifestInvalid, nil},
		{"a key twice", "v1", image(`,"layers":[]`), 400, oci.CodeManifestInvalid, nil},
		{"a wrong size", "v1", strings.Replace(good, `"size":`+strconv.Itoa(len(layer)), `"size":1`, 1), 400, oci.CodeManifestInvalid, nil},
		{"a negative size", "v1", strings.Replace(good, `"size":`+strconv.Itoa(len(layer)), `"size":-7`, 1), 400, oci.CodeManifestInvalid, nil},
		{"schema 1", "v1", `{"schemaVersion":1}`, 400, oci.CodeManifestInvalid, []with{schema1}},
		{"another media type", "v1", good, 400, oci.CodeManifestInvalid, []with{sentAs}},
		{"another digest", sum("x"), good, 400, oci.CodeDigestInvalid, nil},
		{"no digest", "sha256:baddigeststring", good, 400, oci.CodeDigestInvalid, nil},
		{"a tag of 129 characters", strings.Repeat("t", 129), good, 400, oci.CodeTagInvalid, nil},
		{"a tag with a NUL", "v%001", good, 400, oci.CodeTagInvalid, nil},
		{"a tag that is no UTF-8", "v%ff", good, 400, oci.CodeTagInvalid, nil},
		{"an absent child", "v1", index("absent"), 404, oci.CodeManifestBlobUnknown, nil},
	} {
		a := s.putManifest("app", c.ref, c.text, c.options...)
		if a.status != c.status || a.problems()[0].Code != c.code {
			t.Errorf("%s: status %d, %.300s", c.what, a.status, a.body)
		}
	}
	s.do(http.MethodGet, "/v2/app/manifests/v1", nil).is(http.StatusNotFound)
	s.do(http.MethodGet, "/v2/app/manifests/"+sum(good), nil).is(http.StatusNotFound)
	s.putManifest("app", strings.Repeat("t", 128), good).is(http.StatusCreated)
}

// TestAManifestUnderATagThatNoneCanBeIsNotThere: the specification's suite of version 1.1 looks for .INVALID_MANIFEST_NAME, and wants 404.
func TestAManifestUnderATagThatNoneCanBeIsNotThere(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushImage("app", "v1")
	for _, tag := range []string{".INVALID_MANIFEST_NAME", strings.Repeat("t", 129), "v%001", "v%ff"} {
		s.do(http.MethodHead, "/v2/app/manifests/"+tag, nil).is(http.StatusNotFound)
		s.do(http.MethodGet, "/v2/app/manifests/"+tag, nil).is(http.StatusNotFound, oci.CodeManifestUnknown)
		s.do(http.MethodDelete, "/v2/app/manifests/"+tag, nil).is(http.StatusNotFound, oci.CodeManifestUnknown)
	}
	s.do(http.MethodGet, "/v2/app/manifests/sha256:totallywrong", nil).is(http.StatusBadRequest, oci.CodeDigestInvalid)
}

func TestEachAbsentBlobIsNamed(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.pushBlob("other", config)
	s.begin("app")
	a := s.putManifest("app", "v1", image("")).is(http.StatusNotFound, oci.CodeManifestBlobUnknown)
	named := fmt.Sprint(a.problems())
	if len(a.problems()) != 2 || !strings.Contains(named, sum(config)) || !strings.Contains(named, sum(layer)) {
		t.Errorf("%s", a.body)
	}
}

func TestDeletes(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.pushImage("app", "v1")
	s.putManifest("app", "v2", image("")).is(http.StatusCreated)
	parent := s.putManifest("app", "all", index(image(""))).is(http.StatusCreated).header.Get("Docker-Content-Digest")

	s.do(http.MethodDelete, "/v2/app/manifests/v1", nil).is(http.StatusAccepted)
	s.do(http.MethodGet, "/v2/app/manifests/v1", nil).is(http.StatusNotFound, oci.CodeManifestUnknown)
	s.do(http.MethodGet, "/v2/app/manifests/v2", nil).is(http.StatusOK)
	s.do(http.MethodDelete, "/v2/app/manifests/v1", nil).is(http.StatusNotFound, oci.CodeManifestUnknown)

	if a := s.do(http.MethodDelete, "/v2/app/manifests/"+d, nil).is(http.StatusConflict, oci.CodeDenied); !bytes.Contains(a.body, []byte(parent)) {
		t.Errorf("the index is not named: %s", a.body)
	}
	if a := s.do(http.MethodDelete, "/v2/app/blobs/"+sum(layer), nil).is(http.StatusConflict, oci.CodeDenied); !bytes.Contains(a.body, []byte(d)) {
		t.Errorf("the manifest is not named: %s", a.body)
	}
	s.do(http.MethodDelete, "/v2/app/manifests/"+parent, nil).is(http.StatusAccepted)
	s.do(http.MethodDelete, "/v2/app/manifests/"+d, nil).is(http.StatusAccepted)
	s.do(http.MethodGet, "/v2/app/manifests/v2", nil).is(http.StatusNotFound, oci.CodeManifestUnknown)
	s.do(http.MethodDelete, "/v2/app/blobs/"+sum(layer), nil).is(http.StatusAccepted)
	s.do(http.MethodGet, "/v2/app/blobs/"+sum(layer), nil).is(http.StatusNotFound, oci.CodeBlobUnknown)
	s.do(http.MethodDelete, "/v2/app/blobs/"+sum(layer), nil).is(http.StatusNotFound, oci.CodeBlobUnknown)
	s.do(http.MethodDelete, "/v2/app/blobs/sha256:x", nil).is(http.StatusBadRequest, oci.CodeDigestInvalid)
	s.do(http.MethodDelete, "/v2/nothing/manifests/v1", nil).is(http.StatusNotFound, oci.CodeNameUnknown)
}
