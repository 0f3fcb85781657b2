package harborapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/harborapi"
	"github.com/havn-registry/havn/internal/oci"
)

func (a *answer) repositories() []string {
	a.Helper()
	var all []harborapi.Repository
	a.is(http.StatusOK).decode(&all)
	names := []string{}
	for _, r := range all {
		names = append(names, r.Name)
	}
	return names
}

func TestRepositoriesAreListedToWhomTheyMayBeSeen(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.get("/repositories").is(http.StatusOK).has("X-Total-Count", "0").says("[]")
	for _, name := range []string{"library/a", "library/b/c", "private/d"} {
		s.push(name, image(""), "1", "2")
	}
	same := func(a *answer, want ...string) {
		t.Helper()
		if got := a.repositories(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", a.asked, got, want)
		}
	}
	same(s.get("/repositories?sort=name"), "library/a", "library/b/c", "private/d")
	same(s.get("/repositories?sort=name", nobody), "library/a", "library/b/c")
	same(s.get("/repositories?sort=-name", s.logIn("somebody")), "library/b/c", "library/a")
	same(s.get("/repositories"), "private/d", "library/b/c", "library/a") // the last made first, as in Harbor
	same(s.get("/projects/library/repositories?sort=name", nobody), "library/a", "library/b/c")
	same(s.get("/projects/private/repositories"), "private/d")
	same(s.get("/repositories?q=name=~B/C"), "library/b/c")
	same(s.get("/repositories?q="+url.QueryEscape("name={library/a private/d}")+"&sort=name"), "library/a", "private/d")
	for _, bad := range []string{"q=nothing=1", "q=name", "sort=nothing", "page_size=-1"} {
		s.get("/repositories?"+bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}
	for _, bad := range []string{"page=x", "page_size=many", "page_size=101"} {
		s.get("/repositories?"+bad).is(http.StatusUnprocessableEntity, "UNPROCESSABLE_ENTITY")
	}
	s.get("/projects/private/repositories", nobody).is(http.StatusUnauthorized)

	first := s.get("/repositories?page_size=1&page=2&sort=name&q=name%3D~a")
	same(first.has("X-Total-Count", "3"), "library/b/c")
	first.has("Link", `</api/v2.0/repositories?page=1&page_size=1&q=name%3D~a&sort=name>; rel="prev" , </api/v2.0/repositories?page=3&page_size=1&q=name%3D~a&sort=name>; rel="next"`)
	if link := s.get("/repositories").header.Get("Link"); link != "" {
		t.Errorf("a list of one page links to %s", link)
	}
}

func TestARepositoryIsFoundByWhatIsWrittenAboutItInAnyLetters(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("library/app", image(""), "1")
	s.do(http.MethodPut, "/projects/library/repositories/app", map[string]string{"description": "Für Ärzte"}).is(http.StatusOK)
	for _, part := range []string{"Für", "Ärz", "für"} {
		s.get("/repositories?q="+url.QueryEscape("description=~"+part)).is(http.StatusOK).has("X-Total-Count", "1")
	}
}

func TestARepositoryIsFoundHoweverItsSlashesAreEscaped(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("library/a/b", image(""), "1")
	for _, name := range []string{"a%2Fb", "a%252Fb"} {
		var r harborapi.Repository
		s.get("/projects/library/repositories/" + name).is(http.StatusOK).decode(&r)
		if r.Name != "library/a/b" || r.ArtifactCount != 1 || r.ProjectID == 0 || r.CreationTime == nil || time.Since(time.Time(r.UpdateTime)) > time.Hour {
			t.Errorf("%+v", r)
		}
		s.get("/projects/library/repositories/" + name + "/artifacts/1").is(http.StatusOK)
	}
	for _, name := range []string{"a", "a%2F", "..%2Fa", "%25", "A", "a%00b", strings.Repeat("a", 300)} {
		if a := s.get("/projects/library/repositories/" + name); a.status != http.StatusNotFound && a.status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %d", name, a.status)
		}
	}
}

func (a *answer) artifacts() []harborapi.Artifact {
	a.Helper()
	var all []harborapi.Artifact
	a.is(http.StatusOK).decode(&all)
	return all
}

