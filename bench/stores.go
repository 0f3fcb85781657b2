package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/havn-registry/havn/internal/lab"
)

// store is where Havn keeps what is pushed to it. Beside all but a directory there is a Ceph, and the other registries have buckets of their own in it: they can't
// be measured on anything else that Havn can use.
type store string

const (
	inDirectory store = "directory" // and SQLite
	onS3        store = "s3"
	onSwift     store = "swift"
	onRADOS     store = "rados"     // Havn is built with -tags rados
	cached      store = "s3-cached" // with a read cache on the local disk
	cluster     store = "cluster"   // S3, and several nodes on a Galera cluster of three
)

// stores are all of them, in the order in which they are listed.
var stores = []store{inDirectory, onS3, onSwift, onRADOS, cached, cluster}

const (
	// cephGigabytes is the size of the Ceph's disk, a sparse file: it never gives back what was deleted, and distribution writes each blob twice.
	cephGigabytes = 128
	// signed is how long a URL for the bare client is good: longer than all rounds take.
	signed = 12 * time.Hour
	// secret seals what the nodes of a cluster share.
	secret = "bench-secret-of-more-than-thirty-two-bytes"
)

// services are what the servers keep their data in, fresh for each workload.
type services struct {
	ceph   *lab.Ceph
	galera *lab.Galera // of a cluster
	client *s3.Client
}

// startServices starts what a store needs in a directory; nothing if it is one.
func startServices(ctx context.Context, kind store, dir string) (*services, error) {
	if kind == inDirectory {
		return &services{}, nil
	}
	c, err := lab.StartCeph(ctx, filepath.Join(dir, "ceph"), lab.CephOptions{Gigabytes: cephGigabytes})
	if err != nil {
		return nil, err
	}
	all := &services{ceph: c, client: s3.New(s3.Options{
		BaseEndpoint: aws.String(c.S3Endpoint()), Region: lab.S3Region, UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(lab.S3AccessKey, lab.S3SecretKey, ""),
	})}
	if kind == cluster {
		if all.galera, err = lab.StartGalera(ctx, filepath.Join(dir, "galera"), 3); err != nil {
			all.stop()
			return nil, err
		}
	}
	return all, nil
}

// stop ends them at once: what they hold is thrown away.
func (s *services) stop() {
	var errs []error
	if s.galera != nil {
		for _, n := range s.galera.Nodes {
			n.Kill()
		}
		errs = append(errs, s.galera.Stop())
	}
	if s.ceph != nil {
		s.ceph.Kill()
		errs = append(errs, s.ceph.Stop())
	}
	if err := errors.Join(errs...); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
}

// create makes what a peer has of its own: a bucket, and in a cluster a database.
func (s *services) create(ctx context.Context, p peer) error {
	if s.ceph == nil || p.static {
		return nil
	}
	if _, err := s.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucketOf(p.name))}); err != nil {
		return fmt.Errorf("make the bucket %s: %w", bucketOf(p.name), err)
	}
	if s.galera == nil || p.nodes == 0 {
		return nil
	}
	return s.galera.Nodes[0].CreateDatabase(ctx, databaseOf(p.name))
}

// bucketOf answers a name that S3 takes: it has three characters at least.
func bucketOf(peer string) string { return "bench-" + peer }

func databaseOf(peer string) string { return "bench_" + strings.ReplaceAll(peer, "-", "_") }

// sign answers the path of a request that needs nothing else: what S3 itself takes is measured with the same client as the registries.
func (s *services) sign(method, bucket, key string) (string, error) {
	by := s3.NewPresignClient(s.client)
	var address string
	if method == "PUT" {
		r, err := by.PresignPutObject(context.Background(), &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)}, s3.WithPresignExpires(signed))
		if err != nil {
			return "", err
		}
		address = r.URL
	} else {
		r, err := by.PresignGetObject(context.Background(), &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(key)}, s3.WithPresignExpires(signed))
		if err != nil {
			return "", err
		}
		address = r.URL
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	return u.RequestURI(), nil
}

// diskPush writes files as large as the blobs, and answers when they and their names are flushed: what nobody can beat who acknowledges only what is durable.
func diskPush(s *site, base []byte) operation {
	dir := filepath.Join(s.dir, "data")
	return func(_ *client, number int) error {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(number)))
		if err != nil {
			return err
		}
		_, err = f.Write(variant(base, uint64(number)))
		if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
			return err
		}
		names, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(names.Sync(), names.Close())
	}
}

