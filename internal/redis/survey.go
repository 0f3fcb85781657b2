package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/redis/rueidis"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	// surveyEvery is the pause between two looks at every server. They are for people: what operations need to know they find out by themselves.
	surveyEvery = 5 * time.Second
	// mostServers bounds those that are looked at and told of.
	mostServers = 32
	// mostRanges bounds the ranges of slots that are named: a cluster that was resharded often has many.
	mostRanges = 3
)

// The states of a server, besides what a cluster says of its own (failed, loading).
const (
	serverUp   = "up"
	serverDown = "down"
)

// Why a server is down that says nothing itself.
const (
	whyRefused = "refuses connections"
	whySilent  = "does not answer"
)

// The roles of a server.
const (
	roleMaster   = "master"
	roleReplica  = "replica"
	roleSentinel = "sentinel"
)

// Server is one server of Redis, as it is seen from here.
type Server struct {
	Addr  string    `json:"addr"`
	Role  string    `json:"role,omitempty"`  // master, replica or sentinel; "": nobody says
	Slots string    `json:"slots,omitempty"` // of a cluster: what its shard serves
	State string    `json:"state"`           // up, down, or what its cluster says of it: failed, loading
	Why   string    `json:"why,omitempty"`
	Hint  string    `json:"hint,omitempty"` // what to do, where more can be said than to look at it
	Since time.Time `json:"since"`          // of State
}

// Up reports whether the server is as it should be.
func (s Server) Up() bool { return s.State == serverUp }

// Servers answers every server that is known, as it was seen some seconds ago; none before the first look, which Run makes.
func (c *Client) Servers() []Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.servers)
}

// survey looks at every server until the context ends.
func (c *Client) survey(ctx context.Context) {
	for wait(ctx, 0) {
		seen := c.lookAround()
		c.mu.Lock()
		for i := range seen {
			seen[i].Since = c.cfg.Clock()
			for _, before := range c.servers {
				if before.Addr == seen[i].Addr && before.State == seen[i].State {
					seen[i].Since = before.Since
				}
			}
		}
		c.servers = seen
		c.mu.Unlock()
		wait(ctx, surveyEvery)
	}
}

// lookAround asks the configured servers, and those that the first of them who knows others names. If none knows any, those that were known before are asked.
func (c *Client) lookAround() []Server {
	var named []Server
	asked := c.askAll()
	for _, s := range asked {
		var err error
		if s.err == nil {
			named, err = c.namedBy(s)
		}
		if err == nil && len(named) > 0 {
			break
		}
	}
	if len(named) == 0 {
		for _, s := range c.Servers() {
			named = append(named, Server{Addr: s.Addr, Role: s.Role, Slots: s.Slots, State: serverUp})
		}
	}
	var all []Server
	for _, s := range asked {
		at := slices.IndexFunc(named, func(n Server) bool { return n.Addr == s.addr })
		switch {
		case at >= 0:
			all = append(all, judged(named[at], s.err))
			named = slices.Delete(named, at, at+1)
		case s.err == nil && s.mode == Cluster && len(named) > 0:
			// It is among them under the address that it announces.
		default:
			all = append(all, judged(Server{Addr: s.addr, Role: roleOf(s)}, s.err))
		}
	}
	all = append(all, c.askNamed(named[:min(len(named), max(mostServers-len(all), 0))])...)
	slices.SortStableFunc(all, func(a, b Server) int {
		return cmp.Or(cmp.Compare(firstSlot(a), firstSlot(b)), cmp.Compare(a.Slots, b.Slots), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Addr, b.Addr))
	})
	return all
}

// askNamed asks servers that others named, all at once.
func (c *Client) askNamed(named []Server) []Server {
	all := make([]Server, len(named))
	var waiting sync.WaitGroup
	for i, n := range named {
		waiting.Go(func() { all[i] = judged(n, c.askAs(n.Addr, c.cfg.User, c.cfg.Password).err) })
	}
	waiting.Wait()
	return all
}

// judged completes what others say of a server by whether it answered.
func judged(s Server, err error) Server {
	switch {
	case err != nil:
		s.State, s.Why, s.Hint = serverDown, inWords(err), ""
		if s.Why != whyRefused && s.Why != whySilent {
			s.Hint = fail.HintOf(err)
		}
	case s.State != "" && s.State != serverUp:
		s.Why = "it answers, and the cluster says so"
	default:
		s.State = serverUp
	}
	return s
}

// inWords says shortly why a server did not answer as it should.
func inWords(err error) string {
	var e *fail.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return whyRefused
	case errors.Is(err, context.DeadlineExceeded):
		return whySilent
	case errors.As(err, &e):
		return e.Error()
	}
	return err.Error()
}

func roleOf(s server) string {
	switch {
	case s.err != nil:
		return ""
	case s.mode == Sentinel:
		return roleSentinel
	case s.replica:
		return roleReplica
	}
	return roleMaster
}

// firstSlot orders shards; what is in none comes first.
func firstSlot(s Server) int {
	text, _, _ := strings.Cut(s.Slots, "-")
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}

// namedBy asks a server for all that belong to it.
func (c *Client) namedBy(s server) ([]Server, error) {
	if s.mode == Single {
		return nil, nil
	}
	o := c.options([]string{s.addr}, c.cfg.User, c.cfg.Password)
	if s.mode == Sentinel {
		o = c.options([]string{s.addr}, c.cfg.SentinelUser, c.cfg.SentinelPassword)
	}
	o.ForceSingleClient = true
	client, err := rueidis.NewClient(o)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", s.addr, classify(err))
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), dialTime)
	defer cancel()
	if s.mode == Sentinel {
		return c.watchedBy(ctx, client, s)
	}
	all, err := shards(ctx, client, c.cfg.TLS != nil)
	if unknown := (*rueidis.RedisError)(nil); errors.As(err, &unknown) { // before Redis 7
		all, err = slotOwners(ctx, client)
	}
	if err != nil {
		return nil, fmt.Errorf("ask %s for the cluster: %w", s.addr, classify(err))
	}
	return all, nil
}

