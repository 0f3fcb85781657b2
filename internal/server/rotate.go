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
	db, leave, err := openStopped(ctx, c, "rotate the key", filepath.Join(c.DataDir, lockName))
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, leave()) }()
	if err = nobodyServes(ctx, db); err != nil {
		return done, err
	}
	sealer, err := checkSeal(ctx, c, db)
	if err != nil {
		return done, err
	}
	return access.RotateKey(ctx, access.Config{DB: db, Clock: time.Now, Seal: sealer}, revoke)
}

// ResetAdmin gives the administrator another password, "" for one that is made, and answers it: see access.ResetAdmin. On SQLite no process may serve meanwhile; with a database of its
// own nodes may.
func ResetAdmin(ctx context.Context, c *config.Config, password string) (given string, err error) {
	var locks []string
	if c.Database.Engine == config.SQLite {
		locks = append(locks, filepath.Join(c.DataDir, lockName))
	}
	db, leave, err := openStopped(ctx, c, "reset the password", locks...)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, leave()) }()
	return access.ResetAdmin(ctx, access.Config{DB: db, Clock: time.Now}, password)
}

// openStopped opens the database for a command that changes it, while the locks are held. The function that it answers closes it, and gives them back.
func openStopped(ctx context.Context, c *config.Config, what string, locks ...string) (*sqldb.DB, func() error, error) {
	d, err := databaseConfig(c, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	if d.Engine == sqldb.SQLite {
		d.Path = c.DatabasePath()
		if c.Storage.Driver == config.Memory || !exists(d.Path) {
			return nil, nil, fail.E(fail.NotFound, nil, "%s: there is no database yet", what).Hint("the first start makes it, in %s", d.Path)
		}
		if c.Database.Path != "" {
			locks = append(locks, d.Path+".lock")
		}
	}
	var held []*lock
	release := func() error {
		var all error
		for _, l := range held {
			all = errors.Join(all, l.release())
		}
		return all
	}
	for _, name := range locks {
		l, lockErr := takeLock(name, thisProcess(time.Now()))
		if fail.Is(lockErr, fail.Conflict) {
			lockErr = fail.E(fail.Conflict, lockErr, "%s", what).Hint("stop it, %s, and start it again: that takes seconds", what)
		}
		if lockErr != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s: %w", what, lockErr), release())
		}
		held = append(held, l)
	}
	db, err := sqldb.Open(ctx, d)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open the database %s: %w", databaseName(d), err), release())
	}
	return db, func() error { return errors.Join(db.Close(), release()) }, nil
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
