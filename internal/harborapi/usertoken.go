package harborapi

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// The events of personal access tokens.
var (
	createdUserToken = event{"create", "user_token"}
	deletedUserToken = event{"delete", "user_token"}
)

// ListUserTokens lists a user's personal access tokens.
func (a *API) ListUserTokens(c *call, userID int64) error {
	if err := a.self(c, userID, "read"); err != nil {
		return err
	}
	if _, err := a.Access.User(c.Context(), userID); err != nil { // who is not there is not somebody without tokens
		return err
	}
	all, err := a.Access.UserTokens(c.Context(), userID)
	if err != nil {
		return err
	}
	entries := make([]UserToken, len(all))
	for i, t := range all {
		entries[i] = UserToken{ID: t.ID, Name: t.Name, ExpiresAt: expiry(t.Expires), CreationTime: Time(t.Created), UseTime: Time(t.Used)}
	}
	c.w.Header().Set("X-Total-Count", strconv.Itoa(len(entries)))
	return c.json(http.StatusOK, entries)
}

// CreateUserToken makes a token of the caller, and tells its secret. Nobody makes one of somebody else: he could act in his name, and the audit log would not know.
func (a *API) CreateUserToken(c *call, userID int64, body CreateUserTokenJSONRequestBody) error {
	if userID != c.who.User {
		return fail.E(fail.Denied, nil, "a token of somebody else").Hint("let him make it himself; of programs that are nobody's, make a robot account")
	}
	var expires time.Time
	switch {
	case body.ExpiresAt > 0:
		expires = time.Unix(body.ExpiresAt, 0)
	case body.ExpiresAt < -1:
		return fail.E(fail.Invalid, nil, "expires_at %d", body.ExpiresAt).Hint("send seconds since 1970, or -1 for never")
	}
	made, secret, err := a.Access.CreateUserToken(c.Context(), userID, body.Name, expires)
	if err != nil {
		return err
	}
	c.audited(createdUserToken, c.who.Subject, 0, made.Name)
	c.w.Header().Set("Location", fmt.Sprintf("%s/users/%d/tokens/%d", Base, userID, made.ID))
	return c.json(http.StatusCreated, UserTokenCreated{ID: made.ID, Name: made.Name, Token: secret, ExpiresAt: expiry(made.Expires), CreationTime: Time(made.Created)})
}

// DeleteUserToken ends a token: at once at this node, and within seconds at the others.
func (a *API) DeleteUserToken(c *call, userID, tokenID int64) error {
	if err := a.self(c, userID, "update"); err != nil {
		return err
	}
	owner, err := a.Access.User(c.Context(), userID)
	var gone access.UserToken
	if err == nil {
		gone, err = a.Access.DeleteUserToken(c.Context(), userID, tokenID)
	}
	if err != nil {
		return err
	}
	c.audited(deletedUserToken, owner.Name, 0, gone.Name)
	return c.done()
}
