package project

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// deleteAtOnce bounds what one transaction of a deletion removes: few projects have more members and robots.
	deleteAtOnce = 500
	// keyTries bounds the tries of a transaction that a foreign key forbade: each needs another push, or another member, at the same moment.
	keyTries = 5
)

// Deletable answers why a project can't be deleted now, "" if it can. NotFound if there is none.
func (p *Projects) Deletable(ctx context.Context, id int64) (why string, err error) {
	err = p.db.View(ctx, "project.deletable", func(q sqldb.Querier) error {
		if _, viewErr := index.ProjectByID(ctx, q, id); viewErr != nil {
			return viewErr
		}
		n, viewErr := index.CountRepositories(ctx, q, id)
		if why = ""; n > 0 {
			why = hasRepositories(n)
		}
		return viewErr
	})
	if fail.Is(err, fail.NotFound) {
		return "", unknown(id)
	}
	if err != nil {
		return "", fmt.Errorf("look at project %d: %w", id, err)
	}
	return why, nil
}

func hasRepositories(n int64) string { return fmt.Sprintf("it has repositories: %d", n) }

// Delete removes a project with its members, robots, labels, metadata and quota. Conflict if it has repositories, and then nothing is removed.
//
//  1. Repositories to which no manifest was pushed, which nobody sees: a push that broke off left them, or one that is under way, which is ended.
//  2. While members, robots and labels are more than one transaction takes, some of them. A crash leaves a project with fewer of these; so does a push that comes between two of these transactions. The same
//     call again goes on.
//  3. The rest together with the project. Keys see to it that a push through another node, which makes a repository, and this do not both succeed.
func (p *Projects) Delete(ctx context.Context, id int64) error {
	if err := p.deleteUnseen(ctx, id); err != nil {
		return fmt.Errorf("delete project %d: %w", id, err)
	}
	for more, begun := true, false; more; begun = true {
		var err error
		more, err = p.keyedSome(ctx, "project.delete", func(tx *sqldb.Tx) (bool, error) { return deleteSome(ctx, tx, id, begun) })
		if fail.CodeOf(err) == sqldb.CodeFK {
			err = fail.E(fail.Conflict, err, "something is pushed to it, or added, all the time").Hint("try again when its users have stopped")
		}
		if err != nil {
			return fmt.Errorf("delete project %d: %w", id, err)
		}
	}
	return nil
}

// deleteUnseen removes the repositories that nobody sees, if the project has no others.
func (p *Projects) deleteUnseen(ctx context.Context, id int64) error {
	for after := ""; ; {
		var list []index.Repository
		err := p.db.View(ctx, "project.unseen", func(q sqldb.Querier) error {
			n, err := index.CountRepositories(ctx, q, id)
			if err == nil {
				err = conflicting(n)
			}
			if err != nil {
				return err
			}
			list, err = index.RepositoriesOf(ctx, q, id, after, deleteAtOnce)
			return err
		})
		if err != nil {
			return err
		}
		for _, repo := range list {
			name, parseErr := oci.ParseName(repo.Name)
			if parseErr != nil {
				return fail.E(fail.Internal, parseErr, "stored name %q", repo.Name)
			}
			if err = p.registry.DeleteUnseen(ctx, name); err != nil && !fail.Is(err, fail.NotFound) {
				return err
			}
			after = repo.Name
		}
		if len(list) < deleteAtOnce {
			return nil
		}
	}
}

// conflicting answers the error of a project that has repositories, nil for none.
func conflicting(n int64) error {
	if n == 0 {
		return nil
	}
	return fail.E(fail.Conflict, nil, "%s", hasRepositories(n)).Hint("delete these first")
}

// deleteSome is one transaction of a deletion; begun: others came before it.
func deleteSome(ctx context.Context, tx *sqldb.Tx, id int64, begun bool) (more bool, err error) {
	_, err = index.ProjectByID(ctx, tx, id)
	switch {
	case fail.Is(err, fail.NotFound) && begun:
		return false, nil // somebody else came to the end first
	case fail.Is(err, fail.NotFound):
		return false, unknown(id)
	case err != nil:
		return false, err
	}
	n, err := index.CountRepositories(ctx, tx, id)
	if err == nil {
		err = conflicting(n)
	}
	if err != nil {
		return false, err
	}
	gone, err := index.ThinProject(ctx, tx, id, deleteAtOnce)
	if err != nil || gone >= deleteAtOnce {
		return err == nil, err
	}
	if more, err = index.ForgetQuota(ctx, tx, id, deleteAtOnce); more || err != nil {
		return more, err
	}
	_, err = index.DeleteProject(ctx, tx, id)
	return false, err
}