func TestArtifactsAreToldAsHarborTellsThem(t *testing.T) {
	t.Parallel()
	s := start(t)
	single := image(`,"annotations":{"org":"us"}`)
	d := s.push("library/app", single, "v1", "latest")
	child := s.push("library/app", image(""))
	index := `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageIndex + `","manifests":[` +
		strings.Replace(descriptor(oci.MediaTypeImageManifest, image("")), "{", `{"platform":{"architecture":"arm64","os":"linux","variant":"v8"},`, 1) + `]}`
	top := s.push("library/app", index, "multi")
	signature := s.push("library/app", image(`,"artifactType":"application/vnd.cncf.notary.signature","subject":`+descriptor(oci.MediaTypeImageManifest, single)))

	base := "/projects/library/repositories/app/artifacts"
	list := s.get(base+"?with_accessory=true").has("X-Total-Count", "2").artifacts()
	if len(list) != 2 || list[0].Digest != top.String() || list[1].Digest != d.String() {
		t.Fatalf("%+v: neither a part of an index nor what is attached is an entry, and the last pushed comes first", list)
	}
	one := list[1]
	size := int64(len(single) + len(imageConfig) + len(layer))
	if one.Type != "IMAGE" || one.MediaType != "application/vnd.oci.image.config.v1+json" || one.ManifestMediaType != oci.MediaTypeImageManifest || one.Size != size || one.Annotations["org"] != "us" ||
		one.RepositoryName != "library/app" || one.ID == 0 || one.ExtraAttrs["architecture"] != "arm64" || one.ExtraAttrs["author"] != "somebody" || one.ExtraAttrs["rootfs"] != nil {
		t.Errorf("%+v", one)
	}
	if len(one.Tags) != 2 || one.Tags[0].ArtifactID != one.ID || one.Tags[0].RepositoryID != one.RepositoryID || one.Tags[0].ID == one.Tags[1].ID {
		t.Errorf("tags %+v", one.Tags)
	}
	if len(one.Accessories) != 1 || one.Accessories[0].Digest != signature.String() || one.Accessories[0].Type != "signature.notation" || one.Accessories[0].SubjectArtifactID != one.ID {
		t.Errorf("accessories %+v", one.Accessories)
	}
	refs := list[0].References
	if list[0].Size != int64(len(index)+len(image(""))+len(imageConfig)+len(layer)) || len(refs) != 1 || refs[0].ChildDigest != child.String() || refs[0].ParentID != list[0].ID || refs[0].Platform.Variant != "v8" {
		t.Errorf("%+v", list[0])
	}
	raw := s.get(base + "/v1").is(http.StatusOK).says(`"pull_time":"0001-01-01T00:00:00.000Z"`).says(`"immutable":false`)
	if strings.Contains(string(raw.body), "scan_overview") {
		t.Errorf("told what is not there: %s", raw.body)
	}
	raw.says(`"labels":null`).says(`"references":null`) // programs look for what Harbor always tells
	s.get(base + "/v1?with_tag=false&with_accessory=false").is(http.StatusOK).says(`"accessories":null`).says(`"tags":null`)
	if a := s.get(base + "?with_tag=false&with_accessory=false").artifacts(); a[1].Tags != nil || a[1].Accessories != nil {
		t.Errorf("told what was not asked for: %+v", a[1])
	}
	var got harborapi.Artifact
	s.get(base + "/" + child.String()).is(http.StatusOK).decode(&got)
	if got.Digest != child.String() || got.ID != refs[0].ChildID {
		t.Errorf("a part of an index is found by its digest: %+v", got)
	}
	for _, ref := range []string{"absent", "sha256:" + strings.Repeat("0", 64), "sha256:1", "-", "a%2Fb"} {
		s.get(base+"/"+ref).is(http.StatusNotFound, "NOT_FOUND")
	}
	s.get("/projects/library/repositories/absent/artifacts").is(http.StatusOK).has("X-Total-Count", "0").says("[]") // as in Harbor
}

