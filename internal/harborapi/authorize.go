package harborapi

import (
	"strconv"
	"strings"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// need is what an operation needs of who asks. The zero need is met by nobody but system administrators.
type need struct {
	scope     string // open, login, project, system or register
	operation access.Operation
}

// parseNeed reads "open", "login", "project tag:list", "system user:list" or "register user:create".
func parseNeed(text string) need {
	scope, permission, _ := strings.Cut(text, " ")
	resource, action, _ := strings.Cut(permission, ":")
	return need{scope, access.Operation{Resource: resource, Action: action}}
}

// authorize lets a request pass whose caller may do what the operation does.
func (a *API) authorize(c *call) error {
	switch n := c.op.need; n.scope {
	case "open":
		return nil
	case "login":
		return a.require(c, isKnown(c.who))
	case "project":
		return a.enter(c, n.operation)
	case "register":
		if a.registers(c) {
			return nil
		}
		return a.requireSystem(c, n.operation)
	default:
		return a.requireSystem(c, n.operation)
	}
}

// registers reports whether a stranger may make an account for himself.
func (a *API) registers(c *call) bool { return !isKnown(c.who) && a.Access.Policy().SelfRegistration }

// requireSystem turns away who may not do something in the system.
func (a *API) requireSystem(c *call, o access.Operation) error {
	may, err := a.Access.MaySystem(c.Context(), c.who, o)
	if err != nil {
		return err
	}
	return a.require(c, may)
}

// requireIn turns away who may not do something in a project. Only administrators learn that there is no such project.
func (a *API) requireIn(c *call, project string, o access.Operation) error {
	rights, err := a.Access.Rights(c.Context(), c.who, project)
	if err != nil && (c.who.Admin || !fail.Is(err, fail.NotFound)) {
		return err
	}
	return a.require(c, rights.May(o))
}

// require turns away who may not.
func (a *API) require(c *call, may bool) error {
	switch {
	case may:
		return nil
	case !isKnown(c.who):
		return fail.E(fail.Unauthenticated, nil, "nobody is logged in").Hint("send a user's name and password, or a robot account's name and secret, with Basic")
	default:
		return fail.E(fail.Denied, nil, "%s may not do this", c.who.Subject)
	}
}

// enter finds the project that the path names and what the caller may do there. Only administrators learn that there is no such project: to others it is as one that they may not see.
func (a *API) enter(c *call, o access.Operation) error {
	name, err := a.projectName(c)
	if err == nil {
		c.rights, err = a.Access.Rights(c.Context(), c.who, name)
	}
	if fail.Is(err, fail.NotFound) && !c.who.Admin {
		return a.require(c, false)
	}
	if err != nil {
		return err
	}
	return a.require(c, c.rights.May(o))
}

// projectName answers the name of the project in the path. All digits are its number, where a number may stand, unless a header says that they are a name.
func (a *API) projectName(c *call) (string, error) {
	if name := c.PathValue("project_name"); name != "" {
		return name, nil
	}
	text := c.PathValue("project_name_or_id")
	isName := false
	b := newBinder(c.Request)
	if b.boolean(inHeader, "X-Is-Resource-Name", &isName); b.err != nil {
		return "", b.err
	}
	if id, notNumber := strconv.ParseInt(text, 10, 64); notNumber == nil && !isName {
		return a.Registry.ProjectName(c.Context(), id)
	}
	return text, nil
}