// barePush puts objects as large as the blobs straight into the bucket.
func barePush(s *site, base []byte, count int) (operation, error) {
	paths := make([]string, count)
	for i := range paths {
		var err error
		if paths[i], err = s.services.sign("PUT", bucketOf(s.peer.name), fmt.Sprint(i)); err != nil {
			return nil, err
		}
	}
	return func(c *client, number int) error {
		if number >= len(paths) {
			return fmt.Errorf("operation %d was not prepared", number)
		}
		a, err := c.do("PUT", paths[number], "", variant(base, uint64(number)), false)
		return expect(a, err, "put object", 200)
	}, nil
}

// barePull reads an object as large as the blob straight from the bucket.
func barePull(s *site, size int) (operation, error) {
	put, err := s.services.sign("PUT", bucketOf(s.peer.name), "pulled")
	if err != nil {
		return nil, err
	}
	get, err := s.services.sign("GET", bucketOf(s.peer.name), "pulled")
	if err != nil {
		return nil, err
	}
	c := newClient(s.addrs[0], nil, "")
	defer c.close()
	a, err := c.do("PUT", put, "", noise(s.source, size), false)
	if err = expect(a, err, "put object", 200); err != nil {
		return nil, err
	}
	return func(c *client, _ int) error { return pull(c, get, size) }, nil
}

// havn is the configuration of the ith node of a Havn.
func (s *services) havn(kind store, peer, dir string, i int) []string {
	bucket := []string{
		"HAVN_STORAGE_DRIVER=s3", "HAVN_STORAGE_S3_BUCKET=" + bucketOf(peer), "HAVN_STORAGE_S3_ACCESS_KEY=" + lab.S3AccessKey, "HAVN_STORAGE_S3_SECRET_KEY=" + lab.S3SecretKey,
	}
	if s.ceph != nil {
		bucket = append(bucket, "HAVN_STORAGE_S3_ENDPOINT="+s.ceph.S3Endpoint())
	}
	switch kind {
	case inDirectory:
		return nil
	case onSwift:
		return []string{
			"HAVN_STORAGE_DRIVER=swift", "HAVN_STORAGE_SWIFT_AUTH_URL=" + s.ceph.SwiftAuthURL(), "HAVN_STORAGE_SWIFT_CONTAINER=" + peer + "-swift",
			"HAVN_STORAGE_SWIFT_USERNAME=" + lab.SwiftUser, "HAVN_STORAGE_SWIFT_PASSWORD=" + lab.SwiftKey,
		}
	case onRADOS:
		return []string{
			"HAVN_STORAGE_DRIVER=rados", "HAVN_STORAGE_RADOS_POOL=" + lab.CephPool, "HAVN_STORAGE_RADOS_USER=" + lab.CephUser,
			"HAVN_STORAGE_RADOS_KEY_FILE=" + s.ceph.KeyFile, "HAVN_STORAGE_RADOS_CONFIG_FILE=" + s.ceph.ConfigFile,
		}
	case onS3:
		return bucket
	case cached:
		return append(bucket, "HAVN_STORAGE_CACHE_PATH="+filepath.Join(dir, "cache"))
	case cluster:
		return append(bucket, "HAVN_DATABASE_ENGINE=mysql", "HAVN_DATABASE_HOSTS="+strings.Join(s.galera.Hosts(i), ","), "HAVN_DATABASE_NAME="+databaseOf(peer),
			"HAVN_DATABASE_USER="+lab.User, "HAVN_DATABASE_PASSWORD="+lab.Password, "HAVN_CLUSTER_SECRET="+secret)
	}
	return bucket
}

// registry is the configuration of distribution and of docker-registry, which must not send pulls to the bucket.
func (s *services) registry(peer, dir string) string {
	if s.ceph == nil {
		return fmt.Sprintf("  filesystem:\n    rootdirectory: %s/data\n", dir)
	}
	return fmt.Sprintf(`  s3:
    regionendpoint: %s
    region: %s
    bucket: %s
    accesskey: %s
    secretkey: %s
    secure: false
    forcepathstyle: true
  redirect:
    disable: true
  maintenance:
    uploadpurging:
      enabled: false
`, s.ceph.S3Endpoint(), lab.S3Region, bucketOf(peer), lab.S3AccessKey, lab.S3SecretKey)
}
