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

// RotateKey changes the key that signs tokens: see access.RotateKey. Nodes that serve take it within a second; with SQLite, the process that serves is asked to change it.
func RotateKey(ctx context.Context, c *config.Config, revoke bool) (done access.Rotated, err error) {
	db, leave, err := openStopped(ctx, c, "rotate the key")
	if fail.Is(err, fail.Conflict) && c.Database.Engine == config.SQLite {
		return askToRotate(ctx, c.DataDir, revoke, err)
	}
	if err != nil {
		return done, err
	}
	defer func() { err = errors.Join(err, leave()) }()
	sealer, err := checkSeal(ctx, c, db)
	if err != nil {
		return done, err
	}
	return access.RotateKey(ctx, access.Config{DB: db, Clock: time.Now, Seal: sealer}, revoke)
}

// ResetAdmin gives the administrator another password, "" for one that is made, and answers it: see access.ResetAdmin. On SQLite no process may serve meanwhile; with a database of its
// own nodes may.
func ResetAdmin(ctx context.Context, c *config.Config, password string) (given string, err error) {
	db, leave, err := openStopped(ctx, c, "reset the password")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, leave()) }()
	return access.ResetAdmin(ctx, access.Config{DB: db, Clock: time.Now}, password)
}

// openStopped opens the database for a command that changes it; SQLite's while the locks are held that a process has which serves it. The function that it answers closes it, and gives them back.
func openStopped(ctx context.Context, c *config.Config, what string) (*sqldb.DB, func() error, error) {
	var locks []string
	d, err := databaseConfig(c, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, nil, err
	}
	d.KeepMembers = true // the file is the node's that this machine may have, and who runs the command may be root
	if d.Engine == sqldb.SQLite {
		d.Path = c.DatabasePath()
		if c.Storage.Driver == config.Memory || !exists(d.Path) {
			return nil, nil, fail.E(fail.NotFound, nil, "%s: there is no database yet", what).Hint("the first start makes it, in %s", d.Path)
		}
		locks = append(locks, filepath.Join(c.DataDir, lockName))
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