func TestArtifactsAreListedThoughTheStoreLostWhatTheyAreDescribedBy(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.push("library/app", image(""), "v1").String()
	for info, err := range s.blobs.List(t.Context(), "") {
		s.ok(err)
		s.ok(s.blobs.Delete(t.Context(), info.Name))
	}
	const base = "/projects/library/repositories/app/artifacts"
	if all := s.get(base).is(http.StatusOK).artifacts(); len(all) != 1 || all[0].Digest != d || all[0].Type != "IMAGE" {
		t.Errorf("%+v", all)
	}
	s.get(base + "/v1").is(http.StatusOK).says(d)
	if !strings.Contains(s.log.String(), d) {
		t.Error("the log does not tell of it")
	}
	s.get(base+"/v1/additions/build_history").is(http.StatusInternalServerError, "UNKNOWN")
}

func TestArtifactsAreFilteredAndSorted(t *testing.T) {
	t.Parallel()
	s := start(t)
	digests := map[string]string{}
	for i := range 3 {
		tags := []string{fmt.Sprintf("v%d", i), fmt.Sprintf("same-%d", i)}
		digests[tags[0]] = s.push("library/app", image(fmt.Sprintf(`,"annotations":{"i":"%s"}`, strings.Repeat("x", 3-i))), tags...).String()
	}
	digests["none"] = s.push("library/app", image(`,"annotations":{"untagged":"yes, it is, and it is long"}`)).String()
	for query, want := range map[string][]string{
		"q=tags=v1":                            {"v1"},
		"q=tags=~V":                            {"v2", "v1", "v0"},
		"q=" + url.QueryEscape("tags={v0 v2}"): {"v2", "v0"},
		"q=tags=*":                             {"v2", "v1", "v0"},
		"q=tags=nil":                           {"none"},
		"q=tags%3Dnil":                         {"none"},
		"q=digest=" + digests["v1"]:            {"v1"},
		"sort=size":                            {"v2", "v1", "v0", "none"},
		"sort=-push_time&page_size=2":          {"none", "v2"},
		"q=labels=(1)":                         {},
		"q=type=image":                         {"none", "v2", "v1", "v0"},
		"q=type=CHART":                         {},
		"q=media_type=application/vnd.oci.image.config.v1%252Bjson,tags=v1":            {"v1"},
		"q=media_type=application/vnd.oci.image.index.v1%252Bjson":                     {},
		"q=manifest_media_type=application/vnd.oci.image.manifest.v1%252Bjson,tags=v1": {"v1"},
		"q=" + url.QueryEscape("push_time=[2000-01-01T00:00:00~2001-01-01T00:00:00]"):  {},
		"q=" + url.QueryEscape("tags=(v0 same-0)"):                                     {"v0"},
		"q=" + url.QueryEscape("tags=(v0 v2)"):                                         {},
		"q=tags=~v,tags=~same-1":                                                       {"v1"},
	} {
		var got []string
		for _, a := range s.get("/projects/library/repositories/app/artifacts?" + query).artifacts() {
			got = append(got, a.Digest)
		}
		var wanted []string
		for _, name := range want {
			wanted = append(wanted, digests[name])
		}
		if !slices.Equal(got, wanted) {
			t.Errorf("%s: %v, want %v %v", query, got, want, wanted)
		}
	}
	for _, bad := range []string{"q=digest=x", "q=digest=~sha256", "q=labels=(x)", "q=labels={1}", "q=type=NOTHING", "q=type=~IMAGE"} {
		s.get("/projects/library/repositories/app/artifacts?"+bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}
}

func TestTagsAndAccessoriesHavePagesOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := start(t)
	d := s.push("library/app", image(""), "a", "b", "c")
	for i := range 3 {
		s.push("library/app", image(fmt.Sprintf(`,"artifactType":"text/kind-%d","subject":`, i)+descriptor(oci.MediaTypeImageManifest, image(""))))
	}
	base := "/projects/library/repositories/app/artifacts/a"
	var tags []harborapi.Tag
	s.get(base+"/tags?sort=name&page_size=2&with_immutable_status=true").is(http.StatusOK).has("X-Total-Count", "3").decode(&tags)
	if len(tags) != 2 || tags[0].Name != "a" || tags[1].Name != "b" || tags[0].Immutable {
		t.Errorf("%+v", tags)
	}
	s.get(base+"/tags?q=name=~C").is(http.StatusOK).has("X-Total-Count", "1").decode(&tags)
	var more []harborapi.Accessory
	s.get(base+"/accessories?page=2&page_size=2&sort=push_time").is(http.StatusOK).has("X-Total-Count", "3").decode(&more)
	if len(more) != 1 || more[0].Type != "subject.accessory" || more[0].SubjectArtifactDigest != d.String() || more[0].Size == 0 {
		t.Errorf("%+v", more)
	}
	s.get("/projects/library/repositories/app/artifacts/absent/tags").is(http.StatusNotFound, "NOT_FOUND")
}

