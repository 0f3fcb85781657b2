package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// RotateKey changes the key that signs tokens: see access.RotateKey. No process may serve the data directory meanwhile: one that does would go on to sign with the
// old key.
func RotateKey(ctx context.Context, c *config.Config, revoke bool) (done access.Rotated, err error) {
	path := c.DatabasePath()
	if c.Storage.Driver == config.Memory || !exists(path) {
		return done, fail.E(fail.NotFound, nil, "there is no key yet").Hint("the first start makes one, in %s", path)
	}
	locks := []string{filepath.Join(c.DataDir, lockName)}
	if c.Database.Path != "" {
		locks = append(locks, path+".lock")
	}
	for _, name := range locks {
		l, lockErr := takeLock(name, thisProcess(time.Now()))
		if fail.Is(lockErr, fail.Conflict) {
			return done, fail.E(fail.Conflict, lockErr, "rotate the key").Hint("stop it, rotate the key, and start it again: that takes seconds")
		}
		if lockErr != nil {
			return done, fmt.Errorf("rotate the key: %w", lockErr)
		}
		defer func() { err = errors.Join(err, l.release()) }()
	}
	db, err := sqldb.Open(ctx, sqldb.Config{Engine: sqldb.SQLite, Path: path, Clock: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return done, fmt.Errorf("open the database %s: %w", path, err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	sealer, err := checkSeal(ctx, c, db)
	if err != nil {
		return done, err
	}
	return access.RotateKey(ctx, access.Config{DB: db, Clock: time.Now, Seal: sealer}, revoke)
}
