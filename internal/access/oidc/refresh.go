package oidc

import (
	"context"
	"slices"
	"strings"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// Refresh answers how the provider describes somebody now, by the refresh token of an earlier login. subject is his Person.Subject. Errors: Unauthenticated if the provider does
// not let him in any more (he is gone or disabled, the token is over or taken back); Unsupported without a refresh token, without the scope offline_access, and for another provider's
// people; Unavailable for all the rest, and then nothing is known of him that was not known before.
//
// Tokens with a Refresh are to be stored, with an error too: many providers take each refresh token once, and take its second use for theft, which ends all that came of the
// login. For the same reason no two may refresh one login at once: that is for the caller to see to, on all nodes.
func (c *Client) Refresh(ctx context.Context, subject, refreshToken string) (access.Person, Tokens, error) {
	if refreshToken == "" {
		return access.Person{}, Tokens{}, fail.E(fail.Unsupported, nil, "the OIDC provider gave no refresh token").
			Hint("add offline_access to %s and allow the client refresh tokens at the provider, then log in again in the browser", scopeKey)
	}
	if !c.Refreshes() {
		return access.Person{}, Tokens{}, fail.E(fail.Unsupported, nil, "nobody is asked for again without a login").Hint("add offline_access to %s", scopeKey)
	}
	p, err := c.provider(ctx)
	if err != nil {
		return access.Person{}, Tokens{}, err
	}
	if !strings.HasPrefix(subject, p.said.Issuer+" ") { // whose token is nothing to this one
		return access.Person{}, Tokens{}, fail.E(fail.Unsupported, nil, "%.300s is another OIDC provider's", subject).Hint("log in again in the browser")
	}
	token, err := c.ask(ctx, p, func(ctx context.Context, conf *oauth2.Config) (*oauth2.Token, error) {
		return conf.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
	})
	if err != nil {
		return access.Person{}, Tokens{}, refused(err, "the refresh of a login")
	}
	tokens := Tokens{Refresh: token.RefreshToken}
	id, err := c.renewed(ctx, p, token)
	if err != nil {
		return access.Person{}, tokens, err
	}
	if raw, ok := token.Extra("id_token").(string); ok {
		tokens.ID = raw
	}
	person, err := c.person(ctx, p, id, token)
	switch {
	case fail.Is(err, fail.Unauthenticated): // a provider that contradicts itself says nothing of him
		return access.Person{}, tokens, fail.E(fail.Unavailable, err, "OIDC provider's answer to a refresh")
	case err != nil:
		return access.Person{}, tokens, err
	case person.Subject != subject:
		return access.Person{}, tokens, fail.E(fail.Unauthenticated, nil, "the OIDC provider refreshes the login of somebody else").Hint(again)
	}
	return person, tokens, nil
}

// Refreshes reports whether people are asked for again without a login. Without offline_access a refresh token ends with the browser's session at the provider, often within minutes:
// that would say of somebody who closed his browser that he is gone.
func (c *Client) Refreshes() bool { return slices.Contains(c.Scopes, gooidc.ScopeOfflineAccess) }

// renewed answers whose login was refreshed. A provider need not give an ID token then (OpenID Connect Core 1.0, section 12.2), but may have userinfo. Errors are Unavailable:
// one that can't be believed says nothing of whom it should be about.
func (c *Client) renewed(ctx context.Context, p *provider, token *oauth2.Token) (identity, error) {
	raw, ok := token.Extra("id_token").(string)
	if ok {
		id, err := c.verify(ctx, p, raw)
		if err != nil {
			return identity{}, fail.E(fail.Unavailable, err, "OIDC provider's answer to a refresh")
		}
		return id, nil
	}
	if p.said.UserInfo == "" {
		return identity{}, fail.E(fail.Unavailable, nil, "the OIDC provider has neither an ID token nor userinfo for a refresh").Hint("let it give an ID token whenever it refreshes")
	}
	said, err := c.userInfo(ctx, p, token)
	if err != nil {
		return identity{}, err
	}
	if said.text("sub") == "" {
		return identity{}, fail.E(fail.Unavailable, nil, "the OIDC provider does not say whose login it refreshed").Hint("let it give an ID token whenever it refreshes")
	}
	return identity{sub: said.text("sub"), said: said, whole: true}, nil
}
