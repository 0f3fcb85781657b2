package server

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/redis"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// offsetStep is how exactly the difference of two clocks is told: less is what the network makes of it.
	offsetStep = 100 * time.Millisecond
	// longestWhy bounds the reasons in a sight, in bytes.
	longestWhy = 300
)

// sight is what a node tells all others, through the database, of what it sees. The address of a node may be the same on many machines (a loopback one), its host's name is not.
type sight struct {
	Host    string          `json:"host"`
	Status  string          `json:"status"`          // as in /readyz
	Offset  int64           `json:"clock_offset_ms"` // of this node's clock from the database server's
	Stores  map[string]seen `json:"stores"`
	Servers []sqldb.Server  `json:"servers,omitempty"`
	Redis   []redis.Server  `json:"redis,omitempty"`
}

// seen is how a store is seen, and since when.
type seen struct {
	Status string    `json:"status"`
	Kind   string    `json:"kind"`
	Since  time.Time `json:"since"`
	Kept   bool      `json:"kept,omitempty"`
	Why    string    `json:"why,omitempty"`
	Hint   string    `json:"hint,omitempty"`
}

// sights makes them.
type sights struct {
	host  string
	db    *sqldb.DB
	ready *readiness
	clock func() time.Time
}

// text answers the sight as it is stored. It is the same until something changes.
func (s *sights) text(ctx context.Context) string {
	now := s.ready.look(ctx)
	v := sight{Host: s.host, Status: now.Status, Stores: map[string]seen{}, Offset: s.offset(ctx).Milliseconds(), Servers: s.db.Servers()}
	for name, state := range now.Stores {
		v.Stores[name] = seen{state.Status, state.Kind, state.Since, state.Kept, inShort(state.why), inShort(state.hint)}
	}
	for i, one := range v.Servers {
		v.Servers[i].Why = inShort(one.Why)
		v.Servers[i].Since = one.Since.UTC().Truncate(time.Second)
	}
	if s.ready.redis != nil {
		v.Redis = s.ready.redis.Servers()
	}
	for i, one := range v.Redis {
		v.Redis[i].Why = inShort(one.Why)
		v.Redis[i].Since = one.Since.UTC().Truncate(time.Second)
	}
	text, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(text)
}

// inShort cuts a reason.
func inShort(why string) string { return strings.ToValidUTF8(why[:min(len(why), longestWhy)], "") }

// offset answers how far this node's clock is before or behind that of the database's server, 0 where that can't be told.
func (s *sights) offset(ctx context.Context) time.Duration {
	if s.db.Sole() {
		return 0
	}
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	before := s.clock()
	at, err := s.db.Time(ctx)
	after := s.clock()
	switch {
	case err != nil:
		return 0
	case at.Before(before):
		return before.Sub(at).Round(offsetStep)
	case at.After(after):
		return after.Sub(at).Round(offsetStep)
	}
	return 0
}
