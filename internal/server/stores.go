package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/blob/filesystem"
	"github.com/havn-registry/havn/internal/blob/memory"
	"github.com/havn-registry/havn/internal/blob/readcache"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// stores are what holds the state: the database and the blobs, with the locks on them.
type stores struct {
	home  *lock
	apart *lock // on a database outside the data directory, else nil
	trash string
	db    *sqldb.DB
	blobs *blob.Store
	cache *readcache.Cache // nil: none
}

// openStores locks and opens the stores, and brings the schema up to date. After an error nothing is locked, and nothing is left that this
// call made for a lock alone.
func openStores(ctx context.Context, c *config.Config, holder Holder, log *slog.Logger, metrics prometheus.Registerer, clock func() time.Time) (*stores, error) {
	s := &stores{}
	var err error
	if s.home, err = takeLock(filepath.Join(c.DataDir, lockName), holder); err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err = s.open(ctx, c, holder, log, metrics, clock); err != nil {
		return nil, errors.Join(err, s.abandon())
	}
	return s, nil
}

func (s *stores) open(ctx context.Context, c *config.Config, holder Holder, log *slog.Logger, metrics prometheus.Registerer, clock func() time.Time) error {
	d, err := databaseConfig(c, clock, log)
	if err != nil {
		return err
	}
	d.Metrics = metrics
	if d.Engine == sqldb.SQLite {
		if d.Path, err = s.databasePath(c, holder); err != nil {
			return err
		}
	}
	driver, err := openDriver(ctx, c, filepath.Join(c.DataDir, partsName), clock)
	if err != nil {
		return err
	}
	cfg := storeConfig(c, metrics, clock)
	if s.cache = openCache(c, log, metrics, clock); s.cache != nil {
		cfg.Cache = s.cache
	}
	s.blobs = blob.NewStore(driver, cfg)
	if s.db, err = sqldb.Open(ctx, d); err != nil {
		return fmt.Errorf("open the database %s: %w", databaseName(d), err)
	}
	if err = s.db.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate the database %s: %w", databaseName(d), err)
	}
	if err = s.flushNames(d.Path); err != nil {
		return fmt.Errorf("flush the data directory: %w", err)
	}
	return nil
}

// databasePath answers where SQLite's file goes, and locks it apart if it is not in the data directory: that one process writes is what
// makes the cache of recent answers exact.
func (s *stores) databasePath(c *config.Config, holder Holder) (string, error) {
	if c.Storage.Driver == config.Memory {
		dir, err := os.MkdirTemp("", "havn-memory-")
		if err != nil {
			return "", fail.E(fail.Unavailable, err, "make a directory for an index that is thrown away")
		}
		s.trash = dir
		return filepath.Join(dir, "havn.db"), nil
	}
	path := c.DatabasePath()
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return "", fail.E(fail.Invalid, nil, "database %s is a directory", path).Hint("give a file: database.path")
	}
	if c.Database.Path == "" {
		return path, nil
	}
	var err error
	if s.apart, err = takeLock(path+".lock", holder); err != nil {
		return "", fmt.Errorf("database: %w", err)
	}
	return path, nil
}

// openDriver opens the blob store. partsDir is a directory of this process for pieces of objects on their way to a store behind a network: see parts.NewPool.
func openDriver(ctx context.Context, c *config.Config, partsDir string, clock func() time.Time) (blob.Driver, error) {
	switch c.Storage.Driver {
	case config.Memory:
		return memory.New(clock), nil
	case config.S3Driver, config.GCS, config.OSS:
		return openS3(ctx, c, partsDir)
	case config.SwiftDriver:
		return openSwift(ctx, c, partsDir, clock)
	case config.RADOSDriver:
		return openRADOS(ctx, c, partsDir, clock)
	case config.AzureDriver:
		return openAzure(ctx, c, partsDir, clock)
	case config.Filesystem:
	}
	return filesystem.New(c.BlobPath())
}

// storeConfig answers how a store is treated: one behind a network breaks off and hangs, a directory does not.
func storeConfig(c *config.Config, metrics prometheus.Registerer, clock func() time.Time) blob.StoreConfig {
	s := blob.StoreConfig{Metrics: metrics, Clock: clock}
	if d := c.Storage.Driver; d != config.Filesystem && d != config.Memory {
		s.Patience, s.Stall = blob.RemotePatience, blob.RemoteStall
	}
	return s
}

// openCache opens the read cache, if there is to be one. A node whose cache can't be used serves without it: it is only there to be fast.
func openCache(c *config.Config, log *slog.Logger, metrics prometheus.Registerer, clock func() time.Time) *readcache.Cache {
	if c.Storage.Cache.Path == "" {
		return nil
	}
	cache, err := readcache.New(readcache.Config{Dir: c.Storage.Cache.Path, Size: c.Storage.Cache.Size, Log: log, Clock: clock, Metrics: metrics})
	if err != nil {
		log.Error("this node serves without a read cache", "error", err.Error(), "hint", fail.HintOf(err))
		return nil
	}
	return cache
}

// close ends the use of the stores and gives the locks back.
func (s *stores) close() error {
	err := s.shut()
	for _, l := range []*lock{s.apart, s.home} {
		if l != nil {
			err = errors.Join(err, l.release())
		}
	}
	return err
}

// abandon is close after a start that came to nothing.
func (s *stores) abandon() error {
	err := s.shut()
	for _, l := range []*lock{s.apart, s.home} {
		if l != nil {
			err = errors.Join(err, l.abandon())
		}
	}
	return err
}

func (s *stores) shut() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	if s.cache != nil {
		err = errors.Join(err, s.cache.Close())
	}
	if s.trash != "" {
		err = errors.Join(err, os.RemoveAll(s.trash))
	}
	return err
}
