package stores

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/blob/s3"
	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

const s3Bucket = "havn"

var madeBucket sync.Once

// s3Client answers the SDK's client, for what Havn itself does not do; the bucket is there.
func s3Client(t *testing.T, c *lab.Ceph) *sdk.Client {
	t.Helper()
	client := sdk.New(sdk.Options{
		BaseEndpoint: aws.String(c.S3Endpoint()), Region: lab.S3Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(lab.S3AccessKey, lab.S3SecretKey, ""),
	})
	madeBucket.Do(func() {
		if _, err := client.CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: aws.String(s3Bucket)}); err != nil {
			t.Error(err)
		}
	})
	return client
}

var prefixes atomic.Int64

// s3Config is a driver's on a prefix of its own; 5 MiB are the smallest parts that S3 takes.
func s3Config(t *testing.T, c *lab.Ceph) s3.Config {
	t.Helper()
	s3Client(t, c)
	at, err := url.Parse(c.S3Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	client, err := egress.NewStream(egress.StreamConfig{NoProgress: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	pool, err := parts.NewPool(16<<20, t.TempDir(), 16)
	if err != nil {
		t.Fatal(err)
	}
	return s3.Config{
		Flavour: s3.Plain, Endpoint: at, Region: lab.S3Region, Bucket: s3Bucket, Prefix: fmt.Sprintf("suite/%d", prefixes.Add(1)),
		AccessKey: lab.S3AccessKey, SecretKey: lab.S3SecretKey, Style: s3.Auto, PartBytes: 5 << 20, Pool: pool, HTTP: client,
		AddressKey: "storage.s3.endpoint", CAKey: "storage.s3.ca_file",
	}
}

// placed remembers where a driver keeps its objects.
type placed struct {
	*s3.Driver
	config s3.Config
}

func openS3(t *testing.T, c s3.Config) placed {
	t.Helper()
	d, err := s3.New(t.Context(), c)
	need(t, err)
	return placed{d, c}
}

func TestS3PassesTheSuite(t *testing.T) {
	c := ceph(t)
	for name, change := range map[string]func(*s3.Config){
		"AsItIs":       func(*s3.Config) {},
		"WithoutAName": func(c *s3.Config) { c.Flavour, c.Style = s3.GCS, s3.Path }, // what the preset for Google changes, on another server
	} {
		t.Run(name, func(t *testing.T) {
			blobtest.Run(t, func(t *testing.T) blob.Driver {
				config := s3Config(t, c)
				change(&config)
				return openS3(t, config)
			}, func(t *testing.T, d blob.Driver) blob.Driver {
				before, ok := d.(placed)
				if !ok {
					t.Fatalf("driver %T", d)
				}
				return openS3(t, before.config)
			})
		})
	}
}

// uploads counts the unfinished multipart uploads below a prefix.
func uploads(t *testing.T, c *lab.Ceph, prefix string) int {
	t.Helper()
	out, err := s3Client(t, c).ListMultipartUploads(t.Context(), &sdk.ListMultipartUploadsInput{Bucket: aws.String(s3Bucket), Prefix: aws.String(prefix)})
	if err != nil {
		t.Fatal(err)
	}
	return len(out.Uploads)
}

func TestAWriteThatBreaksOffLeavesNoUpload(t *testing.T) {
	c := ceph(t)
	d := openS3(t, s3Config(t, c))
	cause := errors.New("cable cut")
	in := io.MultiReader(bytes.NewReader(blobtest.Noise(1, 12<<20)), brokenReader{cause})
	if _, err := d.Put(t.Context(), blobtest.Store(d).NewName(), -1, in); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
	if n := uploads(t, c, d.config.Prefix); n != 0 {
		t.Errorf("%d uploads are left", n)
	}
}

type brokenReader struct{ err error }

func (b brokenReader) Read([]byte) (int, error) { return 0, b.err }

func TestUploadsOfDeadWritersAreTidiedUp(t *testing.T) {
	c := ceph(t)
	d := openS3(t, s3Config(t, c))
	store := blobtest.Store(d)
	for _, name := range []string{store.NewName(), store.NewName(), "somebody-elses"} {
		_, err := s3Client(t, c).CreateMultipartUpload(t.Context(), &sdk.CreateMultipartUploadInput{Bucket: aws.String(s3Bucket), Key: aws.String(d.config.Prefix + "/" + name)})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n, err := store.Tidy(t.Context(), time.Now().Add(-time.Hour), blobtest.NoneKnown); err != nil || n != 0 {
		t.Errorf("young uploads: %d gone, %v", n, err)
	}
	if n, err := store.Tidy(t.Context(), time.Now().Add(time.Hour), blobtest.NoneKnown); err != nil || n != 2 {
		t.Errorf("old uploads: %d gone, %v", n, err)
	}
	if n := uploads(t, c, d.config.Prefix); n != 1 {
		t.Errorf("%d uploads are left, want somebody else's", n)
	}
}

func TestASignedURLReadsWithoutCredentials(t *testing.T) {
	c := ceph(t)
	d := openS3(t, s3Config(t, c))
	name, want := blobtest.Store(d).NewName(), blobtest.Noise(3, 6<<20)
	if _, err := d.Put(t.Context(), name, int64(len(want)), bytes.NewReader(want)); err != nil {
		t.Fatal(err)
	}
	signed, err := d.SignGet(t.Context(), name, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	readsSigned(t, signed, want)
}

// readsSigned reads a range of an object from a URL, with nothing but that.
func readsSigned(t *testing.T, signed string, want []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, signed, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Range", "bytes=100-199")
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(answer.Body)
	if err = errors.Join(err, answer.Body.Close()); err != nil || answer.StatusCode != http.StatusPartialContent || !bytes.Equal(got, want[100:200]) {
		t.Errorf("%s, %d bytes, %v", answer.Status, len(got), err)
	}
}

// TestAWriteOutlivesTheGateway kills radosgw and starts it again while an object is sent.
func TestAWriteOutlivesTheGateway(t *testing.T) {
	c := ceph(t)
	d := openS3(t, s3Config(t, c))
	name, want := blobtest.Store(d).NewName(), blobtest.Noise(4, 24<<20)
	half := len(want) / 2
	restarted := make(chan error, 1)
	in := io.MultiReader(bytes.NewReader(want[:half]), &once{do: func() {
		go func() { restarted <- c.Gateway.Restart(context.WithoutCancel(t.Context())) }()
	}}, bytes.NewReader(want[half:]))
	_, putErr := d.Put(t.Context(), name, int64(len(want)), in)
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	if putErr != nil {
		t.Fatal(putErr)
	}
	r, err := d.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err = errors.Join(err, r.Close()); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
	}
}

// once does something when it is read, and brings no byte.
type once struct {
	do   func()
	done bool
}

func (o *once) Read([]byte) (int, error) {
	if !o.done {
		o.done = true
		o.do()
	}
	return 0, io.EOF
}

func TestWhatIsWrongWithABucketIsSaid(t *testing.T) {
	c := ceph(t)
	dead := &url.URL{Scheme: "http", Host: "127.0.0.1:1"}
	for name, bad := range map[string]struct {
		change func(*s3.Config)
		text   string
		hint   string
	}{
		"wrong secret":     {func(c *s3.Config) { c.SecretKey = "wrong" }, "SignatureDoesNotMatch", "storage.s3.secret_key"},
		"wrong access key": {func(c *s3.Config) { c.AccessKey = "nobody" }, "InvalidAccessKeyId", "storage.s3.access_key"},
		"absent bucket":    {func(c *s3.Config) { c.Bucket = "absent" }, "NoSuchBucket", "storage.s3.bucket"},
		"dead address":     {func(c *s3.Config) { c.Endpoint = dead }, "connection refused", "storage.s3.endpoint"},
		"no such host":     {func(c *s3.Config) { c.Endpoint = &url.URL{Scheme: "http", Host: "nowhere.invalid"} }, "nowhere.invalid", "storage.s3.endpoint"},
		"no TLS there":     {func(c *s3.Config) { e := *c.Endpoint; e.Scheme = "https"; c.Endpoint = &e }, "", "http://"},
		"encryption":       {func(c *s3.Config) { c.SSE = "aws:kms" }, "", "storage.s3.sse"},
	} {
		t.Run(name, func(t *testing.T) {
			config := s3Config(t, c)
			bad.change(&config)
			began := time.Now()
			_, err := s3.New(t.Context(), config)
			if err == nil || !strings.Contains(err.Error(), bad.text) || !strings.Contains(fail.HintOf(err), bad.hint) {
				t.Errorf("error %v\nhint %s", err, fail.HintOf(err))
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("it took %s", took)
			}
			t.Logf("%v → %s", err, fail.HintOf(err))
		})
	}
}
