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
		Account: o.Account, Endpoint: o.Endpoint, Container: o.Container, Create: o.CreateContainer, Prefix: c.Storage.Prefix, Key: o.Key.Reveal(), SAS: o.SAS(), SASEnd: o.SASEnd(),
		ClientID: o.ClientID, Sign: c.Storage.Redirect, BlockBytes: o.BlockSize, Pool: pool, HTTP: client, Clock: clock, CAKey: "storage.azure.ca_file",
	})
}

// signature looks when the shared access signature ends: nobody renews it by itself, and then nothing can be pulled or pushed.
func (d *doctor) signature() {
	end := d.c.Storage.Azure.SASEnd()
	if d.c.Storage.Driver != config.AzureDriver || end.IsZero() {
		return
	}
	const hint = "make a new one for storage.azure.sas_token, and start the nodes one after the other"
	at := end.Format(time.RFC3339)
	switch left := end.Sub(d.clock()); {
	case left <= 0:
		d.add("signature", Wrong, hint, "the SAS ended at %s", at)
	case left < renewBefore:
		d.add("signature", Warning, hint, "the SAS ends at %s", at)
	default:
		d.add("signature", Good, "", "the SAS is good until %s", at)
	}
}
