package harborapi

import (
	"cmp"
	"context"
	"net/http"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/refusal"
)

// Directory is a directory of people. It is safe for concurrent use.
type Directory interface {
	// Try tests a directory as settings would have it, and answers which step failed and what to do; "" if all went well.
	Try(context.Context, config.LDAP) string
	// People and Groups find some of those in whose names a text is. Groups answers the one with a distinguished name if that is not "": NotFound, Invalid.
	People(ctx context.Context, text string) ([]access.Person, error)
	Groups(ctx context.Context, text, dn string) ([]access.Group, error)
}

// mostImported bounds the users of one import: each is a search of the directory.
const mostImported = 100

// PingLdap tries a directory. What the body does not say is as the settings have it; a password that is stored goes to the stored address alone.
func (a *API) PingLdap(c *call, body PingLdapJSONRequestBody) error {
	try := a.Settings.Live().LDAP
	if body.LdapURL == "" {
		try.SearchDN, try.BaseDN, try.Filter = cmp.Or(body.LdapSearchDn, try.SearchDN), cmp.Or(body.LdapBaseDn, try.BaseDN), cmp.Or(body.LdapFilter, try.Filter)
	} else {
		if body.LdapURL != try.URL {
			try.SearchPassword = config.NewSecret("")
		}
		try.URL, try.SearchDN, try.BaseDN, try.Filter = body.LdapURL, body.LdapSearchDn, body.LdapBaseDn, body.LdapFilter
		try.Scope, try.VerifyCert = int(body.LdapScope), body.LdapVerifyCert
	}
	try.UID = cmp.Or(body.LdapUID, try.UID)
	if body.LdapConnectionTimeout > 0 && body.LdapConnectionTimeout <= 60 {
		try.Timeout = int(body.LdapConnectionTimeout)
	}
	if body.LdapSearchPassword != "" {
		try.SearchPassword = config.NewSecret(body.LdapSearchPassword)
	}
	problem := a.Directory.Try(c.Context(), try)
	return c.json(http.StatusOK, LdapPingResult{Success: problem == "", Message: problem})
}

// SearchLdapUser finds people of the directory.
func (a *API) SearchLdapUser(c *call, p SearchLdapUserParams) error {
	people, err := a.Directory.People(c.Context(), p.Username)
	if err != nil {
		return err
	}
	entries := make([]LdapUser, len(people))
	for i, one := range people {
		entries[i] = LdapUser{Username: one.Name, Realname: one.RealName, Email: one.Email}
	}
	return c.json(http.StatusOK, entries)
}

// SearchLdapGroup finds groups of the directory. None is 404, as in Harbor.
func (a *API) SearchLdapGroup(c *call, p SearchLdapGroupParams) error {
	groups, err := a.Directory.Groups(c.Context(), p.Groupname, p.Groupdn)
	if err != nil {
		return err
	}
	if len(groups) == 0 {
		return fail.E(fail.NotFound, nil, "no group of the directory has %.100q in its name", p.Groupname)
	}
	entries := make([]UserGroup, len(groups))
	for i, g := range groups {
		entries[i] = groupOf(access.UserGroup{Origin: access.FromLDAP, Key: g.Key, Name: g.Name})
		if g.Name == "" {
			entries[i].GroupName = g.Key
		}
	}
	return c.json(http.StatusOK, entries)
}

// unknownUser is what Harbor says of a name that nobody in the directory has.
const unknownUser = "unknown_user"

// ImportLdapUser makes people of the directory users. Those that can't be are told with the reason, under 404, as in Harbor; the others are.
func (a *API) ImportLdapUser(c *call, body ImportLdapUserJSONRequestBody) error {
	if len(body.LdapUIDList) == 0 || len(body.LdapUIDList) > mostImported {
		return fail.E(fail.Invalid, nil, "%d names in ldap_uid_list", len(body.LdapUIDList)).Hint("send 1 to %d", mostImported)
	}
	failed := []LdapFailedImportUser{}
	for _, login := range body.LdapUIDList {
		made, err := a.Access.MeetUser(c.Context(), login)
		switch {
		case fail.Is(err, fail.Unavailable), fail.Is(err, fail.Internal):
			return err
		case fail.Is(err, fail.NotFound):
			failed = append(failed, LdapFailedImportUser{UID: login, Error: unknownUser})
		case err != nil:
			failed = append(failed, LdapFailedImportUser{UID: login, Error: refusal.Text(err, "")})
		default:
			c.audited(createdUser, made.Name, 0, "imported")
		}
	}
	if len(failed) > 0 {
		return c.json(http.StatusNotFound, failed)
	}
	return c.done()
}
