package harborapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/harborapi"
	"github.com/havn-registry/havn/internal/oci"
)

// index writes an image index.
func index(children ...string) string {
	all := make([]string, len(children))
	for i, c := range children {
		all[i] = descriptor(oci.MediaTypeImageManifest, c)
	}
	return `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageIndex + `","manifests":[` + strings.Join(all, ",") + `]}`
}

func attachedTo(subject, kind string) string {
	return image(`,"artifactType":"` + kind + `","subject":` + descriptor(oci.MediaTypeImageManifest, subject))
}

func TestTagsAreAddedAndRemoved(t *testing.T) {
	t.Parallel()
	s := start(t)
	one, two := image(""), image(`,"annotations":{"a":"b"}`)
	d := s.push("library/app", one, "1")
	s.push("library/app", two, "2")
	base := "/projects/library/repositories/app/artifacts/"
	add := func(ref, tag string) *answer {
		return s.do(http.MethodPost, base+ref+"/tags", map[string]string{"name": tag})
	}
	add("1", "new").is(http.StatusCreated)
	add(d.String(), "newer").is(http.StatusCreated)
	add("1", "new").is(http.StatusConflict, "CONFLICT")
	add("2", "new").is(http.StatusConflict, "CONFLICT")
	add("absent", "new").is(http.StatusNotFound, "NOT_FOUND")
	for _, bad := range []string{"", "-x", "a b", strings.Repeat("x", 129), "../x", "ü"} {
		add("1", bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}
	var tags []harborapi.Tag
	s.get(base + "1/tags?sort=name").is(http.StatusOK).decode(&tags)
	if len(tags) != 3 || tags[0].Name != "1" || tags[1].Name != "new" || tags[2].Name != "newer" {
		t.Errorf("%+v", tags)
	}
	remove := func(ref, tag string) *answer { return s.do(http.MethodDelete, base+ref+"/tags/"+tag, nil) }
	remove("2", "new").is(http.StatusNotFound, "NOT_FOUND") // another artifact's
	remove("1", "absent").is(http.StatusNotFound, "NOT_FOUND")
	remove("1", "-").is(http.StatusNotFound, "NOT_FOUND")
	remove(d.String(), "new").is(http.StatusOK)
	s.get(base + "new").is(http.StatusNotFound)
	s.get(base + "newer").is(http.StatusOK)
	developer := s.join("developer", "library", access.Developer)
	s.do(http.MethodPost, base+"1/tags", map[string]string{"name": "theirs"}, developer).is(http.StatusCreated)
	s.do(http.MethodDelete, base+"1/tags/theirs", nil, developer).is(http.StatusForbidden)
	s.get("/audit-logs?q=operation=create,resource_type=tag").has("X-Total-Count", "3").says(`"resource":"library/app:theirs"`).says(`"username":"developer"`)
}

func TestAnArtifactGoesWithWhatIsItsOwnAndNothingElse(t *testing.T) {
	t.Parallel()
	s := start(t)
	shared, own, tagged := image(`,"annotations":{"n":"1"}`), image(`,"annotations":{"n":"2"}`), image(`,"annotations":{"n":"3"}`)
	sharedAt, ownAt := s.push("library/app", shared), s.push("library/app", own)
	taggedAt := s.push("library/app", tagged, "part")
	first := s.push("library/app", index(shared, own, tagged), "first", "also")
	s.push("library/app", index(shared), "second")
	signature := attachedTo(index(shared, own, tagged), "text/signature")
	signatureAt := s.push("library/app", signature)
	ofSignature := s.push("library/app", attachedTo(signature, "text/of-signature"))

	base := "/projects/library/repositories/app/artifacts/"
	there := func(d oci.Digest, status int) {
		t.Helper()
		s.get(base + d.String()).is(status)
	}
	s.do(http.MethodDelete, base+sharedAt.String(), nil).is(http.StatusPreconditionFailed, "VIOLATE_FOREIGN_KEY_CONSTRAINT")
	s.do(http.MethodDelete, base+"also", nil, s.join("developer", "library", access.Developer)).is(http.StatusForbidden)
	s.do(http.MethodDelete, base+"also", nil).is(http.StatusOK)
	for _, gone := range []oci.Digest{first, ownAt, signatureAt, ofSignature} {
		there(gone, http.StatusNotFound)
	}
	for _, kept := range []oci.Digest{sharedAt, taggedAt} {
		there(kept, http.StatusOK)
	}
	s.do(http.MethodDelete, base+"also", nil).is(http.StatusNotFound, "NOT_FOUND")
	s.do(http.MethodDelete, base+"second", nil).is(http.StatusOK)
	there(sharedAt, http.StatusNotFound)
	there(taggedAt, http.StatusOK)
}

func TestAnArtifactIsCopiedWithAllThatBelongsToIt(t *testing.T) {
	t.Parallel()
	s := start(t)
	part := image("")
	s.push("private/app", part)
	top := s.push("private/app", index(part), "1", "latest")
	s.push("private/app", attachedTo(index(part), "text/signature"))
	s.push("library/other", image(""), "1")
	to := "/projects/library/repositories/copies%252Fapp/artifacts"
	from := func(text string, options ...with) *answer {
		return s.do(http.MethodPost, to+"?from="+url.QueryEscape(text), nil, options...)
	}
	from("private/app:1").is(http.StatusCreated).has("Location", "/api/v2.0/projects/library/repositories/copies%252Fapp/artifacts/1")
	from("private/app@" + top.String()).is(http.StatusCreated) // once more is no error
	var got harborapi.Artifact
	s.get(to + "/latest?with_accessory=true").is(http.StatusOK).decode(&got)
	if got.Digest != top.String() || len(got.Tags) != 2 || len(got.Accessories) != 1 || len(got.References) != 1 || got.RepositoryName != "library/copies/app" {
		t.Errorf("%+v", got)
	}
	s.get(to + "/" + got.References[0].ChildDigest).is(http.StatusOK)
	for _, bad := range []string{"", "private/app", "private/app@sha256:1", "PRIVATE/app:1", "private/app:", ":1", "private/app:1@" + top.String()} {
		if a := from(bad); a.status != http.StatusBadRequest && a.status != http.StatusUnprocessableEntity {
			t.Errorf("from %q: %d", bad, a.status)
		}
	}
	from("private/app:absent").is(http.StatusNotFound)
	from("private/absent:1").is(http.StatusNotFound)
	from("absent/app:1").is(http.StatusNotFound)
	developer := s.join("developer", "library", access.Developer)
	from("private/app:1", developer).is(http.StatusForbidden)
	from("absent/app:1", developer).is(http.StatusForbidden)
	from("library/other:1", developer).is(http.StatusCreated)
	from("library/other:1", s.join("guest", "library", access.Guest)).is(http.StatusForbidden)
}

func TestNothingIsChangedWhileTheRegistryIsReadOnly(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("library/app", image(""), "1")
	s.do(http.MethodPut, "/configurations", `{"read_only":true}`).is(http.StatusOK)
	base := "/projects/library/repositories/app/artifacts"
	s.do(http.MethodDelete, base+"/1", nil).is(http.StatusForbidden).says("read only")
	s.do(http.MethodPost, base+"/1/tags", map[string]string{"name": "2"}).is(http.StatusForbidden)
	s.do(http.MethodDelete, base+"/1/tags/1", nil).is(http.StatusForbidden)
	s.do(http.MethodPost, base+"?from=library/app:1", nil).is(http.StatusForbidden)
	s.get(base + "/1").is(http.StatusOK)
}
