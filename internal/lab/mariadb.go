package lab

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/go-sql-driver/mysql"

	"github.com/havn-registry/havn/internal/fail"
)

// What every lab's database is called, and who may use it: the user has the rights that docs/operations.md grants, and no more, so that the tests prove that they are enough.
const (
	User     = "havn"
	Password = "havn-lab"
	Database = "havn"
)

// mariaAdmin may do everything, from everywhere.
const mariaAdmin = "lab"

const mariaPackages = "mariadb-server galera-4"

// MariaDB is one server, alone or a node of a Galera cluster. Its methods are safe for concurrent use.
type MariaDB struct {
	Host string // host:port; the same after a restart
	// Files of the authority and of the certificate that the server shows, which is good for a client too; "" without TLS.
	CA, Certificate, Key string
	// Options are more lines of its configuration, from its next start on. Not to be changed while it starts.
	Options []string

	a        account
	place    place
	dir      string // below place
	name     string
	ip       string
	ports    [4]int // SQL; the cluster's own: group, IST, SST
	provider string // Galera's library; "": alone
	members  string // addresses of the group
	durable  bool   // commits survive a power cut too
	mariadbd string

	mu sync.Mutex
	p  *process
}

// StartMariaDB starts a server in dir, or in a temporary directory if dir is "", and waits until it answers.
func StartMariaDB(ctx context.Context, dir string) (*MariaDB, error) {
	return startMariaDB(ctx, dir, false)
}

// StartMariaDBWithTLS is StartMariaDB, and the server takes no connection without TLS.
func StartMariaDBWithTLS(ctx context.Context, dir string) (*MariaDB, error) {
	return startMariaDB(ctx, dir, true)
}

func startMariaDB(ctx context.Context, dir string, withTLS bool) (*MariaDB, error) {
	a, place, err := mariaPlace(dir)
	if err != nil {
		return nil, err
	}
	m, err := newMariaDB(a, place, "n1")
	if err == nil && withTLS {
		var files authority
		files, err = newAuthority(m.dir, a, []string{m.ip})
		m.CA, m.Certificate, m.Key = files.ca, files.cert, files.key
	}
	if err == nil {
		err = m.install(ctx)
	}
	if err == nil {
		err = m.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, place.remove())
	}
	return m, nil
}

func mariaPlace(dir string) (account, place, error) {
	a, err := accountOf("mysql", mariaPackages)
	if err != nil {
		return a, place{}, err
	}
	p, err := newPlace(dir, a)
	return a, p, err
}

// newMariaDB makes the directories of a node and chooses its addresses.
func newMariaDB(a account, p place, name string) (*MariaDB, error) {
	m := &MariaDB{a: a, place: p, name: name, ip: freeIP()}
	var err error
	if m.mariadbd, err = program(mariaPackages, "mariadbd"); err != nil {
		return nil, err
	}
	if m.dir, err = p.sub(a, name); err != nil {
		return nil, err
	}
	if _, err = p.sub(a, name+"/data"); err != nil {
		return nil, err
	}
	if _, err = p.sub(a, name+"/tmp"); err != nil {
		return nil, err
	}
	ports, err := freePorts(m.ip, len(m.ports))
	if err != nil {
		return nil, err
	}
	copy(m.ports[:], ports)
	m.Host = fmt.Sprintf("%s:%d", m.ip, m.ports[0])
	return m, nil
}

