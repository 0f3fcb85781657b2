package harborapi

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/listing"
)

// The events of groups.
var (
	createdGroup = event{"create", "usergroup"}
	changedGroup = event{"update", "usergroup"}
	deletedGroup = event{"delete", "usergroup"}
)

// groupTypes are Harbor's numbers of where groups come from.
var groupTypes = map[string]int64{access.FromLDAP: 1, access.FromHTTP: 2, access.FromOIDC: 3}

func groupOrigin(number int64) (string, error) {
	for origin, n := range groupTypes {
		if n == number {
			return origin, nil
		}
	}
	return "", fail.E(fail.Invalid, nil, "group_type %d", number).Hint("use 1 for LDAP or 3 for OIDC")
}

func groupOf(g access.UserGroup) UserGroup {
	answer := UserGroup{ID: g.ID, GroupName: g.Name, GroupType: groupTypes[g.Origin]}
	if g.Origin == access.FromLDAP {
		answer.LdapGroupDn = g.Key
	}
	return answer
}

// ListUserGroups lists groups.
func (a *API) ListUserGroups(c *call, p ListUserGroupsParams) error {
	ask, err := listing.Parse("", "", p.Page, p.PageSize)
	if err != nil {
		return err
	}
	query := access.GroupQuery{Part: p.GroupName, Page: accessPage(ask)}
	if p.LdapGroupDn != "" {
		query.Origin, query.Key = access.FromLDAP, p.LdapGroupDn
	}
	page, total, err := a.Access.Groups(c.Context(), query)
	if err != nil {
		return err
	}
	entries := make([]UserGroup, len(page))
	for i, g := range page {
		entries[i] = groupOf(g)
	}
	return c.list(entries, total, ask)
}

// SearchUserGroups finds groups by a part of their names, the most alike first.
func (a *API) SearchUserGroups(c *call, p SearchUserGroupsParams) error {
	ask, err := listing.Parse("", "", p.Page, p.PageSize)
	if err != nil {
		return err
	}
	page, total, err := a.Access.Groups(c.Context(), access.GroupQuery{Part: p.Groupname, Page: accessPage(ask)})
	if err != nil {
		return err
	}
	entries := make([]UserGroupSearchItem, len(page))
	for i, g := range page {
		entries[i] = UserGroupSearchItem{ID: g.ID, GroupName: g.Name, GroupType: groupTypes[g.Origin]}
	}
	slices.SortStableFunc(entries, func(x, y UserGroupSearchItem) int { return cmp.Compare(len(x.GroupName), len(y.GroupName)) })
	return c.list(entries, total, ask)
}

// CreateUserGroup makes a group known before anybody of it logs in.
func (a *API) CreateUserGroup(c *call, body CreateUserGroupJSONRequestBody) error {
	origin, err := groupOrigin(body.GroupType)
	if err != nil {
		return err
	}
	key := body.GroupName
	if origin == access.FromLDAP {
		key = body.LdapGroupDn
	}
	made, err := a.Access.CreateGroup(c.Context(), origin, key, body.GroupName)
	if err != nil {
		return err
	}
	c.audited(createdGroup, made.Name, 0, "")
	return c.made("/usergroups/" + strconv.FormatInt(made.ID, 10))
}

// GetUserGroup answers one group.
func (a *API) GetUserGroup(c *call, groupID int64) error {
	found, err := a.Access.Group(c.Context(), groupID)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, groupOf(found))
}

// UpdateUserGroup changes what a group is called.
func (a *API) UpdateUserGroup(c *call, groupID int64, body UpdateUserGroupJSONRequestBody) error {
	changed, err := a.Access.RenameGroup(c.Context(), groupID, body.GroupName)
	if err != nil {
		return err
	}
	c.audited(changedGroup, changed.After.Name, 0, "was "+changed.Before.Name)
	return c.done()
}

// DeleteUserGroup forgets a group and its memberships.
func (a *API) DeleteUserGroup(c *call, groupID int64) error {
	gone, err := a.Access.DeleteGroup(c.Context(), groupID)
	if err != nil {
		return err
	}
	c.audited(deletedGroup, gone.Name, 0, "")
	return c.done()
}
