package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/havn-registry/havn/internal/fail"
)

const postgresPackage = "postgresql"

// postgresAdmin is the superuser.
const postgresAdmin = "postgres"

// Postgres is one PostgreSQL server. Its methods are safe for concurrent use.
type Postgres struct {
	Host string // host:port; the same after a restart
	// Files of the authority and of the certificate that the server shows, which is good for a client too; "" without TLS.
	CA, Certificate, Key string

	a     account
	place place
	data  string
	ip    string
	port  int
	bin   string
	// durable: commits survive a power cut too
	durable bool

	mu sync.Mutex
	p  *process
}

// StartPostgres starts a server in dir, or in a temporary directory if dir is "", and waits until it answers.
func StartPostgres(ctx context.Context, dir string) (*Postgres, error) {
	return startPostgres(ctx, dir, false, false)
}

// StartDurablePostgres is StartPostgres, and what is committed survives a power cut, as it should in production.
func StartDurablePostgres(ctx context.Context, dir string) (*Postgres, error) {
	return startPostgres(ctx, dir, false, true)
}

// StartPostgresWithTLS is StartPostgres, and the server takes no connection without TLS.
func StartPostgresWithTLS(ctx context.Context, dir string) (*Postgres, error) {
	return startPostgres(ctx, dir, true, false)
}

func startPostgres(ctx context.Context, dir string, withTLS, durable bool) (*Postgres, error) {
	server, err := program(postgresPackage, "postgres", "/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return nil, err
	}
	a, err := accountOf("postgres", postgresPackage)
	if err != nil {
		return nil, err
	}
	at, err := newPlace(dir, a)
	if err != nil {
		return nil, err
	}
	p := &Postgres{a: a, place: at, bin: filepath.Dir(server), data: filepath.Join(at.dir, "data"), ip: freeIP(), durable: durable}
	ports, err := freePorts(p.ip, 1)
	if err == nil {
		p.port = ports[0]
		p.Host = fmt.Sprintf("%s:%d", p.ip, p.port)
		err = p.install(ctx)
	}
	if err == nil && withTLS {
		err = p.secure()
	}
	if err == nil {
		err = p.Start(ctx)
	}
	if err == nil {
		err = p.database(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.Stop())
	}
	return p, nil
}

// install makes the data directory, unless there is one.
func (p *Postgres) install(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(p.data, "PG_VERSION")); err == nil {
		return nil
	}
	secret := filepath.Join(p.place.dir, "password")
	if err := os.WriteFile(secret, []byte(Password+"\n"), 0o644); err != nil {
		return fail.E(fail.Unavailable, err, "password of a lab")
	}
	return p.a.run(ctx, p.place.dir, filepath.Join(p.bin, "initdb"), "--pgdata="+p.data, "--username="+postgresAdmin, "--pwfile="+secret,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
}

// hostsTLS lets in who comes with TLS; whoever claims to be NeedsCertificate, only with a certificate too.
const hostsTLS = "hostssl all " + NeedsCertificate + " all scram-sha-256 clientcert=verify-ca\nhostssl all all all scram-sha-256\n"

// NeedsCertificate is the user that a PostgreSQL server with TLS lets in only with a certificate of its authority. A test makes it.
const NeedsCertificate = "certified"

func (p *Postgres) secure() error {
	files, err := newAuthority(p.place.dir, p.a, []string{p.ip})
	if err != nil {
		return err
	}
	p.CA, p.Certificate, p.Key = files.ca, files.cert, files.key
	if err = os.WriteFile(filepath.Join(p.data, "pg_hba.conf"), []byte(hostsTLS), 0o600); err != nil {
		return fail.E(fail.Unavailable, err, "who may enter a lab")
	}
	return nil
}

// Start starts a server that is down, and waits until it answers.
func (p *Postgres) Start(ctx context.Context) error {
	if err := p.begin(); err != nil {
		return err
	}
	child := p.process()
	err := child.until(ctx, p.Log(), func(ctx context.Context) error { return p.ask(ctx, "postgres", "SELECT 1") })
	if err != nil {
		child.kill()
	}
	return err
}

