package sqldb

import (
	"context"
	"database/sql/driver"
	"sync"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// surveyTime is how long servers get to answer after it is known which one is used.
const surveyTime = 3 * time.Second

// Surveyed is one server of the database with what it says of itself.
type Surveyed struct {
	Server

	Vitals []Vital
}

// Vital is a value that says how a server is.
type Vital struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// String answers the state in words.
func (s Server) String() string {
	if s.Why == "" {
		return s.State
	}
	return s.State + ": " + s.Why
}

// Usable reports whether the server can be written to.
func (s Server) Usable() bool { return s.State == fit.String() || s.State == strained.String() }

// Well reports whether the server is as it should be: fit, or a standby that follows.
func (s Server) Well() bool { return s.State == fit.String() || s.Standby }

// Survey answers how each server of a database is, also when none of them can be used. SQLite has none.
func Survey(ctx context.Context, cfg Config) ([]Surveyed, error) {
	if cfg.Engine == SQLite {
		return nil, nil
	}
	cfg = cfg.complete()
	cfg.KeepMembers = true
	if err := cfg.checkHosts(); err != nil {
		return nil, err
	}
	p := newProduct(&cfg)
	w := newWatch(&cfg, newMetrics(nil), p)
	defer w.close()
	if err := w.start(ctx); err != nil && ctx.Err() != nil {
		return nil, fail.E(fail.Unavailable, err, "look at the servers of the database")
	}
	bounded, cancel := context.WithTimeout(ctx, surveyTime)
	defer cancel()
	w.seen(bounded)
	var all []Surveyed
	for _, s := range w.servers() {
		all = append(all, Surveyed{Server: s})
	}
	var looks sync.WaitGroup
	for i := range all {
		if c := all[i].State; c == down.String() || c == unseen.String() {
			continue
		}
		looks.Go(func() { all[i].Vitals = vitals(ctx, p, all[i].Addr) })
	}
	looks.Wait()
	return all, nil
}

// vitals asks a server by itself. That it can't be asked, its state says already.
func vitals(ctx context.Context, p product, addr string) []Vital {
	ctx, cancel := context.WithTimeout(ctx, surveyTime)
	defer cancel()
	c, err := p.visit(ctx, addr)
	if err != nil {
		return nil
	}
	all, err := p.vitals(ctx, c)
	if closeErr := c.Close(); err != nil || closeErr != nil {
		return nil
	}
	return all
}

// ClusterSize is the vital that says how many nodes of a Galera cluster a server sees together.
const ClusterSize = "wsrep_cluster_size"

// galeraVitals are the values that operators of Galera look at, in this order.
var galeraVitals = []string{
	ClusterSize, "wsrep_cluster_status", "wsrep_ready", "wsrep_local_state_comment", "wsrep_flow_control_paused",
	"wsrep_local_cert_failures", "wsrep_local_recv_queue", "wsrep_local_recv_queue_avg", "wsrep_local_send_queue_avg",
}

// vitals implements product.
func (p *mysqlProduct) vitals(ctx context.Context, c driver.Conn) ([]Vital, error) {
	status, err := pairs(ctx, c, "SHOW GLOBAL STATUS WHERE Variable_name LIKE 'wsrep%'")
	if err != nil {
		return nil, err
	}
	var all []Vital
	for _, name := range galeraVitals {
		if v, ok := status[name]; ok {
			all = append(all, Vital{name, v})
		}
	}
	return all, nil
}

// vitals implements product.
func (p *postgresProduct) vitals(ctx context.Context, c driver.Conn) ([]Vital, error) {
	// Who may not read all statistics sees that there are standbys, and not what they are.
	rows, err := rawRows(ctx, c, `SELECT CASE WHEN pg_is_in_recovery() THEN 'standby' ELSE 'primary' END, (SELECT COUNT(*) FROM pg_stat_replication),
		(SELECT CASE WHEN COUNT(*) > COUNT(sync_state) THEN 'unknown' ELSE COUNT(CASE WHEN sync_state IN ('sync', 'quorum') THEN 1 END)::text END FROM pg_stat_replication),
		COALESCE(ROUND(EXTRACT(EPOCH FROM clock_timestamp() - pg_last_xact_replay_timestamp())::numeric, 1)::text, '')`)
	if err != nil || len(rows) != 1 {
		return nil, err
	}
	all := []Vital{{"role", rows[0][0]}}
	if rows[0][0] == "primary" {
		return append(all, Vital{"standbys", rows[0][1]}, Vital{"synchronous", rows[0][2]}), nil
	}
	return append(all, Vital{"last_replayed_s_ago", rows[0][3]}), nil
}
