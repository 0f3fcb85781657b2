package harborapi

import (
	"net/http"
	"strconv"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
	"github.com/havn-registry/havn/internal/project"
)

var changedQuota = event{"update", "quota"}

// quotaOrders are what lists of quotas can be sorted by, as Harbor spells it.
var quotaOrders = map[string]project.QuotaOrder{
	"hard.storage": project.QuotasByLimit, "used.storage": project.QuotasByUse, "creation_time": project.QuotasByProject, "update_time": project.QuotasByChange, "id": project.QuotasByProject,
}

// quotaOf answers a quota. Its number is its project's.
func quotaOf(q project.Quota) Quota {
	return Quota{
		ID: q.Project, Hard: ResourceList{storage: q.Limit}, Used: usedOf(q), Ref: QuotaRefObject{"id": q.Project, "name": q.Name, "owner_name": q.Owner}, CreationTime: Time(q.CreatedAt), UpdateTime: Time(q.ChangedAt),
	}
}

// ListQuotas lists the quotas of projects. A project without a limit has one of -1.
func (a *API) ListQuotas(c *call, p ListQuotasParams) error {
	ask, err := listing.Parse("", p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	if p.Reference != "" && p.Reference != "project" {
		return fail.E(fail.Invalid, nil, "reference %.40q", p.Reference).Hint("use project: nothing else has quotas")
	}
	if p.ReferenceID != "" {
		return a.quotaOfProject(c, p.ReferenceID, ask)
	}
	order, err := ask.OneOrder("id", "hard.storage", "used.storage", "creation_time", "update_time")
	if err != nil {
		return err
	}
	if order.Field == "" { // the newest first, as in Harbor
		order = listing.Order{Field: "creation_time", Descending: true}
	}
	page, total, err := a.Projects.Quotas(c.Context(), quotaOrders[order.Field], order.Descending, int(ask.Offset()), int(ask.Size))
	if err != nil {
		return err
	}
	entries := make([]Quota, len(page))
	for i, q := range page {
		entries[i] = quotaOf(q)
	}
	return c.list(entries, total, ask)
}

// quotaOfProject is a list of the quota of one project, or of none.
func (a *API) quotaOfProject(c *call, text string, ask listing.Ask) error {
	id, notNumber := strconv.ParseInt(text, 10, 64)
	if notNumber != nil {
		return fail.E(fail.Invalid, nil, "reference_id %.40q", text).Hint("it is the number of a project")
	}
	q, err := a.Projects.Quota(c.Context(), id)
	switch {
	case fail.Is(err, fail.NotFound), err == nil && ask.Page > 1:
		return c.list([]Quota{}, 0, ask)
	case err != nil:
		return err
	}
	return c.list([]Quota{quotaOf(q)}, 1, ask)
}

// GetQuota answers one quota.
func (a *API) GetQuota(c *call, id int64) error {
	q, err := a.Projects.Quota(c.Context(), id)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, quotaOf(q))
}

// UpdateQuota changes the limit of a quota.
func (a *API) UpdateQuota(c *call, id int64, body UpdateQuotaJSONRequestBody) error {
	limit, ok := body.Hard[storage]
	if !ok || len(body.Hard) != 1 || limit == 0 {
		return fail.E(fail.Invalid, nil, "%d limits, and %d bytes of storage", len(body.Hard), limit).Hint(`send {"hard":{"storage":bytes}}, -1 for no limit`)
	}
	before, err := a.Projects.Quota(c.Context(), id)
	if err == nil {
		err = a.Registry.SetQuota(c.Context(), id, limit)
	}
	if err != nil {
		return err
	}
	c.audited(changedQuota, before.Name, id, strconv.FormatInt(before.Limit, 10)+" to "+strconv.FormatInt(limit, 10))
	return c.done()
}
