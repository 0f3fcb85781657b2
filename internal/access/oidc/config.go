package oidc

import (
	"context"
	"crypto/x509"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"

	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
)

const (
	// patience bounds one exchange with the provider: somebody waits before a browser.
	patience = 10 * time.Second
	// maxAnswer bounds what a provider answers. Thousands of groups with long names fit.
	maxAnswer = 1 << 20

	// endpointKey and the others are the settings' names, for hints.
	endpointKey = "oidc_endpoint"
	clientKeys  = "oidc_client_id and oidc_client_secret"
	scopeKey    = "oidc_scope"
	caKey       = "outbound.ca_file"
)

// DefaultScopes answers what is asked for where Config.Scopes is empty. offline_access asks for a refresh token; a provider that lists its scopes without it is not asked for it.
func DefaultScopes() []string {
	return []string{gooidc.ScopeOpenID, gooidc.ScopeProfile, gooidc.ScopeEmail, gooidc.ScopeOfflineAccess}
}

// Config says which provider is asked, and what is taken from its answers.
type Config struct {
	Endpoint     string // the provider's issuer, below which it has /.well-known/openid-configuration
	ClientID     string
	ClientSecret string // "": a public client, which PKCE alone protects
	RedirectURL  string // of the callback here, as the provider knows it
	AfterLogout  string // where the provider sends people after a logout, as it knows it; "": nowhere
	Scopes       []string
	// Extra are more parameters of the redirect to the provider (prompt, hd, domain_hint …). Those of the protocol can't be set.
	Extra map[string]string

	// NameClaim is the claim that proposes a user's name. "": preferred_username, or else name.
	NameClaim   string
	GroupsClaim string // a list of names, or one name; "": nobody has groups
	AdminGroup  string // whose members are administrators, whatever GroupFilter says; "": none
	GroupFilter string // a regular expression that a group's name must contain a match of; "": all groups
	AutoOnboard bool   // whoever comes first is not asked for a name: see Login.Ask

	CA         string         // PEM: authorities to trust for the provider, beside Roots
	SkipVerify bool           // any certificate will do, and http:// too
	Roots      *x509.CertPool // nil: the system's
	Allow      []netip.Prefix // networks that may be reached though they are not public
	Proxy      *url.URL       // nil: none
	NoProxy    []string       // what is reached without Proxy: see egress.Config

	Seal  *seal.Seal
	Clock func() time.Time // nil: the system's
	Log   *slog.Logger     // nil: discarded
}

// Client is Havn as one provider's relying party. It is safe for concurrent use.
type Client struct {
	Config
	http   *http.Client
	filter *regexp.Regexp // nil: all groups
	spent  spent

	flight singleflight.Group
	mu     sync.Mutex
	known  *provider // nil: not found yet
	failed error     // why it was not found at the last try
	next   time.Time // when it is looked for again
}

// New checks a configuration; it does not ask the provider. Errors are Invalid.
func New(c Config) (*Client, error) {
	if c.ClientID == "" {
		return nil, fail.E(fail.Invalid, nil, "OIDC without a client").Hint("register Havn at the provider, and name the client in " + clientKeys)
	}
	for _, address := range []string{c.RedirectURL, c.AfterLogout} {
		u, err := url.Parse(address)
		if address != c.RedirectURL && address == "" {
			continue
		}
		if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Fragment != "" {
			return nil, fail.E(fail.Invalid, err, "address of this registry for the provider: %.200q", address).Hint("use the address that people's browsers use, with https:// and the path")
		}
	}
	if len(c.Scopes) == 0 {
		c.Scopes = DefaultScopes()
	}
	if !slices.Contains(c.Scopes, gooidc.ScopeOpenID) {
		return nil, fail.E(fail.Invalid, nil, "OIDC scopes %.200q without openid", c.Scopes).Hint("add openid to " + scopeKey)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Extra)) {
		if slices.Contains(ours(), name) {
			return nil, fail.E(fail.Invalid, nil, "parameter %.100q of the redirect to the provider", name).Hint("leave it out of oidc_extra_redirect_parms: Havn sets it itself")
		}
	}
	client, err := reach(c)
	if err != nil || c.GroupFilter == "" {
		return client, err
	}
	if client.filter, err = regexp.Compile(c.GroupFilter); err != nil {
		return nil, fail.E(fail.Invalid, err, "oidc_group_filter").Hint("use a regular expression such as ^team-, or nothing")
	}
	return client, nil
}

