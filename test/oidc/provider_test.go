package oidc

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	jose "github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	zitadel "github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	clientID = "havn"
	secret   = "a secret: with + and /"
	user     = "test-user@127.0.0.1" // of the library's example
	password = "verysecure"
	userID   = "id1"
)

// provider is zitadel's library with its example of a store, to which groups, leavers, new keys and a page after the logout were added.
type provider struct {
	*storage.Storage
	*httptest.Server
	afterLogout string

	mu      sync.Mutex
	groups  []string
	inToken bool                        // groups are in the ID token too
	gone    bool                        // nobody's login is refreshed any more
	tamper  func(claims map[string]any) // of ID tokens, which are signed well all the same
	key     *rsa.PrivateKey
	kid     string
}

// startProvider starts a provider that sends browsers back to an address, and after a logout to another.
func startProvider(t *testing.T, callback, afterLogout string) *provider {
	t.Helper()
	p := &provider{afterLogout: afterLogout, groups: []string{"team-a", "admins"}}
	p.rotate(t, "first")
	var handler http.Handler
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	p.StartTLS()
	t.Cleanup(p.Close)
	client := storage.WebClient(clientID, secret, callback)
	p.Storage = storage.NewStorageWithClients(storage.NewUserStore(p.URL), map[string]*storage.Client{clientID: client})
	server := exampleop.SetupServer(p.URL, p, slog.New(slog.DiscardHandler), false)
	handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		tamper := p.tamper
		p.mu.Unlock()
		if tamper == nil || r.URL.Path != "/oauth/token" {
			server.ServeHTTP(w, r)
			return
		}
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, r)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answer.Code)
		if _, err := w.Write(p.tampered(t, answer.Body.Bytes(), tamper)); err != nil {
			t.Error(err)
		}
	})
	return p
}

// tampered answers an answer of the token endpoint with other claims in its ID token.
func (p *provider) tampered(t *testing.T, answer []byte, tamper func(map[string]any)) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	all, claims := map[string]any{}, map[string]any{}
	err := json.Unmarshal(answer, &all)
	token, told := all["id_token"].(string)
	if parts := strings.Split(token, "."); err == nil && told && len(parts) == 3 {
		var payload []byte
		if payload, err = base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			err = json.Unmarshal(payload, &claims)
		}
		tamper(claims)
		var signer jose.Signer
		if err == nil {
			signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: p.key, KeyID: p.kid}}, nil)
		}
		if err == nil {
			payload, err = json.Marshal(claims)
		}
		var signed *jose.JSONWebSignature
		if err == nil {
			signed, err = signer.Sign(payload)
		}
		if err == nil {
			all["id_token"], err = signed.CompactSerialize()
		}
	}
	if err == nil {
		answer, err = json.Marshal(all)
	}
	if err != nil {
		t.Errorf("%v in %s", err, answer)
	}
	return answer
}

// ca is the authority of the provider's certificate, in PEM.
func (p *provider) ca() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}))
}

func (p *provider) rotate(t *testing.T, kid string) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	p.set(func() { p.key, p.kid = key, kid })
}

// set changes what the provider says from now on.
func (p *provider) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// SetUserinfoFromRequest is asked for what goes into an ID token.
func (p *provider) SetUserinfoFromRequest(ctx context.Context, info *zitadel.UserInfo, r op.IDTokenRequest, scopes []string) error {
	err := p.Storage.SetUserinfoFromRequest(ctx, info, r, scopes)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inToken {
		info.AppendClaims("groups", slices.Clone(p.groups))
	}
	return err
}

// SetUserinfoFromToken is asked for what the userinfo endpoint answers.
func (p *provider) SetUserinfoFromToken(ctx context.Context, info *zitadel.UserInfo, tokenID, subject, origin string) error {
	err := p.Storage.SetUserinfoFromToken(ctx, info, tokenID, subject, origin)
	p.mu.Lock()
	defer p.mu.Unlock()
	info.AppendClaims("groups", slices.Clone(p.groups))
	return err
}

// TokenRequestByRefreshToken is asked whose login a refresh token is of.
func (p *provider) TokenRequestByRefreshToken(ctx context.Context, token string) (op.RefreshTokenRequest, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.gone {
		return nil, errors.New("nobody works here any more")
	}
	return p.Storage.TokenRequestByRefreshToken(ctx, token)
}

// GetClientByClientID answers the example's client, with a page after the logout.
func (p *provider) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := p.Storage.GetClientByClientID(ctx, id)
	if err != nil {
		return nil, err
	}
	return leaving{c, p.afterLogout}, nil
}

type leaving struct {
	op.Client
	to string
}

func (l leaving) PostLogoutRedirectURIs() []string { return []string{l.to} }

// SigningKey answers the key that signs now, which alone is published.
func (p *provider) SigningKey(context.Context) (op.SigningKey, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return signing{p.kid, p.key}, nil
}

// KeySet answers what is published.
func (p *provider) KeySet(context.Context) ([]op.Key, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return []op.Key{published{signing{p.kid, p.key}}}, nil
}

type signing struct {
	kid string
	key *rsa.PrivateKey
}

func (s signing) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (s signing) Key() any                                    { return s.key }
func (s signing) ID() string                                  { return s.kid }

type published struct{ signing }

func (p published) Algorithm() jose.SignatureAlgorithm { return jose.RS256 }
func (p published) Use() string                        { return "sig" }
func (p published) Key() any                           { return &p.key.PublicKey }
