package harborapi

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
)

// The events of robot accounts.
var (
	createdRobot = event{"create", "robot"}
	changedRobot = event{"update", "robot"}
	deletedRobot = event{"delete", "robot"}
)

// Levels of robot accounts, and kinds of their permissions.
const (
	levelSystem  = "system"
	levelProject = "project"
)

func levelOf(r access.Robot) string {
	if r.ProjectID == 0 {
		return levelSystem
	}
	return levelProject
}

// expiry is a time as robot accounts tell it: seconds since 1970, or -1 for never.
func expiry(at time.Time) int64 {
	if at.IsZero() {
		return -1
	}
	return at.Unix()
}

func robotOf(r access.Robot) Robot {
	answer := Robot{
		ID: r.ID, Name: r.Name, Description: r.Description, Level: levelOf(r), Disable: r.Disabled, Duration: &r.Days, ExpiresAt: expiry(r.Expires), Editable: true,
		CreatorType: "local", CreatorRef: r.Creator.ID, CreationTime: Time(r.Created), UpdateTime: Time(r.Changed), Permissions: []RobotPermission{},
	}
	if r.Creator.Robot {
		answer.CreatorType = "robot"
	}
	for _, p := range r.Permissions {
		kind := levelProject
		if p.In == access.System {
			kind = levelSystem
		}
		i := slices.IndexFunc(answer.Permissions, func(known RobotPermission) bool { return known.Namespace == p.In })
		if i < 0 {
			i, answer.Permissions = len(answer.Permissions), append(answer.Permissions, RobotPermission{Kind: kind, Namespace: p.In})
		}
		one := Access{Resource: p.Resource, Action: p.Action}
		if p.Deny {
			one.Effect = "deny"
		}
		answer.Permissions[i].Access = append(answer.Permissions[i].Access, one)
	}
	return answer
}

// permissionsOf reads the permissions of a body. Names of projects may be their numbers there too, as in Harbor.
func (a *API) permissionsOf(c *call, body []RobotPermission) ([]access.Permission, error) {
	var all []access.Permission
	for _, group := range body {
		in := group.Namespace
		switch group.Kind {
		case levelSystem:
			in = access.System
		case levelProject:
			var err error
			if in, err = a.nameOf(c, in); err != nil {
				return nil, err
			}
		default:
			return nil, fail.E(fail.Invalid, nil, "permissions of kind %.40q", group.Kind).Hint("use system or project")
		}
		if len(group.Access) == 0 {
			return nil, fail.E(fail.Invalid, nil, "permissions in %.255q without access", in).Hint("leave them out, or say what may be done")
		}
		for _, one := range group.Access {
			if one.Effect != "" && one.Effect != "allow" && one.Effect != "deny" {
				return nil, fail.E(fail.Invalid, nil, "effect %.40q", one.Effect).Hint("use allow or deny")
			}
			all = append(all, access.Permission{In: in, Operation: access.Operation{Resource: one.Resource, Action: one.Action}, Deny: one.Effect == "deny"})
		}
	}
	return all, nil
}

// nameOf answers the name of a project that is told by its name or its number. A number of one of which the caller may not know stays as it is, like that of one which is not there: else
// answers would tell him names and numbers.
func (a *API) nameOf(c *call, text string) (string, error) {
	id, notNumber := strconv.ParseInt(text, 10, 64)
	if notNumber != nil {
		return text, nil //nolint:nilerr // it is a name
	}
	name, err := a.Registry.ProjectName(c.Context(), id)
	var rights access.Rights
	if err == nil {
		rights, err = a.Access.Rights(c.Context(), c.who, name)
	}
	switch {
	case fail.Is(err, fail.NotFound), err == nil && !rights.Any():
		return text, nil
	case err != nil:
		return "", err
	}
	return name, nil
}

// mayRobots lets those pass who may do something to the robot accounts of a project, or of the system if that is "".
func (a *API) mayRobots(c *call, project, action string) error {
	o := access.Operation{Resource: "robot", Action: action}
	if project == "" {
		return a.requireSystem(c, o)
	}
	return a.requireIn(c, project, o)
}

