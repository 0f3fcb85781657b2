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

// The events of users.
var (
	createdUser = event{"create", "user"}
	changedUser = event{"update", "user"}
	deletedUser = event{"delete", "user"}
)

// userOrders are what lists of users and robots can be sorted by.
var userOrders = map[string]access.Order{"username": access.ByName, "name": access.ByName, "user_id": access.ByID, "id": access.ByID, "creation_time": access.ByCreation, "update_time": access.ByChange}

// accessPage and accessOrder are an Ask for lists of access.
func accessPage(ask listing.Ask) access.Page {
	return access.Page{Offset: int(ask.Offset()), Limit: int(ask.Size)}
}

func accessOrder(ask *listing.Ask, known ...string) (access.Order, bool, error) {
	o, err := ask.OneOrder(known...)
	return userOrders[o.Field], o.Descending, err
}

// ListUsers lists all users, without the administrator of the first start as Harbor does, unless he is named.
func (a *API) ListUsers(c *call, p ListUsersParams) error {
	ask, err := listing.Parse(p.Q, p.Sort, p.Page, p.PageSize)
	if err != nil {
		return err
	}
	query := access.UserQuery{Page: accessPage(ask)}
	if query.Name, query.Part, err = ask.Text("username"); err != nil {
		return err
	}
	exact, part, err := ask.Text("email")
	if err != nil {
		return err
	}
	query.Email = cmp.Or(exact, part)
	if admin, flagErr := ask.Flag("sysadmin_flag"); flagErr != nil {
		return flagErr
	} else if admin != nil {
		query.Admins = *admin
	}
	if query.Order, query.Down, err = accessOrder(&ask, "username", "user_id", "creation_time", "update_time"); err != nil {
		return err
	}
	if err = ask.NothingElse("username", "email", "sysadmin_flag"); err != nil {
		return err
	}
	// Harbor takes these two outside of q as well.
	query.Part, query.Email = cmp.Or(query.Part, c.URL.Query().Get("username")), cmp.Or(query.Email, c.URL.Query().Get("email"))
	query.Others = query.Name == ""
	page, total, err := a.Access.Users(c.Context(), query)
	if err != nil {
		return err
	}
	entries := make([]UserResp, len(page))
	for i, u := range page {
		entries[i] = userOf(u)
	}
	return c.list(entries, total, ask)
}

func userOf(u access.User) UserResp {
	answer := UserResp{
		UserID: u.ID, Username: u.Name, Email: u.Email, Realname: u.RealName, Comment: u.Comment, SysadminFlag: u.Admin, AdminRoleInAuth: u.AdminByGroup, CreationTime: Time(u.Created), UpdateTime: Time(u.Changed),
	}
	if u.Origin == access.FromOIDC {
		answer.OidcUserMeta = OIDCUserInfo{ID: u.ID, UserID: u.ID, Subiss: u.Subject, CreationTime: Time(u.Created), UpdateTime: Time(u.Changed)}
	}
	return answer
}

// CreateUser makes a local user: an administrator for others, or a stranger for himself where that is allowed.
func (a *API) CreateUser(c *call, body CreateUserJSONRequestBody) error {
	spec := access.UserSpec{Name: body.Username, Password: body.Password, Profile: access.Profile{Email: body.Email, RealName: body.Realname, Comment: body.Comment}}
	stranger := a.registers(c)
	var made access.User
	var err error
	if stranger {
		made, err = a.Access.Register(c.Context(), spec, a.Client(c.Request).String())
	} else {
		made, err = a.Access.CreateUser(c.Context(), spec)
	}
	if err != nil {
		return err
	}
	note := ""
	if stranger {
		c.who.Subject, note = made.Name, "by himself"
	}
	c.audited(createdUser, made.Name, 0, note)
	return c.made("/users/" + strconv.FormatInt(made.ID, 10))
}

// GetCurrentUserInfo answers the caller. A robot account is no user: 412, as in Harbor.
func (a *API) GetCurrentUserInfo(c *call) error {
	if c.who.User == 0 {
		return fail.E(fail.Conflict, nil, "%s is no user", c.who.Subject).Code(codePrecondition)
	}
	found, err := a.Access.User(c.Context(), c.who.User)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, userOf(found))
}

// SearchUsers finds users by a part of their names, the most alike first.
func (a *API) SearchUsers(c *call, p SearchUsersParams) error {
	ask, err := listing.Parse("", "", p.Page, p.PageSize)
	if err != nil {
		return err
	}
	page, total, err := a.Access.Users(c.Context(), access.UserQuery{Part: p.Username, Others: true, Page: accessPage(ask)})
	if err != nil {
		return err
	}
	entries := make([]UserSearchRespItem, len(page))
	for i, u := range page {
		entries[i] = UserSearchRespItem{UserID: u.ID, Username: u.Name}
	}
	slices.SortStableFunc(entries, func(x, y UserSearchRespItem) int { return cmp.Compare(len(x.Username), len(y.Username)) })
	return c.list(entries, total, ask)
}

