package oci_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
)

const (
	image      = oci.MediaTypeImageManifest
	index      = oci.MediaTypeImageIndex
	docker     = oci.MediaTypeDockerManifest
	dockerList = oci.MediaTypeDockerManifestList
)

// part writes a descriptor whose digest is made of one digit; more is put in behind its keys.
func part(mediaType, digit string, size int, more string) string {
	return fmt.Sprintf(`{"mediaType":%q,"digest":"sha256:%s","size":%d%s}`, mediaType, strings.Repeat(digit, 64), size, more)
}

var (
	config = part("application/vnd.oci.image.config.v1+json", "c", 7, "")
	layer  = part("application/vnd.oci.image.layer.v1.tar+gzip", "1", 8, "")
	child  = part(image, "2", 9, `,"platform":{"architecture":"amd64","os":"linux"}`)
)

func imageOf(config, layers, more string) string {
	return `{"schemaVersion":2,"mediaType":"` + image + `","config":` + config + `,"layers":[` + layers + `]` + more + `}`
}

func indexOf(children, more string) string {
	return `{"schemaVersion":2,"mediaType":"` + index + `","manifests":[` + children + `]` + more + `}`
}

// sample is a manifest as it is sent.
type sample struct{ what, contentType, body string }

// good are manifests that the image specification allows, the odd ones that the conformance suite and real clients send among them.
func good() []sample {
	foreign := part("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", "3", 123456, `,"urls":["https://store.example.com/3"]`)
	var annotations []string
	for i := range 390 {
		annotations = append(annotations, fmt.Sprintf(`"large-annotation-%d":%q`, i, strings.Repeat("A", 10_000)))
	}
	return []sample{
		{"an image", image, imageOf(config, layer, "")},
		{"an image whose Content-Type has a parameter", image + "; charset=utf-8", imageOf(config, layer, "")},
		{"an image whose Content-Type has odd parameters", " " + strings.ToUpper(image) + " ; charset; charset=a; charset=b; =", imageOf(config, layer, "")},
		{"an image sent without Content-Type", "", imageOf(config, layer, "")},
		{"an image without mediaType", image, `{"schemaVersion":2,"config":` + config + `,"layers":[` + layer + `]}`},
		{"an image with white space around", image, "\n\t " + imageOf(config, layer, "") + "\r\n"},
		{"an image without layers", image, imageOf(config, "", "")},
		{"an image with layers null", image, `{"schemaVersion":2,"mediaType":"` + image + `","config":` + config + `,"layers":null}`},
		{"an image with the same layer twice", image, imageOf(config, layer+","+layer, "")},
		{"an image with an empty layer", image, imageOf(config, part("application/octet-stream", "e", 0, ""), "")},
		{"an image with non-distributable layers", image, imageOf(config, foreign+","+layer, "")},
		{"an image with data fields", image, imageOf(part("application/vnd.oci.empty.v1+json", "4", 2, `,"data":"e30="`), layer, "")},
		{"an image with sha512", image, imageOf(config, `{"mediaType":"a/b","digest":"`+emptySHA512+`","size":0}`, "")},
		{"an image with unknown keys", image, imageOf(config, part("a/b", "5", 1, `,"org.example":{"Size":[1],"digest":{},"Layers":0}`), `,"org.example":{"MediaType":"x","size":-1}`)},
		{"an image with large annotations", image, imageOf(config, layer, `,"annotations":{`+strings.Join(annotations, ",")+`}`)},
		{"an image with annotations named like keys", image, imageOf(config, layer, `,"annotations":{"Layers":"","SIZE":"","":""}`)},
		{"an artifact of any config type", image, imageOf(part("application/vnd.example; version=1", "6", 1, ""), "", "")},
		{"an artifact with artifactType", image, imageOf(part("application/vnd.oci.empty.v1+json", "4", 2, ""), layer, `,"artifactType":"application/vnd.example+type"`)},
		{"an artifact with a subject", image, imageOf(config, layer, `,"subject":`+part(image, "7", 3, ""))},
		{"a subject without a type", image, imageOf(config, layer, `,"subject":{"digest":"`+emptySHA256+`","size":1}`)},
		{"an index", index, indexOf(child, "")},
		{"an empty index", index, indexOf("", "")},
		{"an index of indexes", index, indexOf(part(index, "8", 1, "")+","+part(dockerList, "9", 1, ""), "")},
		{"an index with subject, artifactType and annotations", index, indexOf(child, `,"artifactType":"a/b","subject":`+part(image, "7", 3, "")+`,"annotations":{"a":"b"}`)},
		{"an index of any media type", index, indexOf(part("application/vnd.example.other", "8", 1, ""), "")},
		{"an index with config null", index, indexOf(child, `,"config":null,"layers":null`)},
		{"a Docker image", docker, strings.ReplaceAll(imageOf(config, layer, ""), image, docker)},
		{"a Docker list", dockerList, strings.ReplaceAll(indexOf(part(docker, "2", 9, `,"platform":{"architecture":"arm","os":"linux","variant":"v7","features":["x"]}`), ""), index, dockerList)},
		{"nesting that is allowed", image, imageOf(config, layer, `,"x":`+strings.Repeat("[", 62)+strings.Repeat("]", 62))},
	}
}

