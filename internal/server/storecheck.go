package server

import (
	"context"
	"time"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/checks"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// checkConnections is how many connections of their own a check of the store has, as nodes would: what one wrote another reads.
const checkConnections = 3

// StoreResult is what came of one check of the store.
type StoreResult = checks.Result

// CheckStore tries to break every promise of the configured blob store, under names of its own, which it removes; a Havn that serves from the store need not
// stop. each is told every result as it comes. An error says that the store could not be tried.
func CheckStore(ctx context.Context, c *config.Config, each func(StoreResult)) error {
	if problems := c.Probe(); len(problems) > 0 {
		return config.Invalid(problems)
	}
	if c.Storage.Driver == config.Memory {
		return fail.E(fail.Invalid, nil, "storage.driver is memory: there is nothing to check").Hint("name the configuration with --config")
	}
	if dir := c.BlobPath(); c.Storage.Driver == config.Filesystem && !exists(dir) {
		return fail.E(fail.NotFound, nil, "blob directory %s is not there", dir).Hint("is it mounted? Look at storage.filesystem.path; the first start of `havn serve` makes it")
	}
	// Parts do not go to the data directory: a process that serves may use that.
	var drivers []blob.Driver
	for range checkConnections {
		d, err := openDriver(ctx, c, "", time.Now)
		if err != nil {
			return err
		}
		drivers = append(drivers, d)
	}
	return checks.Run(ctx, drivers, time.Now, each)
}
