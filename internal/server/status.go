package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/cluster"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
)

// Level is how the whole is.
type Level string

// The levels. A warning (a setting that risks something, say) leaves the whole good.
const (
	LevelGood     Level = "good"
	LevelDegraded Level = "degraded" // it works, and something is broken or has no spare any more
	LevelDown     Level = "down"     // pushes or pulls fail
)

const (
	// lateTime is how old a beat may be until its node counts as silent: three are missing.
	lateTime = 15 * time.Second
	// skewTime is from where on the difference of two clocks is told: nothing is unsafe, but times in lists and logs don't fit.
	skewTime = 2 * time.Second
	// statusTime bounds each part of a look.
	statusTime = 10 * time.Second
)

// Health is what Look finds.
type Health struct {
	Level    Level               `json:"status"`
	At       time.Time           `json:"at"`
	Nodes    []NodeState         `json:"nodes"`
	Database DatabaseState       `json:"database"`
	Stores   map[string][]Seeing `json:"stores"`          // blobs, redis: as the nodes see them
	Redis    []RedisServer       `json:"redis,omitempty"` // its servers, likewise
	Findings []Finding           `json:"findings"`
}

// Seeing is how one node sees a store.
type Seeing struct {
	Node   string    `json:"node"`
	Status string    `json:"status"`
	Kind   string    `json:"kind"`
	Since  time.Time `json:"since"`
	Kept   bool      `json:"kept,omitempty"` // nothing is deleted from it
	Why    string    `json:"why,omitempty"`

	hint string
}

// viewer makes a Health.
type viewer struct {
	c     *config.Config
	clock func() time.Time
	now   time.Time // by the database server's clock, which all times of nodes are brought to
	Health
}

func newViewer(c *config.Config) *viewer {
	v := &viewer{c: c, clock: time.Now}
	v.now = v.clock()
	v.Health = Health{Level: LevelGood, At: v.now.UTC().Truncate(time.Second), Stores: map[string][]Seeing{}, Nodes: []NodeState{}, Findings: []Finding{}}
	return v
}

// Look looks at the nodes and their stores, from this machine, and changes nothing. On SQLite that is the process that serves the data directory, which is asked.
func Look(ctx context.Context, c *config.Config) Health {
	v := newViewer(c)
	v.Database.Engine = string(c.Database.Engine)
	if c.Database.Engine == config.SQLite {
		v.alone(ctx)
	} else {
		v.shared(ctx)
	}
	v.judgeStores()
	v.judgeRedis()
	v.arrange()
	return v.Health
}

// LookAtNodes answers the nodes alone, with those that ended.
func LookAtNodes(ctx context.Context, c *config.Config) ([]NodeState, error) {
	v := newViewer(c)
	if c.Database.Engine == config.SQLite {
		if err := v.process(ctx); err != nil {
			return nil, err
		}
		return v.Nodes, nil
	}
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	db, err := v.open(ctx)
	if err != nil {
		return nil, err
	}
	all, err := v.members(ctx, db)
	if closeErr := db.Close(); err == nil && closeErr != nil {
		return nil, fmt.Errorf("close the database: %w", closeErr)
	}
	return all, err
}

// ForgetNode takes an incarnation that has ended out of the list.
func ForgetNode(ctx context.Context, c *config.Config, id int64) error {
	if c.Database.Engine == config.SQLite {
		return fail.E(fail.Unsupported, nil, "on SQLite there is one node").Hint("nothing is to be forgotten")
	}
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	db, err := newViewer(c).open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(cluster.Remove(ctx, db, id), db.Close())
}

// worse lowers the level.
func (v *viewer) worse(l Level) {
	if l == LevelDown || v.Level == LevelGood {
		v.Level = l
	}
}

func (v *viewer) warn(subject, hint, format string, args ...any) {
	v.Findings = append(v.Findings, Finding{subject, Warning, fmt.Sprintf(format, args...), hint})
}

func (v *viewer) wrong(l Level, subject, hint, format string, args ...any) {
	v.Findings = append(v.Findings, Finding{subject, Wrong, fmt.Sprintf(format, args...), hint})
	v.worse(l)
}

