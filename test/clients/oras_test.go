package clients

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/havn-registry/havn/test/harness"
)

func TestOrasPushesAttachesAndDiscovers(t *testing.T) {
	s, sh := harness.Start(t, harness.Options{}), harness.NewShell(t)
	bin := harness.Client(t, "oras")
	oras := func(args ...string) string { return sh.Run(t, append([]string{bin}, args...)...) }
	ref := s.Addr + "/lab/artifact"
	const kind, sbom = "application/vnd.havn-test.thing", "application/vnd.havn-test.sbom"

	sh.Refused(t, bin, "login", "--plain-http", "-u", harness.User, "-p", "wrong", s.Addr)
	oras("login", "--plain-http", "-u", harness.User, "-p", harness.Password, s.Addr)
	large := sh.Write(t, "large.bin", string(noise(51, 3<<20)))
	sh.Write(t, "note.txt", "a note\n")
	sh.Write(t, "sbom.json", `{"packages":[]}`)

	oras("push", "--plain-http", "--artifact-type", kind, ref+":v1,v2", "large.bin:application/octet-stream", "note.txt:text/plain")
	digest := strings.TrimSpace(oras("resolve", "--plain-http", ref+":v1"))
	equal(t, "digest of the second tag", strings.TrimSpace(oras("resolve", "--plain-http", ref+":v2")), digest)
	oras("pull", "--plain-http", "-o", sh.Path("out"), ref+"@"+digest)
	sameFile(t, sh.Path("out", "large.bin"), large)
	sameFile(t, sh.Path("out", "note.txt"), sh.Path("note.txt"))

	oras("attach", "--plain-http", "--distribution-spec", "v1.1-referrers-api", "--artifact-type", sbom, ref+":v1", "sbom.json:application/json")
	wantReferrer(t, s, "lab/artifact", digest, sbom)
	// The tag schema of older registries: Havn merges it into its answer.
	const old = "application/vnd.havn-test.old"
	oras("attach", "--plain-http", "--distribution-spec", "v1.1-referrers-tag", "--artifact-type", old, ref+":v1", "note.txt:text/plain")
	wantReferrer(t, s, "lab/artifact", digest, old)
	wantReferrer(t, s, "lab/artifact", digest, sbom)
	var found struct{ Referrers []referrer }
	if err := json.Unmarshal([]byte(oras("discover", "--plain-http", "--format", "json", "--artifact-type", sbom, ref+":v1")), &found); err != nil {
		t.Fatal(err)
	}
	equal(t, "referrers that discover finds", len(found.Referrers), 1)
	equal(t, "their type", found.Referrers[0].ArtifactType, sbom)

	oras("copy", "-r", "--from-plain-http", "--to-plain-http", ref+":v1", s.Addr+"/lab/copied:v1")
	wantReferrer(t, s, "lab/copied", digest, sbom)
	oras("copy", "--from-plain-http", "--to-oci-layout", ref+":v1", sh.Path("layout")+":v1")
	oras("copy", "--from-oci-layout", "--to-plain-http", sh.Path("layout")+":v1", s.Addr+"/thing:1")
	equal(t, "digest under a name of one segment", strings.TrimSpace(oras("resolve", "--plain-http", s.Addr+"/library/thing:1")), digest)

	oras("tag", "--plain-http", ref+":v1", "v3")
	list := oras("repo", "tags", "--plain-http", ref)
	for _, tag := range []string{"v1", "v2", "v3"} {
		contains(t, "repo tags", list, tag)
	}
	contains(t, "repo ls", oras("repo", "ls", "--plain-http", s.Addr), "lab/artifact")
	oras("manifest", "index", "create", "--plain-http", ref+":multi", "v1")
	var attached struct{ Layers []referrer }
	if err := json.Unmarshal([]byte(oras("manifest", "fetch", "--plain-http", ref+"@"+found.Referrers[0].Digest)), &attached); err != nil {
		t.Fatal(err)
	}
	equal(t, "blob fetch", oras("blob", "fetch", "--plain-http", "--output", "-", ref+"@"+attached.Layers[0].Digest), `{"packages":[]}`)
	sh.Refused(t, bin, "manifest", "delete", "--plain-http", "--force", ref+"@"+digest) // a child of the index
	oras("manifest", "delete", "--plain-http", "--force", ref+":multi")
	oras("manifest", "delete", "--plain-http", "--force", ref+"@"+digest)
	absent(t, s, "lab/artifact", "v3")
}
