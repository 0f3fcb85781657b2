package oidc

import (
	"context"
	"net/url"

	"github.com/havn-registry/havn/internal/fail"
)

// maxLogout bounds the address of a logout: Microsoft's provider refuses a query that is longer (AADSTS90015), and a token that names many groups is.
const maxLogout = 2000

// LogoutURL answers where to send a browser to end its session at the provider too, with the ID token of its login (OpenID Connect RP-Initiated Logout 1.0). A token that is too
// long is left out; then the provider may ask whether the logout is meant. Errors: Unsupported if the provider has no such page; Unavailable.
func (c *Client) LogoutURL(ctx context.Context, idToken string) (string, error) {
	p, err := c.provider(ctx)
	if err != nil {
		return "", err
	}
	if p.said.EndSession == "" {
		return "", fail.E(fail.Unsupported, nil, "the OIDC provider ends no sessions").Hint("log out at the provider itself")
	}
	end, err := url.Parse(p.said.EndSession)
	if err != nil {
		return "", fail.E(fail.Internal, err, "end_session_endpoint")
	}
	query := end.Query()
	query.Set("client_id", c.ClientID)
	if c.AfterLogout != "" {
		query.Set("post_logout_redirect_uri", c.AfterLogout)
	}
	plain := query.Encode()
	if idToken != "" {
		query.Set("id_token_hint", idToken)
	}
	if end.RawQuery = query.Encode(); len(end.String()) > maxLogout {
		end.RawQuery = plain
	}
	return end.String(), nil
}
