package clients

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/havn-registry/havn/test/harness"
)

// image makes an image that runs: busybox, and layers of noise, which no compression makes smaller. The same seed gives the
// same bytes.
func image(t *testing.T, seed uint64) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.AppendLayers(img, layer(t, busybox(t)),
		layer(t, map[string][]byte{"data/large": noise(seed, 4<<20)}), layer(t, map[string][]byte{"data/small": noise(seed+1, 1000)}))
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	config.Config.Cmd = []string{"/bin/sh"}
	config.Config.Env = []string{"PATH=/bin"}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

// busybox answers the files of a root file system in which a shell runs.
func busybox(t *testing.T) map[string][]byte {
	t.Helper()
	harness.Need(t, "busybox-static")
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{"bin/busybox": program, "bin/sh": nil, "bin/cat": nil, "bin/echo": nil}
}

// layer makes a layer of executable files; one without content is a link to busybox.
func layer(t *testing.T, files map[string][]byte) v1.Layer {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		content := files[name]
		h := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}
		if content == nil {
			h.Typeflag, h.Linkname = tar.TypeSymlink, "busybox"
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil }
	l, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// noise is random and repeatable.
func noise(seed uint64, size int) []byte {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], seed)
	source := rand.NewChaCha8(key)
	out := make([]byte, size)
	if _, err := source.Read(out); err != nil {
		panic(err) // it never fails
	}
	return out
}

// index makes an index of images for two architectures.
func index(t *testing.T, seed uint64) v1.ImageIndex {
	t.Helper()
	idx := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for i, arch := range []string{"amd64", "arm64"} {
		idx = mutate.AppendManifests(idx, mutate.IndexAddendum{
			Add:        image(t, seed+uint64(i)*10),
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
	}
	return idx
}

// tagged is what names a manifest in the index of an OCI layout.
const tagged = "org.opencontainers.image.ref.name"

// lay writes an image or index as an OCI layout, under the tag v1, and answers the folder and the digest.
func lay(t *testing.T, what any) (dir, digest string) {
	t.Helper()
	dir = filepath.Join(harness.Folder(t), "layout")
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	var hash v1.Hash
	named := layout.WithAnnotations(map[string]string{tagged: "v1"})
	switch w := what.(type) {
	case v1.Image:
		if err = path.AppendImage(w, named); err == nil {
			hash, err = w.Digest()
		}
	case v1.ImageIndex:
		if err = path.AppendIndex(w, named); err == nil {
			hash, err = w.Digest()
		}
	default:
		t.Fatalf("lay a %T", what)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir, hash.String()
}
