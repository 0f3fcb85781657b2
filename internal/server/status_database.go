package server

import (
	"context"
	"fmt"
	"strings"
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

// DatabaseServer is one server of the database, as it is seen from this machine; one that only nodes know, as they see it. Since is from the nodes that see it likewise.
type DatabaseServer struct {
	Addr    string        `json:"addr"`
	State   string        `json:"state"`
	Why     string        `json:"why,omitempty"`
	Since   time.Time     `json:"since,omitzero"`
	Usable  bool          `json:"usable"`
	Writers []string      `json:"writers"`           // the nodes that write to it
	SeenBy  string        `json:"seen_by,omitempty"` // the node that knows it, where this machine does not
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
	err := v.survey(ctx)
	if err != nil {
		v.Database.Status = fail.KindOf(err).String()
		v.wrong(LevelDown, "database", fail.HintOf(err), "%s", err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	db, err := v.open(ctx)
	if err != nil {
		v.Database.Status = fail.KindOf(err).String()
		v.wrong(LevelDown, "database", fail.HintOf(err), "%s", err.Error())
		return
	}
	v.Database.Status = stateOK
	all, err := v.members(ctx, db)
	if err != nil {
		v.Database.Status = fail.KindOf(err).String()
		v.wrong(LevelDown, "database", fail.HintOf(err), "%s", err.Error())
	} else {
		v.Nodes = all
		v.judgeNodes()
	}
	if err = db.Close(); err != nil {
		v.wrong(LevelDegraded, "database", "", "%s", err.Error())
	}
}

func (v *viewer) open(ctx context.Context) (*sqldb.DB, error) {
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

// survey looks at each server, and at the settings of those that can be written to. The error is that of no such server.
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
	usable := 0
	var looks sync.WaitGroup
	for i, s := range all {
		v.Database.Servers = append(v.Database.Servers, DatabaseServer{Addr: s.Addr, State: s.State, Why: s.Why, Usable: s.Usable(), Writers: []string{}, Vitals: s.Vitals})
		if s.Usable() {
			usable++
			looks.Go(func() { settings[i] = settingsOf(ctx, cfg, s.Addr) })
		}
	}
	looks.Wait()
	for i, s := range all {
		v.judgeServer(s.Server, settings[i], usable > 0)
	}
	v.judgeUnity()
	if usable == 0 {
		hint := "bring its servers back; pushes and pulls of tags get 503 meanwhile, and go on by themselves"
		if len(all) == 1 {
			hint += ". This machine knows one server alone: if others run, name all of them in database.hosts here, or look from a node, which remembers them"
		}
		return fail.E(fail.Unavailable, nil, "no server of the database can be written to from this machine, so the nodes can't be looked up").Hint("%s", hint)
	}
	return nil
}

// settingsOf looks at the settings of one server.
func settingsOf(ctx context.Context, cfg sqldb.Config, addr string) []sqldb.Finding {
	cfg.Hosts, cfg.Discover, cfg.Members = []string{addr}, false, ""
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

// judgeServer says what is not well about a server; spare: another can be written to.
func (v *viewer) judgeServer(s sqldb.Server, settings []sqldb.Finding, spare bool) {
	subject := "database " + s.Addr
	if !s.Well() {
		v.wrong(LevelDegraded, subject, serverHint(s, spare), "is %s", s)
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

// serverHint says what to do about a server that is not well.
func serverHint(s sqldb.Server, spare bool) string {
	what := s.Hint
	switch {
	case what != "":
	case s.Usable():
		return "wait: if it stays so, look at its load and at its log; it is written to only if no other can be"
	case s.Given:
		what = "start it, or look at the network to it; if it was taken away for good, take it out of database.hosts"
	default:
		what = "start it, or look at the network to it; if it was taken away for good, each node forgets it a day after the others named it last"
	}
	if spare {
		what += ". Nothing is lost meanwhile: others are written to"
	}
	return what
}

// judgeUnity looks whether the servers of a Galera cluster that take writes agree how many they are. A moment's difference is one that joins or leaves.
func (v *viewer) judgeUnity() {
	var sizes []string
	differ := ""
	for _, s := range v.Database.Servers {
		for _, vital := range s.Vitals {
			if vital.Name != sqldb.ClusterSize || !s.Usable {
				continue
			}
			if sizes = append(sizes, s.Addr+": "+vital.Value); differ == "" || differ == vital.Value {
				differ = vital.Value
			} else {
				differ = "they do"
			}
		}
	}
	if differ == "they do" {
		v.wrong(LevelDegraded, "database", "look again in a minute; if it is still so, two clusters were started from the same data: stop all but one, or what the others take is lost",
			"the servers don't agree how many they are (%s)", strings.Join(sizes, ", "))
	}
}
