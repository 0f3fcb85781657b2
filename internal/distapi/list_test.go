package distapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/oci"
)

// pages follows Link from a path and answers what decode finds on each page.
func (s *service) pages(path string, decode func(*answer) []string, options ...with) (all [][]string) {
	s.Helper()
	for path != "" {
		a := s.do(http.MethodGet, path, nil, options...).is(http.StatusOK)
		all = append(all, decode(a))
		path = ""
		if link := a.header.Get("Link"); link != "" {
			target, ok := strings.CutSuffix(link, `>; rel="next"`)
			if !ok || !strings.HasPrefix(target, "</v2/") {
				s.Fatalf("Link %s", link)
			}
			path = target[1:]
		}
		if len(all) > 100 {
			s.Fatal("the pages have no end")
		}
	}
	return all
}

func tagNames(a *answer) []string {
	var l struct {
		Name string
		Tags []string
	}
	a.decode(&l)
	if l.Name != "app" {
		a.Errorf("name %q", l.Name)
	}
	return l.Tags
}

func repositoryNames(a *answer) []string {
	var l struct{ Repositories []string }
	a.decode(&l)
	return l.Repositories
}

func TestTagsComeInPages(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(http.MethodGet, "/v2/app/tags/list", nil).is(http.StatusNotFound, oci.CodeNameUnknown)
	d := s.pushImage("app", sum(image("")))
	if got := s.do(http.MethodGet, "/v2/app/tags/list", nil).is(http.StatusOK); string(got.body) != `{"name":"app","tags":[]}` {
		t.Errorf("%s", got.body)
	}
	s.putManifest("app", d+"?tag=b&tag=a&tag=B&tag=c&tag=_x", image("")).is(http.StatusCreated)
	sorted := []string{"B", "_x", "a", "b", "c"}
	if got := s.pages("/v2/app/tags/list", tagNames); len(got) != 1 || !slices.Equal(got[0], sorted) {
		t.Errorf("%v", got)
	}
	if got := s.pages("/v2/app/tags/list?n=2", tagNames); len(got) != 3 || !slices.Equal(slices.Concat(got...), sorted) {
		t.Errorf("%v", got)
	}
	if got := s.pages("/v2/app/tags/list?n=5", tagNames); len(got) != 1 {
		t.Errorf("an empty page at the end: %v", got)
	}
	if got := s.pages("/v2/app/tags/list?last=a", tagNames); !slices.Equal(got[0], []string{"b", "c"}) {
		t.Errorf("%v", got)
	}
	if got := s.pages("/v2/app/tags/list?n=1000000000&last=zzz", tagNames); len(got[0]) != 0 {
		t.Errorf("%v", got)
	}
	for _, n := range []string{"2147483648", "9999999999", "9223372036854775808", "18446744073709551615"} {
		if got := s.pages("/v2/app/tags/list?n="+n, tagNames); len(got) != 1 || !slices.Equal(got[0], sorted) {
			t.Errorf("n=%s: %v", n, got)
		}
	}
	if got := s.do(http.MethodGet, "/v2/app/tags/list?n=0", nil).is(http.StatusOK).has("Link", ""); string(got.body) != `{"name":"app","tags":[]}` {
		t.Errorf("%s", got.body)
	}
	for _, n := range []string{"-1", "x", "", "1.5", "99999999999999999999"} {
		s.do(http.MethodGet, "/v2/app/tags/list?n="+n, nil).is(http.StatusBadRequest, oci.CodePaginationInvalid)
	}
	s.do(http.MethodGet, "/v2/app/tags/list?last=%ff%00", nil).is(http.StatusBadRequest, oci.CodeTagInvalid)
}

