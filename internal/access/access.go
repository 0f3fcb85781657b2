package access

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

// Defaults of Config.
const (
	DefaultService    = "harbor-registry"
	DefaultRefreshTTL = 30 * 24 * time.Hour
	DefaultUploadTime = 24 * time.Hour
)

// Admin is the name of the administrator that is made at the first start.
const Admin = "admin"

// Config says what an Access works on and how.
type Config struct {
	DB      *sqldb.DB
	Log     *slog.Logger          // nil: discarded
	Clock   func() time.Time      // nil: the system's
	Metrics prometheus.Registerer // nil: none

	// AdminPassword is what the administrator gets at the first start; "" makes one. Later starts take no notice of it.
	AdminPassword string
	// Announce is told the password that New makes, before it counts: whatever crashes in between, the operator has it. Of several nodes that start at once, one
	// announces. nil: see FirstStart.
	Announce func(password string) error
	// AdminPatience is how long New waits for another node that is about to make the administrator, before it does so itself. 0: not at all where this process is the
	// only one that writes (SQLite), else DefaultAdminPatience.
	AdminPatience time.Duration

	Seal *seal.Seal // seals keys in the database

	// Policy answers what administrators set, as of now; it is asked at each login, and must not wait. nil: DefaultPolicy.
	Policy func() Policy

	// Provider answers the directory that is asked, as of now, for passwords of users that are not Havn's own; nil for none. It must not wait. nil: never one.
	Provider func() Provider
	// Renewer answers the identity provider that is asked for somebody again without a login, as of now; nil for none. It must not wait. nil: never one.
	Renewer func() Renewer

	// RefreshAge is how old RefreshGroups lets become what a directory told of somebody; 0: the default.
	RefreshAge time.Duration

	// EndUploads ends the uploads under way of a subject, whose tokens were revoked; it may be called again, and on several nodes. nil: they go on until they ask for the next token.
	EndUploads func(ctx context.Context, subject string) error

	// Guesses counts wrong passwords for all nodes. nil: each node counts alone.
	Guesses Guesses

	Service    string        // the audience of tokens; "": DefaultService
	RefreshTTL time.Duration // life of a refresh token; 0: the default
	UploadTime time.Duration // how long after its end a token finishes the upload that it began; 0: the default
	Cost       Cost          // of a password's hash; zero: DefaultCost. Less is for tests: hashes of another cost are made anew when their user logs in.
}

// FirstStart says what happened at the first start.
type FirstStart struct {
	Password string // of the administrator, if this process made it just now; else ""
}

// Access is who is known and what they may do. It is safe for concurrent use.
type Access struct {
	Config
	hasher   *hasher
	guard    *tally
	verified *verified
	flights  *flights
	tokens   *tokens
	secrets  *secrets
	browsers *browsers
	revoked  revoked
	logins   *prometheus.CounterVec
}

// Identity is who somebody is. The zero Identity is a stranger.
type Identity struct {
	Subject string // the user's name, or the robot's with its prefix; "" for a stranger
	Admin   bool
	User    int64 // the user's number; 0: a robot, or a stranger
	Robot   int64 // the robot's number; 0: no robot

	version   int64 // of the user's or the robot's row, at the login
	renewable bool  // a refresh token or a session may be made of the login: it was by a password, or at an identity provider
}

// New makes the administrator and the key of the tokens where they are missing, safely on several nodes at once: one of them wins.
func New(ctx context.Context, c Config) (*Access, FirstStart, error) {
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the clock of the package where no other is given
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Service == "" {
		c.Service = DefaultService
	}
	if c.Policy == nil {
		c.Policy = DefaultPolicy
	}
	if c.AdminPatience == 0 && !c.DB.Sole() {
		c.AdminPatience = DefaultAdminPatience
	}
	c.RefreshTTL = orDefault(c.RefreshTTL, DefaultRefreshTTL)
	c.UploadTime = orDefault(c.UploadTime, DefaultUploadTime)
	c.RefreshAge = orDefault(c.RefreshAge, DefaultRefreshAge)
	if c.Cost == (Cost{}) {
		c.Cost = DefaultCost
	}
	a := &Access{Config: c, guard: newTally(newGuard(c.Clock), c.Guesses), verified: newVerified(c.Clock), flights: newFlights(), hasher: newHasher(c.Cost), browsers: newBrowsers(c.Clock)}
	a.logins = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_logins_total", Help: "Passwords that were checked, by result."}, []string{"result"})
	if c.Metrics != nil {
		c.Metrics.MustRegister(a.logins)
	}
	if c.Provider == nil {
		a.Provider = func() Provider { return nil }
	}
	if c.Renewer == nil {
		a.Renewer = func() Renewer { return nil }
	}
	var err error
	if a.tokens, err = openTokens(ctx, c); err != nil {
		return nil, FirstStart{}, fmt.Errorf("open the key of the tokens: %w", err)
	}
	if a.secrets, err = openSecrets(ctx, c); err != nil {
		return nil, FirstStart{}, fmt.Errorf("open the key of the secrets: %w", err)
	}
	if err = a.look(ctx); err != nil {
		return nil, FirstStart{}, fmt.Errorf("look for what was revoked: %w", err)
	}
	first, err := a.ensureAdmin(ctx)
	return a, first, err
}

func orDefault(v, other time.Duration) time.Duration {
	if v == 0 {
		return other
	}
	return v
}

// user is a row of users.
type user struct {
	id              int64
	name            string
	origin          string // where he comes from
	hash            string
	admin, disabled bool
	gone            bool // the directory that he is of did not know him any more
	changed         time.Time
}

// out reports whether a user may not log in, whatever he knows.
func (u user) out() bool { return u.disabled || u.gone }

// identity answers the user as somebody who asks, now that it is known by a password to be this one.
func (u user) identity() Identity {
	return Identity{Subject: u.name, Admin: u.admin, User: u.id, version: sqldb.Micros(u.changed), renewable: true}
}

const userColumns = "u.id, u.name, u.password_hash, u.admin, u.disabled, u.changed_at, COALESCE(p.origin, 'local'), COALESCE(p.origin_admin, u.admin), COALESCE(p.gone, u.disabled)"

func (u *user) scan(row sqldb.Scanner) error {
	var changed int64
	var byGroup bool
	if err := row.Scan(&u.id, &u.name, &u.hash, &u.admin, &u.disabled, &changed, &u.origin, &byGroup, &u.gone); err != nil {
		return err
	}
	u.admin, u.changed = u.admin || byGroup, sqldb.FromMicros(changed)
	return nil
}

func findUser(ctx context.Context, q sqldb.Querier, name string) (user, error) {
	var u user
	if err := u.scan(q.Row(ctx, "SELECT "+userColumns+" FROM users u LEFT JOIN profiles p ON p.user_id = u.id WHERE u.name = ?", name)); err != nil {
		return user{}, err
	}
	if u.name != name {
		// MariaDB compares as if both ended in the same number of spaces.
		return user{}, fail.E(fail.NotFound, nil, "user %q", name)
	}
	return u, nil
}
