package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// RotateKey changes the key that signs tokens: see access.RotateKey. No process may serve the data directory meanwhile: one that does would go on to sign with the
// old key.
func RotateKey(ctx context.Context, c *config.Config, revoke bool) (done access.Rotated, err error) {
	d, err := databaseConfig(c, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		return done, err
	}
	locks := []string{filepath.Join(c.DataDir, lockName)}
	if d.Engine == sqldb.SQLite {
		d.Path = c.DatabasePath()
		if c.Storage.Driver == config.Memory || !exists(d.Path) {
			return done, fail.E(fail.NotFound, nil, "there is no key yet").Hint("the first start makes one, in %s", d.Path)
		}
		if c.Database.Path != "" {
			locks = append(locks, d.Path+".lock")
		}
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
	db, err := sqldb.Open(ctx, d)
	if err != nil {
		return done, fmt.Errorf("open the database %s: %w", databaseName(d), err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err = nobodyServes(ctx, db); err != nil {
		return done, err
	}
	sealer, err := checkSeal(ctx, c, db)
	if err != nil {
		return done, err
	}
	return access.RotateKey(ctx, access.Config{DB: db, Clock: time.Now, Seal: sealer}, revoke)
}

// nobodyServes refuses while other nodes serve the database: they would go on to sign with the old key. SQLite's are held off by the lock.
func nobodyServes(ctx context.Context, db *sqldb.DB) error {
	if db.Sole() {
		return nil
	}
	var n int64
	// A node that was killed stays alive in the table until another sees its heart stand still, and there may be no other.
	err := db.Row(ctx, "SELECT COUNT(*) FROM nodes WHERE state = 'alive' AND beat_at > ?", sqldb.Micros(time.Now().Add(-2*cluster.Stillness))).Scan(&n)
	if err != nil {
		return fmt.Errorf("look for nodes that serve: %w", err)
	}
	if n > 0 {
		return fail.E(fail.Conflict, nil, "rotate the key: %d nodes serve this database", n).
			Hint("stop all of them, rotate the key, and start them again: that takes seconds; one that was killed counts for a minute")
	}
	return nil
}
