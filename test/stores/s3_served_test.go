package stores

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/havn-registry/havn/internal/blob/blobtest"
	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// s3Env is a server's configuration on a prefix of its own.
func s3Env(t *testing.T, c *lab.Ceph, more ...string) []string {
	t.Helper()
	s3Client(t, c)
	return append([]string{
		"HAVN_STORAGE_DRIVER=s3", "HAVN_STORAGE_S3_ENDPOINT=" + c.S3Endpoint(), "HAVN_STORAGE_S3_BUCKET=" + s3Bucket, "HAVN_STORAGE_S3_ACCESS_KEY=" + lab.S3AccessKey,
		"HAVN_STORAGE_S3_SECRET_KEY=" + lab.S3SecretKey, fmt.Sprintf("HAVN_STORAGE_PREFIX=served/%d", prefixes.Add(1)),
	}, more...)
}

func TestHavnServesFromS3(t *testing.T) {
	serves(t, s3Env(t, ceph(t)))
}

// TestPushesOutliveTheGateway kills radosgw under pushes: they wait, and no client sees it. Unless the kill falls into the moment in which radosgw puts
// the parts of an object together: it leaves a lock of ten minutes behind (rgw_mp_lock_max_time), and that one push has to be made again, which works at once.
func TestPushesOutliveTheGateway(t *testing.T) {
	c := ceph(t)
	s := harness.Start(t, harness.Options{Env: s3Env(t, c, "HAVN_STORAGE_S3_PART_SIZE=5MiB")})
	const pushers, kills = 4, 3
	var stop atomic.Bool
	var pushed, again atomic.Int64
	var all sync.WaitGroup
	var mu sync.Mutex
	var kept [][]byte
	for i := range pushers {
		all.Go(func() {
			cl := newClient(t, s)
			for round := 0; !stop.Load(); round++ {
				data := blobtest.Noise(uint64(i), 12<<20)
				copy(data, fmt.Sprintf("%d of %d", round, i))
				err := cl.push(t, "stores/faults", data, round%2 == 0)
				if err != nil && strings.Contains(err.Error(), "rgw_mp_lock_max_time") {
					again.Add(1)
					err = cl.push(t, "stores/faults", data, round%2 == 0)
				}
				if err != nil {
					t.Errorf("push %d of pusher %d: %v", round, i, err)
					return
				}
				mu.Lock()
				if len(kept) < 20 {
					kept = append(kept, data)
				}
				mu.Unlock()
				pushed.Add(1)
			}
		})
	}
	for range kills {
		for before, deadline := pushed.Load(), time.Now().Add(patience); pushed.Load() < before+2 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			continue
		}
		if err := c.Gateway.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	all.Wait()
	cl := newClient(t, s)
	for _, data := range kept {
		cl.pull(t, "stores/faults", data)
	}
	t.Logf("%d pushes, %d kills, %d pushes made again", pushed.Load(), kills, again.Load())
}

func TestStartAndDoctorSayWhatIsWrongWithS3(t *testing.T) {
	c := ceph(t)
	old, oldCA := expired(t, c)
	for name, bad := range map[string]struct {
		env   []string
		words []string
	}{
		"wrong secret":  {[]string{"HAVN_STORAGE_S3_SECRET_KEY=wrong"}, []string{"SignatureDoesNotMatch", "storage.s3.secret_key"}},
		"absent bucket": {[]string{"HAVN_STORAGE_S3_BUCKET=absent"}, []string{"NoSuchBucket", "make the bucket absent"}},
		"dead address":  {[]string{"HAVN_STORAGE_S3_ENDPOINT=http://127.0.0.1:1"}, []string{"connection refused", "storage.s3.endpoint"}},
		"read-only":     {[]string{"HAVN_STORAGE_S3_BUCKET=" + readOnlyBucket(t, c)}, []string{"write an object", "AccessDenied", "s3:PutObject"}},
		"no such host":  {[]string{"HAVN_STORAGE_S3_ENDPOINT=http://nowhere.invalid"}, []string{"nowhere.invalid", "/etc/resolv.conf"}},
		"it hangs":      {[]string{"HAVN_STORAGE_S3_ENDPOINT=" + silent(t)}, []string{"no answer in time", "is it running"}},
		"expired":       {[]string{"HAVN_STORAGE_S3_ENDPOINT=" + old, "HAVN_STORAGE_S3_CA_FILE=" + oldCA}, []string{"certificate", "expired", "renew it"}},
		"unknown":       {[]string{"HAVN_STORAGE_S3_ENDPOINT=" + front(t, c, nil)}, []string{"certificate", "not trusted", "storage.s3.ca_file"}},
	} {
		t.Run(name, func(t *testing.T) { refusesToStart(t, s3Env(t, c, bad.env...), bad.words...) })
	}
}

// silent answers the address of a server that takes connections and says nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if closed := l.Close(); closed != nil {
			t.Error(closed)
		}
	})
	return "http://" + l.Addr().String()
}

// readOnlyBucket makes a bucket in which nobody may write.
func readOnlyBucket(t *testing.T, c *lab.Ceph) string {
	t.Helper()
	const name = "readonly"
	client := s3Client(t, c)
	if _, err := client.CreateBucket(t.Context(), &sdk.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		t.Fatal(err)
	}
	policy := `{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "arn:aws:s3:::` + name + `/*"}]}`
	if _, err := client.PutBucketPolicy(t.Context(), &sdk.PutBucketPolicyInput{Bucket: aws.String(name), Policy: aws.String(policy)}); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestPullsAreSentToTheBucket follows the redirect as clients do: without the credentials that are Havn's.
func TestPullsAreSentToTheBucket(t *testing.T) {
	s := harness.Start(t, harness.Options{Env: s3Env(t, ceph(t), "HAVN_STORAGE_REDIRECT=on")})
	c := newClient(t, s)
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	data := blobtest.Noise(5, 6<<20)
	if err := c.push(t, "stores/away", data, true); err != nil {
		t.Fatal(err)
	}
	got, err := c.do(t, http.MethodGet, "/v2/stores/away/blobs/"+digestOf(data), nil, nil)
	if err != nil || got.status != http.StatusTemporaryRedirect {
		t.Fatalf("%d %s, %v", got.status, got.body, err)
	}
	readsSigned(t, got.header.Get("Location"), data)
}

// front puts a server that speaks TLS in front of radosgw, and answers its address. nil is a certificate that nobody trusts.
func front(t *testing.T, c *lab.Ceph, config *tls.Config) string {
	t.Helper()
	at, err := url.Parse(c.S3Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(httputil.NewSingleHostReverseProxy(at))
	s.TLS = config
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

// expired answers the address of a front whose certificate ended yesterday, and the file of its authority.
func expired(t *testing.T, c *lab.Ceph) (address, ca string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	address = front(t, c, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	ca = filepath.Join(t.TempDir(), "ca.crt")
	if err = os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return address, ca
}