// bad are manifests that must be refused, as bad input or as schema 1.
func bad() []sample {
	replaced := func(old, with string) string { return strings.Replace(imageOf(config, layer, ""), old, with, 1) }
	bigKeys := make([]string, 10_001)
	for i := range bigKeys {
		bigKeys[i] = fmt.Sprintf(`"%d":""`, i)
	}
	return append([]sample{
		{"nothing", image, ""},
		{"no JSON", image, "hello"},
		{"null", image, "null"},
		{"a list", image, "[]"},
		{"a string", image, `"x"`},
		{"an empty object", image, "{}"},
		{"half a manifest", image, imageOf(config, layer, "")[:200]},
		{"two manifests", image, imageOf(config, layer, "") + imageOf(config, layer, "")},
		{"bytes behind", image, imageOf(config, layer, "") + "x"},
		{"a NUL behind", image, imageOf(config, layer, "") + "\x00"},
		{"a byte order mark", image, "\ufeff" + imageOf(config, layer, "")},
		{"a comma too many", image, imageOf(config, layer+",", "")},
		{"invalid UTF-8", image, imageOf(config, layer, ",\"x\":\"\xff\"")},
		{"overlong UTF-8", image, imageOf(config, layer, ",\"x\":\"\xc0\xaf\"")},
		{"deep lists", image, imageOf(config, layer, `,"x":`+strings.Repeat("[", 64)+strings.Repeat("]", 64))},
		{"very deep lists", image, strings.Repeat("[", 1_000_000)},
		{"very deep objects", image, strings.Repeat(`{"a":`, 500_000)},
		{"a key twice", image, imageOf(config, layer, `,"schemaVersion":2`)},
		{"a key twice, once escaped", image, imageOf(config, layer, `,"l\u0061yers":[]`)},
		{"an unknown key twice", image, imageOf(config, layer, `,"x":1,"x":1`)},
		{"a key twice in a layer", image, imageOf(config, part("a/b", "5", 1, `,"size":1`), "")},
		{"an annotation twice", image, imageOf(config, layer, `,"annotations":{"a":"1","a":"1"}`)},
		{"a key twice deep inside", image, imageOf(config, layer, `,"x":[{"y":{"z":1,"z":2}}]`)},
		{"a key in another case", image, imageOf(config, layer, `,"Layers":[]`)},
		{"only a key in another case", image, replaced(`"layers"`, `"LAYERS"`)},
		{"a key with a letter that folds", image, imageOf(config, layer, `,"layerſ":[]`)},
		{"a key in another case in a layer", image, imageOf(config, part("a/b", "5", 1, `,"Digest":"`+emptySHA256+`"`), "")},
		{"a letter that folds in a child", index, indexOf(part(image, "5", 1, `,"ſize":2`), "")},
		{"too many keys", image, imageOf(config, layer, `,"annotations":{`+strings.Join(bigKeys, ",")+`}`)},
		{"a million empty descriptors", image, imageOf(config, strings.Repeat("{},", 1_000_000)+"{}", "")},
		{"forty thousand null descriptors", image, imageOf(config, strings.Repeat("null,", 40_000)+"null", "")},
		{"no schemaVersion", image, replaced(`"schemaVersion":2,`, "")},
		{"schemaVersion 3", image, replaced(`"schemaVersion":2`, `"schemaVersion":3`)},
		{"schemaVersion as text", image, replaced(`"schemaVersion":2`, `"schemaVersion":"2"`)},
		{"schemaVersion null", image, replaced(`"schemaVersion":2`, `"schemaVersion":null`)},
		{"another Content-Type", docker, imageOf(config, layer, "")},
		{"an image sent as an index", index, imageOf(config, layer, "")},
		{"an image sent as JSON", "application/json", imageOf(config, layer, "")},
		{"a Content-Type that is none", "no type; /", imageOf(config, layer, "")},
		{"a media type nowhere", "", `{"schemaVersion":2,"config":` + config + `,"layers":[]}`},
		{"an unknown media type", "application/vnd.oci.artifact.manifest.v1+json", strings.ReplaceAll(imageOf(config, layer, ""), image, "application/vnd.oci.artifact.manifest.v1+json")},
		{"a media type as a number", image, replaced(`"mediaType":"`+image+`"`, `"mediaType":1`)},
		{"no config", image, replaced(`"config":`+config+`,`, "")},
		{"config null", image, replaced(config, "null")},
		{"config as text", image, replaced(config, `"x"`)},
		{"an empty config", image, replaced(config, "{}")},
		{"layers as an object", image, replaced("["+layer+"]", "{}")},
		{"layers of text", image, imageOf(config, `"x"`, "")},
		{"a null layer", image, imageOf(config, "null", "")},
		{"an image with manifests", image, imageOf(config, layer, `,"manifests":[]`)},
		{"an index with a config", index, indexOf(child, `,"config":`+config)},
		{"an index with layers", index, indexOf(child, `,"layers":[]`)},
		{"an index without manifests", index, `{"schemaVersion":2,"mediaType":"` + index + `"}`},
		{"an index with manifests null", index, `{"schemaVersion":2,"mediaType":"` + index + `","manifests":null}`},
		{"a Docker image without layers", docker, `{"schemaVersion":2,"mediaType":"` + docker + `","config":` + config + `}`},
		{"an artifact type with a line break", image, imageOf(config, layer, `,"artifactType":"a/b\n"`)},
		{"an artifact type with NUL", index, indexOf(child, `,"artifactType":"a/\u0000"`)},
		{"an artifact type that is not ASCII", index, indexOf(child, `,"artifactType":"ä/b"`)},
		{"a long artifact type", image, imageOf(config, layer, `,"artifactType":"`+strings.Repeat("a", 256)+`"`)},
		{"a long config type", image, imageOf(part(strings.Repeat("a", 256), "c", 1, ""), layer, "")},
		{"annotations that are not text", image, imageOf(config, layer, `,"annotations":{"a":1}`)},
		{"annotations as a list", image, imageOf(config, layer, `,"annotations":[]`)},
	}, badDescriptors()...)
}

