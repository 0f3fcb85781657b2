package access

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/oci"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Token is an access token with what a client is told of it.
type Token struct {
	Raw       string
	ExpiresIn time.Duration
	IssuedAt  time.Time
}

// Claims is what a token that was verified says.
type Claims struct {
	Identity  Identity
	Granted   []Scope
	ID        string
	ExpiresAt time.Time
	Expired   bool // only from VerifyForUpload

	repositories []grant
	catalog      bool
}

type grant struct {
	name    oci.Name
	actions []string
}

// Allows reports whether the token holds an action on a repository.
func (c *Claims) Allows(name oci.Name, action string) bool {
	for _, g := range c.repositories {
		if g.name != name {
			continue
		}
		for _, a := range g.actions {
			if a == action || a == anyAction {
				return true
			}
		}
	}
	return false
}

// AllowsCatalog reports whether the token holds the catalogue.
func (c *Claims) AllowsCatalog() bool { return c.catalog }

const (
	issuer = "havn"
	// skew is how far the clocks of two nodes may be apart.
	skew       = time.Minute
	keyBytes   = 32
	kidBytes   = 8
	kindAccess = "access"
	kindFresh  = "refresh"
	// verifiedTokens bounds the tokens whose verification is remembered; beyond it the table begins anew.
	verifiedTokens = 8192
	// tokenMemory is how long a verification is remembered. A token says the same for all its life; a key that is withdrawn is good for this much longer.
	tokenMemory = 30 * time.Second
	// maxToken is the longest token that is looked at, in bytes; headers have their own limit.
	maxToken = 64 << 10
)

// payload is a token's inside.
type payload struct {
	jwt.RegisteredClaims
	Kind   string  `json:"typ"`
	Admin  bool    `json:"adm,omitempty"`
	Access []Scope `json:"access,omitempty"`
}

// tokens signs and verifies with the cluster's keys, which are in the database: "token_key" names the one that signs, "token_key:ID" holds each.
type tokens struct {
	db    *sqldb.DB
	clock func() time.Time

	mu      sync.RWMutex
	kid     string
	keys    map[string][]byte
	looked  time.Time // when an unknown key was looked for last
	claimed map[string]remembered
}

type remembered struct {
	claims *Claims
	until  time.Time
}

func openTokens(ctx context.Context, c Config) (*tokens, error) {
	t := &tokens{db: c.DB, clock: c.Clock, keys: map[string][]byte{}, claimed: map[string]remembered{}}
	var b [kidBytes + keyBytes]byte
	rand.Read(b[:])
	kid, key := hex.EncodeToString(b[:kidBytes]), hex.EncodeToString(b[kidBytes:])
	current := ""
	err := c.DB.Row(ctx, "SELECT v FROM meta WHERE k = 'token_key'").Scan(&current)
	if fail.Is(err, fail.NotFound) {
		err = c.DB.Tx(ctx, "token.key", func(tx *sqldb.Tx) error {
			if _, cause := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, "token_key:"+kid, key); cause != nil {
				return cause
			}
			_, cause := tx.InsertIgnore(ctx, "meta", []string{"k", "v"}, "token_key", kid)
			return cause
		})
	}
	if err != nil {
		return nil, err
	}
	return t, t.load(ctx)
}

// load reads the keys that there are.
func (t *tokens) load(ctx context.Context) error {
	var current string
	if err := t.db.Row(ctx, "SELECT v FROM meta WHERE k = 'token_key'").Scan(&current); err != nil {
		return err
	}
	keys := map[string][]byte{}
	for row, err := range t.db.Rows(ctx, "SELECT k, v FROM meta WHERE k > 'token_key:' AND k < 'token_key;' ORDER BY k LIMIT 100") {
		if err != nil {
			return err
		}
		var name, value string
		if err = row.Scan(&name, &value); err != nil {
			return err
		}
		key, cause := hex.DecodeString(value)
		if cause != nil || len(key) != keyBytes {
			return fail.E(fail.Internal, cause, "stored token key %s", name)
		}
		keys[name[len("token_key:"):]] = key
	}
	if keys[current] == nil {
		return fail.E(fail.Internal, nil, "token key %s is named and not there", current)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kid, t.keys = current, keys
	return nil
}

// key answers the key with this id. One that is not known may be another node's new one: the database is asked, at most once a second.
func (t *tokens) key(ctx context.Context, kid string) ([]byte, error) {
	t.mu.RLock()
	key := t.keys[kid]
	stale := t.clock().Sub(t.looked) > time.Second
	t.mu.RUnlock()
	if key != nil {
		return key, nil
	}
	if stale {
		t.mu.Lock()
		t.looked = t.clock()
		t.mu.Unlock()
		if err := t.load(ctx); err != nil {
			return nil, err
		}
		t.mu.RLock()
		key = t.keys[kid]
		t.mu.RUnlock()
	}
	if key == nil {
		return nil, invalidToken(nil)
	}
	return key, nil
}

func invalidToken(cause error) error {
	return fail.E(fail.Unauthenticated, cause, "invalid token").Code(oci.CodeUnauthorized).Hint("ask the token service for a new one")
}

func (t *tokens) sign(p payload) (string, error) {
	t.mu.RLock()
	kid, key := t.kid, t.keys[t.kid]
	t.mu.RUnlock()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, p)
	token.Header["kid"] = kid
	return token.SignedString(key)
}

