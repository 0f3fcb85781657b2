package harborapi

import (
	"fmt"
	"net/http"
	"net/url"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/listing"
)

// The events of members.
var (
	createdMember = event{"create", "project_member"}
	changedMember = event{"update", "project_member"}
	deletedMember = event{"delete", "project_member"}
)

func memberOf(m access.Member) ProjectMemberEntity {
	answer := ProjectMemberEntity{ID: m.ID, ProjectID: m.Project, RoleID: int64(m.Role), RoleName: m.Role.String(), EntityName: m.Name, EntityID: m.User, EntityType: "u"}
	if m.User == 0 {
		answer.EntityID, answer.EntityType = m.Group, "g"
	}
	return answer
}

// ListProjectMembers lists who has a role in a project: all, or the one whose name is exactly entityname. A script that takes the first of that list means nobody else.
func (a *API) ListProjectMembers(c *call, p ListProjectMembersParams) error {
	ask, err := listing.Parse("", "", p.Page, p.PageSize)
	if err != nil {
		return err
	}
	page, total, err := a.Access.Members(c.Context(), access.MemberQuery{Project: c.rights.Project.ID, Name: p.Entityname, Page: accessPage(ask)})
	if err != nil {
		return err
	}
	entries := make([]ProjectMemberEntity, len(page))
	for i, m := range page {
		entries[i] = memberOf(m)
	}
	return c.list(entries, total, ask)
}

// CreateProjectMember gives a user or a group a role.
func (a *API) CreateProjectMember(c *call, body CreateProjectMemberJSONRequestBody) error {
	spec := access.MemberSpec{
		Role: access.Role(body.RoleID), User: body.MemberUser.UserID, UserName: body.MemberUser.Username,
		Group: body.MemberGroup.ID, GroupKey: body.MemberGroup.LdapGroupDn, GroupName: body.MemberGroup.GroupName,
	}
	if body.MemberGroup.GroupType != 0 {
		var err error
		if spec.Origin, err = groupOrigin(body.MemberGroup.GroupType); err != nil {
			return err
		}
		if spec.Origin != access.FromLDAP { // only a directory's groups have another key than their name
			spec.GroupKey = ""
		}
	}
	made, err := a.Access.AddMember(c.Context(), c.rights.Project.ID, spec)
	if err != nil {
		return err
	}
	c.audited(createdMember, made.Name, made.Project, made.Role.String())
	return c.made(fmt.Sprintf("/projects/%s/members/%d", url.PathEscape(c.PathValue("project_name_or_id")), made.ID)) // as the project was named, as in Harbor
}

// GetProjectMember answers one member.
func (a *API) GetProjectMember(c *call, mid int64) error {
	found, err := a.Access.Member(c.Context(), c.rights.Project.ID, mid)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, memberOf(found))
}

// UpdateProjectMember gives a member another role.
func (a *API) UpdateProjectMember(c *call, mid int64, body UpdateProjectMemberJSONRequestBody) error {
	changed, err := a.Access.SetMemberRole(c.Context(), c.rights.Project.ID, mid, access.Role(body.RoleID))
	if err != nil {
		return err
	}
	c.audited(changedMember, changed.After.Name, c.rights.Project.ID, changed.Before.Role.String()+" to "+changed.After.Role.String())
	return c.done()
}

// DeleteProjectMember takes a member out of a project.
func (a *API) DeleteProjectMember(c *call, mid int64) error {
	gone, err := a.Access.RemoveMember(c.Context(), c.rights.Project.ID, mid)
	if err != nil {
		return err
	}
	c.audited(deletedMember, gone.Name, c.rights.Project.ID, gone.Role.String())
	return c.done()
}
