package clients

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/havn-registry/havn/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// creds is the administrator as most clients want it.
const creds = harness.User + ":" + harness.Password

// answer is what the registry says to a request of the test's own.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask makes a request; with credentials if auth.
func ask(t *testing.T, s *harness.Server, auth bool, method, path string, header map[string]string, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	if auth {
		req.SetBasicAuth(harness.User, harness.Password)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	client := s.HTTP()
	defer client.CloseIdleConnections()
	res, err := client.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	text, err := io.ReadAll(res.Body)
	if closeErr := res.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return answer{res.StatusCode, res.Header, text}
}

// manifestTypes is what a client says that takes every kind of manifest.
var manifestTypes = strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.OCIImageIndex), string(types.DockerManifestSchema2), string(types.DockerManifestList),
}, ", ")

// manifest gets a manifest, which must be there.
func manifest(t *testing.T, s *harness.Server, repo, ref string) (mediaType, digest string, body []byte) {
	t.Helper()
	a := ask(t, s, true, http.MethodGet, "/v2/"+repo+"/manifests/"+ref, map[string]string{"Accept": manifestTypes}, nil)
	if a.status != http.StatusOK {
		t.Fatalf("GET manifest %s of %s: %d %s", ref, repo, a.status, a.body)
	}
	return a.header.Get("Content-Type"), a.header.Get("Docker-Content-Digest"), a.body
}

// absent checks that the registry knows no such manifest.
func absent(t *testing.T, s *harness.Server, repo, ref string) {
	t.Helper()
	a := ask(t, s, true, http.MethodGet, "/v2/"+repo+"/manifests/"+ref, map[string]string{"Accept": manifestTypes}, nil)
	if a.status != http.StatusNotFound {
		t.Fatalf("GET manifest %s of %s: %d, want 404: %s", ref, repo, a.status, a.body)
	}
}

// tags lists a repository.
func tags(t *testing.T, s *harness.Server, repo string) []string {
	t.Helper()
	a := ask(t, s, true, http.MethodGet, "/v2/"+repo+"/tags/list", nil, nil)
	var list struct{ Tags []string }
	if err := json.Unmarshal(a.body, &list); a.status != http.StatusOK || err != nil {
		t.Fatalf("tags of %s: %d %s (%v)", repo, a.status, a.body, err)
	}
	return list.Tags
}

// referrer is one line of the referrers API.
type referrer struct {
	MediaType    string `json:"mediaType"`
	ArtifactType string `json:"artifactType"`
	Digest       string `json:"digest"`
}

// referrers lists what refers to a manifest.
func referrers(t *testing.T, s *harness.Server, repo, digest string) []referrer {
	t.Helper()
	a := ask(t, s, true, http.MethodGet, "/v2/"+repo+"/referrers/"+digest, nil, nil)
	var index struct{ Manifests []referrer }
	if err := json.Unmarshal(a.body, &index); a.status != http.StatusOK || err != nil {
		t.Fatalf("referrers of %s in %s: %d %s (%v)", digest, repo, a.status, a.body, err)
	}
	return index.Manifests
}

func wantReferrer(t *testing.T, s *harness.Server, repo, digest, artifactType string) {
	t.Helper()
	list := referrers(t, s, repo, digest)
	if !slices.ContainsFunc(list, func(r referrer) bool { return r.ArtifactType == artifactType }) {
		t.Fatalf("referrers of %s in %s are %v; want one of type %s", digest, repo, list, artifactType)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func contains(t *testing.T, what, text, part string) {
	t.Helper()
	if !strings.Contains(text, part) {
		t.Fatalf("%s: %q is not in:\n%s", what, part, text)
	}
}

// sameFile checks that two files hold the same bytes.
func sameFile(t *testing.T, got, want string) {
	t.Helper()
	a, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	if string(a) != string(b) {
		t.Fatalf("%s (%d bytes) differs from %s (%d bytes)", got, len(a), want, len(b))
	}
}

// dockerAuth is the configuration file of docker, which most clients read credentials from.
func dockerAuth(t *testing.T, shell *harness.Shell, s *harness.Server) {
	t.Helper()
	basic := fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, s.Addr, harness.User, harness.Password)
	shell.Write(t, filepath.Join(".docker", "config.json"), basic)
}
