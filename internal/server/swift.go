package server

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/blob/swift"
	"github.com/havn-registry/havn/internal/config"
)

// openSwift opens containers. An object streams from who pushes it to the store: while the one stands still, so does the other, and it is for
// http.progress_timeout to say how long.
func openSwift(ctx context.Context, c *config.Config, partsDir string, clock func() time.Time) (blob.Driver, error) {
	o := c.Storage.Swift
	client, err := storeClient(c, o.CAFile, storeStall+c.HTTP.ProgressTimeout)
	if err != nil {
		return nil, err
	}
	pool, err := parts.NewPool(partsMemory, partsDir, partsAtOnce)
	if err != nil {
		return nil, err
	}
	return swift.New(ctx, swift.Config{
		AuthURL: o.AuthURL, AuthVersion: o.AuthVersion, Username: o.Username, Password: o.Password.Reveal(), Tenant: o.Tenant, Domain: o.Domain, Region: o.Region,
		Containers: o.AllContainers(), Create: o.CreateContainer, Prefix: c.Storage.Prefix, TempURLKey: o.TempURLKey.Reveal(),
		Pool: pool, HTTP: client, Clock: clock,
	})
}
