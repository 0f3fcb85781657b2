package harborapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// GetPermissions lists what robot accounts can be given, to who may make some: the system's to administrators, those of projects to a project's administrators too.
func (a *API) GetPermissions(c *call) error {
	list := func(all []access.Operation) []Permission {
		entries := make([]Permission, len(all))
		for i, o := range all {
			entries[i] = Permission{Resource: o.Resource, Action: o.Action}
		}
		return entries
	}
	answer := Permissions{Project: list(access.RobotOperations(false))}
	if c.who.Admin {
		answer.System = list(access.RobotOperations(true))
		return c.json(http.StatusOK, answer)
	}
	some, err := a.Access.Places(c.Context(), c.who, access.Operation{Resource: "robot", Action: "create"}, 1)
	if err == nil {
		err = a.require(c, len(some) > 0)
	}
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, answer)
}

// GetCurrentUserPermissions lists what the caller may do in a project, or in the system. Of another scope, or of a project that is not there, he may do nothing.
func (a *API) GetCurrentUserPermissions(c *call, p GetCurrentUserPermissionsParams) error {
	entries := []Permission{}
	text, isProject := strings.CutPrefix(p.Scope, "/project/")
	add := func(o access.Operation, may bool) {
		if may {
			self := strings.TrimSuffix(p.Scope, "/")
			resource := self + "/" + o.Resource
			isSelf := isProject && o.Resource == "project" // what is done to the project itself
			switch {
			case isSelf && p.Relative:
				resource = "."
			case isSelf:
				resource = self
			case p.Relative, !isProject: // Harbor's of the system are bare in any case
				resource = o.Resource
			}
			entries = append(entries, Permission{Resource: resource, Action: o.Action})
		}
	}
	id, notNumber := strconv.ParseInt(strings.TrimSuffix(text, "/"), 10, 64)
	switch {
	case strings.TrimSuffix(p.Scope, "/") == "/system":
		for _, o := range access.RobotOperations(true) {
			may, err := a.Access.MaySystem(c.Context(), c.who, o)
			if err != nil {
				return fmt.Errorf("permissions in the system: %w", err)
			}
			add(o, may)
		}
	case isProject && notNumber == nil:
		name, err := a.Registry.ProjectName(c.Context(), id)
		var rights access.Rights
		if err == nil {
			rights, err = a.Access.Rights(c.Context(), c.who, name)
		}
		if err != nil && !fail.Is(err, fail.NotFound) {
			return err
		}
		for _, o := range access.Operations() {
			add(o, err == nil && rights.May(o))
		}
	}
	return c.json(http.StatusOK, entries)
}
