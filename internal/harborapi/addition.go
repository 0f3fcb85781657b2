package harborapi

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

const (
	chartType  = "CHART"
	chartLayer = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"

	buildHistory, chartReadme, chartValues, chartDependencies = "build_history", "readme.md", "values.yaml", "dependencies"

	// maxChart bounds what is unpacked of a chart, and maxChartFile one file of it: readers' texts have some 100 KiB.
	maxChart     = 32 << 20
	maxChartFile = 1 << 20
)

// additions are the parts for readers that each kind of artifact has.
var additions = map[string][]string{imageType: {buildHistory}, chartType: {chartReadme, chartValues, chartDependencies}}

// linksOf answers where the parts for readers of an artifact are.
func linksOf(a *Artifact) AdditionLinks {
	if a.MediaType == a.ManifestMediaType { // of an index, each child has its own
		return nil
	}
	project, rest, _ := strings.Cut(a.RepositoryName, "/")
	links := AdditionLinks{}
	for _, kind := range additions[a.Type] {
		links[kind] = AdditionLink{Href: Base + "/projects/" + project + "/repositories/" + url.PathEscape(url.PathEscape(rest)) + "/artifacts/" + a.Digest + "/additions/" + kind}
	}
	return links
}

// GetAddition answers a part of an artifact for readers.
func (a *API) GetAddition(c *call, repositoryName, text, kind string) error {
	found, err := a.find(c, repositoryName, text)
	if err != nil {
		return err
	}
	is, err := a.artifact(c, &found, shown{})
	if err != nil {
		return err
	}
	kind = strings.ToLower(kind)
	if _, has := is.AdditionLinks[kind]; !has {
		return fail.E(fail.Invalid, nil, "addition %.40q of an artifact of type %s", kind, is.Type).Hint("images have %s, charts %s", strings.Join(additions[imageType], ", "), strings.Join(additions[chartType], ", "))
	}
	m, err := oci.ParseManifest(found.MediaType, found.Body)
	if err != nil {
		return fail.E(fail.Internal, err, "manifest %s of %s, as it is stored", found.Digest, found.Repository)
	}
	name, err := c.repository(repositoryName)
	if err != nil {
		return err
	}
	if kind == buildHistory {
		return a.history(c, name, m)
	}
	return a.chart(c, name, m, kind)
}

// history answers how an image was built, as its configuration tells.
func (a *API) history(c *call, name oci.Name, m *oci.Manifest) error {
	config, err := a.readConfig(c, name, *m.Config)
	if err != nil {
		return err
	}
	steps, ok := config["history"].([]any)
	if !ok {
		steps = []any{}
	}
	return c.json(http.StatusOK, steps)
}

// chart answers a file of a chart, or what it depends on. A file that it does not have is empty, as in Harbor.
func (a *API) chart(c *call, name oci.Name, m *oci.Manifest, kind string) error {
	wanted := map[string][]string{chartReadme: {"readme.md"}, chartValues: {"values.yaml"}, chartDependencies: {"chart.yaml", "requirements.yaml"}}[kind]
	files := map[string][]byte{}
	for _, layer := range m.Layers {
		if layer.MediaType != chartLayer {
			continue
		}
		in, err := a.Registry.OpenBlob(c.Context(), name, layer.Digest)
		if err == nil {
			files, err = chartFiles(in, wanted)
			err = errors.Join(err, in.Close())
		}
		if err != nil {
			return err
		}
		break
	}
	switch kind {
	case chartReadme:
		return c.bytes(http.StatusOK, "text/markdown; charset=utf-8", files["readme.md"])
	case chartValues:
		return c.bytes(http.StatusOK, "text/plain; charset=utf-8", files["values.yaml"])
	}
	all, err := dependencies(files["chart.yaml"], files["requirements.yaml"])
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, all)
}

// chartFiles reads files at the top of a chart, by their names in small letters. Invalid: it is no archive, or a large one.
func chartFiles(in io.Reader, wanted []string) (map[string][]byte, error) {
	files := map[string][]byte{}
	zip, err := gzip.NewReader(in)
	if err != nil {
		return nil, badChart(err)
	}
	archive := tar.NewReader(io.LimitReader(zip, maxChart))
	for len(files) < len(wanted) {
		entry, nextErr := archive.Next()
		if errors.Is(nextErr, io.EOF) {
			break
		}
		if nextErr != nil {
			return nil, badChart(nextErr)
		}
		top, file := path.Split(path.Clean(entry.Name))
		if file = strings.ToLower(file); strings.Count(top, "/") != 1 || !slices.Contains(wanted, file) || entry.Typeflag != tar.TypeReg {
			continue
		}
		if files[file], err = io.ReadAll(io.LimitReader(archive, maxChartFile)); err != nil {
			return nil, badChart(err)
		}
	}
	return files, nil
}

func badChart(cause error) error {
	if fail.KindOf(cause) == fail.Unavailable { // the store, not the chart
		return cause
	}
	return fail.E(fail.Invalid, nil, "the chart can't be unpacked: %.200s", cause).Hint("its layer is to be a tar archive with gzip, of at most %d MiB unpacked", maxChart>>20)
}

// dependency is a chart that a chart depends on.
type dependency struct {
	Name       string `json:"name" yaml:"name"`
	Version    string `json:"version" yaml:"version"`
	Repository string `json:"repository" yaml:"repository"`
}

// dependencies reads them from the files that name them, of which old charts have the second.
func dependencies(texts ...[]byte) ([]dependency, error) {
	all := []dependency{}
	for _, text := range texts {
		var file struct {
			Dependencies []dependency `yaml:"dependencies"`
		}
		if err := yaml.Unmarshal(text, &file); err != nil {
			return nil, fail.E(fail.Invalid, nil, "the chart's list of dependencies is no YAML")
		}
		all = append(all, file.Dependencies...)
	}
	return all, nil
}

// describeConfig makes of a configuration what Harbor tells of an artifact: of images some fields, of charts and the like all.
func describeConfig(kind string, config map[string]any) ExtraAttrs {
	if kind != imageType {
		return config
	}
	attrs := ExtraAttrs{}
	for _, key := range []string{"architecture", "os", "created", "config"} {
		if v, ok := config[key]; ok {
			attrs[key] = v
		}
	}
	author, told := config["author"].(string)
	if inner, ok := config["config"].(map[string]any); ok && (!told || author == "") {
		if labels, isMap := inner["Labels"].(map[string]any); isMap {
			for _, key := range []string{"maintainer", "org.opencontainers.image.authors"} { // the second counts where both are there
				if v, isText := labels[key].(string); isText && v != "" {
					author = v
				}
			}
		}
	}
	attrs["author"] = author
	return attrs
}