// ListRobot lists the robot accounts of the system, or of the project that q names.
func (a *API) ListRobot(c *call, p ListRobotParams) error {
	ask, err := listing.Parse(p.Q, p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	level, _, err := ask.Text("Level")
	if err != nil {
		return err
	}
	query := access.RobotQuery{Page: accessPage(ask)}
	if query.Project, _, err = ask.Number("ProjectID"); err != nil {
		return err
	}
	project := ""
	switch {
	case level == levelProject && query.Project > 0:
		if project, err = a.Registry.ProjectName(c.Context(), query.Project); fail.Is(err, fail.NotFound) && !c.who.Admin {
			return a.require(c, false)
		}
	case level == levelProject:
		err = fail.E(fail.Invalid, nil, "robot accounts of no project").Hint("write q=Level=project,ProjectID=1")
	case level == levelSystem, level == "":
		query.Project = 0
	default:
		err = fail.E(fail.Invalid, nil, "Level %.40q", level).Hint("use system or project")
	}
	if err != nil {
		return err
	}
	if err = a.mayRobots(c, project, "list"); err != nil {
		return err
	}
	if query.Name, query.Part, err = ask.Text("name"); err != nil {
		return err
	}
	if query.Order, query.Down, err = accessOrder(&ask, "name", "id", "creation_time", "update_time"); err != nil {
		return err
	}
	if err = ask.NothingElse("Level", "ProjectID", "name"); err != nil {
		return err
	}
	page, total, err := a.Access.Robots(c.Context(), query)
	if err != nil {
		return err
	}
	entries := make([]Robot, len(page))
	for i, r := range page {
		entries[i] = robotOf(r)
	}
	return c.list(entries, total, ask)
}

// CreateRobot makes a robot account, and tells its secret.
func (a *API) CreateRobot(c *call, body CreateRobotJSONRequestBody) error {
	permissions, err := a.permissionsOf(c, body.Permissions)
	if err != nil {
		return err
	}
	spec := access.RobotSpec{Name: body.Name, Description: body.Description, Secret: body.Secret, Disabled: body.Disable, Days: a.robotDays(body.Duration), Permissions: permissions}
	switch {
	case body.Level == levelProject && len(permissions) > 0:
		spec.Project = permissions[0].In
	case body.Level != levelSystem || len(permissions) == 0:
		return fail.E(fail.Invalid, nil, "a robot account of level %.40q with %d permissions", body.Level, len(permissions)).Hint("use level system or project, and say what it may do")
	}
	if err = a.mayRobots(c, spec.Project, "create"); err != nil {
		return err
	}
	made, secret, err := a.Access.CreateRobot(c.Context(), c.who, spec)
	if err != nil {
		return err
	}
	c.audited(createdRobot, made.Name, made.ProjectID, "")
	c.w.Header().Set("Location", Base+"/robots/"+strconv.FormatInt(made.ID, 10))
	return c.json(http.StatusCreated, RobotCreated{ID: made.ID, Name: made.Name, Secret: secret, CreationTime: Time(made.Created), ExpiresAt: expiry(made.Expires)})
}

// robotDays answers how many days a robot account is good: where 0 are asked for, as many as administrators have set.
func (a *API) robotDays(asked int64) int64 {
	if asked == 0 {
		return int64(a.Settings.Live().RobotTokenDuration)
	}
	return asked
}

// robot finds a robot account to which the caller may do something. To others, one that is not there is as one that they may not see.
func (a *API) robot(c *call, id int64, action string) (access.Robot, error) {
	found, err := a.Access.Robot(c.Context(), id)
	if fail.Is(err, fail.NotFound) && !c.who.Admin {
		return found, a.require(c, false)
	}
	if err == nil {
		err = a.mayRobots(c, found.Project, action)
	}
	return found, err
}

// GetRobotByID answers one robot account.
func (a *API) GetRobotByID(c *call, robotID int64) error {
	found, err := a.robot(c, robotID, "read")
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, robotOf(found))
}

// UpdateRobot changes a robot account. Its name and its level are part of the body, and stay.
func (a *API) UpdateRobot(c *call, robotID int64, body UpdateRobotJSONRequestBody) error {
	found, err := a.robot(c, robotID, "update")
	if err != nil {
		return err
	}
	if body.Name != found.Name || body.Level != levelOf(found) {
		return fail.E(fail.Invalid, nil, "another name or level than %s, %s", found.Name, levelOf(found)).Hint("send them as they are, or make another robot account")
	}
	spec := access.RobotSpec{Description: body.Description, Disabled: body.Disable, Days: found.Days}
	if body.Duration != nil {
		spec.Days = a.robotDays(*body.Duration)
	}
	if spec.Permissions, err = a.permissionsOf(c, body.Permissions); err != nil {
		return err
	}
	changed, err := a.Access.UpdateRobot(c.Context(), c.who, robotID, spec)
	if err != nil {
		return err
	}
	c.audited(changedRobot, changed.After.Name, changed.After.ProjectID, "")
	return c.done()
}

// RefreshSec gives a robot account another secret, and tells it if it was made here.
func (a *API) RefreshSec(c *call, robotID int64, body RefreshSecJSONRequestBody) error {
	found, err := a.robot(c, robotID, "update")
	if err != nil {
		return err
	}
	secret, err := a.Access.SetRobotSecret(c.Context(), robotID, body.Secret)
	if err != nil {
		return err
	}
	c.audited(changedRobot, found.Name, found.ProjectID, "secret")
	if body.Secret != "" {
		secret = ""
	}
	return c.json(http.StatusOK, RobotSec{Secret: secret})
}

// DeleteRobot deletes a robot account.
func (a *API) DeleteRobot(c *call, robotID int64) error {
	if _, err := a.robot(c, robotID, "delete"); err != nil {
		return err
	}
	gone, err := a.Access.DeleteRobot(c.Context(), robotID)
	if err != nil {
		return err
	}
	c.audited(deletedRobot, gone.Name, gone.ProjectID, "")
	return c.done()
}
