package dbcheck

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/sqldb"
)

const (
	// DefaultRounds of each rule: what breaks a rule was seen to break it in nearly every round.
	DefaultRounds = 20
	// skewSeen is from where on the difference of two clocks is told: nothing is unsafe, but times in lists and logs don't fit.
	skewSeen = 2 * time.Second
	// dropTime bounds the removal of the tables.
	dropTime = 30 * time.Second
)

// Config says what is checked.
type Config struct {
	Database sqldb.Config // as a node would open it; of MySQL or PostgreSQL
	Rounds   int          // 0: DefaultRounds
}

// Finding is one thing that was looked at. Server is empty where it concerns all.
type Finding struct {
	sqldb.Finding

	Server string
}

// checker is one check under way.
type checker struct {
	rounds  int
	found   []Finding
	addrs   []string
	servers []*sqldb.DB // of the same places
	prefix  string      // of the tables
}

// Run checks, and leaves nothing behind. It may run while the database serves.
func Run(ctx context.Context, c Config) []Finding {
	k := &checker{rounds: c.Rounds, prefix: sqldb.CheckTables + strings.ToLower(sqldb.NewToken()[:8])}
	if k.rounds <= 0 {
		k.rounds = DefaultRounds
	}
	if err := k.run(ctx, c.Database); err != nil {
		k.wrong("", err, "the check")
	}
	return k.found
}

func (k *checker) run(ctx context.Context, cfg sqldb.Config) (err error) {
	cfg.Metrics, cfg.Members = nil, ""
	db, err := sqldb.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	k.look(ctx, db, cfg)
	for _, f := range db.Discovery(ctx) {
		k.found = append(k.found, Finding{f, ""})
	}
	defer func() {
		for _, one := range k.servers {
			err = errors.Join(err, one.Close())
		}
	}()
	if len(k.servers) == 0 {
		return fail.E(fail.Unavailable, nil, "no server of the database can be written to")
	}
	if err = k.tables(ctx, db); err != nil {
		return err
	}
	defer k.drop(ctx, db)
	k.causal(ctx)
	k.rules(ctx)
	k.values(ctx)
	return nil
}

// look opens each server by itself, and looks at its settings and clock.
func (k *checker) look(ctx context.Context, db *sqldb.DB, cfg sqldb.Config) {
	for _, server := range db.Survey(ctx) {
		text := fmt.Sprintf("is %s", server.State)
		if server.Why != "" {
			text += ": " + server.Why
		}
		if !server.Well() {
			k.found = append(k.found, Finding{sqldb.Finding{Minor: true, What: text, Hint: server.Advice()}, server.Addr})
			continue
		}
		k.good(server.Addr, "%s", text)
		if !server.Usable() { // a standby, as it should be
			continue
		}
		one := cfg
		one.Hosts, one.Discover = []string{server.Addr}, false
		open, err := sqldb.Open(ctx, one)
		if err != nil {
			k.wrong(server.Addr, err, "connect")
			continue
		}
		k.servers, k.addrs = append(k.servers, open), append(k.addrs, server.Addr)
		for _, f := range open.Settings(ctx) {
			k.found = append(k.found, Finding{f, server.Addr})
		}
		k.skew(ctx, open, server.Addr)
	}
}

// skew compares the server's clock with ours.
func (k *checker) skew(ctx context.Context, db *sqldb.DB, addr string) {
	off, err := db.Skew(ctx)
	if err != nil {
		k.wrong(addr, err, "read its clock")
		return
	}
	if off.Abs() > skewSeen {
		k.found = append(k.found, Finding{sqldb.Finding{Minor: true, What: fmt.Sprintf("its clock is %s off this machine's", off.Round(time.Millisecond)), Hint: "keep all clocks with NTP; nothing is unsafe, but times don't fit"}, addr})
		return
	}
	k.good(addr, "its clock is this machine's within %s", skewSeen)
}

func (k *checker) good(addr, format string, args ...any) {
	k.found = append(k.found, Finding{sqldb.Finding{OK: true, What: fmt.Sprintf(format, args...)}, addr})
}

func (k *checker) bad(addr, hint, format string, args ...any) {
	k.found = append(k.found, Finding{sqldb.Finding{What: fmt.Sprintf(format, args...), Hint: hint}, addr})
}

func (k *checker) wrong(addr string, err error, what string) {
	k.bad(addr, fail.HintOf(err), "%s: %s", what, err)
}

// t answers a statement with the names of the tables: $ stands for the prefix.
func (k *checker) t(statement string) string { return strings.ReplaceAll(statement, "$", k.prefix) }

