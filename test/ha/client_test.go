package ha

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/havn-registry/havn/test/harness"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	octets       = "application/octet-stream"
)

// image is one layer, a configuration and the manifest of both.
type image struct {
	repo, tag     string
	config, layer []byte
	manifest      []byte
}

func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

func newImage(repo, tag string) image {
	m := image{repo: repo, tag: tag, config: fmt.Appendf(nil, `{"n":%d}`, rand.Uint64()), layer: make([]byte, 1+rand.IntN(8<<10))}
	for i := range m.layer {
		m.layer[i] = byte(rand.Uint32())
	}
	part := func(kind string, b []byte) map[string]any {
		return map[string]any{"mediaType": "application/vnd.oci.image." + kind, "digest": digestOf(b), "size": len(b)}
	}
	var err error
	m.manifest, err = json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": manifestType, "config": part("config.v1+json", m.config), "layers": []any{part("layer.v1.tar", m.layer)},
	})
	if err != nil {
		panic(err)
	}
	return m
}

// client speaks to one node.
type client struct {
	http  *http.Client
	url   string
	user  string // "": the administrator
	token string // "": user and password with each request
}

func newClient(s *harness.Server) *client { return &client{http: s.HTTP(), url: s.URL} }

// refused is an answer that was not the wanted one.
type refused struct {
	request string
	status  int
	retry   string // Retry-After
	text    []byte
}

func (r *refused) Error() string { return fmt.Sprintf("%s: %d: %s", r.request, r.status, r.text) }

// do answers the body and the Location, or an error for anything but the status that was wanted.
func (c *client) do(ctx context.Context, method, path, kind string, body []byte, want int) (text []byte, location string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, "", err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	} else {
		req.SetBasicAuth(cmp.Or(c.user, harness.User), harness.Password)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, "", err
	}
	text, err = io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, "", err
	}
	if res.StatusCode != want {
		return text, "", &refused{method + " " + path, res.StatusCode, res.Header.Get("Retry-After"), text}
	}
	return text, res.Header.Get("Location"), nil
}

func (c *client) get(ctx context.Context, path string) ([]byte, error) {
	text, _, err := c.do(ctx, http.MethodGet, path, "", nil, http.StatusOK)
	return text, err
}

// push sends an image: each blob in one request, then the manifest.
func (c *client) push(ctx context.Context, m image) error {
	for _, blob := range [][]byte{m.config, m.layer} {
		if _, _, err := c.do(ctx, http.MethodPost, "/v2/"+m.repo+"/blobs/uploads/?digest="+digestOf(blob), octets, blob, http.StatusCreated); err != nil {
			return err
		}
	}
	_, _, err := c.do(ctx, http.MethodPut, "/v2/"+m.repo+"/manifests/"+m.tag, manifestType, m.manifest, http.StatusCreated)
	return err
}

// check reads an image by its references and its blobs, whole.
func (c *client) check(ctx context.Context, m image, references ...string) error {
	for _, ref := range references {
		text, err := c.get(ctx, "/v2/"+m.repo+"/manifests/"+ref)
		if err == nil && !bytes.Equal(text, m.manifest) {
			err = fmt.Errorf("another manifest: %s", text)
		}
		if err != nil {
			return fmt.Errorf("manifest %s: %w", ref, err)
		}
	}
	for _, blob := range [][]byte{m.config, m.layer} {
		text, err := c.get(ctx, "/v2/"+m.repo+"/blobs/"+digestOf(blob))
		if err == nil && !bytes.Equal(text, blob) {
			err = fmt.Errorf("%d other bytes", len(text))
		}
		if err != nil {
			return fmt.Errorf("blob %s: %w", digestOf(blob), err)
		}
	}
	return nil
}

// logIn takes a token for pulls and pushes of a repository, so that requests need no look at the password.
func (c *client) logIn(t *testing.T, repo string) {
	t.Helper()
	c.logInFor(t, repo, "pull,push")
}

func (c *client) logInFor(t *testing.T, repo, actions string) {
	t.Helper()
	query := url.Values{"service": {"harbor-registry"}, "scope": {"repository:" + repo + ":" + actions}}
	text, err := c.get(t.Context(), "/service/token?"+query.Encode())
	need(t, err)
	var got struct{ Token string }
	need(t, json.Unmarshal(text, &got))
	c.token = got.Token
}

// mustBeUnavailable checks the answer while the database can't be written: 503, and when to come again.
func mustBeUnavailable(t *testing.T, err error) {
	t.Helper()
	var r *refused
	if !errors.As(err, &r) || r.status != http.StatusServiceUnavailable || r.retry == "" || !strings.Contains(string(r.text), "UNAVAILABLE") {
		t.Errorf("without a quorum the answer is %v, want 503 with Retry-After", err)
	}
}
