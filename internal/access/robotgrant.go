package access

import (
	"context"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// Where a permission of a robot holds, if that is not one project.
const (
	EveryProject = "*"
	System       = "/"
)

// Permission is something that a robot may do, or, with Deny, may not do though another of its permissions lets it.
type Permission struct {
	In string // a project's name, EveryProject or System
	Operation
	Deny bool
}

// String answers it like library repository:pull.
func (p Permission) String() string {
	text := p.In + " " + p.Operation.String()
	if p.Deny {
		text = "not " + text
	}
	return text
}

// robotProject and robotSystem are what robots can be given in projects and in the system: Harbor's lists as of 2.13.
var (
	robotProject = operations(
		"accessory list", "artifact create delete list read", "artifact-addition read", "artifact-label create delete", "export-cve create read", "immutable-tag create delete list update",
		"label create delete list read update", "log list", "member create delete list read update", "metadata create delete list read update", "notification-policy create delete list read update",
		"preheat-policy create delete list read update", "project delete read update", "quota read", "repository delete list pull push read update", "robot create delete list read", "sbom create read stop",
		"scan create read stop", "scanner create read", "tag create delete list", "tag-retention create delete list read update",
	)
	robotSystem = operations(
		"audit-log list", "catalog read", "garbage-collection create list read stop update", "jobservice-monitor list stop", "label create delete read update", "ldap-user create list",
		"preheat-instance create delete list read update", "project create list", "purge-audit create list read stop update", "quota list read update", "registry create delete list read update",
		"replication create list read", "replication-adapter list", "replication-policy create delete list read update", "robot create delete list read", "scan-all create read stop update",
		"scanner create delete list read update", "security-hub list read", "system-volumes read", "user create delete list read update", "user-group create delete list read update",
	)
)

// operations reads rows of a resource and its actions.
func operations(rows ...string) []Operation {
	var all []Operation
	for _, row := range rows {
		words := strings.Fields(row)
		for _, action := range words[1:] {
			all = append(all, Operation{words[0], action})
		}
	}
	return all
}

// RobotOperations answers what robots can be given in the system, or in projects.
func RobotOperations(system bool) []Operation {
	if system {
		return slices.Clone(robotSystem)
	}
	return slices.Clone(robotProject)
}

// mostPermissions bounds a robot's permissions: they are written in one transaction, and a page of robots is read with them.
const mostPermissions = 4000

// checkPermissions refuses what no robot can be given. project is the robot's own, "" for the system's robots.
func checkPermissions(project string, all []Permission) error {
	if len(all) == 0 || len(all) > mostPermissions {
		return fail.E(fail.Invalid, nil, "robot with %d permissions", len(all)).Hint("give it 1 to %d", mostPermissions)
	}
	type key struct {
		in string
		Operation
	}
	seen := map[key]bool{}
	for _, p := range all {
		known := robotProject
		if p.In == System {
			known = robotSystem
		}
		switch {
		case project != "" && p.In != project:
			return fail.E(fail.Invalid, nil, "robot of project %s with a permission in %.255q", project, p.In).Hint("make a robot of the system for that")
		case p.In == "":
			return fail.E(fail.Invalid, nil, "permission %s without a place", p.Operation).Hint("name a project, %s for all projects, or %s for the system", EveryProject, System)
		case !slices.Contains(known, p.Operation):
			return fail.E(fail.Invalid, nil, "robots have no permission %.100q", p.Operation.String()).Hint("GET /api/v2.0/permissions lists those that there are")
		case seen[key{p.In, p.Operation}]:
			return fail.E(fail.Invalid, nil, "permission %s twice", p)
		}
		seen[key{p.In, p.Operation}] = true
	}
	return nil
}

// mayGive refuses, with Denied, to give a robot more than somebody may do himself. What is public counts for nobody: it may cease to be.
func (a *Access) mayGive(ctx context.Context, who Identity, all []Permission) error {
	if who.Admin {
		return nil
	}
	known := map[string]Rights{}
	for _, p := range all {
		if p.Deny {
			continue
		}
		var may bool
		var err error
		switch p.In {
		case System:
			may, err = a.MaySystem(ctx, who, p.Operation)
		case EveryProject:
			may, err = a.mayEverywhere(ctx, who, p.Operation)
		default:
			r, seen := known[p.In]
			if !seen {
				r, err = a.Rights(ctx, who, p.In)
				err, known[p.In] = absentIsFine(err), r
			}
			may = r.holds(p.Operation) // one that is not there is as one that he may not see
		}
		if err != nil {
			return err
		}
		if !may {
			return fail.E(fail.Denied, nil, "you have no permission %s yourself", p).Hint("leave it out, or let somebody make the robot who has it")
		}
	}
	return nil
}

// MaySystem reports whether somebody may do something in the system: administrators may do everything, and robots what they were given there.
func (a *Access) MaySystem(ctx context.Context, who Identity, o Operation) (bool, error) {
	if who.Admin || who.Robot == 0 {
		return who.Admin, nil
	}
	return a.robotMay(ctx, who.Robot, o, "scope = ?", systemScope)
}

// mayEverywhere reports whether somebody may do something in every project that is or will be.
func (a *Access) mayEverywhere(ctx context.Context, who Identity, o Operation) (bool, error) {
	if who.Admin || who.Robot == 0 {
		return who.Admin, nil
	}
	return a.robotMay(ctx, who.Robot, o, "(scope = ? OR effect = 'deny' AND scope <> ?)", everyScope, systemScope)
}

// robotMay reports whether of the permissions that meet a condition one allows something and none denies it.
func (a *Access) robotMay(ctx context.Context, robot int64, o Operation, condition string, args ...any) (bool, error) {
	may := false
	args = append([]any{robot, o.Resource, anything, o.Action, anything}, args...)
	for row, err := range a.DB.Rows(ctx, "SELECT effect FROM robot_permissions WHERE robot = ? AND resource IN (?, ?) AND action IN (?, ?) AND "+condition, args...) {
		if err != nil {
			return false, err
		}
		var effect string
		if err = row.Scan(&effect); err != nil {
			return false, err
		}
		if effect == effectDeny {
			return false, nil
		}
		may = true
	}
	return may, nil
}
