package project

import (
	"context"
	"fmt"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Quota is what a project may have, and has. It is changed by registry.SetQuota.
type Quota struct {
	Project   int64
	Name      string
	Owner     string // the name of the user that made the project; "": nobody that is known
	Limit     int64  // bytes, or registry.Unlimited
	Used      int64  // bytes; -1 without a limit: that is not counted
	CreatedAt time.Time
	ChangedAt time.Time
}

func shownQuota(u index.Usage) Quota {
	q := Quota{Project: u.Project, Name: u.Name, Owner: u.Owner, Limit: u.Limit, Used: u.Used, CreatedAt: sqldb.FromMicros(u.CreatedAt)}
	if q.ChangedAt = q.CreatedAt; u.ChangedAt != 0 {
		q.ChangedAt = sqldb.FromMicros(u.ChangedAt)
	}
	return q
}

// Quota answers what a project may have, and has. NotFound if there is no such project.
func (p *Projects) Quota(ctx context.Context, id int64) (Quota, error) {
	u, err := index.FindUsage(ctx, p.db, id)
	if fail.Is(err, fail.NotFound) {
		return Quota{}, unknown(id)
	}
	if err != nil {
		return Quota{}, fmt.Errorf("look at the quota of project %d: %w", id, err)
	}
	return shownQuota(u), nil
}

// QuotaOrder is what a list of quotas is sorted by.
type QuotaOrder int

// Orders of lists of quotas. Use is what is promised to pushes under way too. A project without a limit has the largest.
const (
	QuotasByProject QuotaOrder = QuotaOrder(index.QuotasByProject)
	QuotasByLimit   QuotaOrder = QuotaOrder(index.QuotasByLimit)
	QuotasByUse     QuotaOrder = QuotaOrder(index.QuotasByUse)
	QuotasByChange  QuotaOrder = QuotaOrder(index.QuotasByChange)
)

// Quotas answers a page of all projects with what they may have, and how many there are in all; limit 0, and more than MaxPage: MaxPage.
func (p *Projects) Quotas(ctx context.Context, o QuotaOrder, down bool, offset, limit int) (page []Quota, total int64, err error) {
	if limit <= 0 || limit > MaxPage {
		limit = MaxPage
	}
	err = p.db.View(ctx, "quota.list", func(q sqldb.Querier) error {
		rows, viewErr := index.Usages(ctx, q, index.UsageOrder(o), down, max(0, offset), limit)
		if viewErr != nil {
			return viewErr
		}
		page = make([]Quota, len(rows))
		for i, row := range rows {
			page[i] = shownQuota(row)
		}
		total, viewErr = index.CountProjects(ctx, q, index.ProjectFilter{Viewer: index.Viewer{All: true}})
		return viewErr
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list quotas: %w", err)
	}
	return page, total, nil
}