// configure writes the server's configuration.
func (m *MariaDB) configure() error {
	lines := []string{
		"[mysqld]",
		"datadir=" + m.dir + "/data", "tmpdir=" + m.dir + "/tmp", "socket=" + m.dir + "/sock", "pid-file=" + m.dir + "/pid",
		"log-error=" + m.dir + "/log.err", "bind-address=" + m.ip, fmt.Sprintf("port=%d", m.ports[0]),
		"skip-name-resolve", "skip-log-bin", "performance_schema=OFF", "max_connections=300",
		"binlog_format=ROW", "default_storage_engine=InnoDB", "innodb_autoinc_lock_mode=2",
		"innodb_buffer_pool_size=32M", "innodb_log_file_size=16M", "innodb_log_buffer_size=2M",
		"key_buffer_size=1M", "aria_pagecache_buffer_size=1M",
	}
	if m.durable {
		lines = append(lines, "innodb_flush_log_at_trx_commit=1")
	} else {
		// Written at each commit, so that it survives a kill, and never flushed.
		lines = append(lines, "innodb_flush_log_at_trx_commit=2", "innodb_flush_method=nosync", "innodb_doublewrite=0")
	}
	if m.CA != "" {
		lines = append(lines, "ssl_ca="+m.CA, "ssl_cert="+m.Certificate, "ssl_key="+m.Key, "require_secure_transport=ON")
	}
	if m.provider != "" {
		group := fmt.Sprintf("%s:%d", m.ip, m.ports[1])
		ist := fmt.Sprintf("%s:%d", m.ip, m.ports[2])
		options := []string{
			"base_host=" + m.ip, fmt.Sprintf("base_port=%d", m.ports[1]), "gmcast.listen_addr=tcp://" + group,
			"ist.recv_addr=" + ist, "ist.recv_bind=" + ist, "gcache.size=64M", "gcache.page_size=16M",
			// A dead node is noticed after 1.5 s; a loaded machine must not look dead.
			"evs.keepalive_period=PT0.3S", "evs.suspect_timeout=PT1.5S", "evs.inactive_check_period=PT0.3S",
			"evs.inactive_timeout=PT8S", "gmcast.peer_timeout=PT2S", "gmcast.time_wait=PT1S",
		}
		lines = append(lines,
			"wsrep_on=ON", "wsrep_provider="+m.provider, "wsrep_cluster_name=havn-lab", "wsrep_cluster_address=gcomm://"+m.members,
			"wsrep_node_name="+m.name, "wsrep_node_address="+m.ip, "wsrep_node_incoming_address="+m.Host, "wsrep_slave_threads=2",
			"wsrep_sst_method=rsync", fmt.Sprintf("wsrep_sst_receive_address=%s:%d", m.ip, m.ports[3]),
			`wsrep_provider_options="`+strings.Join(options, ";")+`"`)
	}
	lines = append(lines, m.Options...)
	if err := os.WriteFile(m.config(), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		return fail.E(fail.Unavailable, err, "configuration of %s", m.name)
	}
	return nil
}

func (m *MariaDB) config() string { return filepath.Join(m.dir, "my.cnf") }

// install makes the system's tables, the database and the user, unless the directory has them.
func (m *MariaDB) install(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(m.dir, "data", "mysql")); err == nil {
		return nil
	}
	install, err := program(mariaPackages, "mariadb-install-db")
	if err != nil {
		return err
	}
	args := []string{
		"--no-defaults", "--datadir=" + m.dir + "/data", "--tmpdir=" + m.dir + "/tmp", "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve", "--innodb-log-file-size=16M", "--innodb-flush-method=nosync",
	}
	if err = m.a.run(ctx, m.dir, install, args...); err != nil {
		return err
	}
	start := strings.Join([]string{
		"FLUSH PRIVILEGES;",
		"CREATE USER '" + mariaAdmin + "'@'%' IDENTIFIED BY '" + Password + "';",
		"GRANT ALL ON *.* TO '" + mariaAdmin + "'@'%' WITH GRANT OPTION;",
		"CREATE USER '" + User + "'@'%' IDENTIFIED BY '" + Password + "';",
		createMariaDB(Database),
	}, "\n") + "\n"
	file := filepath.Join(m.dir, "start.sql")
	if err = os.WriteFile(file, []byte(start), 0o644); err != nil {
		return fail.E(fail.Unavailable, err, "first statements of %s", m.name)
	}
	return m.a.run(ctx, m.dir, "/bin/sh", "-c", fmt.Sprintf(
		"exec %s --no-defaults --bootstrap --datadir=%s/data --tmpdir=%s/tmp --innodb-log-file-size=16M --innodb-flush-method=nosync <%s",
		m.mariadbd, m.dir, m.dir, file))
}

// Start starts a server that is down, and waits until it answers.
func (m *MariaDB) Start(ctx context.Context) error {
	if err := m.begin(ctx); err != nil {
		return err
	}
	return m.ready(ctx)
}

// begin starts the process, with more arguments.
func (m *MariaDB) begin(ctx context.Context, args ...string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.p != nil && !m.p.ended() {
		return fail.E(fail.Conflict, nil, "%s runs already", m.name)
	}
	if err := m.configure(); err != nil {
		return err
	}
	if m.provider != "" {
		at, err := m.position(ctx)
		if err != nil {
			return err
		}
		if at != "" {
			args = append(args, "--wsrep_start_position="+at)
		}
	}
	p, err := begin(m.a.command(m.dir, m.mariadbd, append([]string{"--defaults-file=" + m.config()}, args...)...))
	if err != nil {
		return err
	}
	m.p = p
	return nil
}

