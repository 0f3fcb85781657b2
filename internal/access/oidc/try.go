package oidc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"golang.org/x/oauth2"

	"github.com/havn-registry/havn/internal/fail"
)

// The steps of a test, in their order. An error's detail names the one that failed.
const (
	StepDiscovery = "discovery" // its address, TLS, its discovery document, its issuer
	StepKeys      = "keys"      // its signing keys
	StepClient    = "client"    // does it know Havn, by its secret?
)

// Ping tries to reach the provider of a configuration of which nothing else counts than how to reach it: the steps discovery and keys.
func Ping(ctx context.Context, conf Config) error {
	c, err := reach(conf)
	if err != nil {
		return err
	}
	_, err = c.look(ctx)
	return err
}

// Test tries all that a login needs of the provider but somebody who logs in, anew: nothing that was known counts. The detail of an error is the step that failed.
func (c *Client) Test(ctx context.Context) error {
	p, err := c.look(ctx)
	if err != nil {
		return err
	}
	// Some look at the client first for a code, some for a refresh token.
	for i, bogus := range []func(ctx context.Context, conf *oauth2.Config) (*oauth2.Token, error){
		func(ctx context.Context, conf *oauth2.Config) (*oauth2.Token, error) {
			return conf.Exchange(ctx, "havn-"+rand.Text(), oauth2.VerifierOption(oauth2.GenerateVerifier()))
		},
		func(ctx context.Context, conf *oauth2.Config) (*oauth2.Token, error) {
			return conf.TokenSource(ctx, &oauth2.Token{RefreshToken: "havn-" + rand.Text()}).Token()
		},
	} {
		if _, err = c.ask(ctx, p, bogus); err == nil {
			return failed(StepClient, fail.E(fail.Unavailable, nil, "the OIDC provider takes what it did not give").Hint("look at %s: what answers there is no provider", endpointKey))
		}
		var answer *oauth2.RetrieveError
		if !errors.As(err, &answer) || isUnknownClient(err) || i == 0 && answer.ErrorCode == "unauthorized_client" {
			return failed(StepClient, refused(err, "the login"))
		}
		// Any other error is of a client that is known. Whether it may refresh shows when somebody gets no refresh token.
	}
	return nil
}

// look does the steps that need no client.
func (c *Client) look(ctx context.Context) (*provider, error) {
	p, err := c.discover(ctx)
	if err != nil {
		return nil, failed(StepDiscovery, err)
	}
	if err = c.readKeys(ctx, p); err != nil {
		return nil, failed(StepKeys, err)
	}
	return p, nil
}

func failed(step string, err error) error {
	return fail.E(fail.KindOf(err), err, "test of the OIDC provider, step %s", step).Detail(step)
}

// readKeys answers an error if the provider has no key that an ID token could be signed with.
func (c *Client) readKeys(ctx context.Context, p *provider) (err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.said.Keys, nil)
	if err != nil {
		return fail.E(fail.Unavailable, err, "jwks_uri")
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return silent(err, "OIDC provider's keys could not be read")
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	var set struct {
		Keys []struct {
			Type string `json:"kty"`
			Use  string `json:"use"`
		} `json:"keys"`
	}
	if err = json.NewDecoder(answer.Body).Decode(&set); err != nil {
		return fail.E(fail.Unavailable, err, "OIDC provider's keys can't be read").Hint("look at its jwks_uri, %s", p.said.Keys)
	}
	for _, key := range set.Keys {
		if slices.Contains([]string{"RSA", "EC", "OKP"}, key.Type) && key.Use != "enc" {
			return nil
		}
	}
	return fail.E(fail.Unavailable, nil, "OIDC provider publishes no key to sign with").Hint("let it sign with RS256 or ES256")
}