// ours are the parameters of an authorization request that nobody else may set: they bind the answer to the browser, or say where it goes.
func ours() []string {
	return []string{
		"client_id", "client_secret", "code_challenge", "code_challenge_method", "nonce", "redirect_uri", "request", "request_uri", "response_mode", "response_type",
		"scope", "state",
	}
}

// reach makes a client of what says how to reach the provider.
func reach(c Config) (*Client, error) {
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the clock of the package where no other is given
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := isAddress(c.Endpoint, c.SkipVerify); err != nil {
		return nil, fail.E(fail.Invalid, err, "address of the OIDC provider: %.200q", c.Endpoint).
			Hint("give in %s the address below which it has /.well-known/openid-configuration, with https:// (with http:// only where oidc_verify_cert is off)", endpointKey)
	}
	roots, err := authorities(c)
	if err != nil {
		return nil, err
	}
	client, err := egress.NewClient(egress.Config{
		Timeout: patience, MaxResponseBytes: maxAnswer, Allow: c.Allow, Proxy: c.Proxy, NoProxy: c.NoProxy, Roots: roots, SkipVerify: c.SkipVerify,
	})
	if err != nil {
		return nil, err
	}
	client.Transport = answers{client.Transport}
	follow := client.CheckRedirect
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if via[0].Method == http.MethodPost { // its body has the client's secret, and a code or a refresh token
			return fail.E(fail.Invalid, nil, "the token endpoint redirects to %s", r.URL.Host).Hint("let the provider name the address itself in its discovery document")
		}
		return follow(r, via)
	}
	return &Client{Config: c, http: client, spent: spent{until: map[string]time.Time{}}}, nil
}

func authorities(c Config) (*x509.CertPool, error) {
	if c.CA == "" {
		return c.Roots, nil
	}
	roots := c.Roots
	if roots == nil {
		system, err := x509.SystemCertPool()
		if err != nil {
			return nil, fail.E(fail.Internal, err, "the system's authorities")
		}
		roots = system
	}
	roots = roots.Clone()
	if !roots.AppendCertsFromPEM([]byte(c.CA)) {
		return nil, fail.E(fail.Invalid, nil, "the OIDC provider's authorities: no certificate").Hint("give the authorities' certificates in PEM form: -----BEGIN CERTIFICATE-----")
	}
	return roots, nil
}

// asking makes a context by which the libraries use our client.
func (c *Client) asking(ctx context.Context) context.Context {
	return gooidc.ClientContext(ctx, c.http)
}

// silent is the error of a provider that could not be asked.
func silent(err error, format string, args ...any) error {
	e := fail.E(fail.Unavailable, err, format, args...)
	if hint := egress.Hint(err, endpointKey, caKey); hint != "" {
		return e.Hint("%s", hint)
	}
	if fail.HintOf(err) != "" {
		return e
	}
	return e.Hint("look at %s and at the provider's log", endpointKey)
}

// answers makes errors of answers that are none: the libraries would make texts of them.
type answers struct{ next http.RoundTripper }

// RoundTrip answers what the provider does, or Unavailable with the status as its detail. What OAuth calls an error is an answer.
func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := a.next.RoundTrip(r)
	if err != nil || answer.StatusCode < http.StatusBadRequest {
		return answer, err
	}
	busy := answer.StatusCode >= http.StatusInternalServerError || answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusRequestTimeout
	if r.Method == http.MethodPost && !busy {
		return answer, nil
	}
	e := fail.E(fail.Unavailable, answer.Body.Close(), "%s answers %d at %s", r.URL.Host, answer.StatusCode, r.URL.Path).Detail(answer.StatusCode)
	if busy {
		return nil, e.Hint("the provider does not keep up, or fails: look at its log and its health")
	}
	return nil, e
}
