package harborapi

import (
	"net/http"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
)

// event is a kind of lines of the audit log.
type event struct{ operation, kind string }

// The events of this API.
var changedConfiguration = event{"update", "configuration"}

// events are those of this API and of the registry's, in the order in which they are listed.
var events = []event{
	createdArtifact, deletedArtifact, pulledArtifact, createdTag, deletedTag,
	createdProject, changedProject, deletedProject, changedRepository, deletedRepository, createdLabel, changedLabel, deletedLabel, addedLabel, removedLabel, changedQuota,
	createdMember, changedMember, deletedMember, createdRobot, changedRobot, deletedRobot,
	createdUser, changedUser, deletedUser, createdUserToken, deletedUserToken, loggedIn, loggedOut, endedSession, createdGroup, changedGroup, deletedGroup, changedConfiguration,
}

// audited tells that the caller did something, and of which project (0: of none). The line is written when it returns, also if the client has left; else it waits in memory for the
// database, or the log says that it is lost: what is done is done.
func (c *call) audited(e event, resource string, project int64, note string) {
	c.audit(audit.Line{Operation: e.operation, Kind: e.kind, Resource: resource, Project: project, OK: true, Note: note})
}

// brokeOff tells, of what is done in many steps, that it ended at one of them for reasons that are not the caller's: some of it may be done, and nobody can say how much. It answers the error.
func (c *call) brokeOff(err error, e event, resource string, project int64) error {
	if kind := fail.KindOf(err); kind == fail.Unavailable || kind == fail.Internal {
		c.audit(audit.Line{Operation: e.operation, Kind: e.kind, Resource: resource, Project: project, Note: "broke off; a part of it may be done"})
	}
	return err
}

func (c *call) audit(line audit.Line) {
	line.Subject, line.Addr = c.who.Subject, c.api.Client(c.Request).String()
	if err := c.api.Audit.Write(c.Context(), line); err != nil {
		c.api.Log.ErrorContext(c.Context(), "a line of the audit log is lost", "error", err, "operation", line.Operation, "kind", line.Kind, "resource", line.Resource, "subject", line.Subject)
	}
}

// ListAuditLogEventTypes lists the kinds of events, as the setting disabled_audit_log_event_types names them.
func (a *API) ListAuditLogEventTypes(c *call) error {
	all := make([]AuditLogEventType, len(events))
	for i, e := range events {
		all[i].EventType = e.operation + "_" + e.kind
	}
	return c.json(http.StatusOK, all)
}

// ListAuditLogs lists what was done, everywhere or where the caller may read the log.
func (a *API) ListAuditLogs(c *call, p ListAuditLogsParams) error {
	return a.auditLog(c, p.Q, p.Sort, p.Page, p.PageSize, nil, oldLines)
}

// ListAuditLogExts is ListAuditLogs with descriptions.
func (a *API) ListAuditLogExts(c *call, p ListAuditLogExtsParams) error {
	return a.auditLog(c, p.Q, p.Sort, p.Page, p.PageSize, nil, newLines)
}

// GetLogs lists what was done in a project.
func (a *API) GetLogs(c *call, p GetLogsParams) error {
	return a.auditLog(c, p.Q, p.Sort, p.Page, p.PageSize, []int64{c.rights.Project.ID}, oldLines)
}

// GetLogExts is GetLogs with descriptions.
func (a *API) GetLogExts(c *call, p GetLogExtsParams) error {
	return a.auditLog(c, p.Q, p.Sort, p.Page, p.PageSize, []int64{c.rights.Project.ID}, newLines)
}

// mostPlaces bounds the projects whose log somebody reads at once who is no administrator.
const mostPlaces = 500

func (a *API) auditLog(c *call, q, sort string, page, size int64, projects []int64, shown func([]audit.Line) any) error {
	ask, err := listing.Parse(q, sort, page, size)
	if err != nil {
		return err
	}
	filter, err := auditFilter(&ask)
	if err != nil {
		return err
	}
	if filter.Projects = projects; projects == nil && !c.who.Admin {
		if filter.Projects, err = a.Access.Places(c.Context(), c.who, access.Operation{Resource: "log", Action: "list"}, mostPlaces); err != nil {
			return err
		}
		if filter.Projects == nil {
			filter.Projects = []int64{}
		}
	}
	lines, total, err := a.Audit.List(c.Context(), filter)
	if err != nil {
		return err
	}
	return c.list(shown(lines), total, ask)
}

// auditFilter reads what of an Ask a list of the audit log has.
func auditFilter(ask *listing.Ask) (audit.Filter, error) {
	f := audit.Filter{Offset: int(ask.Offset()), Limit: int(ask.Size)}
	for name, to := range map[string]**audit.Match{"username": &f.Subject, "operation": &f.Operation, "resource_type": &f.Kind, "resource": &f.Resource} {
		for _, one := range ask.Take(name) {
			if one.Op != listing.Equals && one.Op != listing.Contains {
				return f, fail.E(fail.Invalid, nil, "%s in q", name).Hint("write %s=v or %s=~v", name, name)
			}
			*to = &audit.Match{Text: one.Values[0], Fuzzy: one.Op == listing.Contains}
		}
	}
	for _, one := range ask.Take("op_time") {
		from, to, err := one.Times()
		if err != nil {
			return f, err
		}
		f.From = from
		if !to.IsZero() {
			f.To = to.Add(time.Microsecond) // it is among those that are asked for, and To is not
		}
	}
	order, err := ask.OneOrder("op_time", "id", "creation_time")
	if err != nil {
		return f, err
	}
	f.OldestFirst = order.Field != "" && !order.Descending
	return f, ask.NothingElse("username", "operation", "resource", "resource_type", "op_time")
}

func oldLines(lines []audit.Line) any {
	all := make([]AuditLog, len(lines))
	for i, l := range lines {
		all[i] = AuditLog{ID: l.ID, Username: l.Subject, Resource: l.Resource, ResourceType: l.Kind, Operation: l.Operation, OpTime: Time(l.At)}
	}
	return all
}

func newLines(lines []audit.Line) any {
	all := make([]AuditLogExt, len(lines))
	for i, l := range lines {
		note := l.Note
		if note == "" { // as Harbor describes what has no more to it
			note = l.Operation + " " + l.Kind + ": " + l.Resource
		}
		all[i] = AuditLogExt{
			ID: l.ID, Username: l.Subject, Resource: l.Resource, ResourceType: l.Kind, Operation: l.Operation, OperationDescription: note, OperationResult: l.OK, OpTime: Time(l.At),
		}
	}
	return all
}
