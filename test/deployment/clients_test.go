package deployment

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/havn-registry/havn/test/harness"
	"github.com/havn-registry/havn/test/request"
)

// lay writes an image of two layers, as OCI wants it, under the tag v1, and answers the folder and the digest.
func lay(t *testing.T) (dir string, digest v1.Hash) {
	t.Helper()
	const layerBytes, layers = 1 << 20, 2
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	for range layers {
		layer, err := random.Layer(layerBytes, types.OCILayer)
		need(t, err)
		img, err = mutate.AppendLayers(img, layer)
		need(t, err)
	}
	config, err := img.ConfigFile()
	need(t, err)
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	img, err = mutate.ConfigFile(img, config)
	need(t, err)
	dir = filepath.Join(harness.Folder(t), "layout")
	path, err := layout.Write(dir, empty.Index)
	need(t, err)
	need(t, path.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": "v1"})))
	digest, err = img.Digest()
	need(t, err)
	return dir, digest
}

// skopeo pushes through each server and pulls what it pushed through each, the manifest byte for byte.
func (d *deployed) skopeo(t *testing.T, flags func(side string) []string) {
	t.Helper()
	sh := harness.Skopeo(t)
	dir, digest := lay(t)
	want, err := os.ReadFile(filepath.Join(dir, "blobs", "sha256", digest.Hex))
	need(t, err)
	creds := harness.User + ":" + d.password
	for i, through := range d.urls {
		repo := fmt.Sprintf("/skopeo/app%d:v1", i)
		argv := append([]string{"skopeo", "--policy=" + sh.Path("policy.json"), "copy", "--dest-creds", creds}, flags("dest")...)
		sh.Run(t, append(argv, "oci:"+dir+":v1", "docker://"+addr(through)+repo)...)
		for j, from := range d.urls {
			out := sh.Path(fmt.Sprintf("out-%d-%d", i, j))
			argv = append([]string{"skopeo", "--policy=" + sh.Path("policy.json"), "copy", "--src-creds", creds}, flags("src")...)
			sh.Run(t, append(argv, "docker://"+addr(from)+repo, "oci:"+out+":v1")...)
			got, readErr := os.ReadFile(filepath.Join(out, "blobs", "sha256", digest.Hex))
			if need(t, readErr); !bytes.Equal(got, want) {
				t.Errorf("pushed through %s, pulled through %s: another manifest", through, from)
			}
		}
	}
}

// plain are skopeo's flags for plain HTTP.
func plain(side string) []string { return []string{"--" + side + "-tls-verify=false"} }

// podman logs in at each server, pushes through it, and pulls what it pushed through all others.
func (d *deployed) podman(t *testing.T) {
	t.Helper()
	sh, base := harness.Containers(t, "podman")
	podman := func(args ...string) string {
		t.Helper()
		lines := strings.Split(strings.TrimSpace(sh.Run(t, append(base[:len(base):len(base)], args...)...)), "\n")
		return lines[len(lines)-1]
	}
	dir, _ := lay(t)
	for i, through := range d.urls {
		podman("login", "--tls-verify=false", "-u", harness.User, "-p", d.password, addr(through))
		id := podman("pull", "oci:"+dir+":v1")
		repo := fmt.Sprintf("/podman/app%d:v1", i)
		podman("push", "--tls-verify=false", "--remove-signatures", id, "docker://"+addr(through)+repo)
		podman("rmi", "--all", "--force")
		// Through the next one: each of them is used for both.
		from := d.urls[(i+1)%len(d.urls)]
		if got := podman("pull", "--tls-verify=false", "--creds", harness.User+":"+d.password, addr(from)+repo); got != id {
			t.Errorf("pushed %s through %s, pulled %s through %s", id, through, got, from)
		}
		podman("rmi", "--all", "--force")
	}
}

// pieces sends an upload piece by piece, each through another server, and reads it through all.
func (d *deployed) pieces(t *testing.T) {
	t.Helper()
	client := d.client()
	defer client.CloseIdleConnections()
	for first := range d.urls {
		data := bytes.Repeat(fmt.Appendf(nil, "an upload that begins at %d; ", first), 10000)
		at := first
		need(t, request.PushBlob(len(d.urls)+1, "pieces/app", data, func(method, path, kind string, body []byte, want int) (request.Answer, error) {
			at++
			return request.Do(t.Context(), client, method, d.urls[at%len(d.urls)]+path, kind, body, want)
		}))
		for _, url := range d.urls {
			d.blob(t.Context(), t, client, url, "pieces/app", request.Digest(data))
		}
	}
}

// blob reads a blob through a server, and compares.
func (d *deployed) blob(ctx context.Context, t *testing.T, client *http.Client, url, repo, digest string) {
	t.Helper()
	got, err := request.Do(ctx, client, http.MethodGet, url+"/v2/"+repo+"/blobs/"+digest, "", nil, http.StatusOK)
	if err != nil || request.Digest(got.Text) != digest {
		t.Errorf("blob %s of %s through %s: %v, %d bytes with digest %s", digest, repo, url, err, len(got.Text), request.Digest(got.Text))
	}
}