// badDescriptors puts each bad descriptor where descriptors stand.
func badDescriptors() []sample {
	var all []sample
	for what, d := range map[string]string{
		"a negative size":       part("a/b", "5", -1, ""),
		"a size with a point":   strings.Replace(part("a/b", "5", 1, ""), `"size":1`, `"size":1.5`, 1),
		"a size of text":        strings.Replace(part("a/b", "5", 1, ""), `"size":1`, `"size":"1"`, 1),
		"a size null":           strings.Replace(part("a/b", "5", 1, ""), `"size":1`, `"size":null`, 1),
		"a size beyond 64 bits": strings.Replace(part("a/b", "5", 1, ""), `"size":1`, `"size":9223372036854775808`, 1),
		"no size":               strings.Replace(part("a/b", "5", 1, ""), `,"size":1`, ``, 1),
		"no digest":             `{"mediaType":"a/b","size":1}`,
		"an empty digest":       `{"mediaType":"a/b","size":1,"digest":""}`,
		"a short digest":        `{"mediaType":"a/b","size":1,"digest":"sha256:00"}`,
		"an upper-case digest":  `{"mediaType":"a/b","size":1,"digest":"sha256:` + strings.Repeat("A", 64) + `"}`,
		"an unknown algorithm":  `{"mediaType":"a/b","size":1,"digest":"md5:d41d8cd98f00b204e9800998ecf8427e"}`,
		"a digest that climbs":  `{"mediaType":"a/b","size":1,"digest":"../../etc/passwd"}`,
		"a type with a tab":     part("a/b", "5", 1, `,"artifactType":"a\tb"`),
	} {
		all = append(all,
			sample{what + " in a config", image, imageOf(d, layer, "")},
			sample{what + " in a layer", image, imageOf(config, layer+","+d, "")},
			sample{what + " in a child", index, indexOf(child+","+d, "")},
			sample{what + " in a subject", image, imageOf(config, layer, `,"subject":`+d)},
		)
	}
	noType := `{"digest":"` + emptySHA256 + `","size":1}`
	return append(all,
		sample{"no media type in a config", image, imageOf(noType, layer, "")},
		sample{"no media type in a layer", image, imageOf(config, noType, "")},
		sample{"no media type in a child", index, indexOf(noType, "")},
	)
}

