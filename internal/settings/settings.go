package settings

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/seal"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// LookEvery is how often a node asks whether settings were changed: one query by a key.
	LookEvery = time.Second
	// versionKind is the row of numbers that rises with each change.
	versionKind = "settings"
	// most bounds the rows that are read: more than there are settings, of this version and of others.
	most = 1000
)

// Config says what a Store works on.
type Config struct {
	DB   *sqldb.DB
	Seal *seal.Seal   // seals secrets
	Log  *slog.Logger // nil: discarded
	// Given is this node's own configuration: what it fixes can't be changed here, and what another program's file gives counts until somebody changes it.
	Given *config.Config
	// Usable answers why settings that go together can't be used all the same, as Invalid. It asks nobody outside, and is called again by each try. nil: they always can.
	Usable func(*config.Live) error
}

// Store holds the settings as of a moment ago. It is safe for concurrent use.
type Store struct {
	cfg     Config
	current atomic.Pointer[config.Live]
	mu      sync.Mutex // of all below, and of reading
	version int64
	told    []func(*config.Live)
	warned  map[string]bool
}

// Open reads the settings. Values that Given has from another program's file are stored if nothing is stored under their names yet.
func Open(ctx context.Context, c Config) (*Store, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{cfg: c, version: -1, warned: map[string]bool{}}
	if err := s.first(ctx); err != nil {
		return nil, fmt.Errorf("store the first settings: %w", err)
	}
	if err := s.Look(ctx); err != nil {
		return nil, fmt.Errorf("read the settings: %w", err)
	}
	return s, nil
}

// Live answers the settings. They are shared: read only.
func (s *Store) Live() *config.Live { return s.current.Load() }

// Fixed reports whether a setting is fixed on this node by its own configuration.
func (s *Store) Fixed(name string) bool { return s.cfg.Given.LiveFixed(name) }

// Changed has a function called with the settings now and after each change, one at a time, by the node that notices. It must not call the Store's Put, Look or Changed.
func (s *Store) Changed(tell func(*config.Live)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.told = append(s.told, tell)
	tell(s.current.Load())
}

// Run looks for changes until the context ends. While the database is out of reach, the settings stay as they were last read.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(LookEvery)
	defer tick.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := s.Look(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			s.cfg.Log.WarnContext(ctx, "settings not looked at; they stay as they were", "error", err)
		}
		failed = err != nil
	}
}

// Look reads the settings again if they were changed since.
func (s *Store) Look(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	version, err := readVersion(ctx, s.cfg.DB)
	if err != nil || version == s.version {
		return err
	}
	return s.read(ctx)
}

// read reads all settings, of one moment.
func (s *Store) read(ctx context.Context) error {
	var version int64
	var stored map[string]string
	err := s.cfg.DB.View(ctx, "settings.read", func(q sqldb.Querier) (err error) {
		if version, err = readVersion(ctx, q); err == nil {
			stored, err = rows(ctx, q)
		}
		return err
	})
	if err != nil {
		return err
	}
	live := s.effective(stored)
	s.version = version
	s.current.Store(&live)
	for _, tell := range s.told {
		tell(&live)
	}
	return nil
}

// effective lays what is stored over the defaults, and what this node fixes over both.
func (s *Store) effective(stored map[string]string) config.Live {
	live := config.Default().Live
	for _, k := range config.LiveKeys() {
		text, ok := stored[k.Name]
		if s.Fixed(k.Name) {
			text, ok = s.cfg.Given.Live.Text(k.Name), true
		} else if ok && k.Secret {
			opened, err := s.cfg.Seal.Open(sealedName(k.Name), text)
			if err != nil {
				s.warn(k.Name, "its stored secret can't be opened: set it again", err)
				continue
			}
			text = string(opened)
		}
		if !ok {
			continue
		}
		if err := live.Set(k.Name, text); err != nil {
			s.warn(k.Name, "its stored value can't be used; the default counts", err)
		}
	}
	return live
}

// warn says once what is wrong with a stored value, which another version may have written.
func (s *Store) warn(name, text string, err error) {
	if !s.warned[name] {
		s.cfg.Log.Warn("setting "+name+": "+text, "error", err)
		s.warned[name] = true
	}
}

func sealedName(name string) string { return "setting:" + name }

func readVersion(ctx context.Context, q sqldb.Querier) (int64, error) {
	var version int64
	err := q.Row(ctx, "SELECT last FROM numbers WHERE kind = ?", versionKind).Scan(&version)
	if fail.Is(err, fail.NotFound) {
		return 0, nil
	}
	return version, err
}

