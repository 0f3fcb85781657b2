package sqldb

import (
	"context"
	"strconv"
)

// Waiting answers how many transactions wait for the turn to write.
func (db *DB) Waiting() int {
	e, ok := db.store.(*embedded)
	if !ok {
		return 0
	}
	e.writer.mu.Lock()
	defer e.writer.mu.Unlock()
	return len(e.writer.queue)
}

// LimitPages makes the disk look full beyond a number of pages. Nothing may be written at the same time.
func (db *DB) LimitPages(ctx context.Context, more int64) error {
	e, ok := db.store.(*embedded)
	if !ok {
		return nil
	}
	var pages, limit int64
	if err := e.writer.s.scanRow(ctx, "PRAGMA page_count", nil, []any{&pages}); err != nil {
		return err
	}
	return e.writer.s.scanRow(ctx, "PRAGMA max_page_count = "+strconv.FormatInt(pages+more, 10), nil, []any{&limit})
}

// Exported for tests.
var (
	Numbered    = numbered
	Split       = split
	NetworkName = networkName
	MountType   = mountType
	Migrations  = func(e Engine) ([]migration, error) { return migrations(e) }
)