// schema1s are Docker's old manifests, as clients of that time sent them.
func schema1s() []sample {
	body := `{"schemaVersion":1,"name":"a/b","tag":"1","architecture":"amd64","fsLayers":[{"blobSum":"` + emptySHA256 + `"}],"history":[],"signatures":[]}`
	return []sample{
		{"signed", "application/vnd.docker.distribution.manifest.v1+prettyjws", body},
		{"unsigned", "application/vnd.docker.distribution.manifest.v1+json", body},
		{"sent as JSON", "application/json", body},
		{"sent as an image", image, body},
		{"sent without Content-Type", "", body},
		{"hidden in schema 2", image, imageOf(config, layer, `,"fsLayers":[]`)},
	}
}

func TestWhatTheSpecificationAllowsIsTaken(t *testing.T) {
	t.Parallel()
	for _, s := range good() {
		m, err := oci.ParseManifest(s.contentType, []byte(s.body))
		if err != nil {
			t.Errorf("%s: %v", s.what, err)
			continue
		}
		checkManifest(t, m, s.contentType, []byte(s.body))
	}
}

func TestBadManifestsAreRefused(t *testing.T) {
	t.Parallel()
	for _, s := range bad() {
		m, err := oci.ParseManifest(s.contentType, []byte(s.body))
		if !fail.Is(err, fail.Invalid) || fail.CodeOf(err) != oci.CodeManifestInvalid {
			t.Errorf("%s: %v, kind %v, code %q", s.what, err, fail.KindOf(err), fail.CodeOf(err))
		}
		if m != nil {
			t.Errorf("%s: a manifest beside the error", s.what)
		}
		if err != nil && len(err.Error()) > 2000 {
			t.Errorf("%s: an error of %d bytes", s.what, len(err.Error()))
		}
	}
}

func TestSchema1IsRefusedClearly(t *testing.T) {
	t.Parallel()
	for _, s := range schema1s() {
		_, err := oci.ParseManifest(s.contentType, []byte(s.body))
		if !fail.Is(err, fail.Unsupported) || fail.CodeOf(err) != oci.CodeManifestInvalid || !strings.Contains(fail.HintOf(err), "schema 2") {
			t.Errorf("%s: %v, kind %v, code %q, hint %q", s.what, err, fail.KindOf(err), fail.CodeOf(err), fail.HintOf(err))
		}
	}
}