func rows(ctx context.Context, q sqldb.Querier) (map[string]string, error) {
	all := map[string]string{}
	for row, err := range q.Rows(ctx, "SELECT k, v FROM settings ORDER BY k LIMIT ?", most) {
		var k, v string
		if err == nil {
			err = row.Scan(&k, &v)
		}
		if err != nil {
			return nil, err
		}
		all[k] = v
	}
	return all, nil
}

// first stores what another program's file gives, where nothing is stored yet: of several nodes that start at once, one wins.
func (s *Store) first(ctx context.Context) error {
	given := map[string]string{}
	for _, k := range config.LiveKeys() {
		if s.cfg.Given.LiveFirst(k.Name) {
			given[k.Name] = s.stored(k.Name, s.cfg.Given.Live.Text(k.Name))
		}
	}
	if len(given) == 0 {
		return nil
	}
	stored, err := rows(ctx, s.cfg.DB)
	if err != nil {
		return err
	}
	maps.DeleteFunc(given, func(name, _ string) bool { _, there := stored[name]; return there })
	if len(given) == 0 {
		return nil
	}
	return s.cfg.DB.Tx(ctx, "settings.first", func(tx *sqldb.Tx) error {
		for _, name := range slices.Sorted(maps.Keys(given)) {
			if _, cause := tx.InsertIgnore(ctx, "settings", []string{"k", "v", "changed_at"}, name, given[name], sqldb.Micros(tx.Now())); cause != nil {
				return cause
			}
		}
		return raise(ctx, tx)
	})
}

// stored answers how a value is stored.
func (s *Store) stored(name, text string) string {
	for _, k := range config.LiveKeys() {
		if k.Name == name && k.Secret {
			return s.cfg.Seal.Seal(sealedName(name), []byte(text))
		}
	}
	return text
}

// raise makes the version one that no node has seen. Two changes at once touch its row, so that the second is checked against what the first made.
func raise(ctx context.Context, tx *sqldb.Tx) error {
	if _, err := tx.InsertIgnore(ctx, "numbers", []string{"kind", "last"}, versionKind, 0); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "UPDATE numbers SET last = last + 1 WHERE kind = ?", versionKind)
	return err
}

// Put changes settings, all or none, and answers the names of those that changed. Invalid if a name is unknown, a value can't be, or they do not go together; Denied if this
// node's own configuration fixes one of them to another value. The node that answers has them at once, others within LookEvery and a query. Writing the same again is harmless.
func (s *Store) Put(ctx context.Context, values map[string]string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var changed []string
	err := s.cfg.DB.Tx(ctx, "settings.put", func(tx *sqldb.Tx) error {
		changed = nil
		if err := raise(ctx, tx); err != nil {
			return err
		}
		before, err := rows(ctx, tx)
		if err != nil {
			return err
		}
		live := s.effective(before)
		if changed, err = s.apply(&live, values); err != nil {
			return err
		}
		for _, name := range changed {
			upsert := tx.Engine().Upsert("settings", []string{"k", "v", "changed_at"}, []string{"k"}, "v = "+tx.Engine().New("v"), "changed_at = "+tx.Engine().New("changed_at"))
			if _, err = tx.Exec(ctx, upsert, name, s.stored(name, live.Text(name)), sqldb.Micros(tx.Now())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return changed, s.read(ctx)
}

// apply sets values, and answers the names of those that are different now.
func (s *Store) apply(live *config.Live, values map[string]string) ([]string, error) {
	was := *live
	var changed []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		before := live.Text(name)
		if err := live.Set(name, values[name]); err != nil {
			return nil, fail.E(fail.Invalid, err, "setting %s", name).Hint("%s: %s", name, err)
		}
		if live.Text(name) == before {
			continue
		}
		if s.Fixed(name) {
			return nil, fail.E(fail.Denied, nil, "setting %s is fixed by this node's configuration", name).Hint("change settings.%s there (%s) on every node, or take it out so that it can be changed here", name, s.cfg.Given.Origin("settings."+name))
		}
		changed = append(changed, name)
	}
	if len(changed) == 0 {
		return nil, nil
	}
	if wrong := live.Consistent(); len(wrong) > 0 {
		var texts []string
		for _, name := range slices.Sorted(maps.Keys(wrong)) {
			texts = append(texts, name+" "+wrong[name])
		}
		return nil, fail.E(fail.Invalid, nil, "settings that do not go together: %s", strings.Join(texts, "; ")).Hint("set these in the same request")
	}
	return changed, s.usable(&was, live)
}

// usable refuses what makes settings unusable that were not before: those that were can be put right one by one, and others changed.
func (s *Store) usable(was, live *config.Live) error {
	if s.cfg.Usable == nil {
		return nil
	}
	if before := s.cfg.Usable(was); before != nil {
		return nil //nolint:nilerr // that they are put right is what is hoped for
	}
	return s.cfg.Usable(live)
}
