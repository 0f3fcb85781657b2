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
	DefaultTokenTTL   = 30 * time.Minute
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

	Seal *seal.Seal // seals the tokens' keys in the database

	// Guesses counts wrong passwords for all nodes. nil: each node counts alone.
	Guesses Guesses

	Service    string        // the audience of tokens; "": DefaultService
	TokenTTL   time.Duration // life of an access token; 0: the default
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
	logins   *prometheus.CounterVec
}

// Identity is who somebody is. The zero Identity is a stranger.
type Identity struct {
	Subject string // the user's name, or the robot's with its prefix; "" for a stranger
	Admin   bool
	User    int64 // the user's number; 0: a robot, or a stranger
	Robot   int64 // the robot's number; 0: no robot

	version int64 // of the user's row, at the login; 0 if this comes from a token
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
	if c.AdminPatience == 0 && !c.DB.Sole() {
		c.AdminPatience = DefaultAdminPatience
	}
	c.TokenTTL = orDefault(c.TokenTTL, DefaultTokenTTL)
	c.RefreshTTL = orDefault(c.RefreshTTL, DefaultRefreshTTL)
	c.UploadTime = orDefault(c.UploadTime, DefaultUploadTime)
	if c.Cost == (Cost{}) {
		c.Cost = DefaultCost
	}
	a := &Access{Config: c, guard: newTally(newGuard(c.Clock), c.Guesses), verified: newVerified(c.Clock), flights: newFlights(), hasher: newHasher(c.Cost)}
	a.logins = prometheus.NewCounterVec(prometheus.CounterOpts{Name: "havn_logins_total", Help: "Passwords that were checked, by result."}, []string{"result"})
	if c.Metrics != nil {
		c.Metrics.MustRegister(a.logins)
	}
	var err error
	if a.tokens, err = openTokens(ctx, c); err != nil {
		return nil, FirstStart{}, fmt.Errorf("open the key of the tokens: %w", err)
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
	changed         time.Time
}

// identity answers the user as somebody who asks, now that it is known to be this one.
func (u user) identity() Identity {
	return Identity{Subject: u.name, Admin: u.admin, User: u.id, version: sqldb.Micros(u.changed)}
}

func findUser(ctx context.Context, q sqldb.Querier, name string) (user, error) {
	var u user
	var changed int64
	var byGroup bool
	err := q.Row(ctx, `SELECT u.id, u.name, u.password_hash, u.admin, u.disabled, u.changed_at, COALESCE(p.origin, ?), COALESCE(p.origin_admin, ?)
		FROM users u LEFT JOIN profiles p ON p.user_id = u.id WHERE u.name = ?`, FromHere, false, name).
		Scan(&u.id, &u.name, &u.hash, &u.admin, &u.disabled, &changed, &u.origin, &byGroup)
	if err != nil {
		return user{}, err
	}
	if u.name != name {
		// MariaDB compares as if both ended in the same number of spaces.
		return user{}, fail.E(fail.NotFound, nil, "user %q", name)
	}
	u.admin = u.admin || byGroup
	u.changed = sqldb.FromMicros(changed)
	return u, nil
}

// SetPassword gives a user another password. Tokens that were issued before end as they would; refresh tokens end at once.
func (a *Access) SetPassword(ctx context.Context, name, password string) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	hash, err := a.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	return a.change(ctx, name, "password_hash", hash)
}

// SetDisabled locks a user out, or in again.
func (a *Access) SetDisabled(ctx context.Context, name string, disabled bool) error {
	return a.change(ctx, name, "disabled", disabled)
}

// change sets a column, and raises the user's version by at least one, whatever the clock says.
func (a *Access) change(ctx context.Context, name, column string, value any) error {
	var n int64
	err := a.DB.Tx(ctx, "user.change", func(tx *sqldb.Tx) (err error) {
		now := sqldb.Micros(tx.Now())
		n, err = tx.Exec(ctx, "UPDATE users SET "+column+" = ?, changed_at = CASE WHEN changed_at < ? THEN ? ELSE changed_at + 1 END WHERE name = ?", value, now, now, name)
		return err
	})
	a.verified.clear()
	if err == nil && n == 0 {
		err = fail.E(fail.NotFound, nil, "user %s", name)
	}
	return err
}