func TestAManifestHasAtMost4MiB(t *testing.T) {
	t.Parallel()
	body := imageOf(config, layer, "")
	for size, want := range map[int]error{oci.MaxManifestBytes: nil, oci.MaxManifestBytes + 1: errors.New("too large"), 5 << 20: errors.New("too large")} {
		_, err := oci.ParseManifest(image, []byte(body+strings.Repeat(" ", size-len(body))))
		if (err == nil) != (want == nil) || err != nil && !fail.Is(err, fail.TooLarge) {
			t.Errorf("%d bytes: %v, want %v", size, err, want)
		}
	}
}

func TestTheArtifactTypeOfAReferrer(t *testing.T) {
	t.Parallel()
	typed := `,"artifactType":"application/vnd.example"`
	for _, c := range []struct{ what, contentType, body, want string }{
		{"an image", image, imageOf(config, layer, ""), "application/vnd.oci.image.config.v1+json"},
		{"an image with one", image, imageOf(config, layer, typed), "application/vnd.example"},
		{"an image with an empty one", image, imageOf(config, layer, `,"artifactType":""`), "application/vnd.oci.image.config.v1+json"},
		{"an index", index, indexOf(child, ""), ""},
		{"an index with one", index, indexOf(child, typed), "application/vnd.example"},
	} {
		if m, err := oci.ParseManifest(c.contentType, []byte(c.body)); err != nil || m.ArtifactType != c.want {
			t.Errorf("%s: %+v, %v, want %q", c.what, m, err, c.want)
		}
	}
}

func TestRequiredBlobsAreConfigAndLayersOnceWithoutForeignOnes(t *testing.T) {
	t.Parallel()
	foreign := part("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "3", 1, "")
	m, err := oci.ParseManifest(image, []byte(imageOf(config, layer+","+foreign+","+layer+","+config+","+foreign, "")))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, d := range m.RequiredBlobs() {
		got = append(got, d.Digest.Hex()[:1])
	}
	if !slices.Equal(got, []string{"c", "1"}) {
		t.Errorf("required %v, want c and 1", got)
	}
	if f := m.Foreign(); len(f) != 1 || f[0].Digest.Hex()[:1] != "3" {
		t.Errorf("foreign %v, want 3", f)
	}
	m, err = oci.ParseManifest(index, []byte(indexOf(child, "")))
	if err != nil || len(m.RequiredBlobs()) != 0 || len(m.Children) != 1 {
		t.Errorf("index: %+v, %v", m, err)
	}
}

func TestADescriptorIsWrittenAsItWasRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		part("a/b", "5", 0, ""),
		`{"mediaType":"a/b","digest":"` + emptySHA512 + `","size":9223372036854775807,"urls":["https://a"],"annotations":{"a":"b"},"platform":{"os":"linux","x":[1]},"artifactType":"c/d"}`,
	} {
		var d oci.Descriptor
		if err := json.Unmarshal([]byte(text), &d); err != nil {
			t.Fatal(err)
		}
		if again, err := json.Marshal(d); err != nil || string(again) != text {
			t.Errorf("%s became %s, %v", text, again, err)
		}
	}
}

// strictly reads a manifest without encoding/json's folding of keys: the second opinion on what ParseManifest read.
type strictly map[string]json.RawMessage

func object(t *testing.T, text []byte) strictly {
	t.Helper()
	var o strictly
	if err := json.Unmarshal(text, &o); err != nil {
		t.Fatalf("%.300s: %v", text, err)
	}
	return o
}

func (o strictly) has(key string) bool { return o[key] != nil && string(o[key]) != "null" }

