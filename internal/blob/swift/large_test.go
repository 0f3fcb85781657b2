package swift

import (
	"net/http"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
)

// TestSegmentsThatMayBeOurObjectsAreNotTouched deletes large objects whose segments are where Havn's own objects are, or anywhere.
func TestSegmentsThatMayBeOurObjectsAreNotTouched(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"blobs/", "blobs", "blobs/o", "blobs/havn/objects/", "blobs/havn/objects/ab/ab", "blobs/havn%2Fobj", "blobs/%zz"} {
		s := start(t)
		c := s.config(t, "/auth/v1")
		c.Prefix = "havn"
		d := s.openWith(t, c)
		s.before = func(w http.ResponseWriter, r *http.Request) bool {
			switch r.Method {
			case http.MethodHead:
				w.Header().Set("X-Object-Manifest", strings.Replace(at, "blobs/o", "blobs/havn/o", 1))
				return true
			case http.MethodDelete:
				t.Errorf("%s: %s is deleted", at, r.URL.Path)
			}
			return false
		}
		if err := d.Delete(t.Context(), "foreign"); !fail.Is(err, fail.Invalid) || fail.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", at, err, fail.HintOf(err))
		}
	}
}

func TestSegmentsThatCannotBeRemovedAreAnError(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.open(t)
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodHead {
			w.Header().Set("X-Static-Large-Object", "True")
		}
		if r.Method == http.MethodDelete {
			s.write(w, "Number Deleted: 1\nNumber Not Found: 0\nResponse Status: 403 Forbidden\nErrors:\n/blobs/segment, 403 Forbidden\n")
		}
		return true
	}
	if err := d.Delete(t.Context(), "foreign"); !fail.Is(err, fail.Unavailable) || !strings.Contains(err.Error(), "403 Forbidden") {
		t.Error(err)
	}
}
