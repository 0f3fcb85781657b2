package stores

import (
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

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