func TestTheCatalogueShowsWhatTheCallerMaySee(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, name := range []string{"app", "web", "secret/one", "secret/two"} {
		s.pushImage(name, "v1")
	}
	s.begin("secret/unfinished")
	all := []string{"library/app", "library/web", "secret/one", "secret/two"}
	if got := s.pages("/v2/_catalog", repositoryNames); !slices.Equal(slices.Concat(got...), all) {
		t.Errorf("%v", got)
	}
	if got := s.pages("/v2/_catalog?n=1", repositoryNames); len(got) != 4 || !slices.Equal(slices.Concat(got...), all) {
		t.Errorf("%v", got)
	}
	if got := s.pages("/v2/_catalog?last=app", repositoryNames); !slices.Equal(slices.Concat(got...), all[1:]) {
		t.Errorf("%v", got)
	}
	if got := s.pages("/v2/_catalog?n=1", repositoryNames, bearer(s.token("registry:catalog:*"))); len(got) != 4 {
		t.Errorf("%v", got)
	}
	reader := s.reader()
	if got := s.pages("/v2/_catalog", repositoryNames, reader); !slices.Equal(slices.Concat(got...), all[:2]) {
		t.Errorf("a reader sees %v", got)
	}
	if got := s.pages("/v2/_catalog", repositoryNames, bearer(s.tokenFor(reader, "registry:catalog:*"))); !slices.Equal(slices.Concat(got...), all[:2]) {
		t.Errorf("a reader's token sees %v", got)
	}
	s.do(http.MethodGet, "/v2/_catalog", nil, nobody).is(http.StatusUnauthorized, oci.CodeUnauthorized)
	s.do(http.MethodGet, "/v2/_catalog", nil, bearer(s.token("repository:app:pull"))).is(http.StatusUnauthorized, oci.CodeUnauthorized)
	s.do(http.MethodGet, "/v2/_catalog?n=x", nil).is(http.StatusBadRequest, oci.CodePaginationInvalid)
	s.do(http.MethodGet, "/v2/_catalog?last=..", nil).is(http.StatusBadRequest, oci.CodeNameInvalid)
	if got := s.do(http.MethodGet, "/v2/_catalog?n=0", nil).is(http.StatusOK).has("Link", ""); string(got.body) != `{"repositories":[]}` {
		t.Errorf("%s", got.body)
	}
}

func TestReferrersComeInPagesAndByType(t *testing.T) {
	t.Parallel()
	s := start(t)
	subject := s.pushImage("app", "v1")
	var want []string
	for i := range 5 {
		kind := []string{"application/vnd.a", "application/vnd.b+x"}[i%2]
		text := image(fmt.Sprintf(`,"artifactType":"%s","annotations":{"n":"%d"},"subject":%s`, kind, i, descriptor(oci.MediaTypeImageManifest, image(""))))
		want = append(want, s.putManifest("app", sum(text), text).is(http.StatusCreated).has("OCI-Subject", subject).header.Get("Docker-Content-Digest"))
	}
	slices.Sort(want)
	digests := func(a *answer) (all []string) {
		var l struct{ Manifests []oci.Descriptor }
		a.has("Content-Type", oci.MediaTypeImageIndex).decode(&l)
		for _, m := range l.Manifests {
			all = append(all, m.Digest.String())
		}
		return all
	}
	path := "/v2/app/referrers/" + subject
	for query, pages := range map[string]int{"": 1, "?n=2": 3, "?n=5": 1, "?n=0": 5} {
		if got := s.pages(path+query, digests); len(got) != pages || !slices.Equal(slices.Concat(got...), want) {
			t.Errorf("%q: %v", query, got)
		}
	}
	byType := path + "?n=1&artifactType=" + url.QueryEscape("application/vnd.b+x")
	s.do(http.MethodGet, byType, nil).has("OCI-Filters-Applied", "artifactType")
	if got := s.pages(byType, digests); len(got) != 2 {
		t.Errorf("by type: %v", got)
	}
	for _, nothing := range []string{"/v2/app/referrers/" + sum("x"), "/v2/none/referrers/" + subject} {
		if got := s.do(http.MethodGet, nothing, nil).is(http.StatusOK); !strings.Contains(string(got.body), `"manifests":[]`) {
			t.Errorf("%s", got.body)
		}
	}
	s.do(http.MethodGet, "/v2/app/referrers/latest", nil).is(http.StatusBadRequest, oci.CodeDigestInvalid)
	s.do(http.MethodGet, path+"?n=x", nil).is(http.StatusBadRequest, oci.CodePaginationInvalid)
	s.do(http.MethodGet, path+"?last=x", nil).is(http.StatusBadRequest, oci.CodeDigestInvalid)
}

func TestAnnotationsAreListedAsLongAsTheyWerePushed(t *testing.T) {
	t.Parallel()
	s := start(t)
	subject := s.pushImage("app", "v1")
	long := strings.Repeat("<&>", 100_000)
	text := image(`,"annotations":{"long":"` + long + `"},"subject":` + descriptor(oci.MediaTypeImageManifest, image("")))
	s.putManifest("app", "signature", text).is(http.StatusCreated)
	got := s.do(http.MethodGet, "/v2/app/referrers/"+subject, nil).is(http.StatusOK)
	var l struct{ Manifests []oci.Descriptor }
	got.decode(&l)
	if len(l.Manifests) != 1 || l.Manifests[0].Annotations["long"] != long || len(got.body) > len(text) {
		t.Errorf("%d referrers in %d bytes of a manifest of %d", len(l.Manifests), len(got.body), len(text))
	}
}
