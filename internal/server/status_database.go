package server

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

// DatabaseState is the database.
type DatabaseState struct {
	Engine  string           `json:"engine"`
	Status  string           `json:"state"`          // ok, or the kind of the error
	Since   time.Time        `json:"since,omitzero"` // of SQLite: the state of servers is each one's
	Servers []DatabaseServer `json:"servers,omitempty"`
}

// DatabaseServer is one server of the database, as it is seen from this machine. Since is from the nodes that see it likewise.
type DatabaseServer struct {
	Addr    string        `json:"addr"`
	State   string        `json:"state"`
	Why     string        `json:"why,omitempty"`
	Since   time.Time     `json:"since,omitzero"`
	Current bool          `json:"current"` // it is written to
	Usable  bool          `json:"usable"`
	Vitals  []sqldb.Vital `json:"vitals,omitempty"`
}

func (d *DatabaseState) server(addr string) *DatabaseServer {
	for i := range d.Servers {
		if d.Servers[i].Addr == addr {
			return &d.Servers[i]
		}
	}
	return nil
}

// shared looks at a database that nodes share, and at the nodes that are written down there.
func (v *viewer) shared(ctx context.Context) {
	if err := v.survey(ctx); err != nil {
		v.wrong(LevelDown, "database", fail.HintOf(err), "%s", err.Error())
		return
	}
	db, err := v.open(ctx)
	if err != nil {
		v.Database.Status = fail.KindOf(err).String()
		v.wrong(LevelDown, "database", fail.HintOf(err), "%s", err.Error())
		return
	}
	v.Database.Status = stateOK
	if v.Nodes, err = v.members(ctx, db); err != nil {
		v.Database.Status = fail.KindOf(err).String()
		v.wrong(LevelDown, "database", fail.HintOf(err), "%s", err.Error())
	} else {
		v.judgeNodes()
	}
	if err = db.Close(); err != nil {
		v.wrong(LevelDegraded, "database", "", "%s", err.Error())
	}
}

func (v *viewer) open(ctx context.Context) (*sqldb.DB, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	cfg, err := databaseConfig(v.c, v.clock, discard())
	if err != nil {
		return nil, err
	}
	cfg.KeepMembers = true
	db, err := sqldb.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return db, nil
}

// survey looks at each server, and at the settings of those that can be written to.
func (v *viewer) survey(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	cfg, err := databaseConfig(v.c, v.clock, discard())
	if err != nil {
		return err
	}
	all, err := sqldb.Survey(ctx, cfg)
	if err != nil {
		return err
	}
	settings := make([][]sqldb.Finding, len(all))
	var looks sync.WaitGroup
	for i, s := range all {
		v.Database.Servers = append(v.Database.Servers, DatabaseServer{Addr: s.Addr, State: s.State, Why: s.Why, Current: s.Current, Usable: s.Usable(), Vitals: s.Vitals})
		if s.Usable() {
			looks.Go(func() { settings[i] = settingsOf(ctx, cfg, s.Addr) })
		}
	}
	looks.Wait()
	for i, s := range all {
		v.judgeServer(s, settings[i])
	}
	return nil
}

// settingsOf looks at the settings of one server.
func settingsOf(ctx context.Context, cfg sqldb.Config, addr string) []sqldb.Finding {
	cfg.Hosts, cfg.Discover, cfg.Members, cfg.MaxConns = []string{addr}, false, "", 2
	db, err := sqldb.Open(ctx, cfg)
	if err != nil {
		return []sqldb.Finding{{What: err.Error(), Hint: fail.HintOf(err)}}
	}
	found := db.Settings(ctx)
	if err = db.Close(); err != nil {
		found = append(found, sqldb.Finding{What: err.Error()})
	}
	return found
}

func (v *viewer) judgeServer(s sqldb.Surveyed, settings []sqldb.Finding) {
	subject := "database " + s.Addr
	if !s.Well() {
		v.wrong(LevelDegraded, subject, s.Advice(), "is %s", s)
	}
	for _, f := range settings {
		switch {
		case f.OK:
		case f.Minor:
			v.warn(subject, f.Hint, "%s", f.What)
		default:
			v.wrong(LevelDegraded, subject, f.Hint, "%s", f.What)
		}
	}
}
