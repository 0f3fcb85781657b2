package distapi

import (
	"net/url"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

func TestPathsAreReadFromTheirEnd(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path     string
		endpoint endpoint
		name     string
		ref      string
		offset   string
	}{
		{"/v2", base, "", "", ""},
		{"/v2/", base, "", "", ""},
		{"/service/token", token, "", "", ""},
		{"/v2/_catalog", catalog, "", "", ""},
		{"/v2/app/tags/list", tags, "library/app", "", ""},
		{"/v2/a/b/c/tags/list", tags, "a/b/c", "", ""},
		{"/v2/app/manifests/v1", manifest, "library/app", "v1", ""},
		{"/v2/a/b/manifests/sha256:x", manifest, "a/b", "sha256:x", ""},
		{"/v2/a/b/manifests/sha256%3Ax", manifest, "a/b", "sha256:x", ""},
		{"/v2/a/b/referrers/sha256:x", referrers, "a/b", "sha256:x", ""},
		{"/v2/a/b/blobs/sha256:x", blob, "a/b", "sha256:x", ""},
		{"/v2/a/b/blobs/uploads/", uploads, "a/b", "", ""},
		{"/v2/a/b/blobs/uploads", uploads, "a/b", "", ""},
		{"/v2/a/b/blobs/uploads/0123ab", upload, "a/b", "0123ab", ""},
		{"/v2/a/b/blobs/uploads/0123ab/77", upload, "a/b", "0123ab", "77"},
		// Names with segments that are words of the API.
		{"/v2/a/manifests/manifests/v1", manifest, "a/manifests", "v1", ""},
		{"/v2/a/blobs/uploads/manifests/v1", manifest, "a/blobs/uploads", "v1", ""},
		{"/v2/a/blobs/uploads/blobs/uploads/", uploads, "a/blobs/uploads", "", ""},
		{"/v2/a/blobs/uploads/blobs/uploads/0123ab/7", upload, "a/blobs/uploads", "0123ab", "7"},
		{"/v2/tags/list/tags/list", tags, "tags/list", "", ""},
		{"/v2/manifests/manifests/manifests", manifest, "library/manifests", "manifests", ""},
		{"/v2/v2/manifests/latest", manifest, "library/v2", "latest", ""},
		{"/v2/a/tags/manifests/list", manifest, "a/tags", "list", ""},
	} {
		r, err := parseRoute(parseURL(t, c.path))
		if err != nil {
			t.Errorf("%s: %v", c.path, err)
			continue
		}
		if r.endpoint != c.endpoint || r.name.String() != c.name || r.ref != c.ref || r.offset != c.offset {
			t.Errorf("%s: endpoint %d, name %q, ref %q, offset %q", c.path, r.endpoint, r.name, r.ref, r.offset)
		}
	}
}

func TestPathsOfNoKnownFormAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path, code string
		kind       fail.Kind
	}{
		{"/", oci.CodeUnsupported, fail.NotFound},
		{"/v1/search", oci.CodeUnsupported, fail.NotFound},
		{"/v2/app", oci.CodeUnsupported, fail.NotFound},
		{"/v2/app/tags", oci.CodeUnsupported, fail.NotFound},
		{"/v2/app/tags/other", oci.CodeUnsupported, fail.NotFound},
		{"/v2/manifests/v1", oci.CodeUnsupported, fail.NotFound},
		{"/v2/blobs/uploads/", oci.CodeUnsupported, fail.NotFound},
		{"/v2//manifests/v1", oci.CodeUnsupported, fail.NotFound},
		{"/v2/a//b/manifests/v1", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/../manifests/v1", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/a/../../etc/manifests/v1", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/a/%2e%2e/b/manifests/v1", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/a%2Fb/manifests/v1", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/a/b/manifests/x%2fy", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/a%00b/manifests/v1", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/a%ffb/manifests/v1", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/App/manifests/v1", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/a%20b/tags/list", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/" + strings.Repeat("a", 256) + "/tags/list", oci.CodeNameInvalid, fail.Invalid},
		{"/v2/a/blobs/uploads/%ff/7", oci.CodeBlobUploadUnknown, fail.NotFound},
		{"/v2/a/blobs/uploads/" + strings.Repeat("0", 65), oci.CodeBlobUploadUnknown, fail.NotFound},
	} {
		_, err := parseRoute(parseURL(t, c.path))
		if fail.KindOf(err) != c.kind || fail.CodeOf(err) != c.code || err == nil {
			t.Errorf("%s: %v (kind %v, code %s), want %v, %s", c.path, err, fail.KindOf(err), fail.CodeOf(err), c.kind, c.code)
		}
	}
}

func parseURL(t *testing.T, path string) *url.URL {
	t.Helper()
	u, err := url.ParseRequestURI(path)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// FuzzRoute looks for a path that is read as something that it does not say: what was read, put together again, must be read the same.
func FuzzRoute(f *testing.F) {
	for _, seed := range []string{
		"/v2/", "/v2/_catalog", "/v2/a/tags/list", "/v2/a/b/manifests/v1", "/v2/a/blobs/sha256:ab", "/v2/a/blobs/uploads/", "/v2/a/blobs/uploads/00/1",
		"/v2/a/referrers/sha256:ab", "/v2/a%2fb/manifests/x", "/v2/a/../b/manifests/x", "/v2/a/%00/manifests/x", "/service/token", "//", "/v2//blobs//uploads/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		u, err := url.ParseRequestURI(path)
		if err != nil {
			return
		}
		r, err := parseRoute(u)
		if err != nil {
			if k := fail.KindOf(err); k != fail.Invalid && k != fail.NotFound {
				t.Fatalf("%q: kind %v", path, k)
			}
			return
		}
		if r.endpoint < tags || r.endpoint == token {
			return
		}
		if _, err = oci.ParseName(r.asked); err != nil {
			t.Fatalf("%q: name %q", path, r.asked)
		}
		again := "/v2/" + r.asked + map[endpoint]string{
			tags: "/tags/list", referrers: "/referrers/" + r.ref, manifest: "/manifests/" + r.ref, blob: "/blobs/" + r.ref, uploads: "/blobs/uploads/",
			upload: "/blobs/uploads/" + r.ref,
		}[r.endpoint]
		if r.offset != "" {
			again += "/" + r.offset
		}
		second, err := parseRoute(&url.URL{Path: again})
		if r.endpoint == upload && strings.HasSuffix(u.Path, "/") {
			return // an empty offset is none
		}
		if err != nil || second != r {
			t.Fatalf("%q was read as %+v, and %q as %+v (%v)", path, r, again, second, err)
		}
	})
}
