package server

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// The rows of meta that tie a database and a blob store together.
const (
	metaDatabase = "database_id" // the database's id, made at the first start
	metaStore    = "store_bound" // set once the blob store bears that id
)

// identify answers the database's id, making it at the first start.
func identify(ctx context.Context, db *sqldb.DB) (string, error) {
	made := sqldb.NewToken()
	var id string
	err := db.Tx(ctx, "meta.identify", func(tx *sqldb.Tx) error {
		if _, err := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, metaDatabase, made); err != nil {
			return err
		}
		return tx.Row(ctx, "SELECT v FROM meta WHERE k = ?", metaDatabase).Scan(&id)
	})
	if err != nil {
		return "", fmt.Errorf("identify the database: %w", err)
	}
	return id, nil
}

// bind ties the blob store to the database: the store bears the database's id, and from then on nothing is served from, or swept in, a
// store that bears another, or none. That catches a directory that is not mounted, and a database that was restored beside a foreign store.
//
// 1. The id object. A crash after it: the next start finds its own id there. 2. The row that says so. Both are written once.
func bind(ctx context.Context, db *sqldb.DB, blobs *blob.Store, id string) error {
	found, err := blobs.ID(ctx)
	if err == nil {
		return sameStore(ctx, db, found, id)
	}
	if !fail.Is(err, fail.NotFound) {
		return err
	}
	bound, err := isBound(ctx, db)
	if err != nil {
		return err
	}
	if bound {
		return fail.E(fail.Conflict, nil, "the blob store has lost its id: it is empty, or not the one that this database belongs to").
			Hint("is the right directory mounted? Look at storage.filesystem.path and database.path")
	}
	if err = blobs.SetID(ctx, id); err != nil && !fail.Is(err, fail.Exists) {
		return err
	}
	if found, err = blobs.ID(ctx); err != nil {
		return err
	}
	return sameStore(ctx, db, found, id)
}

func sameStore(ctx context.Context, db *sqldb.DB, found, id string) error {
	if found != id {
		return fail.E(fail.Conflict, nil, "the blob store belongs to database %s, and this is database %s", found, id).
			Hint("look at storage.filesystem.path and database.path: one of them is of another registry")
	}
	bound, err := isBound(ctx, db)
	if err != nil || bound {
		return err
	}
	err = db.Tx(ctx, "meta.bind", func(tx *sqldb.Tx) error {
		_, err := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, metaStore, id)
		return err
	})
	if err != nil {
		return fmt.Errorf("bind the blob store: %w", err)
	}
	return nil
}

func isBound(ctx context.Context, db *sqldb.DB) (bool, error) {
	var v string
	err := db.Row(ctx, "SELECT v FROM meta WHERE k = ?", metaStore).Scan(&v)
	if fail.Is(err, fail.NotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the database's binding: %w", err)
	}
	return true, nil
}