func (p *Postgres) begin() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.p != nil && !p.p.ended() {
		return fail.E(fail.Conflict, nil, "the PostgreSQL server runs already")
	}
	log, err := os.OpenFile(p.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fail.E(fail.Unavailable, err, "log of a lab")
	}
	defer closeLog(log)
	cmd := p.a.command(p.place.dir, filepath.Join(p.bin, "postgres"), "-D", p.data, "-h", p.ip, "-p", fmt.Sprint(p.port),
		"-c", "unix_socket_directories=", "-c", "shared_buffers=32MB", "-c", "dynamic_shared_memory_type=mmap", "-c", "max_connections=200")
	if !p.durable {
		cmd.Args = append(cmd.Args, "-c", "fsync=off")
	}
	if p.CA != "" {
		cmd.Args = append(cmd.Args, "-c", "ssl=on", "-c", "ssl_ca_file="+p.CA, "-c", "ssl_cert_file="+p.Certificate, "-c", "ssl_key_file="+p.Key)
	}
	cmd.Stdout, cmd.Stderr = log, log
	child, err := begin(cmd)
	if err != nil {
		return err
	}
	p.p = child
	return nil
}

// Log answers the file with what the server says.
func (p *Postgres) Log() string { return filepath.Join(p.place.dir, "log") }

func (p *Postgres) process() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.p
}

// database makes the user and the database, as docs/operations.md says, unless the database is there.
func (p *Postgres) database(ctx context.Context) error {
	if p.ask(ctx, Database, "SELECT 1") == nil {
		return nil
	}
	if err := p.ask(ctx, "postgres", "CREATE USER "+User+" PASSWORD '"+Password+"'; GRANT pg_read_all_stats TO "+User); err != nil {
		return err
	}
	return p.CreateDatabase(ctx, Database)
}

// Run runs statements in the lab's database as the superuser.
func (p *Postgres) Run(ctx context.Context, statements string) error {
	return p.ask(ctx, Database, statements)
}

// RunIn is Run in another database.
func (p *Postgres) RunIn(ctx context.Context, database, statements string) error {
	return p.ask(ctx, database, statements)
}

// CreateDatabase makes another, empty database of the lab's user.
func (p *Postgres) CreateDatabase(ctx context.Context, name string) error {
	return p.ask(ctx, "postgres", "CREATE DATABASE "+name+" OWNER "+User+" ENCODING 'UTF8'")
}

func (p *Postgres) ask(ctx context.Context, database, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(p.bin, "psql"), "--no-psqlrc", "--quiet", "--host="+p.ip, fmt.Sprintf("--port=%d", p.port),
		"--username="+postgresAdmin, "--dbname="+database, "--command="+statement)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+Password, "PGCONNECT_TIMEOUT=5")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fail.E(fail.Unavailable, err, "ask PostgreSQL: %s", strings.TrimSpace(string(out)))
	}
	return nil
}

// Running reports whether the process is there, paused or not.
func (p *Postgres) Running() bool { return p.process().running() }

// Kill ends the server and its processes at once.
func (p *Postgres) Kill() {
	if child := p.process(); child != nil {
		child.kill()
	}
}

// Pause freezes the server with all its processes: its connections stay open and nothing answers. Resume lets it go on.
func (p *Postgres) Pause() error { return p.process().signalAll(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (p *Postgres) Resume() error { return p.process().signalAll(syscall.SIGCONT) }

// Restart ends the server as Kill does, and starts it again.
func (p *Postgres) Restart(ctx context.Context) error {
	p.Kill()
	return p.Start(ctx)
}

// Stop ends the server and removes its directory if that was made here. It leaves nothing behind.
func (p *Postgres) Stop() error {
	if p.place.ours {
		p.Kill()
		return p.place.remove()
	}
	if child := p.process(); child != nil {
		return child.stop(syscall.SIGINT)
	}
	return nil
}
