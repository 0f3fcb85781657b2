package server

import (
	"context"
	"net/http"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/blob/s3"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
)

const (
	// partsName is the directory in the data directory for parts of uploads that do not fit in memory.
	partsName = "parts"
	// partsMemory is what all uploads of a node to a store behind a network hold in memory: six parts of 16 MiB. With it a node under 200 uploads stays
	// below 250 MiB.
	partsMemory = 96 << 20
	// partsAtOnce is how many parts a node sends at once: enough for ten gigabits at the speed that clouds give one connection.
	partsAtOnce = 32
	// storeStall is how long a store may not move a byte: longer than a gateway's restart, or a failover behind it, takes.
	storeStall = 30 * time.Second
)

// storeClient makes the client for a store behind a network, which may not move a byte for so long; ca is a file with authorities for it alone, or "".
func storeClient(c *config.Config, ca string, stall time.Duration) (*http.Client, error) {
	roots, err := c.StoreRoots(ca)
	if err != nil {
		return nil, fail.E(fail.Invalid, err, "authorities to trust").Hint("give PEM files with certificates of authorities")
	}
	return egress.NewStream(egress.StreamConfig{NoProgress: stall, Proxy: c.Outbound.Proxy, NoProxy: c.Outbound.NoProxy, Roots: roots})
}

func openS3(ctx context.Context, c *config.Config, partsDir string) (blob.Driver, error) {
	o := c.Storage.S3
	client, err := storeClient(c, o.CAFile, storeStall)
	if err != nil {
		return nil, err
	}
	pool, err := parts.NewPool(partsMemory, partsDir, partsAtOnce)
	if err != nil {
		return nil, err
	}
	return s3.New(ctx, s3.Config{
		Flavour: s3.Flavour(c.Storage.Driver), Endpoint: o.Endpoint, Region: o.Region, Bucket: o.Bucket, Prefix: c.Storage.Prefix,
		AccessKey: o.AccessKey, SecretKey: o.SecretKey.Reveal(), Style: s3.Style(o.PathStyle), SSE: o.SSE, KMSKey: o.SSEKMSKey,
		StorageClass: o.StorageClass, PartBytes: o.PartSize, Pool: pool, HTTP: client, AddressKey: "storage.s3.endpoint", CAKey: "storage.s3.ca_file",
	})
}
