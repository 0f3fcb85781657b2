package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// Start is a login that begins: the browser keeps Sealed in the cookie named Cookie, which must be HttpOnly, SameSite=Lax (the callback comes from the provider's site) and
// no older than StateLife, and goes to URL.
type Start struct{ URL, Cookie, Sealed string }

// Login is somebody who logged in at the provider.
type Login struct {
	Person access.Person
	// Ask says that an account with Person.Name is not to be made without asking for the name: the operator wants that, or the provider told none.
	Ask      bool
	Tokens   Tokens
	ReturnTo string // a path of this server
}

// Tokens are what the provider gave. They are secrets.
type Tokens struct {
	Refresh string // "": the provider gives none, or none that outlives the browser's session there, and Refresh can't be used
	ID      string // for LogoutURL
}

// String keeps tokens out of logs.
func (Tokens) String() string { return "***" }

// Begin answers where to send a browser that wants to log in, and come back to a path of this server. Errors: Invalid if it is not one; Unavailable.
func (c *Client) Begin(ctx context.Context, returnTo string) (Start, error) {
	path, err := local(returnTo)
	if err != nil {
		return Start{}, err
	}
	p, err := c.provider(ctx)
	if err != nil {
		return Start{}, err
	}
	s := sealed{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Return: path, Until: c.Clock().Add(StateLife).Unix()}
	text, err := c.seal(s)
	if err != nil {
		return Start{}, err
	}
	var options []oauth2.AuthCodeOption
	if p.said.Issuer == google { // which knows no offline_access, and gives a refresh token with a consent alone
		options = append(options, oauth2.AccessTypeOffline, oauth2.ApprovalForce)
	}
	for name, value := range c.Extra {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	options = append(options, oauth2.SetAuthURLParam("nonce", s.Nonce), oauth2.S256ChallengeOption(s.Verifier))
	return Start{URL: c.oauth(p, oauth2.AuthStyleInHeader).AuthCodeURL(s.State, options...), Cookie: CookieOf(s.State), Sealed: text}, nil
}

// Finish answers who logged in: text is the cookie's that CookieOf names, and answer the query of the callback. The cookie must be removed, whatever Finish answers. Errors:
// Invalid if the answer does not belong to a login of this browser, or was taken before; Denied if the provider refuses; Unauthenticated if what it says can't be believed;
// Unavailable if it could not be asked.
func (c *Client) Finish(ctx context.Context, text string, answer url.Values) (Login, error) {
	s, err := c.open(text, answer.Get("state"))
	if err != nil {
		return Login{}, err
	}
	p, err := c.provider(ctx)
	if err != nil {
		return Login{}, err
	}
	if !c.spent.claim(s.State, time.Unix(s.Until, 0), c.Clock()) {
		return Login{}, fail.E(fail.Invalid, nil, "this login ended already").Hint("open the registry's first page; if you are not logged in there, %s", again)
	}
	if err = p.answered(answer); err != nil {
		return Login{}, err
	}
	token, err := c.ask(ctx, p, func(ctx context.Context, conf *oauth2.Config) (*oauth2.Token, error) {
		return conf.Exchange(ctx, answer.Get("code"), oauth2.VerifierOption(s.Verifier))
	})
	if err != nil {
		return Login{}, refused(err, "the login")
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return Login{}, fail.E(fail.Unauthenticated, nil, "OIDC provider gives no ID token").Hint("allow the client the scope openid there")
	}
	id, err := c.verify(ctx, p, raw)
	if err != nil {
		return Login{}, err
	}
	if subtle.ConstantTimeCompare([]byte(id.nonce), []byte(s.Nonce)) != 1 {
		return Login{}, fail.E(fail.Unauthenticated, nil, "the ID token was made for another login").Hint(again)
	}
	person, err := c.person(ctx, p, id, token)
	if err != nil {
		return Login{}, err
	}
	got := Login{Person: person, Ask: !c.AutoOnboard || person.Name == "", Tokens: Tokens{ID: raw}, ReturnTo: s.Return}
	if c.Refreshes() {
		got.Tokens.Refresh = token.RefreshToken
	}
	return got, nil
}

// answered answers an error if the provider's answer is one, or another provider's (RFC 9207, RFC 6749 section 4.1.2.1, OpenID Connect Core 1.0 section 3.1.2.6).
func (p *provider) answered(answer url.Values) error {
	if issuer := answer.Get("iss"); issuer != p.said.Issuer && (issuer != "" || p.said.NamesItself) {
		return fail.E(fail.Unauthenticated, nil, "the answer is not the OIDC provider's: issuer %.200q", issuer).Hint(again)
	}
	code := answer.Get("error")
	if code == "" && answer.Get("code") == "" {
		return fail.E(fail.Invalid, nil, "the answer of the OIDC provider has neither a code nor an error").Hint(again)
	}
	var cause error
	if text := answer.Get("error_description"); text != "" {
		cause = fmt.Errorf("the provider says %.300q", text) // for the log: whoever reads the error may not take it for ours
	}
	switch code {
	case "":
		return nil
	case "access_denied":
		return fail.E(fail.Denied, cause, "the OIDC provider refuses the login").Hint("allow Havn at the provider what it asks for, or ask those who run it to let you use Havn")
	case "login_required", "interaction_required", "consent_required", "account_selection_required":
		return fail.E(fail.Unauthenticated, cause, "the OIDC provider wants to ask something (%s)", code).Hint("%s; if it goes on, take prompt=none out of oidc_extra_redirect_parms", again)
	case "server_error", "temporarily_unavailable":
		return fail.E(fail.Unavailable, cause, "the OIDC provider fails (%s)", code).Hint("try again later, and look at the provider's log")
	case "invalid_scope":
		return fail.E(fail.Invalid, cause, "the OIDC provider does not know a scope").Hint("correct %s: not every provider knows offline_access or groups", scopeKey)
	case "unauthorized_client":
		return fail.E(fail.Invalid, cause, "the OIDC provider does not allow Havn to log people in").Hint("allow the client there the flow by code")
	}
	return fail.E(fail.Invalid, cause, "the OIDC provider does not take the request (%.40q)", code).Hint("look at the provider's log, at %s and at oidc_extra_redirect_parms", scopeKey)
}