// shards reads CLUSTER SHARDS.
func shards(ctx context.Context, client rueidis.Client, secure bool) ([]Server, error) {
	list, err := client.Do(ctx, client.B().Arbitrary("CLUSTER", "SHARDS").Build()).ToArray()
	if err != nil {
		return nil, err
	}
	var all []Server
	for i := range list {
		shard, mapErr := list[i].AsMap()
		if mapErr != nil {
			return nil, mapErr
		}
		bounds, slotsErr := entry(shard, "slots").AsIntSlice()
		nodes, nodesErr := entry(shard, "nodes").ToArray()
		if err = errors.Join(slotsErr, nodesErr); err != nil {
			return nil, err
		}
		for j := range nodes {
			node, nodeErr := nodes[j].AsMap()
			if nodeErr != nil {
				return nil, nodeErr
			}
			port := "port"
			if _, has := node["tls-port"]; secure && has {
				port = "tls-port"
			}
			one := Server{Addr: net.JoinHostPort(word(node, "ip"), word(node, port)), Role: word(node, "role"), Slots: ranges(bounds), State: word(node, "health")}
			switch one.State {
			case "online":
				one.State = serverUp
			case "fail":
				one.State = "failed"
			}
			all = append(all, one)
		}
	}
	return all, nil
}

// entry answers an entry of a map, an empty message if there is none.
func entry(from map[string]rueidis.RedisMessage, key string) *rueidis.RedisMessage {
	m := from[key]
	return &m
}

// word answers a text or number of a map, "" if there is none.
func word(from map[string]rueidis.RedisMessage, key string) string {
	m, ok := from[key]
	if !ok {
		return ""
	}
	if n, err := m.AsInt64(); err == nil {
		return strconv.FormatInt(n, 10)
	}
	text, err := m.ToString()
	if err != nil {
		return ""
	}
	return text
}

// ranges writes pairs of first and last slots.
func ranges(bounds []int64) string {
	var all []string
	for i := 0; i+1 < len(bounds); i += 2 {
		all = append(all, fmt.Sprintf("%d-%d", bounds[i], bounds[i+1]))
	}
	if more := len(all) - mostRanges; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:mostRanges], ","), more)
	}
	return strings.Join(all, ",")
}

// slotOwners reads CLUSTER SLOTS, which says nothing of how the servers are.
func slotOwners(ctx context.Context, client rueidis.Client) ([]Server, error) {
	list, err := client.Do(ctx, client.B().ClusterSlots().Build()).ToArray()
	if err != nil {
		return nil, err
	}
	var all []Server
	bounds := map[string][]int64{}
	for i := range list {
		row, rowErr := list[i].ToArray()
		if rowErr != nil || len(row) < 3 {
			return nil, errors.Join(rowErr, fail.E(fail.Internal, nil, "CLUSTER SLOTS of %d parts", len(row)))
		}
		first, firstErr := row[0].AsInt64()
		last, lastErr := row[1].AsInt64()
		if err = errors.Join(firstErr, lastErr); err != nil {
			return nil, err
		}
		for j, place := range row[2:] {
			parts, partsErr := place.ToArray()
			if partsErr != nil || len(parts) < 2 {
				return nil, errors.Join(partsErr, fail.E(fail.Internal, nil, "CLUSTER SLOTS names a server of %d parts", len(parts)))
			}
			ip, ipErr := parts[0].ToString()
			port, portErr := parts[1].AsInt64()
			if err = errors.Join(ipErr, portErr); err != nil {
				return nil, err
			}
			addr := net.JoinHostPort(ip, strconv.FormatInt(port, 10))
			if bounds[addr] == nil {
				role := roleReplica
				if j == 0 {
					role = roleMaster
				}
				all = append(all, Server{Addr: addr, Role: role, State: serverUp})
			}
			bounds[addr] = append(bounds[addr], first, last)
		}
	}
	for i := range all {
		all[i].Slots = ranges(bounds[all[i].Addr])
	}
	return all, nil
}

// watchedBy asks a Sentinel for the master that is used, and for its replicas.
func (c *Client) watchedBy(ctx context.Context, client rueidis.Client, s server) ([]Server, error) {
	name, err := c.masterOf(s)
	if err != nil {
		return nil, err
	}
	master, err := client.Do(ctx, client.B().Arbitrary("SENTINEL", "MASTER", name).Build()).AsStrMap()
	if err != nil {
		return nil, fmt.Errorf("ask Sentinel %s: %w", s.addr, classify(err))
	}
	all := []Server{{Addr: net.JoinHostPort(master["ip"], master["port"]), Role: roleMaster, State: serverUp}}
	list, err := client.Do(ctx, client.B().Arbitrary("SENTINEL", "SLAVES", name).Build()).ToArray() // the name that old ones know too
	if err != nil {
		return nil, fmt.Errorf("ask Sentinel %s: %w", s.addr, classify(err))
	}
	for i := range list {
		replica, mapErr := list[i].AsStrMap()
		if mapErr != nil {
			return nil, mapErr
		}
		all = append(all, Server{Addr: net.JoinHostPort(replica["ip"], replica["port"]), Role: roleReplica, State: serverUp})
	}
	return all, nil
}
