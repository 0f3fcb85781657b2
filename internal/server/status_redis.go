package server

import (
	"slices"
	"strings"
	"time"
)

// RedisServer is one server of Redis, as nodes see it.
type RedisServer struct {
	Addr   string    `json:"addr"`
	Role   string    `json:"role,omitempty"`
	Slots  string    `json:"slots,omitempty"` // of a cluster: what its shard serves
	State  string    `json:"state"`
	Why    string    `json:"why,omitempty"`
	Since  time.Time `json:"since"`
	SeenBy []string  `json:"seen_by"` // the nodes that see it so; others may see it otherwise, in an entry of its own

	hint string
	up   bool
}

// seenRedis takes over what a node sees of the servers of Redis. Nodes that see the same share an entry.
func (v *viewer) seenRedis(n NodeState) {
	for _, s := range n.sight.Redis {
		since := n.atDatabase(s.Since)
		at := slices.IndexFunc(v.Redis, func(r RedisServer) bool {
			return r.Addr == s.Addr && r.State == s.State && r.Role == s.Role && r.Slots == s.Slots
		})
		if at < 0 {
			v.Redis = append(v.Redis, RedisServer{Addr: s.Addr, Role: s.Role, Slots: s.Slots, State: s.State, Why: s.Why, Since: since, SeenBy: []string{n.Name()}, hint: s.Hint, up: s.Up()})
			continue
		}
		r := &v.Redis[at]
		r.SeenBy = append(r.SeenBy, n.Name())
		if since.Before(r.Since) {
			r.Since = since
		}
	}
}

// judgeRedis says which servers of Redis are not well.
func (v *viewer) judgeRedis() {
	for _, r := range v.Redis {
		if r.up {
			continue
		}
		what := r.State
		if r.Why != "" {
			what += " (" + r.Why + ")"
		}
		hint := r.hint
		if hint == "" {
			hint = "start it, or look at the network to it"
		}
		v.wrong(LevelDegraded, "redis "+r.Addr, hint+". Everything goes on without it", "%s is %s since %s, for %s", r.what(), what, moment(r.Since), strings.Join(r.SeenBy, ", "))
	}
}

// what names the server's place.
func (r RedisServer) what() string {
	name := r.Role
	if name == "" {
		name = "the server"
	}
	if r.Slots != "" {
		name += " of slots " + r.Slots
	}
	return name
}
