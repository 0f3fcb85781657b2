package s3

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"

	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/fail"
)

// Flavour is whose S3 it is, as far as that makes a difference.
type Flavour string

// The flavours.
const (
	Plain Flavour = "s3"
	GCS   Flavour = "gcs"
	OSS   Flavour = "oss"
)

// Style is where a request names the bucket.
type Style string

// The styles. Auto is the path for an endpoint of one's own, where the bucket's host name seldom resolves, and the host for the clouds.
const (
	Auto Style = "auto"
	Path Style = "true"
	Host Style = "false"
)

// Config says where the bucket is and how it is used.
type Config struct {
	Flavour   Flavour
	Endpoint  *url.URL // nil: the cloud's own
	Region    string   // "": by the endpoint or the environment
	Bucket    string
	Prefix    string // of every key; "" or without slashes at its ends
	AccessKey string // "": as the environment says: variables, files, the machine's role
	SecretKey string
	Style     Style
	// SSE is the encryption at rest: "", AES256 or aws:kms; KMSKey is the key of the latter, "" for the bucket's own.
	SSE, KMSKey  string
	StorageClass string // "": the bucket's
	PartBytes    int64
	Pool         *parts.Pool
	HTTP         *http.Client // as egress.NewStream makes it
	// AddressKey and CAKey are the keys of the configuration that hints name.
	AddressKey, CAKey string
}

// An operation is tried again while the server is away: writes, which hold a client's bytes, until a gateway that restarts is back; reads, which are
// tried again above, a few times; and at the start, where somebody waits for a word, once.
const (
	writeTries, writePause = 12, 4 * time.Second
	readTries, readPause   = 2, 200 * time.Millisecond
	probeTries             = 2
)

// What the start waits for. credentialPatience bounds asking the surroundings for credentials: where there is no cloud, packets to its address may just vanish.
// probePatience bounds the try of the bucket: a server that hangs gets a word before whoever started the program gives up.
const (
	credentialPatience = 10 * time.Second
	probePatience      = 20 * time.Second
)

const (
	defaultRegion = "us-east-1"
	gcsEndpoint   = "https://storage.googleapis.com"
	gcsRegion     = "auto"
	ossEndpoint   = "https://s3.oss-%s.aliyuncs.com"
)

