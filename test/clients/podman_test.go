package clients

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/havn-registry/havn/test/harness"
)

func TestPodmanLogsInPushesAndPulls(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	sh, base := harness.Containers(t, "podman")
	podman := func(args ...string) string { return sh.Run(t, append(base[:len(base):len(base)], args...)...) }
	ref := s.Addr + "/lab/app"
	dir, digest := lay(t, image(t, 11))

	out := sh.Refused(t, append(base[:len(base):len(base)], "login", "--tls-verify=false", "-u", harness.User, "-p", "wrong", s.Addr)...)
	contains(t, "login with a wrong password", out, "invalid username/password")
	contains(t, "login", podman("login", "--tls-verify=false", "-u", harness.User, "-p", harness.Password, s.Addr), "Login Succeeded")

	id := lastLine(podman("pull", "oci:"+dir+":v1"))
	podman("push", "--tls-verify=false", "--remove-signatures", id, "docker://"+ref+":v1")
	_, pushed, body := manifest(t, s, "lab/app", "v1")
	// The layers went through podman's storage, which keeps them unpacked: the image is the same, its compressed form need not be.
	contains(t, "manifest", string(body), strings.TrimPrefix(id, "sha256:"))
	podman("rmi", "--all", "--force")
	equal(t, "image pulled by tag", lastLine(podman("pull", "--tls-verify=false", ref+":v1")), id)
	podman("rmi", "--all", "--force")
	equal(t, "image pulled by digest", lastLine(podman("pull", "--tls-verify=false", ref+"@"+pushed)), id)

	podman("push", "--tls-verify=false", "--format", "v2s2", id, "docker://"+ref+":docker")
	mediaType, _, _ := manifest(t, s, "lab/app", "docker")
	equal(t, "media type of v2s2", mediaType, string(types.DockerManifestSchema2))
	podman("push", "--tls-verify=false", "--format", "oci", "--compression-format", "zstd", id, "docker://"+ref+":zstd")
	_, _, body = manifest(t, s, "lab/app", "zstd")
	contains(t, "manifest", string(body), "tar+zstd")
	podman("rmi", "--all", "--force")
	podman("pull", "--tls-verify=false", ref+":zstd")

	podman("manifest", "create", "multi", "containers-storage:"+ref+":zstd")
	podman("manifest", "push", "--all", "--tls-verify=false", "multi", "docker://"+ref+":multi")
	mediaType, _, _ = manifest(t, s, "lab/app", "multi")
	equal(t, "media type of the index", mediaType, string(types.OCIImageIndex))
	list := podman("search", "--list-tags", "--tls-verify=false", ref)
	for _, tag := range []string{"v1", "docker", "zstd", "multi"} {
		contains(t, "search --list-tags", list, tag)
	}

	podman("logout", s.Addr)
	sh.Refused(t, append(base[:len(base):len(base)], "pull", "--tls-verify=false", ref+":v1")...)
	equal(t, "digest, after all", digest[:7], "sha256:")
}

func TestBuildahBuildsOnARegistryImageAndPushes(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	sh, base := harness.Containers(t, "buildah")
	buildah := func(args ...string) string { return sh.Run(t, append(base[:len(base):len(base)], args...)...) }
	dir, _ := lay(t, image(t, 12))
	buildah("login", "--tls-verify=false", "-u", harness.User, "-p", harness.Password, s.Addr)
	buildah("push", "--tls-verify=false", lastLine(buildah("pull", "oci:"+dir+":v1")), "docker://"+s.Addr+"/lab/base:v1")

	sh.Write(t, "context/Dockerfile", "FROM "+s.Addr+"/lab/base:v1\nRUN echo built here > /built\nCOPY file /file\n")
	sh.Write(t, "context/file", "from the context\n")
	buildah("bud", "--isolation", "chroot", "--tls-verify=false", "--pull-always", "-t", s.Addr+"/lab/built:v1", sh.Path("context"))
	buildah("push", "--tls-verify=false", s.Addr+"/lab/built:v1")
	buildah("push", "--tls-verify=false", "--format", "docker", s.Addr+"/lab/built:v1", "docker://"+s.Addr+"/lab/built:docker")
	mediaType, _, _ := manifest(t, s, "lab/built", "v1")
	equal(t, "media type of v1", mediaType, string(types.OCIManifestSchema1))
	mediaType, _, _ = manifest(t, s, "lab/built", "docker")
	equal(t, "media type of docker", mediaType, string(types.DockerManifestSchema2))

	buildah("rmi", "--all", "--force")
	for _, tag := range []string{"v1", "docker"} {
		container := lastLine(buildah("from", "--pull-always", "--tls-verify=false", s.Addr+"/lab/built:"+tag))
		equal(t, "file of RUN", buildah("run", "--isolation", "chroot", container, "--", "/bin/cat", "/built"), "built here\n")
		equal(t, "file of COPY", buildah("run", "--isolation", "chroot", container, "--", "/bin/cat", "/file"), "from the context\n")
		buildah("rm", "--all")
	}
	equal(t, "status of a pull by nobody", ask(t, s, false, http.MethodGet, "/v2/lab/built/manifests/v1", nil, nil).status, http.StatusUnauthorized)
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
