package stores

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/test/harness"
)

// client speaks to a server without trying anything again: whatever fails below must not be seen above.
type client struct {
	s    *harness.Server
	http *http.Client
}

func newClient(t *testing.T, s *harness.Server) *client {
	t.Helper()
	c := &client{s, s.HTTP()}
	t.Cleanup(c.http.CloseIdleConnections)
	return c
}

// unsized hides how long a body is, so that it is sent in chunks.
type unsized struct{ io.Reader }

// reply is a whole answer.
type reply struct {
	asked  string
	status int
	header http.Header
	body   []byte
}

func (c *client) do(t *testing.T, method, address string, body io.Reader, header http.Header) (reply, error) {
	if !strings.Contains(address, "://") {
		address = c.s.URL + address
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		return reply{}, err
	}
	for k, v := range header {
		r.Header[k] = v
	}
	r.SetBasicAuth(harness.User, harness.Password)
	answer, err := c.http.Do(r)
	if err != nil {
		return reply{}, err
	}
	text, err := io.ReadAll(answer.Body)
	return reply{method + " " + address, answer.StatusCode, answer.Header, text}, errors.Join(err, answer.Body.Close())
}

// want is do for one status alone; it answers the Location.
func (c *client) want(t *testing.T, status int, method, address string, body io.Reader) (string, error) {
	got, err := c.do(t, method, address, body, nil)
	if err == nil && got.status != status {
		err = fmt.Errorf("%s: %d: %s", got.asked, got.status, got.body)
	}
	return got.header.Get("Location"), err
}

func digestOf(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

// push pushes a blob: in one request of known length, or in three, of which the second is of unknown length, as docker does.
func (c *client) push(t *testing.T, repo string, data []byte, inOne bool) error {
	begin, digest := "/v2/"+repo+"/blobs/uploads/", "?digest="+url.QueryEscape(digestOf(data))
	if inOne {
		_, err := c.want(t, http.StatusCreated, http.MethodPost, begin+digest, bytes.NewReader(data))
		return err
	}
	at, err := c.want(t, http.StatusAccepted, http.MethodPost, begin, nil)
	if err != nil {
		return err
	}
	if at, err = c.want(t, http.StatusAccepted, http.MethodPatch, at, unsized{bytes.NewReader(data)}); err != nil {
		return err
	}
	_, err = c.want(t, http.StatusCreated, http.MethodPut, at+digest, nil)
	return err
}

func (c *client) pull(t *testing.T, repo string, data []byte) {
	t.Helper()
	address := "/v2/" + repo + "/blobs/" + digestOf(data)
	got, err := c.do(t, http.MethodGet, address, nil, nil)
	if err != nil || got.status != http.StatusOK || !bytes.Equal(got.body, data) {
		t.Errorf("pull of %d bytes: %d, %d bytes, %v", len(data), got.status, len(got.body), err)
	}
	if len(data) < 200 {
		return
	}
	from, to := len(data)/2, len(data)-10
	got, err = c.do(t, http.MethodGet, address, nil, http.Header{"Range": {fmt.Sprintf("bytes=%d-%d", from, to-1)}})
	if err != nil || got.status != http.StatusPartialContent || !bytes.Equal(got.body, data[from:to]) {
		t.Errorf("pull of bytes %d to %d: %d, %d bytes, %v", from, to, got.status, len(got.body), err)
	}
}

// serves proves that a server on a store takes and gives blobs, small and large, and still has them after a restart.
func serves(t *testing.T, env []string) *harness.Server {
	t.Helper()
	s := harness.Start(t, harness.Options{Env: env})
	c := newClient(t, s)
	var all [][]byte
	for i, size := range []int{0, 1000, 3 << 20, 40 << 20} {
		for _, inOne := range []bool{true, false} {
			data := blobtest.Noise(uint64(len(all)+i), size)
			if size > 0 {
				data[0] = byte(len(all))
			}
			if err := c.push(t, "stores/app", data, inOne); err != nil {
				t.Fatal(err)
			}
			all = append(all, data)
		}
	}
	for _, data := range all {
		c.pull(t, "stores/app", data)
	}
	s.Finish(t)
	s.Again(t)
	for _, data := range all {
		c.pull(t, "stores/app", data)
	}
	return s
}

// refusesToStart runs serve and doctor with an environment that can't work: both say the same, within their time-outs.
func refusesToStart(t *testing.T, env []string, words ...string) {
	t.Helper()
	for _, command := range []string{"serve", "doctor"} {
		began := time.Now()
		cmd := exec.CommandContext(t.Context(), harness.Binary(t), command)
		dir := t.TempDir()
		cmd.Dir = dir
		cmd.Env = append([]string{"HOME=" + dir, "HAVN_HTTP_ADDR=127.0.0.1:0", "HAVN_DATA_DIR=" + dir, "HAVN_ADMIN_PASSWORD=" + harness.Password}, env...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%s ended with %v", command, err)
		}
		for _, word := range words {
			if !strings.Contains(string(out), word) {
				t.Errorf("%s does not say %q", command, word)
			}
		}
		if took := time.Since(began); took > time.Minute {
			t.Errorf("%s took %s", command, took)
		}
		t.Logf("%s:\n%s", command, out)
	}
}
