package client

import (
	"context"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// Labels have a scope, and robot accounts a level.
const (
	LevelSystem  = "system"
	LevelProject = "project"

	scopeSystem  = "g"
	scopeProject = "p"
)

// exactly is a filter for a field that is this value: what comes behind \ is meant as it is.
func exactly(field, value string) string { return field + `=\` + value }

// ProjectID answers the number of a project; 0 for "", which stands for the system.
func (c *Client) ProjectID(ctx context.Context, project string) (int64, error) {
	if project == "" {
		return 0, nil
	}
	found, err := c.GetProject(ctx, project)
	return int64(found.ProjectID), err
}

// FindUser answers a user by name. Others than oneself are for system administrators.
func (c *Client) FindUser(ctx context.Context, name string) (UserResp, error) {
	if name == c.User {
		me, err := c.GetCurrentUserInfo(ctx)
		if err == nil || fail.CodeOf(err) != "PRECONDITION" {
			return me, err
		}
	}
	found, _, err := c.ListUsers(ctx, ListUsersParams{Q: exactly("username", name), Page: 1, PageSize: 1})
	if err != nil {
		return UserResp{}, err
	}
	if len(found) == 0 {
		return UserResp{}, fail.E(fail.NotFound, nil, "not found: user %q", name).Hint("`havn user list` says which there are; people of a directory are there once they have logged in")
	}
	return found[0], nil
}

// RobotFilter is the filter for the robot accounts of a project, or of the system if that is "".
func (c *Client) RobotFilter(ctx context.Context, project string) (string, error) {
	id, err := c.ProjectID(ctx, project)
	if err != nil || id == 0 {
		return "Level=" + LevelSystem, err
	}
	return "Level=" + LevelProject + ",ProjectID=" + decimal(id), nil
}

// FindRobot answers a robot account of a project, or of the system if that is "", by its own name, or by the whole one, in which the project is.
func (c *Client) FindRobot(ctx context.Context, project, name string) (Robot, error) {
	if _, rest, ok := strings.Cut(name, "$"); ok {
		name = rest
	}
	if in, rest, ok := strings.Cut(name, "+"); ok {
		project, name = in, rest
	}
	filter, err := c.RobotFilter(ctx, project)
	if err != nil {
		return Robot{}, err
	}
	found, _, err := c.ListRobot(ctx, ListRobotParams{Q: filter + "," + exactly("name", name), Page: 1, PageSize: 1})
	if err != nil {
		return Robot{}, err
	}
	if len(found) == 0 {
		return Robot{}, fail.E(fail.NotFound, nil, "not found: robot account %q of %s", name, place(project)).Hint("`havn robot list` says which there are; --project says of which project")
	}
	return found[0], nil
}

// FindMember answers the member of a project that a user or a group is.
func (c *Client) FindMember(ctx context.Context, project, name string, group bool) (ProjectMemberEntity, error) {
	kind := "u"
	if group {
		kind = "g"
	}
	all, _, err := All(0, func(page, size int64) ([]ProjectMemberEntity, int64, error) {
		return c.ListProjectMembers(ctx, project, ListProjectMembersParams{Entityname: name, Page: page, PageSize: size})
	})
	if err != nil {
		return ProjectMemberEntity{}, err
	}
	for _, m := range all {
		if m.EntityName == name && m.EntityType == kind {
			return m, nil
		}
	}
	return ProjectMemberEntity{}, fail.E(fail.NotFound, nil, "not found: member %q of %s", name, place(project)).Hint("`havn member list PROJECT` says who is one; groups need --group")
}

// LabelQuery is the query for the labels of a project, or of the system if that is "".
func (c *Client) LabelQuery(ctx context.Context, project string) (ListLabelsParams, error) {
	id, err := c.ProjectID(ctx, project)
	if id == 0 {
		return ListLabelsParams{Scope: scopeSystem}, err
	}
	return ListLabelsParams{Scope: scopeProject, ProjectID: id}, err
}

// FindLabel answers a label of a project, or of the system if that is "".
func (c *Client) FindLabel(ctx context.Context, project, name string) (Label, error) {
	query, err := c.LabelQuery(ctx, project)
	if err != nil {
		return Label{}, err
	}
	query.Q, query.Page, query.PageSize = exactly("name", name), 1, 1
	found, _, err := c.ListLabels(ctx, query)
	if err != nil {
		return Label{}, err
	}
	if len(found) == 0 {
		return Label{}, fail.E(fail.NotFound, nil, "not found: label %q of %s", name, place(project)).Hint("`havn label list` says which there are; --project says of which project")
	}
	return found[0], nil
}

func place(project string) string {
	if project == "" {
		return "the system"
	}
	return "project " + project
}
