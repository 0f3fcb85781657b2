package server

import (
	"context"
	"errors"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/registry"
)

// ConfirmStore says that the blob store is to go on with this database, whatever copies of it there are: see registry.Confirm. On SQLite no process may serve meanwhile; with a database of its own nodes
// may.
func ConfirmStore(ctx context.Context, c *config.Config) (epoch int64, err error) {
	db, leave, err := openStopped(ctx, c, "confirm the blob store")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, leave()) }()
	driver, err := openDriver(ctx, c, "", time.Now)
	if err != nil {
		return 0, err
	}
	return registry.Confirm(ctx, db, blob.NewStore(driver, storeConfig(c, nil, time.Now)))
}