func (o strictly) list(t *testing.T, key string) []strictly {
	t.Helper()
	var all []strictly
	if o.has(key) {
		if err := json.Unmarshal(o[key], &all); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	return all
}

func (o strictly) same(t *testing.T, d oci.Descriptor) {
	t.Helper()
	var mediaType, digest string
	var size int64
	for key, into := range map[string]any{"mediaType": &mediaType, "digest": &digest, "size": &size} {
		if !o.has(key) && key == "mediaType" {
			continue
		}
		if err := json.Unmarshal(o[key], into); err != nil {
			t.Fatalf("%s: %v", key, err)
		}
	}
	if mediaType != d.MediaType || digest != d.Digest.String() || size != d.Size || size < 0 {
		t.Fatalf("descriptor %+v was read from %s", d, o)
	}
}

// checkManifest compares what was read with what a strict reader finds.
func checkManifest(t *testing.T, m *oci.Manifest, contentType string, body []byte) {
	t.Helper()
	o := object(t, body)
	if m.MediaType != image && m.MediaType != index && m.MediaType != docker && m.MediaType != dockerList {
		t.Fatalf("media type %q", m.MediaType)
	}
	if contentType != "" && !strings.EqualFold(m.MediaType, strings.TrimSpace(strings.Split(contentType, ";")[0])) {
		t.Fatalf("media type %q of what was sent as %q", m.MediaType, contentType)
	}
	isIndex := m.MediaType == index || m.MediaType == dockerList
	if isIndex != (m.Kind == oci.Index) || isIndex != o.has("manifests") || isIndex == o.has("config") || (m.Config == nil) != isIndex {
		t.Fatalf("kind %v of media type %q: %+v", m.Kind, m.MediaType, m)
	}
	layers, children := o.list(t, "layers"), o.list(t, "manifests")
	if len(layers) != len(m.Layers) || len(children) != len(m.Children) || isIndex && len(layers) > 0 || !isIndex && len(children) > 0 {
		t.Fatalf("%d layers and %d children were read as %d and %d", len(layers), len(children), len(m.Layers), len(m.Children))
	}
	for i := range layers {
		layers[i].same(t, m.Layers[i])
	}
	for i := range children {
		children[i].same(t, m.Children[i])
	}
	if m.Config != nil {
		object(t, o["config"]).same(t, *m.Config)
	}
	if o.has("subject") != (m.Subject != nil) {
		t.Fatalf("subject %v of %s", m.Subject, o["subject"])
	}
	if m.Subject != nil {
		object(t, o["subject"]).same(t, *m.Subject)
	}
	if len(m.ArtifactType) > 255 {
		t.Fatalf("artifact type of %d bytes", len(m.ArtifactType))
	}
	for _, d := range m.RequiredBlobs() {
		if d.IsForeign() && (m.Config == nil || d.Digest != m.Config.Digest) {
			t.Fatalf("foreign layer %s is required", d.Digest)
		}
	}
}

func FuzzManifest(f *testing.F) {
	for _, s := range slices.Concat(good(), bad(), schema1s()) {
		if len(s.body) < 10_000 { // larger seeds only slow the fuzzer down
			f.Add(s.contentType, []byte(s.body))
		}
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		m, err := oci.ParseManifest(contentType, body)
		if err == nil {
			checkManifest(t, m, contentType, body)
			return
		}
		kind := fail.KindOf(err)
		if m != nil || kind != fail.Invalid && kind != fail.Unsupported || fail.CodeOf(err) != oci.CodeManifestInvalid {
			t.Fatalf("%+v, %v, kind %v, code %q", m, err, kind, fail.CodeOf(err))
		}
	})
}

func TestOneDigestHasOneSize(t *testing.T) {
	t.Parallel()
	foreign := part("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "3", 1, "")
	again := strings.Replace(layer, `"size":`, `"size":1`, 1)
	for _, text := range []string{imageOf(config, layer+","+again, ""), imageOf(config, again+","+foreign+","+strings.Replace(foreign, `"size":`, `"size":1`, 1), "")} {
		if _, err := oci.ParseManifest(image, []byte(text)); fail.CodeOf(err) != oci.CodeManifestInvalid {
			t.Errorf("%v for %s", err, text)
		}
	}
	if _, err := oci.ParseManifest(index, []byte(indexOf(child+","+strings.Replace(child, `"size":`, `"size":1`, 1), ""))); fail.CodeOf(err) != oci.CodeManifestInvalid {
		t.Error(err)
	}
}
