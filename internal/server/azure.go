package server

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/azure"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/config"
)

func openAzure(ctx context.Context, c *config.Config, partsDir string, clock func() time.Time) (blob.Driver, error) {
	o := &c.Storage.Azure
	client, err := storeClient(c, o.CAFile, storeStall)
	if err != nil {
		return nil, err
	}
	pool, err := parts.NewPool(partsMemory, partsDir, partsAtOnce)
	if err != nil {
		return nil, err
	}
	return azure.New(ctx, azure.Config{
		Account: o.Account, Endpoint: o.Endpoint, Container: o.Container, Create: o.CreateContainer, Prefix: c.Storage.Prefix, Key: o.Key.Reveal(), SAS: o.SAS(),
		ClientID: o.ClientID, Sign: c.Storage.Redirect, BlockBytes: o.BlockSize, Pool: pool, HTTP: client, Clock: clock, CAKey: "storage.azure.ca_file",
	})
}
