package harborapi_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"net/http"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/harborapi"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/registry"
)

const helmConfig = "application/vnd.cncf.helm.config.v1+json"

// archive packs files as helm does.
func archive(t *testing.T, files map[string]string) string {
	t.Helper()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	w := tar.NewWriter(zip)
	for name, text := range files {
		err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(len(text))})
		if err == nil {
			_, err = w.Write([]byte(text))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// pushWith pushes an artifact of a configuration and one layer.
func (s *service) pushWith(repo, tag, configType, config, layerType, content string) {
	s.Helper()
	name, err := oci.ParseName(repo)
	s.ok(err)
	for _, text := range []string{config, content} {
		_, err = s.registry.PushBlob(s.Context(), name, registry.PushBlob{Pusher: pusher, Body: strings.NewReader(text), Digest: oci.Sum(oci.SHA256, []byte(text)), Size: int64(len(text))})
		s.ok(err)
	}
	s.push(repo, `{"schemaVersion":2,"mediaType":"`+oci.MediaTypeImageManifest+`","config":`+descriptor(configType, config)+`,"layers":[`+descriptor(layerType, content)+`]}`, tag)
}

func TestArtifactsHavePartsForReaders(t *testing.T) {
	t.Parallel()
	s := start(t)
	config := `{"architecture":"amd64","os":"linux","config":{"Labels":{"maintainer":"them"}},"history":[{"created_by":"ADD x","empty_layer":true}]}`
	s.pushWith("library/a/b", "image", "application/vnd.oci.image.config.v1+json", config, "application/vnd.oci.image.layer.v1.tar", layer)
	s.pushWith("library/a/b", "chart", helmConfig, `{"name":"web","version":"1.0.0"}`, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", archive(t, map[string]string{
		"web/README.md": "# Web", "web/values.yaml": "replicas: 2\n", "web/Chart.yaml": "name: web\ndependencies:\n- name: db\n  version: ~1\n  repository: oci://x\n",
		"web/charts/db/README.md": "of the other", "web/charts/db/Chart.yaml": "dependencies: [{name: wrong}]",
	}))
	s.pushWith("library/a/b", "broken", helmConfig, `{"name":"broken"}`, "application/vnd.cncf.helm.chart.content.v1.tar+gzip", "no archive")
	base := "/projects/library/repositories/a%252Fb/artifacts/"

	var image, chart harborapi.Artifact
	s.get(base + "image").is(http.StatusOK).decode(&image)
	s.get(base + "chart").is(http.StatusOK).decode(&chart)
	if image.ExtraAttrs["author"] != "them" || len(image.AdditionLinks) != 1 || chart.Type != "CHART" || chart.ExtraAttrs["version"] != "1.0.0" || len(chart.AdditionLinks) != 3 {
		t.Errorf("%+v %+v", image, chart)
	}
	follow := func(a harborapi.Artifact, kind string) *answer {
		t.Helper()
		return s.get(a.AdditionLinks[kind].Href).is(http.StatusOK)
	}
	follow(image, "build_history").says(`[{"created_by":"ADD x","empty_layer":true}]`)
	if a := follow(chart, "readme.md").has("Content-Type", "text/markdown; charset=utf-8"); string(a.body) != "# Web" {
		t.Errorf("%q", a.body)
	}
	if a := follow(chart, "values.yaml").has("Content-Type", "text/plain; charset=utf-8"); string(a.body) != "replicas: 2\n" {
		t.Errorf("%q", a.body)
	}
	if a := follow(chart, "dependencies"); string(a.body) != `[{"name":"db","version":"~1","repository":"oci://x"}]`+"\n" {
		t.Errorf("%q", a.body)
	}
	s.get(base + "chart/additions/README.MD").is(http.StatusOK).says("# Web")
	for _, bad := range []string{"chart/additions/build_history", "image/additions/readme.md", "image/additions/x", "broken/additions/readme.md"} {
		s.get(base+bad).is(http.StatusBadRequest, "BAD_REQUEST")
	}
	s.get(base+"absent/additions/readme.md").is(http.StatusNotFound, "NOT_FOUND")
}
