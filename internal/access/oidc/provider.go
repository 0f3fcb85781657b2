package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// freshFor is how long what a provider says of itself holds. Then its keys are read again too: one that was taken back counts no longer than this.
	freshFor = time.Hour
	// retryAfter is how long a provider that was not found is not looked for again. Requests meanwhile fail at once, instead of all waiting for it.
	retryAfter = 5 * time.Second
	// againAfter is that of one that is known: there is less hurry, and whoever asks first waits for it.
	againAfter = time.Minute

	google = "https://accounts.google.com"
)

// provider is a provider that was found.
type provider struct {
	*gooidc.Provider
	keys gooidc.KeySet
	said metadata
	// inBody says that the client's secret belongs in the request's body, which the provider's refusal taught.
	inBody atomic.Bool
}

// metadata is what is read of a discovery document (OpenID Connect Discovery 1.0, section 3; RFC 8414; RFC 9207).
type metadata struct {
	Issuer      string   `json:"issuer"`
	Auth        string   `json:"authorization_endpoint"`
	Token       string   `json:"token_endpoint"`
	Keys        string   `json:"jwks_uri"`
	UserInfo    string   `json:"userinfo_endpoint"`
	EndSession  string   `json:"end_session_endpoint"`
	Scopes      []string `json:"scopes_supported"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	NamesItself bool     `json:"authorization_response_iss_parameter_supported"`
}

// provider answers the provider, which is looked for when it is first needed, and again from time to time. Where that fails, what was known goes on to count.
func (c *Client) provider(ctx context.Context) (*provider, error) {
	c.mu.Lock()
	known, failed, fresh := c.known, c.failed, c.Clock().Before(c.next)
	c.mu.Unlock()
	switch {
	case fresh && known != nil:
		return known, nil
	case fresh && failed != nil:
		return nil, failed
	}
	found := c.flight.DoChan("", func() (any, error) {
		p, err := c.discover(context.WithoutCancel(ctx)) // others wait for it too; the client bounds its time
		return c.keep(p, err)
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-found:
		if r.Err != nil {
			return nil, r.Err
		}
		p, ok := r.Val.(*provider)
		if !ok {
			return nil, fail.E(fail.Internal, nil, "OIDC provider is a %T", r.Val)
		}
		return p, nil
	}
}

// keep remembers what a look for the provider gave.
func (c *Client) keep(p *provider, err error) (*provider, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failed = err
	if err == nil {
		c.known, c.next = p, c.Clock().Add(freshFor)
		return p, nil
	}
	if c.known == nil {
		c.next = c.Clock().Add(retryAfter)
		return nil, err
	}
	c.next = c.Clock().Add(againAfter)
	c.Log.Warn("OIDC provider's discovery document could not be read again; what it said before counts", "error", err)
	return c.known, nil
}

// discover asks the provider what it is. Errors are Unavailable: without it nobody can log in, and nobody is refused.
func (c *Client) discover(ctx context.Context) (*provider, error) {
	ctx = c.asking(ctx)
	found, err := gooidc.NewProvider(ctx, c.Endpoint)
	var other *gooidc.IssuerMismatchError
	if errors.As(err, &other) && other.Discovered != "" {
		if strings.TrimSuffix(other.Discovered, "/") != strings.TrimSuffix(c.Endpoint, "/") {
			return nil, fail.E(fail.Unavailable, err, "OIDC provider calls itself something else").Hint("write %q in %s if that is the one you mean", other.Discovered, endpointKey)
		}
		// A slash at the end is what people get wrong most, and both lead to the same document. Tokens are compared with the provider's own form.
		found, err = gooidc.NewProvider(ctx, other.Discovered)
	}
	if err != nil {
		if fail.DetailOf(err) == http.StatusNotFound {
			return nil, fail.E(fail.Unavailable, err, "OIDC provider has no discovery document").
				Hint("correct %s: below it must be /.well-known/openid-configuration", endpointKey)
		}
		return nil, silent(err, "OIDC provider could not be asked what it is")
	}
	p := &provider{Provider: found}
	if err = found.Claims(&p.said); err == nil {
		err = p.said.check(c.SkipVerify)
	}
	if err != nil {
		return nil, fail.E(fail.Unavailable, err, "OIDC provider's discovery document").Hint("look at %s and at the provider's configuration", endpointKey)
	}
	p.keys = gooidc.NewRemoteKeySet(ctx, p.said.Keys)
	return p, nil
}

// check refuses a provider that lacks what a login needs, or would be asked in the clear.
func (m metadata) check(insecure bool) error {
	for _, e := range []struct {
		name, address string
		needed        bool
	}{
		{"authorization_endpoint", m.Auth, true},
		{"token_endpoint", m.Token, true},
		{"jwks_uri", m.Keys, true},
		{"userinfo_endpoint", m.UserInfo, false},
		{"end_session_endpoint", m.EndSession, false},
	} {
		if e.address == "" && !e.needed {
			continue
		}
		if err := isAddress(e.address, insecure); err != nil {
			return fmt.Errorf("%s %.200q: %w", e.name, e.address, err)
		}
	}
	return nil
}

// isAddress reports what is wrong with an address of the provider's.
func isAddress(address string, insecure bool) error {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return err
	case u.Host == "" || u.User != nil || u.Fragment != "":
		return errors.New("not an address with a host alone")
	case u.Scheme == "https" || u.Scheme == "http" && insecure:
		return nil
	}
	return errors.New("not https://")
}

// oauth answers how tokens are asked for, the client's secret in one place or the other.
func (c *Client) oauth(p *provider, style oauth2.AuthStyle) *oauth2.Config {
	endpoint := p.Endpoint()
	endpoint.AuthStyle = style
	return &oauth2.Config{ClientID: c.ClientID, ClientSecret: c.ClientSecret, Endpoint: endpoint, RedirectURL: c.RedirectURL, Scopes: c.scopes(p)}
}

// scopes leaves offline_access out where the provider lists its scopes without it: Google and GitLab refuse what they do not know.
func (c *Client) scopes(p *provider) []string {
	if len(p.said.Scopes) == 0 || slices.Contains(p.said.Scopes, gooidc.ScopeOfflineAccess) {
		return c.Scopes
	}
	return slices.DeleteFunc(slices.Clone(c.Scopes), func(s string) bool { return s == gooidc.ScopeOfflineAccess })
}

// styles answers where the client's secret goes, what is tried first in front (OpenID Connect Core 1.0, section 9: basic where nothing is said).
func (c *Client) styles(p *provider) []oauth2.AuthStyle {
	inHeader, inBody := slices.Contains(p.said.AuthMethods, "client_secret_basic"), slices.Contains(p.said.AuthMethods, "client_secret_post")
	switch {
	case c.ClientSecret == "" || p.inBody.Load() || inBody && !inHeader:
		return []oauth2.AuthStyle{oauth2.AuthStyleInParams}
	case inHeader && !inBody:
		return []oauth2.AuthStyle{oauth2.AuthStyleInHeader}
	}
	return []oauth2.AuthStyle{oauth2.AuthStyleInHeader, oauth2.AuthStyleInParams}
}

// ask asks the token endpoint. A provider that does not know the client by its secret in one place is asked with it in the other: the client is looked at first, so nothing
// was used up. After any other error asking again would look like a stolen code or refresh token, for which providers end all that came of it; that is why oauth2's own
// trial of both, which follows any error, is not used. Nor is the answer given up with ctx: a new refresh token in it could be the only one that counts. The client bounds its time.
func (c *Client) ask(ctx context.Context, p *provider, what func(ctx context.Context, conf *oauth2.Config) (*oauth2.Token, error)) (*oauth2.Token, error) {
	var token *oauth2.Token
	var err error
	ctx = c.asking(context.WithoutCancel(ctx))
	for _, style := range c.styles(p) {
		token, err = what(ctx, c.oauth(p, style))
		if isUnknownClient(err) {
			continue
		}
		if err == nil && style == oauth2.AuthStyleInParams {
			p.inBody.Store(true)
		}
		break
	}
	return token, err
}

// isUnknownClient reports whether the token endpoint does not take the client for who it says it is (RFC 6749, section 5.2).
func isUnknownClient(err error) bool {
	var refused *oauth2.RetrieveError
	return errors.As(err, &refused) && (refused.ErrorCode == "invalid_client" || refused.ErrorCode == "" && refused.Response.StatusCode == http.StatusUnauthorized)
}

// refused gives an error of the token endpoint its kind: Unauthenticated if the provider does not let him in, any other Unavailable: it says nothing of him.
func refused(err error, what string) error {
	var r *oauth2.RetrieveError
	if !errors.As(err, &r) {
		return silent(err, "OIDC provider could not be asked for %s", what)
	}
	cause := fmt.Errorf("the provider answers %d %.50q: %.300q", r.Response.StatusCode, r.ErrorCode, r.ErrorDescription) // r's own text may be a page
	switch {
	case isUnknownClient(err):
		return fail.E(fail.Unavailable, cause, "OIDC provider does not know Havn").Hint("correct %s", clientKeys)
	case r.ErrorCode == "unauthorized_client", r.ErrorCode == "unsupported_grant_type":
		return fail.E(fail.Unavailable, cause, "OIDC provider does not allow Havn to ask for %s", what).
			Hint("allow the client there the grants authorization_code and refresh_token")
	case slices.Contains([]string{"invalid_grant", "access_denied", "interaction_required", "login_required", "consent_required"}, r.ErrorCode):
		return fail.E(fail.Unauthenticated, cause, "OIDC provider refuses %s", what).Hint("log in again in the browser")
	}
	return fail.E(fail.Unavailable, cause, "OIDC provider gives no %s", what).Hint("look at the provider's log")
}
