//go:build rados

package server

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/blob/rados"
	"github.com/havn-registry/havn/internal/config"
)

// stripesMemory is what uploads hold in memory before librados takes their bytes, of which it has copies of its own: less than for other stores, so that both together stay
// below 250 MiB.
const stripesMemory = 48 << 20

// openRADOS opens a pool of Ceph.
func openRADOS(ctx context.Context, c *config.Config, partsDir string, clock func() time.Time) (blob.Driver, error) {
	pool, err := parts.NewPool(stripesMemory, partsDir, partsAtOnce)
	if err != nil {
		return nil, err
	}
	o := c.Storage.RADOS
	return rados.New(ctx, rados.Config{
		Monitors: o.Monitors, ConfigFile: o.ConfigFile, User: o.User, Key: o.Key.Reveal(), Keyring: o.Keyring, Pool: o.Pool, Namespace: o.Namespace, Prefix: c.Storage.Prefix,
		StripeBytes: o.StripeSize, Parts: pool, Dir: partsDir, Clock: clock,
	})
}