// self lets users at themselves, and others if the system lets them do that to users.
func (a *API) self(c *call, user int64, action string) error {
	if c.who.User != 0 && c.who.User == user {
		return nil
	}
	if err := a.requireSystem(c, access.Operation{Resource: "user", Action: action}); err != nil || action == "read" {
		return err
	}
	return a.spareAdmins(c, user)
}

// spareAdmins turns away robot accounts that would change an administrator: whoever sets his password is one too, and no robot account was given that.
func (a *API) spareAdmins(c *call, user int64) error {
	if c.who.Admin {
		return nil
	}
	found, err := a.Access.User(c.Context(), user)
	if err != nil {
		return err
	}
	return a.require(c, !found.Admin && !found.AdminByGroup)
}

// GetUser answers one user.
func (a *API) GetUser(c *call, userID int64) error {
	if err := a.self(c, userID, "read"); err != nil {
		return err
	}
	found, err := a.Access.User(c.Context(), userID)
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, userOf(found))
}

// UpdateUserProfile changes what a user says of himself.
func (a *API) UpdateUserProfile(c *call, userID int64, body UpdateUserProfileJSONRequestBody) error {
	if err := a.self(c, userID, "update"); err != nil {
		return err
	}
	was, err := a.Access.User(c.Context(), userID)
	if err != nil {
		return err
	}
	// Whoever leaves them out means to change something else. Harbor wants both, always.
	if body.Email == "" && was.Email != "" || body.Realname == "" && was.RealName != "" {
		return fail.E(fail.Invalid, nil, "the e-mail address or the real name of %s would be lost", was.Name).Hint("send email and realname, also as they are")
	}
	changed, err := a.Access.UpdateProfile(c.Context(), userID, access.Profile{Email: body.Email, RealName: body.Realname, Comment: body.Comment})
	if err != nil {
		return err
	}
	c.audited(changedUser, changed.After.Name, 0, "profile")
	return c.done()
}

// DeleteUser deletes a user, but not the caller himself.
func (a *API) DeleteUser(c *call, userID int64) error {
	if userID == c.who.User {
		return fail.E(fail.Denied, nil, "nobody deletes himself").Hint("let another administrator do it")
	}
	if err := a.spareAdmins(c, userID); err != nil {
		return err
	}
	gone, err := a.Access.DeleteUser(c.Context(), userID)
	if err != nil {
		return err
	}
	c.audited(deletedUser, gone.Name, 0, "")
	return c.done()
}

// SetUserSysAdmin makes a user a system administrator, or none. Administrators alone may, and no robot account can be given that: one that may change users would have all that they have.
func (a *API) SetUserSysAdmin(c *call, userID int64, body SetUserSysAdminJSONRequestBody) error {
	changed, err := a.Access.SetAdmin(c.Context(), userID, body.SysadminFlag)
	if err != nil {
		return err
	}
	c.audited(changedUser, changed.After.Name, 0, "sysadmin "+strconv.FormatBool(body.SysadminFlag))
	return c.done()
}

// UpdateUserPassword changes the password of a local user. Users who change their own must know the old one.
func (a *API) UpdateUserPassword(c *call, userID int64, body UpdateUserPasswordJSONRequestBody) error {
	if err := a.self(c, userID, "update"); err != nil {
		return err
	}
	var changed access.Changed[access.User]
	var err error
	if userID == c.who.User {
		changed, err = a.Access.ChangePassword(c.Context(), userID, body.OldPassword, body.NewPassword, a.Client(c.Request).String())
	} else {
		changed, err = a.Access.SetPassword(c.Context(), userID, body.NewPassword)
	}
	if err != nil {
		return err
	}
	c.audited(changedUser, changed.After.Name, 0, "password")
	return c.done()
}

// SetCliSecret changes the CLI secret of a user whom an identity provider tells of; others have passwords: 412, as in Harbor.
func (a *API) SetCliSecret(c *call, userID int64, body SetCliSecretJSONRequestBody) error {
	if err := a.self(c, userID, "update"); err != nil {
		return err
	}
	if body.Secret == "" {
		return fail.E(fail.Invalid, nil, "an empty secret").Hint("send one of 8 to 128 letters, with upper case, lower case and digits")
	}
	if _, _, err := a.makeSecret(c, userID, body.Secret); err != nil {
		return err
	}
	return c.done()
}

// MakeCliSecret makes a CLI secret, which nobody is told again: Havn keeps a hash of it. Harbor has no such operation, and tells the secret with the user.
func (a *API) MakeCliSecret(c *call, userID int64) error {
	if err := a.self(c, userID, "update"); err != nil {
		return err
	}
	made, _, err := a.makeSecret(c, userID, "")
	if err != nil {
		return err
	}
	return c.json(http.StatusOK, CLISecret{Secret: made})
}
