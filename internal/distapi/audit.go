package distapi

import (
	"net/netip"

	"github.com/havn-registry/havn/internal/audit"
	"github.com/havn-registry/havn/internal/oci"
)

// Auditor takes what people did. nil: nobody does.
type Auditor interface {
	Add(audit.Line)
	AddPull(subject, project, name, ref string, addr netip.Addr)
}

// audited tells that the caller did something to what a reference names.
func (a *API) audited(c *call, operation string, ref oci.Reference) {
	if a.audit == nil {
		return
	}
	kind, resource := "artifact", c.route.name.String()
	switch {
	case ref.IsDigest():
		resource += "@" + ref.Digest.String()
	default:
		resource += ":" + ref.Tag.String()
		if operation == "delete" {
			kind = "tag"
		}
	}
	a.audit.Add(audit.Line{
		Subject: c.caller.identity.Subject, Operation: operation, Kind: kind, Resource: resource, In: c.route.name.Project(), Addr: a.origin.Client(c.Request).String(), OK: true,
	})
}

// auditedPull tells that the caller pulled a manifest.
func (a *API) auditedPull(c *call, ref oci.Reference) {
	if a.audit == nil {
		return
	}
	text := ref.Tag.String()
	if ref.IsDigest() {
		text = ref.Digest.String()
	}
	a.audit.AddPull(c.caller.identity.Subject, c.route.name.Project(), c.route.name.String(), text, a.origin.Client(c.Request))
}
