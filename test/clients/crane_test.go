package clients

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/test/harness"
)

func TestCraneDoesAllItCan(t *testing.T) {
	s, sh := harness.Start(t, harness.Options{}), harness.NewShell(t)
	crane := harness.Client(t, "crane")
	dir, digest := lay(t, image(t, 31))
	ref := s.Addr + "/lab/app"

	sh.Refused(t, crane, "push", dir, ref+":v1")
	sh.Run(t, crane, "auth", "login", "-u", harness.User, "-p", harness.Password, s.Addr)
	contains(t, "push", sh.Run(t, crane, "push", dir, ref+":v1"), digest)
	equal(t, "digest", strings.TrimSpace(sh.Run(t, crane, "digest", ref+":v1")), digest)
	sh.Run(t, crane, "validate", "--remote", ref+":v1") // hashes everything again
	contains(t, "config", sh.Run(t, crane, "config", ref+":v1"), "amd64")
	contains(t, "export", sh.Run(t, crane, "export", ref+":v1", "-"), "bin/busybox")

	sh.Run(t, crane, "pull", "--format", "oci", ref+":v1", sh.Path("out"))
	sameFile(t, sh.Path("out", "blobs", "sha256", digest[7:]), dir+"/blobs/sha256/"+digest[7:])
	sh.Run(t, crane, "pull", ref+"@"+digest, sh.Path("image.tar"))

	// Another repository: blobs are mounted, not sent again.
	sh.Run(t, crane, "copy", ref+":v1", s.Addr+"/lab/copied:v1")
	sh.Run(t, crane, "validate", "--remote", s.Addr+"/lab/copied:v1")
	sh.Run(t, crane, "copy", ref+":v1", s.Addr+"/app:1")
	equal(t, "digest under a name of one segment", strings.TrimSpace(sh.Run(t, crane, "digest", s.Addr+"/library/app:1")), digest)

	sh.Run(t, crane, "tag", ref+":v1", "v2")
	sh.Run(t, crane, "mutate", ref+":v1", "--label", "changed=yes", "-t", ref+":v3")
	sh.Run(t, crane, "index", "append", "-m", ref+":v1", "-m", ref+":v3", "-t", ref+":multi")
	sh.Run(t, crane, "validate", "--remote", ref+":multi")
	equal(t, "ls", strings.Join(strings.Fields(sh.Run(t, crane, "ls", ref)), " "), "multi v1 v2 v3")
	repos := strings.Fields(sh.Run(t, crane, "catalog", s.Addr))
	for _, want := range []string{"lab/app", "lab/copied", "library/app"} {
		if !slices.Contains(repos, want) {
			t.Fatalf("catalog: %s is not in %v", want, repos)
		}
	}

	sh.Run(t, crane, "delete", ref+":v2") // the tag alone
	equal(t, "ls after the delete of a tag", strings.Join(strings.Fields(sh.Run(t, crane, "ls", ref)), " "), "multi v1 v3")
	equal(t, "digest of the other tag", strings.TrimSpace(sh.Run(t, crane, "digest", ref+":v1")), digest)
	multi := strings.TrimSpace(sh.Run(t, crane, "digest", ref+":multi"))
	contains(t, "delete of an index's child", sh.Refused(t, crane, "delete", ref+"@"+digest), multi) // the parent is named
	equal(t, "its status", ask(t, s, true, http.MethodDelete, "/v2/lab/app/manifests/"+digest, nil, nil).status, http.StatusConflict)
	sh.Run(t, crane, "delete", ref+"@"+multi)
	sh.Run(t, crane, "delete", ref+"@"+digest) // with its tags
	equal(t, "ls after the delete of a manifest", strings.TrimSpace(sh.Run(t, crane, "ls", ref)), "v3")
	absent(t, s, "lab/app", digest)
}

func TestCraneTrustsAPrivateAuthority(t *testing.T) {
	s, sh := harness.Start(t, harness.Options{TLS: true}), harness.NewShell(t)
	crane := harness.Client(t, "crane")
	dir, digest := lay(t, image(t, 32))
	// The name localhost may be spoken to in plain HTTP; crane must not have to.
	ref := strings.Replace(s.Addr, "127.0.0.1", "localhost", 1) + "/lab/app:v1"
	contains(t, "without the authority", sh.Refused(t, crane, "digest", ref), "certificate")
	sh.Env = []string{"SSL_CERT_FILE=" + s.CA}
	sh.Run(t, crane, "auth", "login", "-u", harness.User, "-p", harness.Password, strings.Split(ref, "/")[0])
	sh.Run(t, crane, "push", dir, ref)
	equal(t, "digest", strings.TrimSpace(sh.Run(t, crane, "digest", ref)), digest)
	sh.Run(t, crane, "validate", "--remote", ref)
}
