package main

import (
	"github.com/spf13/cobra"

	"github.com/havn-registry/havn/internal/client"
)

// shownLines is how many lines of the audit log are shown unless something else is said: it has no end.
const shownLines = 100

func (p *program) audit() *cobra.Command {
	return p.nouns(verb{"audit", "The audit log: who did what, and when", "The audit log: who did what, and when.", "  havn audit list\n  havn audit list --project team --query operation=delete"}, p.auditList())
}

func (p *program) auditList() *cobra.Command {
	var l listing
	var project string
	cmd := p.asking(verb{
		"list", "What was done, the last first", "List what was done, everywhere where the user may read the log or in one project, the last first.",
		"  havn audit list\n  havn audit list --project team --query 'username=maria,op_time=[2026-11-01 00:00:00~2026-11-30 00:00:00]' --limit 0 --output json",
	}, func(r *remote) (answered, error) {
		return listed(&l, func(page, size int64) ([]client.AuditLogExt, int64, error) {
			if project == "" {
				return r.ListAuditLogExts(r.ctx, client.ListAuditLogExtsParams{Q: l.query, Sort: l.sort, Page: page, PageSize: size})
			}
			return r.GetLogExts(r.ctx, project, client.GetLogExtsParams{Q: l.query, Sort: l.sort, Page: page, PageSize: size})
		}, "TIME, USER, OPERATION, KIND, RESOURCE, NOTE", func(line client.AuditLogExt) []string {
			note := line.OperationDescription
			if !line.OperationResult {
				note = "failed: " + note
			}
			return []string{since(line.OpTime), dash(line.Username), line.Operation, line.ResourceType, dash(line.Resource), note}
		})
	})
	cmd.Flags().StringVar(&project, "project", "", "only what was done in this project")
	l.flags(cmd, "username, operation, resource, resource_type, op_time", "op_time, id", shownLines)
	return cmd
}
