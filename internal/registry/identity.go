package registry

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Identify makes sure that the blob store is the one that the database belongs to, and answers the database's id, which the store bears. Conflict: the store is another
// registry's, or lost its id: a directory that is not mounted, or one of both was restored. Nothing is served from such a store, nor swept in it.
//
// The first time, 1. the id object is written, 2. the row that says so. A crash after 1: the next call finds its own id. Once 2 is there, a store without an id is never given one.
func (r *Registry) Identify(ctx context.Context) (string, error) {
	id, err := index.DatabaseID(ctx, r.db)
	if err != nil {
		return "", fmt.Errorf("identify the database: %w", err)
	}
	bound, err := index.StoreBound(ctx, r.db)
	if err != nil {
		return "", fmt.Errorf("identify the database: %w", err)
	}
	held, err := r.blobs.ID(ctx)
	if fail.Is(err, fail.NotFound) {
		if bound {
			return "", fail.E(fail.Conflict, nil, "the blob store has lost its id: it is empty, or not the one that this database belongs to").
				Hint("is the right directory mounted? Look at the keys of storage and database")
		}
		if err = r.blobs.SetID(ctx, id); err != nil && !fail.Is(err, fail.Exists) { // Exists: another node was faster
			return "", err
		}
		held, err = r.blobs.ID(ctx)
	}
	if err != nil {
		return "", err
	}
	if held != id {
		return "", fail.E(fail.Conflict, nil, "the blob store belongs to database %s, and this is database %s", held, id).
			Hint("point storage and database at one registry; after a restore of one of them, see docs/operations.md")
	}
	if bound {
		return id, nil
	}
	err = r.tx(ctx, "store.bind", func(tx *sqldb.Tx) error { return index.BindStore(ctx, tx, id) })
	if err != nil {
		return "", fmt.Errorf("bind the blob store: %w", err)
	}
	return id, nil
}
