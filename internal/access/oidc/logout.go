package oidc

import (
	"context"
	"net/url"

	"github.com/havn-registry/havn/internal/fail"
)

// maxLogout bounds the address of a logout: Microsoft's provider refuses a query that is longer (AADSTS90015), and a token that names many groups is.
const maxLogout = 2000

// Leave answers what a browser keeps for its logout, in a cookie, "" if the token is too long for one.
func (c *Client) Leave(idToken string) string {
	kept := c.Seal.Seal(c.leaving(), []byte(idToken))
	if idToken == "" || len(idToken) > maxLogout || len(kept) > maxSealed {
		return ""
	}
	return kept
}

// Left answers the ID token that a browser kept, "" if it is none.
func (c *Client) Left(kept string) string {
	token, err := c.Seal.Open(c.leaving(), kept)
	if err != nil { // of another client's time, or nobody's: the provider asks whether the logout is meant
		return ""
	}
	return string(token)
}

// leaving is the name under which an ID token is sealed for the logout.
func (c *Client) leaving() string { return "oidc logout " + c.ClientID + " " + c.Endpoint }

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