// options makes those of the SDK's client.
func (c *Config) options(ctx context.Context) (sdk.Options, error) {
	o := sdk.Options{
		Region: c.Region, HTTPClient: c.HTTP, Logger: logging.Nop{}, Retryer: retryer(readTries, readPause),
		// A 100-continue saves sending a part in vain, which the check at the start makes rare, and costs each part a round trip.
		ContinueHeaderThresholdBytes: -1,
		RequestChecksumCalculation:   aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation:   aws.ResponseChecksumValidationWhenRequired,
	}
	endpoint := ""
	if c.Endpoint != nil {
		endpoint = strings.TrimSuffix(c.Endpoint.String(), "/")
	}
	o.UsePathStyle = c.Style == Path || c.Style == Auto && c.Endpoint != nil
	switch c.Flavour {
	case GCS:
		endpoint, o.Region = orElse(endpoint, gcsEndpoint), orElse(o.Region, gcsRegion)
		o.UsePathStyle = c.Style != Host
	case OSS:
		if endpoint == "" && c.Region == "" {
			return o, fail.E(fail.Invalid, nil, "OSS without a region").Hint("give storage.s3.region, like cn-hangzhou, or storage.s3.endpoint")
		}
		endpoint = orElse(endpoint, strings.Replace(ossEndpoint, "%s", c.Region, 1))
		o.UsePathStyle = c.Style == Path // OSS refuses paths
	case Plain:
	}
	if endpoint == "" {
		// Amazon checks CRC32 on its side, also where the bucket has object lock, which wants a checksum.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported
	} else {
		// Not every other server knows the SDK's checksums, which come as a trailer in a coding of Amazon's own. Without them the payload is not signed
		// either: Havn hashes every byte that passes, and hashing it twice more, here and there, costs a gateway a quarter of its speed.
		o.BaseEndpoint = aws.String(endpoint)
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
	if err := c.credentials(ctx, &o); err != nil {
		return o, err
	}
	if o.Region == "" {
		if endpoint == "" {
			return o, fail.E(fail.Invalid, nil, "S3 without a region").Hint("give storage.s3.region, or for a server that is not Amazon's storage.s3.endpoint")
		}
		o.Region = defaultRegion
	}
	if c.Flavour == GCS {
		o.HTTPSignerV4 = withoutAcceptEncoding{v4.NewSigner(func(s *v4.SignerOptions) { s.DisableURIPathEscaping = true })}
	}
	return o, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// credentials gives the client those of the configuration, or else those of its surroundings, and with them maybe a region.
func (c *Config) credentials(ctx context.Context, o *sdk.Options) error {
	if c.AccessKey != "" {
		o.Credentials = credentials.NewStaticCredentialsProvider(c.AccessKey, c.SecretKey, "")
		return nil
	}
	ambient, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithHTTPClient(c.ambientHTTP()), awsconfig.WithLogger(logging.Nop{}))
	if err == nil {
		asking, cancel := context.WithTimeout(ctx, credentialPatience)
		_, err = ambient.Credentials.Retrieve(asking)
		cancel()
	}
	if err != nil {
		return fail.E(fail.Invalid, err, "credentials for S3 from the environment").
			Hint("give storage.s3.access_key and storage.s3.secret_key, or correct what the environment gives: AWS_ variables, ~/.aws, a web identity, the machine's role")
	}
	o.Credentials, o.Region = ambient.Credentials, orElse(o.Region, ambient.Region)
	return nil
}

// ambientHTTP makes the client that asks for credentials: it dials as the one for the bucket does. The SDK wants one of its own, to which it can add the
// authorities of AWS_CA_BUNDLE.
func (c *Config) ambientHTTP() *awshttp.BuildableClient {
	client := awshttp.NewBuildableClient()
	ours, ok := c.HTTP.Transport.(*http.Transport)
	if !ok {
		return client
	}
	return client.WithTransportOptions(func(t *http.Transport) {
		t.Proxy, t.DialContext = ours.Proxy, ours.DialContext
		if ours.TLSClientConfig == nil {
			return
		}
		t.TLSClientConfig = ours.TLSClientConfig.Clone()
		if t.TLSClientConfig.RootCAs != nil {
			t.TLSClientConfig.RootCAs = t.TLSClientConfig.RootCAs.Clone()
		}
	})
}

// retryer makes the policy of trying again: all that the server did not answer, and what it answered for want of strength. Every operation here can be
// done twice. Nothing limits the tries of all operations together: after an outage they would all be refused.
func retryer(tries int, pause time.Duration) aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts, o.MaxBackoff, o.RateLimiter = tries, pause, ratelimit.None
		o.Retryables = append([]retry.IsErrorRetryable{retry.IsErrorRetryableFunc(passing)}, o.Retryables...)
	})
}

// writing are the options of operations that hold a client's bytes.
func writing(o *sdk.Options) { o.Retryer = retryer(writeTries, writePause) }

// probing are the options of operations at the start.
func probing(o *sdk.Options) { o.Retryer = retryer(probeTries, readPause) }

// withoutAcceptEncoding signs without a header that Google's front end changes on the way (aws-sdk-go-v2 issue 1816).
type withoutAcceptEncoding struct{ next sdk.HTTPSignerV4 }

// SignHTTP signs a request.
func (w withoutAcceptEncoding) SignHTTP(ctx context.Context, cred aws.Credentials, r *http.Request, hash, service, region string, at time.Time, opts ...func(*v4.SignerOptions)) error {
	r.Header.Del("Accept-Encoding")
	return w.next.SignHTTP(ctx, cred, r, hash, service, region, at, opts...)
}

func (d *Driver) storageClass() types.StorageClass { return types.StorageClass(d.cfg.StorageClass) }

func (c *Config) encryption() (types.ServerSideEncryption, *string) {
	if c.KMSKey == "" {
		return types.ServerSideEncryption(c.SSE), nil
	}
	return types.ServerSideEncryption(c.SSE), aws.String(c.KMSKey)
}
