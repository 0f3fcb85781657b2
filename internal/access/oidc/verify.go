package oidc

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"

	gooidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// skew is how far the provider's clock may be behind ours where a token ends. (go-oidc lets one that begins later be five minutes ahead.)
	skew = time.Minute
	// maxSubject is the provider's part of Person.Subject (OpenID Connect Core 1.0, section 2: 255 ASCII characters); with an issuer of maxIssuer it is below its limit.
	maxSubject = 255
	maxIssuer  = 440
)

// algorithms are those whose keys only the provider has. With HS256 the key would be the client's secret, or what an attacker can make us take for it.
func algorithms() []string {
	return []string{
		gooidc.RS256, gooidc.RS384, gooidc.RS512, gooidc.ES256, gooidc.ES384, gooidc.ES512, gooidc.PS256, gooidc.PS384, gooidc.PS512, gooidc.EdDSA,
	}
}

// identity is what a verified ID token says, or userinfo where there is none.
type identity struct {
	sub, nonce string
	said       claims
	whole      bool // userinfo was asked already
}

// seen is a key set that remembers what became of one token: go-oidc makes a text of the error, from which nobody could tell a wrong signature from keys that could not be read.
type seen struct {
	gooidc.KeySet
	payload []byte // nil: the signature is not the provider's
	err     error
}

// VerifySignature is for go-oidc.
func (s *seen) VerifySignature(ctx context.Context, jwt string) ([]byte, error) {
	s.payload, s.err = s.KeySet.VerifySignature(ctx, jwt)
	return s.payload, s.err
}

// verify answers what an ID token says that is the provider's, for us and of now (OpenID Connect Core 1.0, section 3.1.3.7); the nonce is the caller's to compare. Errors:
// Unauthenticated; Unavailable if the provider's keys could not be read.
func (c *Client) verify(ctx context.Context, p *provider, raw string) (identity, error) {
	keys := &seen{KeySet: p.keys}
	token, err := gooidc.NewVerifier(p.said.Issuer, keys, &gooidc.Config{
		ClientID: c.ClientID, SupportedSigningAlgs: algorithms(), Now: func() time.Time { return c.Clock().Add(-skew) },
	}).Verify(c.asking(ctx), raw)
	if err != nil {
		return identity{}, c.disbelieved(err, p, keys)
	}
	id := identity{sub: token.Subject, nonce: token.Nonce, said: claims{}}
	if err = token.Claims(&id.said); err != nil {
		return identity{}, fail.E(fail.Unauthenticated, err, "ID token's claims")
	}
	party, named := id.said["azp"]
	if named && party != c.ClientID || !named && len(token.Audience) > 1 {
		return identity{}, fail.E(fail.Unauthenticated, nil, "the ID token is for another client, which may show it to this one").Hint("look at the client's audiences at the provider")
	}
	return id, nil
}

// disbelieved says why an ID token is none for us.
func (c *Client) disbelieved(err error, p *provider, keys *seen) error {
	var expired *gooidc.TokenExpiredError
	var said struct {
		Issuer   string          `json:"iss"`
		Audience json.RawMessage `json:"aud"`
	}
	switch {
	case keys.err != nil && fail.KindOf(keys.err) != fail.Internal:
		return silent(keys.err, "OIDC provider's keys could not be read")
	case keys.payload == nil:
		return fail.E(fail.Unauthenticated, err, "the ID token is not signed by the OIDC provider").
			Hint("let the provider sign with a key that it publishes at its jwks_uri: RS256 or ES256, never HS256 or none")
	case errors.As(err, &expired):
		return fail.E(fail.Unauthenticated, err, "the ID token is over").Hint("keep the clocks of this machine and of the provider with NTP, then log in again")
	case json.Unmarshal(keys.payload, &said) != nil:
		return fail.E(fail.Unauthenticated, err, "the ID token can't be read").Hint("look at the provider's mappings of claims: iss and sub must be texts, exp a number")
	case said.Issuer != p.said.Issuer:
		return fail.E(fail.Unauthenticated, err, "the ID token is another provider's").Hint("correct %s: the token's issuer is %.200q", endpointKey, said.Issuer)
	case !strings.Contains(string(said.Audience), `"`+c.ClientID+`"`):
		return fail.E(fail.Unauthenticated, err, "the ID token is for another client").Hint("correct %s, or the client's audience at the provider", clientKeys)
	}
	return fail.E(fail.Unauthenticated, err, "the ID token can't be believed").Hint("look at the clocks of this machine and of the provider, and at the provider's mappings of claims")
}

// subject answers Person.Subject. The issuer has no blank, so that no two can be taken for each other.
func (p *provider) subject(sub string) (string, error) {
	unfit := func(s string, most int) bool {
		return s == "" || len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar })
	}
	if unfit(p.said.Issuer, maxIssuer) || strings.Contains(p.said.Issuer, " ") || unfit(sub, maxSubject) {
		return "", fail.E(fail.Unauthenticated, nil, "OIDC provider's subject %.300q of issuer %.300q", sub, p.said.Issuer).
			Hint("let the provider give subjects of at most %d letters and digits", maxSubject)
	}
	return p.said.Issuer + " " + sub, nil
}
