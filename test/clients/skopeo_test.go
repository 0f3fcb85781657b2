package clients

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/havn-registry/havn/test/harness"
)

func TestSkopeoCopiesInAndOut(t *testing.T) {
	s, sh := harness.Start(t, harness.Options{}), harness.Skopeo(t)
	dir, digest := lay(t, image(t, 1))
	ref := "docker://" + s.Addr + "/lab/app"
	policy := "--policy=" + sh.Path("policy.json")

	sh.Run(t, "skopeo", policy, "copy", "--dest-tls-verify=false", "--dest-creds", creds, "oci:"+dir+":v1", ref+":v1")
	_, got, _ := manifest(t, s, "lab/app", "v1")
	equal(t, "digest after push", got, digest)

	sh.Run(t, "skopeo", "login", "--tls-verify=false", "-u", harness.User, "-p", harness.Password, s.Addr)
	var seen struct{ Digest, Architecture string }
	if err := json.Unmarshal([]byte(sh.Run(t, "skopeo", "inspect", "--tls-verify=false", ref+":v1")), &seen); err != nil {
		t.Fatal(err)
	}
	equal(t, "digest that inspect shows", seen.Digest, digest)

	sh.Run(t, "skopeo", policy, "copy", "--src-tls-verify=false", ref+"@"+digest, "oci:"+sh.Path("out")+":v1")
	sameFile(t, sh.Path("out", "blobs", "sha256", digest[7:]), dir+"/blobs/sha256/"+digest[7:])

	// Docker schema 2, made from the OCI image, and back out into a plain folder.
	sh.Run(t, "skopeo", policy, "copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--format", "v2s2", ref+":v1", ref+":docker")
	mediaType, _, body := manifest(t, s, "lab/app", "docker")
	equal(t, "media type of the v2s2 copy", mediaType, string(types.DockerManifestSchema2))
	sh.Run(t, "skopeo", policy, "copy", "--src-tls-verify=false", ref+":docker", "dir:"+sh.Path("plain"))
	raw, err := os.ReadFile(sh.Path("plain", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the v2s2 manifest, pulled", string(raw), string(body))

	sh.Run(t, "skopeo", policy, "sync", "--src-tls-verify=false", "--src", "docker", "--dest", "dir", s.Addr+"/lab/app", sh.Path("synced"))
	contains(t, "tags", sh.Run(t, "skopeo", "list-tags", "--tls-verify=false", ref), `"docker"`)

	// skopeo deletes the manifest that the tag names.
	sh.Run(t, "skopeo", "delete", "--tls-verify=false", ref+":docker")
	if left := tags(t, s, "lab/app"); !slices.Equal(left, []string{"v1"}) {
		t.Fatalf("tags after the delete: %v", left)
	}
}

func TestSkopeoCopiesAnIndexWhole(t *testing.T) {
	s, sh := harness.Start(t, harness.Options{}), harness.Skopeo(t)
	idx := index(t, 2)
	dir, _ := lay(t, idx)
	policy := "--policy=" + sh.Path("policy.json")
	ref := "docker://" + s.Addr + "/lab/multi:v1"
	sh.Run(t, "skopeo", policy, "copy", "--all", "--dest-tls-verify=false", "--dest-creds", creds, "oci:"+dir+":v1", ref)
	// This version of skopeo writes the index anew; its children stay as they are.
	_, digest, body := manifest(t, s, "lab/multi", "v1")
	list, err := idx.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range list.Manifests {
		contains(t, "index", string(body), child.Digest.String())
	}
	sh.Run(t, "skopeo", policy, "copy", "--all", "--src-tls-verify=false", "--src-creds", creds, ref, "oci:"+sh.Path("out")+":v1")
	out, err := os.ReadFile(sh.Path("out", "blobs", "sha256", digest[7:]))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "the index, pulled", string(out), string(body))
	for _, child := range list.Manifests {
		sameFile(t, sh.Path("out", "blobs", "sha256", child.Digest.Hex), dir+"/blobs/sha256/"+child.Digest.Hex)
	}
}

func TestNameOfOneSegmentIsInTheLibraryAndPublic(t *testing.T) {
	s, sh := harness.Start(t, harness.Options{}), harness.Skopeo(t)
	dir, digest := lay(t, image(t, 3))
	policy := "--policy=" + sh.Path("policy.json")
	sh.Run(t, "skopeo", policy, "copy", "--dest-tls-verify=false", "--dest-creds", creds, "oci:"+dir+":v1", "docker://"+s.Addr+"/app:1")
	for _, name := range []string{"app", "library/app"} {
		out := sh.Path("out-" + name[:3])
		sh.Run(t, "skopeo", policy, "copy", "--src-tls-verify=false", "--src-no-creds", "docker://"+s.Addr+"/"+name+":1", "oci:"+out+":v1")
		sameFile(t, out+"/blobs/sha256/"+digest[7:], dir+"/blobs/sha256/"+digest[7:])
	}
	// Anonymous people only read.
	sh.Refused(t, "skopeo", policy, "copy", "--dest-tls-verify=false", "--dest-no-creds", "oci:"+dir+":v1", "docker://"+s.Addr+"/app:2")
	absent(t, s, "library/app", "2")
}

func TestSkopeoIsRefusedWithoutTheRightPassword(t *testing.T) {
	s, sh := harness.Start(t, harness.Options{}), harness.Skopeo(t)
	dir, _ := lay(t, image(t, 4))
	policy := "--policy=" + sh.Path("policy.json")
	ref := "docker://" + s.Addr + "/lab/app:v1"
	sh.Run(t, "skopeo", policy, "copy", "--dest-tls-verify=false", "--dest-creds", creds, "oci:"+dir+":v1", ref)

	sh.Refused(t, "skopeo", "inspect", "--tls-verify=false", "--no-creds", ref)
	sh.Refused(t, "skopeo", "inspect", "--tls-verify=false", "--creds", harness.User+":wrong", ref)
	sh.Refused(t, "skopeo", "login", "--tls-verify=false", "-u", harness.User, "-p", "wrong", s.Addr)
	// One wrong password does not lock out the right one.
	sh.Run(t, "skopeo", "inspect", "--tls-verify=false", "--creds", creds, ref)

	a := ask(t, s, false, http.MethodGet, "/v2/", nil, nil)
	equal(t, "status of /v2/ without credentials", a.status, http.StatusUnauthorized)
	if a.header.Get("WWW-Authenticate") == "" {
		t.Fatal("the 401 has no challenge")
	}
}

func TestSkopeoTrustsAPrivateAuthority(t *testing.T) {
	s, sh := harness.Start(t, harness.Options{TLS: true}), harness.Skopeo(t)
	dir, digest := lay(t, image(t, 5))
	policy := "--policy=" + sh.Path("policy.json")
	ca, err := os.ReadFile(s.CA)
	if err != nil {
		t.Fatal(err)
	}
	sh.Write(t, "certs/ca.crt", string(ca))
	ref := "docker://" + s.Addr + "/lab/app:v1"
	sh.Run(t, "skopeo", policy, "copy", "--dest-cert-dir", sh.Path("certs"), "--dest-creds", creds, "oci:"+dir+":v1", ref)
	sh.Run(t, "skopeo", policy, "copy", "--src-cert-dir", sh.Path("certs"), "--src-creds", creds, ref, "oci:"+sh.Path("out")+":v1")
	sameFile(t, sh.Path("out", "blobs", "sha256", digest[7:]), dir+"/blobs/sha256/"+digest[7:])
	contains(t, "without the authority", sh.Refused(t, "skopeo", "inspect", "--creds", creds, ref), "certificate")
}