// parse checks signature, kind, issuer and times. late is how much later than its end a token still counts.
func (t *tokens) parse(ctx context.Context, raw, kind string, late time.Duration) (*payload, error) {
	if len(raw) > maxToken {
		return nil, invalidToken(nil)
	}
	var p payload
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithIssuer(issuer), jwt.WithExpirationRequired(),
		jwt.WithLeeway(skew), jwt.WithTimeFunc(t.clock))
	_, err := parser.ParseWithClaims(raw, &p, func(token *jwt.Token) (any, error) {
		kid, ok := token.Header["kid"].(string)
		if !ok {
			return nil, errors.New("no kid")
		}
		return t.key(ctx, kid)
	})
	if errors.Is(err, jwt.ErrTokenExpired) && !errors.Is(err, jwt.ErrTokenSignatureInvalid) && late > 0 && t.clock().Before(p.ExpiresAt.Add(late)) &&
		p.Issuer == issuer && !p.NotBefore.After(t.clock().Add(skew)) {
		err = nil
	}
	switch {
	case fail.Is(err, fail.Unavailable):
		return nil, err
	case err != nil:
		return nil, invalidToken(err)
	case p.Kind != kind:
		return nil, invalidToken(fmt.Errorf("token of kind %q", p.Kind))
	}
	return &p, nil
}

// Issue makes an access token that holds what was granted.
func (a *Access) Issue(_ context.Context, who Identity, service string, granted []Scope) (Token, error) {
	now := a.Clock()
	raw, err := a.tokens.sign(a.payload(who, service, kindAccess, now, a.TokenTTL, granted))
	if err != nil {
		return Token{}, fail.E(fail.Internal, err, "sign a token")
	}
	return Token{Raw: raw, ExpiresIn: a.TokenTTL, IssuedAt: now}, nil
}

// IssueRefresh makes a refresh token, which is good for access tokens only: until it ends, or the user is disabled or changes the password.
func (a *Access) IssueRefresh(_ context.Context, who Identity, service string) (string, error) {
	raw, err := a.tokens.sign(a.payload(who, service, kindFresh, a.Clock(), a.RefreshTTL, nil))
	if err != nil {
		return "", fail.E(fail.Internal, err, "sign a token")
	}
	return raw, nil
}

func (a *Access) payload(who Identity, service, kind string, now time.Time, life time.Duration, granted []Scope) payload {
	return payload{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: who.Subject, Audience: jwt.ClaimStrings{service}, ID: sqldb.NewToken(),
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
		},
		Kind: kind, Admin: who.Admin, Access: granted,
	}
}

// Refresh answers whose refresh token this is, as they are now.
func (a *Access) Refresh(ctx context.Context, raw string) (Identity, error) {
	p, err := a.tokens.parse(ctx, raw, kindFresh, 0)
	if err != nil {
		return Identity{}, err
	}
	u, err := a.enabled(ctx, p.Subject)
	if err != nil {
		return Identity{}, err
	}
	if u.changed.After(p.IssuedAt.Add(time.Second)) { // a token's times are whole seconds
		return Identity{}, invalidToken(errors.New("the user was changed since"))
	}
	return Identity{Subject: u.name, Admin: u.admin}, nil
}

func (a *Access) enabled(ctx context.Context, name string) (user, error) {
	u, err := findUser(ctx, a.DB, name)
	if fail.Is(err, fail.NotFound) {
		return u, invalidToken(errors.New("no such user"))
	}
	if err != nil {
		return u, fmt.Errorf("find user: %w", err)
	}
	if u.disabled {
		return u, invalidToken(errors.New("the user is disabled"))
	}
	return u, nil
}

// Verify answers what an access token says, or Unauthenticated.
func (a *Access) Verify(ctx context.Context, raw string) (Claims, error) {
	if c := a.tokens.recall(raw); c != nil {
		return *c, nil
	}
	p, err := a.tokens.parse(ctx, raw, kindAccess, 0)
	if err != nil {
		return Claims{}, err
	}
	c := p.claims()
	a.tokens.remember(raw, &c)
	return c, nil
}

// VerifyForUpload is Verify, but a token that ended no longer than Config.UploadTime ago is answered too, as Expired, unless its user is disabled. Whether the upload
// is the token's subject's is for the caller to see.
func (a *Access) VerifyForUpload(ctx context.Context, raw string) (Claims, error) {
	c, err := a.Verify(ctx, raw)
	if err == nil || !fail.Is(err, fail.Unauthenticated) {
		return c, err
	}
	p, lateErr := a.tokens.parse(ctx, raw, kindAccess, a.UploadTime)
	if lateErr != nil {
		return Claims{}, err
	}
	if _, err = a.enabled(ctx, p.Subject); err != nil {
		return Claims{}, err
	}
	c = p.claims()
	c.Expired = true
	return c, nil
}

func (p *payload) claims() Claims {
	c := Claims{Identity: Identity{Subject: p.Subject, Admin: p.Admin}, Granted: p.Access, ID: p.ID, ExpiresAt: p.ExpiresAt.Time}
	for _, s := range p.Access {
		switch {
		case s.Type == typeRegistry && s.Name == nameCatalog:
			c.catalog = true
		case s.Type == typeRepository:
			if name, err := oci.ParseName(s.Name); err == nil {
				c.repositories = append(c.repositories, grant{name, s.Actions})
			}
		}
	}
	return c
}

func (t *tokens) recall(raw string) *Claims {
	t.mu.RLock()
	defer t.mu.RUnlock()
	r, ok := t.claimed[raw]
	if !ok || !t.clock().Before(r.until) {
		return nil
	}
	return r.claims
}

func (t *tokens) remember(raw string, c *Claims) {
	until := t.clock().Add(tokenMemory)
	if end := c.ExpiresAt.Add(skew); end.Before(until) {
		until = end
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.claimed) >= verifiedTokens {
		clear(t.claimed)
	}
	t.claimed[raw] = remembered{c, until}
}
