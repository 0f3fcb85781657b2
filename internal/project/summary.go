package project

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Summary is a project in numbers.
type Summary struct {
	Repositories int64         // that a manifest was pushed to
	Members      map[int]int64 // users and groups, by the numbers of their roles
	Quota        Quota
}

// Summary counts what a project has. NotFound if there is none.
func (p *Projects) Summary(ctx context.Context, id int64) (Summary, error) {
	var s Summary
	err := p.db.View(ctx, "project.summary", func(q sqldb.Querier) (err error) {
		if _, err = index.ProjectByID(ctx, q, id); err != nil {
			return err
		}
		if s.Repositories, err = index.CountRepositories(ctx, q, id); err != nil {
			return err
		}
		if s.Members, err = index.CountMembers(ctx, q, id); err != nil {
			return err
		}
		u, err := index.FindUsage(ctx, q, id)
		s.Quota = shownQuota(u)
		return err
	})
	if fail.Is(err, fail.NotFound) {
		return Summary{}, unknown(id)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("count what project %d has: %w", id, err)
	}
	return s, nil
}
