package access

import (
	"context"
	"errors"
	"fmt"
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
	skew        = time.Minute
	kindAccess  = "access"
	kindRefresh = "refresh"
	// maxToken is the longest token that is looked at, in bytes; headers have their own limit.
	maxToken = 64 << 10
)

// payload is a token's inside.
type payload struct {
	jwt.RegisteredClaims
	Kind   string  `json:"typ"`
	Admin  bool    `json:"adm,omitempty"`
	Access []Scope `json:"access,omitempty"`
	User   int64   `json:"usr,omitempty"` // the version of the user or the robot that logged in
	ID     int64   `json:"uid,omitempty"` // the user's number
	Robot  int64   `json:"rob,omitempty"` // the robot's number
}

// tokens signs and verifies.
type tokens struct {
	keys    *keys
	memory  *tokenMemory
	service string
	clock   func() time.Time
	parser  *jwt.Parser
}

func openTokens(ctx context.Context, c Config) (*tokens, error) {
	k, err := openKeys(ctx, c)
	if err != nil {
		return nil, err
	}
	// Times are checked apart, by valid. A signature has one spelling only, so that the memory of tokens can't be filled with spellings of one.
	parser := jwt.NewParser(jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithoutClaimsValidation(), jwt.WithStrictDecoding())
	memory := newTokenMemory(c.Clock)
	k.lost = memory.forget
	return &tokens{keys: k, memory: memory, service: c.Service, clock: c.Clock, parser: parser}, nil
}

func (t *tokens) sign(p payload) (string, error) {
	kid, key := t.keys.signing()
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, p)
	token.Header["kid"] = kid
	return token.SignedString(key)
}

// parse checks signature, kind, issuer, audience and times. late is how much later than its end a token still counts.
func (t *tokens) parse(ctx context.Context, raw, kind string, late time.Duration) (*payload, error) {
	if len(raw) > maxToken {
		return nil, invalidToken(nil)
	}
	var p payload
	var keyErr error
	_, err := t.parser.ParseWithClaims(raw, &p, func(token *jwt.Token) (any, error) {
		kid, ok := token.Header["kid"].(string)
		if !ok {
			return nil, errors.New("no kid")
		}
		key, cause := t.keys.verifying(ctx, kid)
		keyErr = cause
		return key, cause
	})
	switch {
	case keyErr != nil && !fail.Is(keyErr, fail.Unauthenticated):
		return nil, fmt.Errorf("find the token's key: %w", keyErr) // the token may be right
	case err != nil:
		return nil, invalidToken(err)
	case p.Kind != kind:
		return nil, invalidToken(fmt.Errorf("token of kind %q", p.Kind))
	}
	if err = t.valid(&p, late); err != nil {
		return nil, invalidToken(err)
	}
	return &p, nil
}

// valid checks what a token says of itself, as of now, or, if it ended no longer than late ago, as of its end.
func (t *tokens) valid(p *payload, late time.Duration) error {
	if p.ExpiresAt == nil || p.IssuedAt == nil {
		return errors.New("a token without its times")
	}
	at := t.clock()
	if late > 0 && at.After(p.ExpiresAt.Time) && at.Before(p.ExpiresAt.Add(late)) {
		at = p.ExpiresAt.Time
	}
	return jwt.NewValidator(jwt.WithIssuer(issuer), jwt.WithAudience(t.service), jwt.WithIssuedAt(), jwt.WithExpirationRequired(), jwt.WithLeeway(skew),
		jwt.WithTimeFunc(func() time.Time { return at })).Validate(p)
}

func invalidToken(cause error) error {
	return fail.E(fail.Unauthenticated, cause, "invalid token").Code(oci.CodeUnauthorized).Hint("ask the token service for a new one")
}