// judgeStores says what the nodes see of the stores, where that is not well. What all of them miss is down.
func (v *viewer) judgeStores() {
	bad := 0
	for _, s := range v.Stores["blobs"] {
		if s.Kept {
			v.wrong(LevelDegraded, "blobs", cmp.Or(s.hint, keptHint), "node %s: %s", s.Node, cmp.Or(s.Why, keptWhy))
		}
		switch s.Status {
		case stateOK:
			continue
		case stateLow:
			v.wrong(LevelDegraded, "blobs", "free space, or lower storage.low_disk: pushes are refused, pulls go on", "node %s has little space since %s", s.Node, moment(s.Since))
		default:
			v.wrong(LevelDegraded, "blobs", cmp.Or(s.hint, "look at the store, and at this node's log"), "node %s sees the blob store %s since %s%s", s.Node, s.Status, moment(s.Since), s.because())
		}
		bad++
	}
	if bad > 0 && bad == len(v.Stores["blobs"]) {
		v.worse(LevelDown)
	}
	for _, s := range v.Stores["redis"] {
		if s.Status != stateOK {
			v.wrong(LevelDegraded, "redis", cmp.Or(s.hint, "look at its servers")+". Everything goes on without it, and slower", "node %s sees Redis %s since %s%s", s.Node, s.Status, moment(s.Since), s.because())
		}
	}
}

// keptWhy and keptHint are what is told of a store from which nothing is deleted where the reason is in the log alone: anybody may ask /readyz.
const (
	keptWhy  = "nothing is deleted from the blob store"
	keptHint = "look at its log for the reason. If the database was restored or copied, read \"Restore\" in docs/operations.md: `havn store confirm` says that this one is to be kept"
)

// because says why a store is not well, if that is known.
func (s Seeing) because() string {
	if s.Why == "" {
		return ""
	}
	return ": " + s.Why
}

// arrange puts what is wrong before warnings, and says once what is the same of several subjects of a kind, like the settings of all servers of a database.
func (v *viewer) arrange() {
	all := []Finding{}
	for _, f := range v.Findings {
		kind, name, _ := strings.Cut(f.Subject, " ")
		at := slices.IndexFunc(all, func(g Finding) bool {
			return strings.HasPrefix(g.Subject, kind+" ") && g.Status == f.Status && g.Text == f.Text && g.Hint == f.Hint
		})
		if name == "" || at < 0 {
			all = append(all, f)
			continue
		}
		all[at].Subject += ", " + name
	}
	slices.SortStableFunc(all, func(a, b Finding) int { return rank(a) - rank(b) })
	v.Findings = all
}

func rank(f Finding) int {
	if f.Status == Wrong {
		return 0
	}
	return 1
}

func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// alone looks at a registry whose one process has the database to itself.
func (v *viewer) alone(ctx context.Context) {
	if err := v.process(ctx); err != nil {
		v.wrong(LevelDown, "node", fail.HintOf(err), "%s", err.Error())
	}
}

// process asks the process that serves the data directory.
func (v *viewer) process(ctx context.Context) error {
	held, taken, err := glance(filepath.Join(v.c.DataDir, lockName))
	if err != nil {
		return fmt.Errorf("look who serves %s: %w", v.c.DataDir, err)
	}
	if !taken {
		return fail.E(fail.Unavailable, nil, "no process serves %s", v.c.DataDir).Hint("start it; `havn doctor` looks at what it needs")
	}
	n := NodeState{Incarnation: held.Node, Host: held.Host, Addr: held.URL, Version: held.Version, State: nodeServing, Since: held.Since}
	if held.URL == "" {
		n.State = nodeStarting
		v.Nodes = append(v.Nodes, n)
		v.wrong(LevelDown, "node", "wait until it has started; if that takes long, look at its log", "%s does not say yet where it answers", held)
		return nil
	}
	ready, err := askReady(ctx, held.URL, doctorPatience)
	if err != nil {
		n.State = nodeSilent
		v.Nodes = append(v.Nodes, n)
		v.wrong(LevelDown, "node", "look at its log", "%s does not answer: %s", held.URL, err)
		return nil
	}
	n.LastBeat = v.clock().UTC().Truncate(time.Second)
	if ready.Status == statusStopping {
		n.State = nodeStopping
		v.wrong(LevelDown, "node", "start it again once it has ended", "%s is stopping", held)
	}
	v.Nodes = append(v.Nodes, n)
	for name, s := range ready.Stores {
		if name == "database" {
			v.Database.Status, v.Database.Since = s.Status, s.Since
			if s.Status != stateOK {
				v.wrong(LevelDown, name, "look at its log", "the database is %s since %s", s.Status, moment(s.Since))
			}
			continue
		}
		v.Stores[name] = []Seeing{{Node: held.Host, Status: s.Status, Kind: s.Kind, Since: s.Since, Kept: s.Kept}}
	}
	return nil
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }
