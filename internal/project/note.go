package project

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// maxNote bounds what is written about a repository, in letters: a long README.
const maxNote = 256 << 10

// Note answers what people wrote about a repository, "" if nothing. NotFound if there is no such repository.
func (p *Projects) Note(ctx context.Context, repo oci.Name) (string, error) {
	note, err := index.Note(ctx, p.db, repo)
	if fail.Is(err, fail.NotFound) {
		return "", fail.E(fail.NotFound, nil, "repository %s", repo)
	}
	if err != nil {
		return "", fmt.Errorf("read the description of %s: %w", repo, err)
	}
	return note, nil
}

// SetNote replaces what people wrote about a repository; "" removes it. NotFound if there is no such repository.
func (p *Projects) SetNote(ctx context.Context, repo oci.Name, note string) error {
	if err := checkText(note, maxNote); err != nil {
		return fail.E(fail.Invalid, err, "description of %s", repo).Hint("%s", fail.HintOf(err))
	}
	err := p.keyed(ctx, "repository.describe", func(tx *sqldb.Tx) error {
		row, txErr := index.RepositoryByName(ctx, tx, repo)
		if fail.Is(txErr, fail.NotFound) {
			return fail.E(fail.NotFound, nil, "repository %s", repo)
		}
		if txErr != nil {
			return txErr
		}
		return index.SetNote(ctx, tx, row.ID, note)
	})
	if err != nil {
		return fmt.Errorf("describe %s: %w", repo, err)
	}
	return nil
}