// Issue makes an access token that holds what was granted.
func (a *Access) Issue(_ context.Context, who Identity, service string, granted []Scope) (Token, error) {
	now, life := a.Clock(), a.tokenLife()
	raw, err := a.tokens.sign(a.payload(who, service, kindAccess, now, life, granted))
	if err != nil {
		return Token{}, fail.E(fail.Internal, err, "sign a token")
	}
	return Token{Raw: raw, ExpiresIn: life, IssuedAt: now}, nil
}

// IssueRefresh makes a refresh token for somebody whom Authenticate answered, "" for one who logged in by a secret: clients keep that as well as they would keep the token, and it
// can be taken back by itself. The token is good for access tokens only: until it ends, or the user is disabled or changes the password, also if that happened after the login
// and before this.
func (a *Access) IssueRefresh(_ context.Context, who Identity, service string) (string, error) {
	if !who.renewable {
		return "", nil
	}
	raw, err := a.tokens.sign(a.payload(who, service, kindRefresh, a.Clock(), a.RefreshTTL, nil))
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
		Kind: kind, Admin: who.Admin, Access: granted, User: who.version, ID: who.User, Robot: who.Robot,
	}
}

// Refresh answers whose refresh token this is, as they are now.
func (a *Access) Refresh(ctx context.Context, raw string) (Identity, error) {
	p, err := a.tokens.parse(ctx, raw, kindRefresh, 0)
	if err != nil {
		return Identity{}, err
	}
	u, err := a.enabled(ctx, p)
	if err != nil {
		return Identity{}, err
	}
	who := u.identity()
	if p.User != who.version { // not compared by time: clocks differ, and a token's times are whole seconds
		return Identity{}, invalidToken(errors.New("the user was changed since"))
	}
	return who, nil
}

// enabled answers the user of a token, who may be called otherwise by now. Earlier versions did not tell his number.
func (a *Access) enabled(ctx context.Context, p *payload) (u user, err error) {
	if p.ID != 0 {
		u, err = findUserByID(ctx, a.DB, p.ID)
	} else {
		u, err = findUser(ctx, a.DB, p.Subject)
	}
	if fail.Is(err, fail.NotFound) {
		return u, invalidToken(errors.New("no such user"))
	}
	if err != nil {
		return u, fmt.Errorf("find user: %w", err)
	}
	if u.out() {
		return u, invalidToken(errors.New("the user is disabled, or the directory does not know him any more"))
	}
	return u, nil
}

// Verify answers what an access token says, or Unauthenticated.
func (a *Access) Verify(ctx context.Context, raw string) (Claims, error) {
	c := a.tokens.memory.recall(raw)
	if c == nil {
		before := a.tokens.memory.count()
		p, err := a.tokens.parse(ctx, raw, kindAccess, 0)
		if err != nil {
			return Claims{}, err
		}
		fresh := p.claims()
		c = &fresh
		a.tokens.memory.remember(raw, c, before)
	}
	if err := a.allowed(c); err != nil {
		return Claims{}, err
	}
	return *c, nil
}

// allowed refuses what was withdrawn.
func (a *Access) allowed(c *Claims) error {
	if a.revoked.holds(c.Identity) {
		return invalidToken(errors.New("it was revoked"))
	}
	return nil
}

// VerifyForUpload is Verify, but a token that ended no longer than Config.UploadTime ago is answered too, as Expired, unless its user or robot is disabled. Whether the upload
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
	if p.Robot != 0 {
		err = a.enabledRobot(ctx, p.Robot)
	} else {
		_, err = a.enabled(ctx, p)
	}
	if err != nil {
		return Claims{}, err
	}
	c = p.claims()
	c.Expired = true
	if err = a.allowed(&c); err != nil {
		return Claims{}, err
	}
	return c, nil
}

func (p *payload) claims() Claims {
	c := Claims{Identity: Identity{Subject: p.Subject, Admin: p.Admin, User: p.ID, Robot: p.Robot, version: p.User}, Granted: p.Access, ID: p.RegisteredClaims.ID, ExpiresAt: p.ExpiresAt.Time}
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
