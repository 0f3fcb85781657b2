package config

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// S3 is a bucket of the drivers s3, gcs and oss.
type S3 struct {
	Endpoint     *url.URL // nil: the cloud's own
	Region       string   // "": by the endpoint or the environment
	Bucket       string
	AccessKey    string // "": from the environment
	SecretKey    Secret
	PathStyle    string // auto, true or false
	CAFile       string
	SSE          string // "", AES256 or aws:kms
	SSEKMSKey    string
	StorageClass string
	PartSize     int64
}

// maxParts is how many parts S3 allows a multipart upload.
const maxParts = 10000

func s3Keys() []key {
	return []key{
		parsed("storage.s3.endpoint", "URL", "http:// or https://, a host", "", "Address of an S3 server that is not Amazon's: radosgw, MinIO and the like.",
			func(c *Config) **url.URL { return &c.Storage.S3.Endpoint }, func(s string) (*url.URL, error) { return parseURL(s, true, "https", "http") }, writeURL).
			like("https://s3.example.com").empty("Amazon's for s3, https://storage.googleapis.com for gcs, the region's for oss"),
		text("storage.s3.region", "a region's name", "", "Region of the bucket.", func(c *Config) *string { return &c.Storage.S3.Region }, anyText).like("eu-central-1").
			empty("the environment's (AWS_REGION and the like); with storage.s3.endpoint `us-east-1`, which most servers do not look at; `auto` for gcs"),
		text("storage.s3.bucket", "a bucket's name", "", "The bucket. Havn does not make it, and needs no versioning in it.", func(c *Config) *string { return &c.Storage.S3.Bucket }, bucketText).like("registry").empty("none"),
		text("storage.s3.access_key", "any text", "", "Access key. For gcs an HMAC key's access ID.", func(c *Config) *string { return &c.Storage.S3.AccessKey }, anyText).like("AKIAIOSFODNN7EXAMPLE").
			empty("with s3, what the environment gives: AWS_ variables, ~/.aws, a web identity, the role of the machine or container"),
		secret("storage.s3.secret_key", "at most 1024 bytes", "Secret key that belongs to the access key.", func(c *Config) *Secret { return &c.Storage.S3.SecretKey }, 1, 1024).empty("see storage.s3.access_key"),
		choice("storage.s3.path_style", "auto", "Name the bucket in the path of requests (true), or in the host's name (false); auto is true with storage.s3.endpoint and with gcs.", func(c *Config) *string { return &c.Storage.S3.PathStyle },
			[]string{"auto", "true", "false"}, []string{"auto", "true", "false"}, equal),
		text("storage.s3.ca_file", "a PEM file", "", "Certificates of authorities that are trusted for the S3 server, beside the system's and those of outbound.ca_file.",
			func(c *Config) *string { return &c.Storage.S3.CAFile }, anyText).like("/etc/havn/s3-ca.crt").empty("no others"),
		choice("storage.s3.sse", "off", "Encryption at rest that is asked for: AES256 with the store's keys, aws:kms with a key of its key management.", func(c *Config) *string { return &c.Storage.S3.SSE },
			[]string{"off", "AES256", "aws:kms"}, []string{"", "AES256", "aws:kms"}, equal),
		text("storage.s3.sse_kms_key", "a key's id or ARN", "", "The key for storage.s3.sse: aws:kms.", func(c *Config) *string { return &c.Storage.S3.SSEKMSKey }, anyText).empty("the bucket's own"),
		text("storage.s3.storage_class", "a class of the store", "", "Storage class of objects. They are read at any time: no archive.", func(c *Config) *string { return &c.Storage.S3.StorageClass }, anyText).
			like("STANDARD_IA").empty("the bucket's own"),
		size("storage.s3.part_size", "16MiB", "Objects longer than this are sent in parts of this size, four at once. A part waits in memory, or in the data directory, until it was sent.",
			func(c *Config) *int64 { return &c.Storage.S3.PartSize }, extent{min: 5 * mib, max: 512 * mib}),
	}
}

// prefixText checks a prefix of objects' names: what every store and every tool takes as it is.
func prefixText(s string) error {
	if s == "" {
		return nil
	}
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./") != "" || s[0] == '/' || path.Clean(s) != s || strings.HasPrefix(s, ".") {
		return fmt.Errorf("%q is not a prefix", s)
	}
	return nil
}

func bucketText(s string) error {
	if strings.ContainsAny(s, "/ ?#%") {
		return fmt.Errorf("%q is not a bucket's name alone: a path in it goes to storage.prefix, a host to storage.s3.endpoint", s)
	}
	return nil
}

// inBucket reports whether blobs are behind the S3 API.
func (d Driver) inBucket() bool { return slices.Contains([]Driver{S3Driver, GCS, OSS}, d) }

// consistentS3 answers what is wrong between the keys of a bucket.
func (c *Config) consistentS3(blame func(key, text, allowed string)) {
	s := c.Storage.S3
	if !c.Storage.Driver.inBucket() {
		if s.Bucket != "" {
			blame("storage.s3.bucket", fmt.Sprintf("is set, and storage.driver is %s", c.Storage.Driver), "storage.driver: s3, gcs or oss, or no bucket")
		}
		return
	}
	if s.Bucket == "" {
		blame("storage.s3.bucket", fmt.Sprintf("is not set, and storage.driver is %s", c.Storage.Driver), "the bucket's name")
	}
	switch {
	case s.AccessKey != "" && s.SecretKey.Reveal() == "":
		blame("storage.s3.access_key", "is set, and storage.s3.secret_key is not", "both or none")
	case s.AccessKey == "" && s.SecretKey.Reveal() != "":
		blame("storage.s3.secret_key", "is set, and storage.s3.access_key is not", "both or none")
	case s.AccessKey == "" && c.Storage.Driver != S3Driver:
		blame("storage.s3.access_key", fmt.Sprintf("is not set, and storage.driver is %s", c.Storage.Driver), "an access key; for gcs an HMAC key, as `gcloud storage hmac create` makes it")
	}
	if c.Storage.Driver == OSS && s.Region == "" && s.Endpoint == nil {
		blame("storage.s3.region", "is not set, and storage.driver is oss", "a region like cn-hangzhou, or storage.s3.endpoint")
	}
	if s.SSEKMSKey != "" && s.SSE != "aws:kms" {
		blame("storage.s3.sse_kms_key", "is set, and storage.s3.sse is not aws:kms", "storage.s3.sse: aws:kms, or no key")
	}
	if c.Uploads.MaxObjectSize > s.PartSize*maxParts {
		blame("uploads.max_object_size", fmt.Sprintf("is more than %d parts of storage.s3.part_size", maxParts), "at most "+writeSize(s.PartSize*maxParts)+", or a larger storage.s3.part_size")
	}
	if c.Storage.Filesystem.Path != "" {
		blame("storage.filesystem.path", fmt.Sprintf("is set, and storage.driver is %s", c.Storage.Driver), "no path, or storage.driver: filesystem")
	}
}

// StoreRoots answers the authorities to trust for a store: those for every call to others, and those of a file of its own, if one is given.
func (c *Config) StoreRoots(file string) (*x509.CertPool, error) {
	pool, err := c.OutboundRoots()
	if err != nil || file == "" {
		return pool, err
	}
	return pool, appendAuthorities(pool, file)
}
