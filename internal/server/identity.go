package server

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/access/oidc"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/egress"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/harborapi"
	"github.com/havn-registry/havn/internal/seal"
)

// identity is the identity provider that administrators name at the moment, or none.
type identity struct {
	home     string // what browsers call this registry; "": it is not known
	roots    *x509.CertPool
	outbound config.Outbound
	seal     *seal.Seal
	log      *slog.Logger
	clock    func() time.Time
	now      atomic.Pointer[named]
	is       config.OIDC
	used     bool
}

// named is a provider that settings name. One of both is nil.
type named struct {
	client *oidc.Client
	err    error
}

// home answers what browsers call the registry: http.public_url, or an address that this machine alone reaches, for a trial.
func (s *Server) home() string {
	if s.cfg.HTTP.PublicURL != nil {
		return strings.TrimSuffix(s.cfg.HTTP.PublicURL.String(), "/")
	}
	for _, l := range s.listeners {
		if addr := l.Addr().String(); isLoopback(addr) {
			scheme := "http://"
			if s.cert != nil {
				scheme = "https://"
			}
			return scheme + addr
		}
	}
	return ""
}

// follow takes the provider that settings name, if they name another one than before. Calls of it do not overlap. The provider is asked what it is at the first login.
func (i *identity) follow(l *config.Live) {
	used := l.AuthMode == config.AuthOIDC
	if used == i.used && l.OIDC == i.is {
		return
	}
	i.used, i.is = used, l.OIDC
	if !used {
		i.now.Store(nil)
		return
	}
	var next named
	c, err := i.config(l.OIDC)
	if err == nil {
		next.client, err = oidc.New(c)
	}
	if err != nil {
		next = named{err: err}
		i.log.Error("the identity provider of the settings can't be used; nobody of it can log in", "error", err, "hint", fail.HintOf(err))
	}
	i.now.Store(&next)
}

// config answers settings as the client's own.
func (i *identity) config(o config.OIDC) (oidc.Config, error) {
	if i.home == "" {
		return oidc.Config{}, fail.E(fail.Invalid, nil, "the identity provider can't be told where to send browsers back").Hint("set http.public_url to the address at which browsers reach the registry")
	}
	c := i.reach(o.Endpoint, o.VerifyCert)
	c.ClientID, c.ClientSecret, c.RedirectURL, c.AfterLogout = o.ClientID, o.ClientSecret.Reveal(), i.home+harborapi.Callback, i.home+"/"
	for scope := range strings.SplitSeq(o.Scope, ",") {
		c.Scopes = append(c.Scopes, strings.TrimSpace(scope))
	}
	if o.ExtraRedirectParms != "" {
		if err := json.Unmarshal([]byte(o.ExtraRedirectParms), &c.Extra); err != nil {
			return oidc.Config{}, fail.E(fail.Invalid, err, "oidc_extra_redirect_parms").Hint(`use a JSON object of texts, like {"prompt": "login"}`)
		}
	}
	c.NameClaim, c.GroupsClaim, c.AdminGroup, c.GroupFilter, c.AutoOnboard = o.UserClaim, o.GroupsClaim, o.AdminGroup, o.GroupFilter, o.AutoOnboard
	return c, nil
}

// reach says how a provider is reached. It may be anywhere, as a directory may: a company's own is inside, and only system administrators name it.
func (i *identity) reach(endpoint string, verify bool) oidc.Config {
	return oidc.Config{
		Endpoint: endpoint, SkipVerify: !verify, Roots: i.roots, Allow: egress.Anywhere(), Proxy: i.outbound.Proxy, NoProxy: i.outbound.NoProxy,
		Seal: i.seal, Clock: i.clock, Log: i.log,
	}
}

// usable answers why a provider that settings would name can't be used, nil if it can, or none is named. Nobody is asked: it may be away.
func (i *identity) usable(l *config.Live) error {
	if l.AuthMode != config.AuthOIDC {
		return nil
	}
	c, err := i.config(l.OIDC)
	if err == nil {
		_, err = oidc.New(c)
	}
	return err
}

// client answers the provider of the moment: Conflict if there is none, Invalid if it can't be used.
func (i *identity) client() (*oidc.Client, error) {
	now := i.now.Load()
	if now == nil {
		return nil, fail.E(fail.Conflict, nil, "no identity provider is used").Hint("an administrator can set auth_mode to oidc_auth, oidc_endpoint and oidc_client_id")
	}
	return now.client, now.err
}

// provider is client for logins.
func (i *identity) provider() (harborapi.Identity, error) {
	client, err := i.client()
	if err != nil {
		return nil, err
	}
	return client, nil
}

// ping tries to reach a provider.
func (i *identity) ping(ctx context.Context, endpoint string, verify bool) error {
	return oidc.Ping(ctx, i.reach(endpoint, verify))
}

// renewer answers the provider if people are asked for again there.
func (i *identity) renewer() access.Renewer {
	client, err := i.client()
	if err != nil || !client.Refreshes() {
		return nil
	}
	return renewal{client}
}

// renewal asks a provider for somebody again, without a login.
type renewal struct{ *oidc.Client }

// Renew is for access.
func (r renewal) Renew(ctx context.Context, subject, token string) (access.Person, string, error) {
	who, tokens, err := r.Refresh(ctx, subject, token)
	return who, tokens.Refresh, err
}
