package clients

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/havn-registry/havn/test/harness"
)

// seed pushes an image or index with a library, for clients that only pull or need something to begin with, and answers its
// digest.
func seed(t *testing.T, s *harness.Server, repo, tag string, what any) string {
	t.Helper()
	ref, err := name.ParseReference(s.Addr+"/"+repo+":"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	auth := remote.WithAuth(&authn.Basic{Username: harness.User, Password: harness.Password})
	var hash v1.Hash
	switch w := what.(type) {
	case v1.Image:
		if err = remote.Write(ref, w, auth, remote.WithContext(t.Context())); err == nil {
			hash, err = w.Digest()
		}
	case v1.ImageIndex:
		if err = remote.WriteIndex(ref, w, auth, remote.WithContext(t.Context())); err == nil {
			hash, err = w.Digest()
		}
	default:
		err = fmt.Errorf("seed a %T", what)
	}
	if err != nil {
		t.Fatalf("push %s: %v", ref, err)
	}
	return hash.String()
}

func TestDockerEngineLogsInBuildsPushesAndPulls(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	base := seed(t, s, "lab/base", "v1", image(t, 21))
	sh, docker := harness.DockerEngine(t)
	ref := s.Addr + "/lab/built"

	sh.Refused(t, docker("pull", s.Addr+"/lab/base:v1")...)
	sh.Refused(t, docker("login", "-u", harness.User, "-p", "wrong", s.Addr)...)
	contains(t, "login", sh.Feed(t, harness.Password, docker("login", "-u", harness.User, "--password-stdin", s.Addr)...), "Login Succeeded")

	// Nothing is run in the build, so that the test depends on the registry and not on what this machine lets containers do.
	sh.Write(t, "context/Dockerfile", "FROM "+s.Addr+"/lab/base:v1\nCOPY file /file\nENV BUILT=here\nCMD [\"/bin/cat\", \"/file\"]\n")
	sh.Write(t, "context/file", "from the context\n")
	sh.Run(t, docker("build", "-t", ref+":v1", "-t", ref+":v2", "-t", s.Addr+"/app:1", sh.Path("context"))...)
	id := strings.TrimSpace(sh.Run(t, docker("image", "inspect", "-f", "{{.Id}}", ref+":v1")...))
	sh.Run(t, docker("push", "--all-tags", ref)...)
	sh.Run(t, docker("push", s.Addr+"/app:1")...)
	_, digest, body := manifest(t, s, "lab/built", "v1")
	contains(t, "manifest", string(body), id)
	_, second, _ := manifest(t, s, "lab/built", "v2")
	equal(t, "digest of the second tag", second, digest)
	_, single, _ := manifest(t, s, "library/app", "1")
	equal(t, "digest under a name of one segment", single, digest)

	forget := func() {
		sh.Run(t, docker(append([]string{"rmi", "--force"}, strings.Fields(sh.Run(t, docker("images", "-q", "--no-trunc")...))...)...)...)
	}
	forget()
	sh.Run(t, docker("logout", s.Addr)...)
	sh.Refused(t, docker("pull", ref+":v1")...)
	sh.Run(t, docker("pull", s.Addr+"/app:1")...) // public
	equal(t, "image pulled by nobody", strings.TrimSpace(sh.Run(t, docker("image", "inspect", "-f", "{{.Id}}", s.Addr+"/app:1")...)), id)
	forget()
	sh.Feed(t, harness.Password, docker("login", "-u", harness.User, "--password-stdin", s.Addr)...)
	contains(t, "pull --all-tags", sh.Run(t, docker("pull", "--all-tags", ref)...), digest)
	equal(t, "image pulled by tag", strings.TrimSpace(sh.Run(t, docker("image", "inspect", "-f", "{{.Id}}", ref+":v2")...)), id)
	sh.Run(t, docker("pull", s.Addr+"/lab/base@"+base)...)
	contains(t, "manifest inspect", sh.Run(t, docker("manifest", "inspect", "--insecure", ref+":v1")...), id)

	// The file of the context, out of the image as it was pulled.
	container := strings.TrimSpace(sh.Run(t, docker("create", ref+":v1")...))
	sh.Run(t, docker("cp", container+":/file", sh.Path("copied"))...)
	sameFile(t, sh.Path("copied"), sh.Path("context", "file"))
}

func TestContainerdPullsAndPushes(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	single := seed(t, s, "lab/app", "v1", image(t, 22))
	multi := seed(t, s, "lab/multi", "v1", index(t, 23))
	public := seed(t, s, "library/app", "1", image(t, 24))
	harness.NeedRoot(t)
	harness.Need(t, "containerd")
	sh := harness.NewShell(t)
	socket := sh.Path("c.sock")
	config := sh.Write(t, "config.toml", fmt.Sprintf("version = 2\nroot = %q\nstate = %q\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"+
		"[grpc]\naddress = %q\n", sh.Path("root"), sh.Path("state"), socket))
	daemon := harness.Launch(t, harness.Spawn{
		Name: "containerd", Dir: sh.Home, Env: sh.Environ(), Isolated: true, Argv: []string{"containerd", "--config", config},
	})
	ctr := func(args ...string) []string { return append([]string{"ctr", "-a", socket}, args...) }
	daemon.Await(t, sh.Answers(t, ctr("version")...))
	plain := []string{"--plain-http", "--snapshotter", "native", "--platform", "linux/amd64"}
	pull := func(args ...string) []string {
		return ctr(append(append([]string{"images", "pull"}, plain...), args...)...)
	}

	sh.Refused(t, pull(s.Addr+"/lab/app:v1")...)
	sh.Refused(t, pull("--user", harness.User+":wrong", s.Addr+"/lab/app:v1")...)
	sh.Run(t, pull("--user", creds, s.Addr+"/lab/app:v1")...)
	contains(t, "images", sh.Run(t, ctr("images", "ls")...), single)
	sh.Run(t, pull(s.Addr+"/library/app:1")...)
	contains(t, "images", sh.Run(t, ctr("images", "ls")...), public)
	sh.Run(t, ctr("images", "pull", "--plain-http", "--snapshotter", "native", "--all-platforms", "--user", creds, s.Addr+"/lab/multi:v1")...)
	contains(t, "images", sh.Run(t, ctr("images", "ls")...), multi)

	for from, to := range map[string]string{"lab/app:v1": "lab/copy:v1", "lab/multi:v1": "lab/copy:multi"} {
		sh.Run(t, ctr("images", "tag", s.Addr+"/"+from, s.Addr+"/"+to)...)
		sh.Run(t, ctr("images", "push", "--plain-http", "--user", creds, s.Addr+"/"+to)...)
	}
	_, digest, _ := manifest(t, s, "lab/copy", "v1")
	equal(t, "digest of the pushed image", digest, single)
	_, digest, _ = manifest(t, s, "lab/copy", "multi")
	equal(t, "digest of the pushed index", digest, multi)

	// As a Kubernetes node is set up: a folder of hosts.
	sh.Write(t, filepath.Join("hosts", s.Addr, "hosts.toml"), fmt.Sprintf("server = \"http://%s\"\n", s.Addr))
	sh.Run(t, ctr("images", "pull", "--hosts-dir", sh.Path("hosts"), "--snapshotter", "native", "--platform", "linux/amd64", "--user", creds, s.Addr+"/lab/copy:v1")...)
	var descriptor struct{ Digest string }
	_, _, body := manifest(t, s, "lab/copy", "v1")
	var m struct{ Config json.RawMessage }
	if err := errors.Join(json.Unmarshal(body, &m), json.Unmarshal(m.Config, &descriptor)); err != nil {
		t.Fatal(err)
	}
	contains(t, "content of the image's config", sh.Run(t, ctr("content", "get", descriptor.Digest)...), "amd64")
}