func TestTimesAreWrittenAsHarborWritesThem(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(harborapi.Time(time.Date(2026, 1, 2, 3, 4, 5, 600_700_800, time.FixedZone("", 3600))))
	if err != nil || string(text) != `"2026-01-02T02:04:05.600Z"` {
		t.Errorf("%s %v", text, err)
	}
	var back harborapi.Time
	if err = json.Unmarshal([]byte(`"2026-01-02T02:04:05Z"`), &back); err != nil || !time.Time(back).Equal(time.Date(2026, 1, 2, 2, 4, 5, 0, time.UTC)) {
		t.Errorf("%v %v", time.Time(back), err)
	}
	if json.Unmarshal([]byte(`"yesterday"`), &back) == nil || json.Unmarshal([]byte(`1`), &back) == nil {
		t.Error("what is no time was read")
	}
}

func TestAProjectsArtifactsAreListedTogether(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := s.push("private/a", image(""), "1")
	s.push("private/b", image(""), "old")
	b := s.push("private/b", image(`,"annotations":{"new":"yes"}`), "new")
	s.push("library/c", image(""), "1")
	var id int64
	s.ok(s.db.Row(t.Context(), "SELECT id FROM projects WHERE name = 'private'").Scan(&id))
	for _, project := range []string{"private", fmt.Sprint(id)} {
		if all := s.get("/projects/"+project+"/artifacts").has("X-Total-Count", "3").artifacts(); len(all) != 3 || all[0].Digest != b.String() || all[0].RepositoryName != "private/b" {
			t.Errorf("%+v", all)
		}
	}
	s.get("/projects/"+fmt.Sprint(id)+"/artifacts", header("X-Is-Resource-Name", "true")).is(http.StatusNotFound) // no project is called so
	s.get("/projects/private/artifacts", header("X-Is-Resource-Name", "perhaps")).is(http.StatusUnprocessableEntity)
	if last := s.get("/projects/private/artifacts?latest_in_repository=true&sort=repository_name").artifacts(); len(last) != 2 || last[0].Digest != a.String() || last[1].Digest != b.String() {
		t.Errorf("%+v", last)
	}
	s.get("/projects/private/artifacts", nobody).is(http.StatusUnauthorized)
	s.get("/projects/4711/artifacts", s.logIn("somebody")).is(http.StatusForbidden)
}

