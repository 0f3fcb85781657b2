package stores

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// storeCheck runs `havn store check` and answers its exit code and its output.
func storeCheck(t *testing.T, env []string, args ...string) (int, []byte) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), harness.Binary(t), append([]string{"store", "check"}, args...)...)
	cmd.Dir = t.TempDir()
	cmd.Env = append([]string{"HOME=" + cmd.Dir, "HAVN_DATA_DIR=" + filepath.Join(cmd.Dir, "data")}, env...)
	var complaints strings.Builder
	cmd.Stderr = &complaints
	out, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	t.Logf("%s%s", out, &complaints)
	return cmd.ProcessState.ExitCode(), out
}

// TestUsersCanCheckTheirBucket also proves that the check leaves nothing, while somebody else uses the bucket.
func TestUsersCanCheckTheirBucket(t *testing.T) {
	c := ceph(t)
	env := s3Env(t, c)
	code, out := storeCheck(t, env, "--output", "json")
	var result struct {
		OK     bool
		Checks []struct {
			Name string
			OK   bool
		}
	}
	if err := json.Unmarshal(out, &result); err != nil || code != 0 || !result.OK || len(result.Checks) < 10 {
		t.Errorf("exit code %d, %+v, %v", code, result, err)
	}
	prefix := strings.TrimPrefix(env[len(env)-1], "HAVN_STORAGE_PREFIX=")
	left, err := s3Client(t, c).ListObjectsV2(t.Context(), &sdk.ListObjectsV2Input{Bucket: aws.String(s3Bucket), Prefix: aws.String(prefix)})
	if err != nil || len(left.Contents) > 0 {
		t.Errorf("%d objects are left, %v", len(left.Contents), err)
	}
	if n := uploads(t, c, prefix); n > 0 {
		t.Errorf("%d uploads are left", n)
	}
	if code, _ = storeCheck(t, append(env, "HAVN_STORAGE_S3_BUCKET=absent")); code != 1 {
		t.Errorf("exit code %d for an absent bucket", code)
	}
	if code, _ = storeCheck(t, append(env, "HAVN_STORAGE_S3_BUCKET=")); code != 2 {
		t.Errorf("exit code %d without a bucket", code)
	}
}

// otherwise puts a server in front of radosgw that changes what is asked on the way, or answers itself (true), and answers its address.
func otherwise(t *testing.T, c *lab.Ceph, change func(w http.ResponseWriter, r *http.Request) bool) string {
	t.Helper()
	at, err := url.Parse(c.S3Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	next := httputil.NewSingleHostReverseProxy(at)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !change(w, r) {
			next.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// forgets makes of radosgw a server that does not know If-None-Match: the header is taken away, and what is left is signed anew.
func forgets(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("If-None-Match") == "" {
		return false
	}
	r.Header.Del("If-None-Match")
	r.Header.Del("Authorization")
	by := aws.Credentials{AccessKeyID: lab.S3AccessKey, SecretAccessKey: lab.S3SecretKey}
	r.URL.Host = r.Host // the signer takes it from there
	err := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true }).
		SignHTTP(r.Context(), by, r, r.Header.Get("X-Amz-Content-Sha256"), "s3", lab.S3Region, time.Now())
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
	}
	return err != nil
}

// drops is a proxy that takes a header away which is signed.
func drops(_ http.ResponseWriter, r *http.Request) bool {
	r.Header.Del("If-None-Match")
	return false
}

// refuses makes of radosgw a server that answers what older ones do to a header that they do not know, to the writes of these methods.
func refuses(methods ...string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-None-Match") == "" || !slices.Contains(methods, r.Method) {
			return false
		}
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusNotImplemented)
		if _, err := fmt.Fprint(w, "<Error><Code>NotImplemented</Code><Message>A header you provided implies functionality that is not implemented</Message></Error>"); err != nil {
			panic(http.ErrAbortHandler)
		}
		return true
	}
}

// TestABucketWithoutConditionsIsJudgedClearly: whatever such a server says to If-None-Match, the check passes, and its warning says what it means and what to do.
func TestABucketWithoutConditionsIsJudgedClearly(t *testing.T) {
	c := ceph(t)
	for name, k := range map[string]struct {
		change func(http.ResponseWriter, *http.Request) bool
		words  []string
	}{
		"ignores it":            {forgets, []string{"writes over an object although it is asked not to", "newer release"}},
		"refuses it":            {refuses(http.MethodPut, http.MethodPost), []string{"NotImplemented (501)", "newer release"}},
		"a proxy drops it":      {drops, []string{"SignatureDoesNotMatch (403)", "on the way to the server takes it away"}},
		"refuses it at the end": {refuses(http.MethodPost), nil},
	} {
		t.Run(name, func(t *testing.T) {
			env := s3Env(t, c, "HAVN_STORAGE_S3_ENDPOINT="+otherwise(t, c, k.change), "HAVN_STORAGE_S3_PART_SIZE=5MiB")
			code, out := storeCheck(t, env)
			warned := strings.Count(string(out), "warning")
			if code != 0 || warned != min(len(k.words), 1) {
				t.Errorf("exit code %d, %d warnings", code, warned)
			}
			for _, text := range k.words {
				if !strings.Contains(string(out), text) || !strings.Contains(string(out), "Havn does without") {
					t.Errorf("nothing says %q", text)
				}
			}
			if name != "ignores it" { // a run takes its time
				return
			}
			code, out = storeCheck(t, env, "--output", "json")
			var result struct {
				OK     bool
				Checks []struct {
					Name, Hint string
					OK, Minor  bool
					Problems   []string
				}
			}
			if err := json.Unmarshal(out, &result); err != nil || code != 0 || !result.OK {
				t.Errorf("exit code %d, ok %v, %v", code, result.OK, err)
			}
			for _, r := range result.Checks {
				if minor := r.Name == "OneOfManyNodesWins"; r.OK == minor || r.Minor != minor {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}
