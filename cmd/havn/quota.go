package main

import (
	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
	"github.com/havn-registry/havn/internal/fail"
)

func (p *program) quota() *cobra.Command {
	return p.nouns(verb{"quota", "Quotas: what projects may have in bytes", "Quotas are what projects may have in bytes. They are for system administrators.", "  havn quota list\n  havn quota update team --storage 50GiB"}, p.quotaList(), p.quotaGet(), p.quotaUpdate())
}

// quotaOf answers what a quota is of, its limit and what is used.
func quotaOf(q client.Quota) (project, limit, used string) {
	used = "-" // what has no limit is not counted
	if n, counted := q.Used["storage"]; counted {
		used = amount(n)
	}
	name, ok := q.Ref["name"].(string)
	if !ok {
		name = decimal(q.ID)
	}
	return name, amount(q.Hard["storage"]), used
}

func (p *program) quotaList() *cobra.Command {
	var l listing
	cmd := p.asking(verb{"list", "The quotas of all projects", "List the quotas of all projects. What has no limit is not counted.", "  havn quota list\n  havn quota list --sort -used.storage --limit 20 --output json"}, func(r *remote) (answered, error) {
		return listed(&l, func(page, size int64) ([]client.Quota, int64, error) {
			return r.ListQuotas(r.ctx, client.ListQuotasParams{Sort: l.sort, Page: page, PageSize: size})
		}, "PROJECT, LIMIT, USED", func(q client.Quota) []string {
			project, limit, used := quotaOf(q)
			return []string{project, limit, used}
		})
	})
	l.flags(cmd, "", "id, hard.storage, used.storage, creation_time, update_time", 0)
	return cmd
}

func (p *program) quotaGet() *cobra.Command {
	return p.asking(verb{"get PROJECT", "The quota of a project", "Show what a project may have, and what it has.", "  havn quota get team\n  havn quota get team --output json"}, func(r *remote) (answered, error) {
		id, err := r.ProjectID(r.ctx, r.args[0])
		if err != nil {
			return answered{}, err
		}
		q, err := r.GetQuota(r.ctx, id)
		project, limit, used := quotaOf(q)
		return described(q, "PROJECT", project, "LIMIT", limit, "USED", used), err
	})
}

func (p *program) quotaUpdate() *cobra.Command {
	var storage string
	cmd := p.asking(verb{
		"update PROJECT", "Change what a project may have", "Change what a project may have in bytes. What it has beyond that stays, and nothing is pushed until it is less.",
		"  havn quota update team --storage 50GiB\n  havn quota update team --storage unlimited",
	}, func(r *remote) (answered, error) {
		if storage == "" {
			return answered{}, usage(fail.E(fail.Invalid, nil, "no --storage").Hint("write it like 50GiB, or unlimited"))
		}
		limit, err := limitOf(storage)
		if err != nil {
			return answered{}, err
		}
		id, err := r.ProjectID(r.ctx, r.args[0])
		if err != nil {
			return answered{}, err
		}
		return did("updated", "quota", r.args[0], id), r.UpdateQuota(r.ctx, id, client.QuotaUpdateReq{Hard: client.ResourceList{"storage": limit}})
	})
	cmd.Flags().StringVar(&storage, "storage", "", "bytes, like 50GiB, or unlimited")
	return cmd
}
