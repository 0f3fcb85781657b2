package main

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

const (
	kib = 1 << 10
	mib = 1 << 20

	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"
)

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int    `json:"size"`
}

type manifest struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Config        descriptor   `json:"config"`
	Layers        []descriptor `json:"layers"`
}

// image is a manifest with the blobs it needs, all known beforehand so that no hashing of ours falls into the measured time.
type image struct {
	config   []byte
	layers   [][]byte
	digests  []string // config first, then the layers
	manifest []byte
	digest   string
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// noise answers size bytes that do not compress.
func noise(source *rand.Rand, size int) []byte {
	b := make([]byte, (size+7)/8*8)
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], source.Uint64())
	}
	return b[:size]
}

// variant answers a copy of base that differs from any other number's in its first bytes.
func variant(base []byte, number uint64) []byte {
	b := append([]byte(nil), base...)
	binary.BigEndian.PutUint64(b, number+1)
	return b
}

func newImage(source *rand.Rand, layers, layerSize int) (image, error) {
	m := image{config: fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"n":"%016x"}`, source.Uint64())}
	m.digests = []string{digestOf(m.config)}
	doc := manifest{SchemaVersion: 2, MediaType: manifestType, Config: descriptor{configType, m.digests[0], len(m.config)}}
	for range layers {
		layer := noise(source, layerSize)
		m.layers = append(m.layers, layer)
		m.digests = append(m.digests, digestOf(layer))
		doc.Layers = append(doc.Layers, descriptor{layerType, m.digests[len(m.digests)-1], layerSize})
	}
	var err error
	m.manifest, err = json.Marshal(doc)
	m.digest = digestOf(m.manifest)
	return m, err
}

// pushBlob uploads in the way that containerd, oras and regctl use: POST, then one PUT. With patch it is docker's, podman's and crane's: POST,
// PATCH, PUT.
func pushBlob(c *client, repo, digest string, data []byte, patch bool) error {
	a, err := c.do("POST", "/v2/"+repo+"/blobs/uploads/", "", nil, false)
	if err = expect(a, err, "start upload", 202); err != nil {
		return err
	}
	path := pathOf(a.location)
	if patch {
		a, err = c.do("PATCH", path, "application/octet-stream", data, false)
		if err = expect(a, err, "upload", 202); err != nil {
			return err
		}
		path, data = pathOf(a.location), nil
	}
	sep := "?"
	if strings.Contains(path, "?") {
		sep = "&"
	}
	a, err = c.do("PUT", path+sep+"digest="+digest, "application/octet-stream", data, false)
	return expect(a, err, "commit upload", 201)
}

func pushManifest(c *client, repo, ref string, body []byte) error {
	a, err := c.do("PUT", "/v2/"+repo+"/manifests/"+ref, manifestType, body, false)
	return expect(a, err, "put manifest", 201)
}

func pushImage(c *client, repo, tag string, m image) error {
	for i, blob := range append([][]byte{m.config}, m.layers...) {
		if err := pushBlob(c, repo, m.digests[i], blob, false); err != nil {
			return err
		}
	}
	return pushManifest(c, repo, tag, m.manifest)
}

func expect(a answer, err error, what string, status int) error {
	if err != nil {
		return err
	}
	if a.status != status {
		return fmt.Errorf("%s: answer %d, want %d", what, a.status, status)
	}
	return nil
}

// pathOf takes the host out of an absolute URL.
func pathOf(location string) string {
	if _, rest, ok := strings.Cut(location, "://"); ok {
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			return rest[i:]
		}
	}
	return location
}

// layDown writes the image where a static server finds it.
func layDown(dir, repo, tag string, m image) error {
	files := map[string][]byte{"manifests/" + tag: m.manifest, "manifests/" + m.digest: m.manifest}
	for i, blob := range append([][]byte{m.config}, m.layers...) {
		files["blobs/"+m.digests[i]] = blob
	}
	for name, data := range files {
		path := filepath.Join(dir, "data/v2", repo, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
