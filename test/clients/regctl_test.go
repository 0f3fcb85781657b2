package clients

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/havn-registry/havn/test/harness"
)

func TestRegctlCopiesWithReferrers(t *testing.T) {
	s, sh := harness.Start(t, harness.Options{}), harness.NewShell(t)
	regctl := harness.Client(t, "regctl")
	sh.Env = []string{"REGCTL_CONFIG=" + sh.Path("regctl.json")}
	dir, digest := lay(t, image(t, 41))
	ref := s.Addr + "/lab/app"

	sh.Run(t, regctl, "registry", "set", "--skip-check", "--tls", "disabled", s.Addr)
	sh.Refused(t, regctl, "registry", "login", "-u", harness.User, "-p", "wrong", s.Addr)
	sh.Run(t, regctl, "registry", "login", "-u", harness.User, "-p", harness.Password, s.Addr)
	sh.Run(t, regctl, "image", "copy", "ocidir://"+dir+":v1", ref+":v1")
	equal(t, "digest", strings.TrimSpace(sh.Run(t, regctl, "image", "digest", ref+":v1")), digest)

	const sbom = "application/vnd.havn-test.sbom"
	sh.Feed(t, `{"packages":[]}`, regctl, "artifact", "put", "--artifact-type", sbom, "--subject", ref+":v1", "--file-media-type", "application/json")
	wantReferrer(t, s, "lab/app", digest, sbom)
	contains(t, "artifact list", sh.Run(t, regctl, "artifact", "list", ref+":v1"), sbom)
	equal(t, "artifact get", sh.Run(t, regctl, "artifact", "get", "--subject", ref+":v1", "--filter-artifact-type", sbom), `{"packages":[]}`)

	sh.Run(t, regctl, "image", "copy", "--referrers", "--digest-tags", ref+":v1", s.Addr+"/lab/copied:v1")
	wantReferrer(t, s, "lab/copied", digest, sbom)
	sh.Run(t, regctl, "image", "copy", "--referrers", s.Addr+"/lab/copied:v1", "ocidir://"+sh.Path("out")+":v1")
	sameFile(t, sh.Path("out", "blobs", "sha256", digest[7:]), dir+"/blobs/sha256/"+digest[7:])
	sh.Run(t, regctl, "image", "export", ref+":v1", sh.Path("image.tar"))
	sh.Run(t, regctl, "image", "import", s.Addr+"/app:1", sh.Path("image.tar"))
	equal(t, "digest of the import", strings.TrimSpace(sh.Run(t, regctl, "image", "digest", s.Addr+"/library/app:1")), digest)

	sh.Run(t, regctl, "image", "mod", ref+":v1", "--label", "changed=yes", "--create", ref+":v2")
	sh.Run(t, regctl, "index", "create", ref+":multi", "--ref", ref+":v1", "--platform", "linux/amd64", "--ref", ref+":v2", "--platform", "linux/arm64")
	mediaType, _, body := manifest(t, s, "lab/app", "multi")
	equal(t, "media type of the index", mediaType, string(types.OCIImageIndex))
	contains(t, "index", string(body), digest)
	sh.Run(t, regctl, "tag", "rm", ref+":v2")
	absent(t, s, "lab/app", "v2")
	equal(t, "tag ls", strings.Join(strings.Fields(sh.Run(t, regctl, "tag", "ls", ref)), " "), "multi v1")
	contains(t, "repo ls", sh.Run(t, regctl, "repo", "ls", s.Addr), "lab/copied")
	sh.Run(t, regctl, "manifest", "head", ref+"@"+digest)

	// A blob by itself, of the other algorithm's kind too.
	blob := strings.TrimSpace(sh.Feed(t, "a blob by itself", regctl, "blob", "put", ref))
	equal(t, "blob get", sh.Run(t, regctl, "blob", "get", ref, blob), "a blob by itself")
	sh.Run(t, regctl, "blob", "delete", ref, blob)
	sh.Refused(t, regctl, "blob", "head", ref, blob)

	sh.Run(t, regctl, "manifest", "delete", s.Addr+"/lab/copied@"+digest)
	absent(t, s, "lab/copied", "v1")
	equal(t, "status for nobody", ask(t, s, false, http.MethodGet, "/v2/lab/copied/tags/list", nil, nil).status, http.StatusUnauthorized)
}