// tables makes what the rules are tried on, of the types that the registry's own tables have.
func (k *checker) tables(ctx context.Context, db *sqldb.DB) error {
	suffix := ""
	if db.Engine() == sqldb.MySQL {
		suffix = " ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
	}
	for _, statement := range []string{
		"CREATE TABLE IF NOT EXISTS $_parent (id BIGINT NOT NULL PRIMARY KEY)",
		"CREATE TABLE IF NOT EXISTS $_child (id BIGINT NOT NULL PRIMARY KEY, parent BIGINT, n BIGINT NOT NULL, FOREIGN KEY (parent) REFERENCES $_parent (id) ON DELETE RESTRICT)",
		"CREATE TABLE IF NOT EXISTS $_name (name VARCHAR(128) NOT NULL PRIMARY KEY, n BIGINT NOT NULL)",
	} {
		if err := exec(ctx, db, k.t(statement)+suffix); err != nil {
			return fmt.Errorf("make the tables of the check: %w", err)
		}
	}
	return nil
}

// drop removes the tables, also when the check was broken off.
func (k *checker) drop(ctx context.Context, db *sqldb.DB) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dropTime)
	defer cancel()
	for _, name := range []string{"$_child", "$_parent", "$_name"} {
		if err := exec(ctx, db, k.t("DROP TABLE IF EXISTS "+name)); err != nil {
			k.bad("", "drop it by hand", "table %s is left behind: %s", k.t(name), err)
		}
	}
}

// exec runs one statement that may be run twice.
func exec(ctx context.Context, db *sqldb.DB, statement string, args ...any) error {
	return db.Tx(ctx, "check.exec", func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, statement, args...)
		return err
	})
}

// insert inserts a row whose key nobody else takes: that it is there says that an earlier run was committed and the answer lost.
func insert(ctx context.Context, db *sqldb.DB, statement string, args ...any) error {
	err := exec(ctx, db, statement, args...)
	if fail.Is(err, fail.Exists) {
		return nil
	}
	return err
}

// pair answers two of the servers for a round, in turn; the same twice where there is one.
func (k *checker) pair(round int) (a, b *sqldb.DB) {
	n := len(k.servers)
	i := round % n
	return k.servers[i], k.servers[(i+1)%n]
}

// causal looks whether what one server acknowledged is found through another at once, by reads and by writes.
func (k *checker) causal(ctx context.Context) {
	missed := 0
	for round := range 3 * k.rounds {
		a, b := k.pair(round)
		id := sqldb.NewID()
		if err := insert(ctx, a, k.t("INSERT INTO $_parent (id) VALUES (?)"), id); err != nil {
			k.wrong("", err, "causal reads")
			return
		}
		ok, err := k.follows(ctx, b, id)
		if err != nil {
			k.wrong("", err, "causal reads")
			return
		}
		if !ok {
			missed++
		}
	}
	if missed > 0 {
		k.bad("", "is wsrep_sync_wait forbidden or a balancer that splits reads in between? Havn sets it for each connection", "what one server acknowledged was missed through another in %d of %d rounds", missed, 3*k.rounds)
		return
	}
	k.good("", "what one of %d servers acknowledged is found through the others at once, in %d rounds", len(k.servers), 3*k.rounds)
}

// follows reads the row, refers to it and deletes the reference.
func (k *checker) follows(ctx context.Context, db *sqldb.DB, id int64) (bool, error) {
	var n int64
	if err := db.Row(ctx, k.t("SELECT COUNT(*) FROM $_parent WHERE id = ?"), id).Scan(&n); err != nil || n != 1 {
		return false, err
	}
	err := db.Tx(ctx, "check.follow", func(tx *sqldb.Tx) error {
		if _, err := tx.InsertIgnore(ctx, k.prefix+"_child", []string{"id", "parent", "n"}, id, id, 0); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, k.t("DELETE FROM $_child WHERE id = ?"), id)
		return err
	})
	if fail.Is(err, fail.Conflict) {
		return false, nil
	}
	return err == nil, err
}

// values looks how names and counts behave.
func (k *checker) values(ctx context.Context) {
	db := k.servers[0]
	name := "v1-" + sqldb.NewToken()[:8]
	err := insert(ctx, db, k.t("INSERT INTO $_name (name, n) VALUES (?, 1)"), name)
	if err == nil {
		err = exec(ctx, db, k.t("INSERT INTO $_name (name, n) VALUES (?, 2)"), strings.ToUpper(name))
	}
	switch {
	case fail.Is(err, fail.Exists):
		k.bad("", "Havn's tables have a binary collation: were they changed?", "names that differ in case alone count as the same")
	case err != nil:
		k.wrong("", err, "names")
	default:
		k.good("", "names are compared byte by byte")
	}
	var matched int64
	err = db.Tx(ctx, "check.match", func(tx *sqldb.Tx) (err error) {
		matched, err = tx.Exec(ctx, k.t("UPDATE $_name SET n = 1 WHERE name = ?"), name)
		return err
	})
	switch {
	case err != nil:
		k.wrong("", err, "count rows")
	case matched != 1:
		k.bad("", "is a proxy in between that answers for the server?", "an update that changes nothing says %d rows, want 1", matched)
	default:
		k.good("", "updates count the rows that they match")
	}
}
