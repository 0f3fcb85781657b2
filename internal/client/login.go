package client

import (
	"context"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// tokenPrefix begins every personal access token.
const tokenPrefix = "havn_pat_"

// LogIn answers what to keep of somebody who was asked for his password: a personal access token that is made for this, with an end unless that is zero. Who gave a token as the password, or is
// a robot account, has a secret of that kind already.
func (c *Client) LogIn(ctx context.Context, token string, end time.Time) (Login, error) {
	me, err := c.GetCurrentUserInfo(ctx)
	switch {
	case fail.CodeOf(err) == "PRECONDITION": // no user, so a robot account
		return Login{User: c.User, Secret: c.Password}, nil
	case err != nil:
		return Login{}, err
	case strings.HasPrefix(c.Password, tokenPrefix):
		return Login{User: me.Username, Secret: c.Password, UserID: me.UserID}, nil
	}
	body := UserTokenReq{Name: token, ExpiresAt: -1}
	if !end.IsZero() {
		body.ExpiresAt = end.Unix()
	}
	made, err := c.CreateUserToken(ctx, me.UserID, body)
	if err != nil {
		return Login{}, err
	}
	login := Login{User: me.Username, Secret: made.Token, Made: true, UserID: me.UserID, TokenID: made.ID}
	if made.ExpiresAt > 0 {
		login.Expires = time.Unix(made.ExpiresAt, 0).UTC()
	}
	return login, nil
}

// LogOut ends the token that a login made. One that has ended is no error.
func (c *Client) LogOut(ctx context.Context, login Login) error {
	if !login.Made {
		return nil
	}
	err := c.DeleteUserToken(ctx, login.UserID, login.TokenID)
	if fail.Is(err, fail.NotFound) || fail.Is(err, fail.Unauthenticated) {
		return nil
	}
	return err
}
