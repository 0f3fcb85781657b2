package config_test

import (
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/config"
)

func TestWhatIsMissingOfABucketIsSaid(t *testing.T) {
	t.Parallel()
	s3 := "HAVN_STORAGE_DRIVER=s3 HAVN_STORAGE_S3_BUCKET=b "
	for env, want := range map[string]string{
		s3: "", s3 + "HAVN_STORAGE_S3_ENDPOINT=http://10.0.0.1:7480 HAVN_STORAGE_S3_ACCESS_KEY=a HAVN_STORAGE_S3_SECRET_KEY=s HAVN_STORAGE_S3_PATH_STYLE=true HAVN_STORAGE_PREFIX=a/b-c_d.e": "",
		"HAVN_STORAGE_DRIVER=s3":                            "storage.s3.bucket: is not set",
		"HAVN_STORAGE_S3_BUCKET=b":                          "storage.s3.bucket: is set, and storage.driver is filesystem",
		s3 + "HAVN_STORAGE_S3_ACCESS_KEY=a":                 "storage.s3.secret_key is not",
		s3 + "HAVN_STORAGE_S3_SECRET_KEY=a":                 "storage.s3.access_key is not",
		s3 + "HAVN_STORAGE_S3_SSE_KMS_KEY=k":                "storage.s3.sse is not aws:kms",
		s3 + "HAVN_STORAGE_S3_SSE=aes256":                   "did you mean AES256?",
		s3 + "HAVN_STORAGE_S3_PART_SIZE=1MiB":               "too small",
		s3 + "HAVN_STORAGE_S3_ENDPOINT=s3.example.com":      "does not begin with https://",
		s3 + "HAVN_UPLOADS_MAX_OBJECT_SIZE=5TiB":            "more than 10000 parts",
		s3 + "HAVN_STORAGE_FILESYSTEM_PATH=/x":              "storage.filesystem.path: is set",
		"HAVN_STORAGE_DRIVER=s3 HAVN_STORAGE_S3_BUCKET=b/c": "a path in it goes to storage.prefix",
		"HAVN_STORAGE_DRIVER=gcs HAVN_STORAGE_S3_BUCKET=b":  "storage.s3.access_key: is not set",
		"HAVN_STORAGE_DRIVER=oss HAVN_STORAGE_S3_BUCKET=b HAVN_STORAGE_S3_ACCESS_KEY=a HAVN_STORAGE_S3_SECRET_KEY=s": "storage.s3.region: is not set",
		"HAVN_STORAGE_PREFIX=/a":     "is not a prefix",
		"HAVN_STORAGE_PREFIX=a//b":   "is not a prefix",
		"HAVN_STORAGE_PREFIX=a/../b": "is not a prefix",
		"HAVN_STORAGE_PREFIX=a/":     "is not a prefix",
	} {
		_, _, err := config.Load(config.Source{Env: strings.Fields(env)})
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", env, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", env, err, want)
		}
	}
}

func TestAnAuthorityThatIsNotThereIsSaid(t *testing.T) {
	t.Parallel()
	c := load(t, config.Source{Env: []string{"HAVN_STORAGE_DRIVER=s3", "HAVN_STORAGE_S3_BUCKET=b", "HAVN_STORAGE_S3_CA_FILE=/nowhere/ca.crt"}})
	if p := c.Probe(); len(p) != 1 || p[0].Key != "storage.s3.ca_file" || !strings.Contains(p[0].String(), "no such file") {
		t.Errorf("problems %v", p)
	}
	if _, err := c.StoreRoots(c.Storage.S3.CAFile); err == nil {
		t.Error("no error")
	}
}