func TestStatisticsAreOfWhatTheCallerSees(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("private/a", image(""), "1")
	s.push("library/b", image(""), "1")
	s.push("library/c", image(""), "1")
	look := func(want harborapi.Statistic, who ...with) {
		t.Helper()
		var got harborapi.Statistic
		if s.get("/statistics", who...).is(http.StatusOK).decode(&got); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
	look(harborapi.Statistic{
		PublicProjectCount: 1, PublicRepoCount: 2, PrivateProjectCount: 1, PrivateRepoCount: 1, TotalProjectCount: 2, TotalRepoCount: 3, TotalStorageConsumption: int64(len(imageConfig) + len(layer)),
	})
	look(harborapi.Statistic{PublicProjectCount: 1, PublicRepoCount: 2}, s.logIn("somebody"))
	look(harborapi.Statistic{PublicProjectCount: 1, PublicRepoCount: 2, PrivateProjectCount: 1, PrivateRepoCount: 1}, s.join("guest", "private", access.Guest))
	s.get("/statistics", nobody).is(http.StatusUnauthorized)
}

func TestALongManifestIsToldInFullAloneAndShortInALongList(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.push("library/app", image(`,"annotations":{"long":"`+strings.Repeat("x", 100<<10)+`"}`), "1")
	if all := s.get("/projects/library/repositories/app/artifacts").artifacts(); len(all) != 1 || all[0].Annotations != nil || all[0].Tags[0].Name != "1" {
		t.Errorf("%+v", all)
	}
	var one harborapi.Artifact
	if s.get("/projects/library/repositories/app/artifacts/1").is(http.StatusOK).decode(&one); len(one.Annotations["long"]) != 100<<10 || one.Type != "IMAGE" {
		t.Errorf("type %s, %d annotations", one.Type, len(one.Annotations))
	}
}

// signature writes one as cosign does that knows no referrers.
func signature(what string) string {
	return `{"schemaVersion":2,"mediaType":"` + oci.MediaTypeImageManifest + `","config":` + descriptor("application/vnd.oci.image.config.v1+json", imageConfig) +
		`,"layers":[` + descriptor("application/vnd.dev.cosign.simplesigning.v1+json", layer) + `],"annotations":{"what":"` + what + `"}}`
}

func TestASignatureIsAttachedByItsTag(t *testing.T) {
	t.Parallel()
	s := start(t)
	const base = "/projects/library/repositories/app/artifacts"
	signed := oci.Sum(oci.SHA256, []byte(image("")))
	tag := "sha256-" + signed.Hex() + ".sig"
	early := s.push("library/app", signature("early"), tag)
	if list := s.get(base).artifacts(); len(list) != 1 || list[0].Digest != early.String() {
		t.Fatalf("a signature of what is not there is an artifact like others: %+v", list)
	}
	s.push("library/app", image(""), "1")
	attached := func(repository string, want ...oci.Digest) {
		t.Helper()
		list := s.get("/projects/library/repositories/"+repository+"/artifacts?with_accessory=true").has("X-Total-Count", "1").artifacts()
		if len(list) != 1 || list[0].Digest != signed.String() || len(list[0].Accessories) != len(want) {
			t.Fatalf("%+v", list)
		}
		var all []harborapi.Accessory
		s.get("/projects/library/repositories/"+repository+"/artifacts/1/accessories").is(http.StatusOK).has("X-Total-Count", strconv.Itoa(len(want))).decode(&all)
		for i, d := range want {
			for _, a := range []harborapi.Accessory{list[0].Accessories[i], all[i]} {
				if a.Digest != d.String() || a.Type != "signature.cosign" || a.SubjectArtifactDigest != signed.String() || a.SubjectArtifactID != list[0].ID {
					t.Errorf("%+v", a)
				}
			}
		}
	}
	attached("app", early)
	name, err := oci.ParseName("library/app")
	s.ok(err)
	for _, n := range []int{-1, 1} {
		if page, listErr := s.registry.Referrers(t.Context(), name, signed, "", n, ""); listErr != nil || len(page.Descriptors) != 0 {
			t.Errorf("what does not name its subject is a referrer: %+v, %v", page, listErr)
		}
	}
	s.do(http.MethodPost, "/projects/library/repositories/copy/artifacts?from=library/app:1", nil).is(http.StatusCreated)
	attached("copy", early)
	s.get("/projects/library/repositories/copy/artifacts/" + tag).is(http.StatusOK).says(early.String())
	// What was pushed before it got the tag; other tags, and other things under such tags, attach nothing.
	s.push("library/other", image(""), "1")
	late := s.push("library/other", signature("late"))
	s.push("library/other", signature("late"), tag)
	attached("other", late)
	s.push("library/other", image(`,"annotations":{"a":"b"}`), "sha256-"+signed.Hex()+".sbom")
	s.push("library/other", signature("loose"), "loose")
	if list := s.get("/projects/library/repositories/other/artifacts").artifacts(); len(list) != 3 {
		t.Errorf("%d artifacts", len(list))
	}
	s.do(http.MethodDelete, base+"/1", nil).is(http.StatusOK)
	s.get(base + "/" + tag).is(http.StatusNotFound)
}