// ready waits until the server answers, and as a node of a cluster is part of it.
func (m *MariaDB) ready(ctx context.Context) error {
	p := m.process()
	err := p.until(ctx, m.Log(), func(ctx context.Context) error {
		if m.provider == "" {
			_, err := m.ask(ctx, "SELECT 1")
			return err
		}
		state, err := m.ask(ctx, "SHOW STATUS LIKE 'wsrep_ready'; SHOW STATUS LIKE 'wsrep_local_state_comment'")
		if err == nil && (!strings.Contains(state, "ON") || !strings.Contains(state, "Synced")) {
			err = fail.E(fail.Unavailable, nil, "%s is %q", m.name, state)
		}
		return err
	})
	if err != nil {
		p.kill()
	}
	return err
}

// Ended reports whether the server's process is over: killed, or by itself, as a node does that missed too much of the cluster's history to catch up while it runs.
func (m *MariaDB) Ended() bool {
	p := m.process()
	return p == nil || p.ended()
}

func (m *MariaDB) process() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.p
}

// ask runs statements as the administrator, and answers the rows of all that answer some, columns separated by tabs.
func (m *MariaDB) ask(ctx context.Context, statements string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr = mariaAdmin, Password, "tcp", m.Host
	c.Timeout, c.MultiStatements, c.Logger = askTime, true, new(mysql.NopLogger)
	if m.CA != "" {
		c.TLSConfig = "skip-verify" // its certificate may be one that Havn is to refuse
	}
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return "", fail.E(fail.Internal, err, "ask %s", m.name)
	}
	db := sql.OpenDB(connector)
	lines, err := answers(ctx, db, statements)
	_ = db.Close() //nolint:errcheck // what was asked is answered; a server that was killed meanwhile can't be told goodbye
	if err != nil {
		return "", fail.E(fail.Unavailable, err, "ask %s", m.name)
	}
	return strings.Join(lines, "\n"), nil
}

// answers runs statements and answers their rows.
func answers(ctx context.Context, db *sql.DB, statements string) (lines []string, err error) {
	rows, err := db.QueryContext(ctx, statements)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for more := true; more; more = rows.NextResultSet() {
		names, namesErr := rows.Columns()
		if namesErr != nil {
			return nil, namesErr
		}
		row, places := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range row {
			places[i] = &row[i]
		}
		for rows.Next() {
			if err = rows.Scan(places...); err != nil {
				return nil, err
			}
			texts := make([]string, len(row))
			for i, text := range row {
				if texts[i] = text.String; !text.Valid {
					texts[i] = "NULL"
				}
			}
			lines = append(lines, strings.Join(texts, "\t"))
		}
	}
	return lines, rows.Err()
}

// createMariaDB answers the statements that make an empty database of the lab's user, as docs/operations.md says: one a line, as the server wants it before it runs.
func createMariaDB(name string) string {
	return "CREATE DATABASE " + name + " CHARACTER SET utf8mb4;\nGRANT ALL ON " + name + ".* TO '" + User + "'@'%';"
}

// CreateDatabase makes another, empty database of the lab's user.
func (m *MariaDB) CreateDatabase(ctx context.Context, name string) error {
	_, err := m.ask(ctx, createMariaDB(name))
	return err
}

// Run runs statements as one who may do everything.
func (m *MariaDB) Run(ctx context.Context, statements string) error {
	_, err := m.ask(ctx, statements)
	return err
}

// Ask is Run, and answers the rows that come, each on a line, columns separated by tabs; NULL is that word.
func (m *MariaDB) Ask(ctx context.Context, statements string) (string, error) {
	return m.ask(ctx, statements)
}

// Log answers the file with what the server says.
func (m *MariaDB) Log() string { return filepath.Join(m.dir, "log.err") }

// Running reports whether the process is there, paused or not.
func (m *MariaDB) Running() bool { return m.process().running() }

// Kill ends the server at once, as a power cut would but for the kernel's caches.
func (m *MariaDB) Kill() {
	if p := m.process(); p != nil {
		p.kill()
	}
}

// Pause freezes the server, and what feeds or is fed for it in a state transfer: its connections stay open and nothing answers. Resume lets it go on.
func (m *MariaDB) Pause() error { return m.process().signalAll(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (m *MariaDB) Resume() error { return m.process().signalAll(syscall.SIGCONT) }

// Restart ends the server as Kill does, and starts it again.
func (m *MariaDB) Restart(ctx context.Context) error {
	m.Kill()
	return m.Start(ctx)
}

// halt lets the server end by itself.
func (m *MariaDB) halt() error {
	if p := m.process(); p != nil {
		return p.stop(syscall.SIGTERM)
	}
	return nil
}

// Stop ends the server and removes its directory if that was made here. It leaves nothing behind.
func (m *MariaDB) Stop() error {
	if m.place.ours {
		m.Kill()
		return m.place.remove()
	}
	return m.halt()
}
