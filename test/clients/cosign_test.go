package clients

import (
	"slices"
	"strings"
	"testing"

	"github.com/havn-registry/havn/test/harness"
)

// cosigner is cosign with a key pair of its own and without a transparency log, which is out on the internet. It gets no flag for plain HTTP: like crane, it takes loopback for that by itself.
func cosigner(t *testing.T, s *harness.Server) (*harness.Shell, string) {
	t.Helper()
	sh, bin := harness.NewShell(t), harness.Client(t, "cosign")
	sh.Env = []string{"COSIGN_PASSWORD=x"}
	dockerAuth(t, sh, s)
	sh.Run(t, bin, "generate-key-pair")
	return sh, bin
}

func TestCosignSignsAndVerifiesWithReferrers(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	ref := s.Addr + "/lab/app@" + seed(t, s, "lab/app", "v1", image(t, 61))
	sh, bin := cosigner(t, s)
	verify := []string{bin, "verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", ref}

	sh.Refused(t, verify...)
	sh.Run(t, bin, "sign", "--key", "cosign.key", "--tlog-upload=false", "--use-signing-config=false", "--yes", ref)
	digest := ref[strings.Index(ref, "@")+1:]
	if list := referrers(t, s, "lab/app", digest); len(list) != 1 {
		t.Fatalf("referrers after one signature: %v", list)
	}
	if list := tags(t, s, "lab/app"); !slices.Equal(list, []string{"v1"}) {
		t.Fatalf("tags after a signature in the new layout: %v", list)
	}
	contains(t, "verify", sh.Run(t, verify...), digest)

	// Somebody else's key verifies nothing.
	other := harness.NewShell(t)
	other.Env = sh.Env
	dockerAuth(t, other, s)
	other.Run(t, bin, "generate-key-pair")
	other.Refused(t, verify...)
}

func TestCosignSignsAndVerifiesWithTags(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	digest := seed(t, s, "lab/app", "v1", image(t, 62))
	ref := s.Addr + "/lab/app@" + digest
	sh, bin := cosigner(t, s)
	sh.Run(t, bin, "sign", "--key", "cosign.key", "--tlog-upload=false", "--use-signing-config=false", "--new-bundle-format=false", "--yes", ref)
	manifest(t, s, "lab/app", "sha256-"+digest[7:]+".sig")
	contains(t, "verify", sh.Run(t, bin, "verify", "--key", "cosign.pub", "--insecure-ignore-tlog=true", "--new-bundle-format=false", ref), digest)
	sh.Run(t, bin, "copy", ref, s.Addr+"/lab/copied:v1")
	manifest(t, s, "lab/copied", "sha256-"+digest[7:]+".sig")
	contains(t, "tree", sh.Run(t, bin, "tree", ref), "sig")
}
