package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/havn-registry/havn/internal/fail"
)

// StartStandby starts a server that follows p, in dir or in a temporary directory if dir is "", and waits until it answers.
func (p *Postgres) StartStandby(ctx context.Context, dir string) (*Postgres, error) {
	ip := freeIP()
	ports, err := freePorts(ip, 1)
	if err != nil {
		return nil, err
	}
	return p.startStandby(ctx, dir, ip, ports[0])
}

// StartKnownStandby is StartStandby, at an address that the primary knows: that from which connections come, with the primary's own port. There can be one.
func (p *Postgres) StartKnownStandby(ctx context.Context, dir string) (*Postgres, error) {
	return p.startStandby(ctx, dir, "127.0.0.1", p.port)
}

func (p *Postgres) startStandby(ctx context.Context, dir, ip string, port int) (*Postgres, error) {
	at, err := newPlace(dir, p.a)
	if err != nil {
		return nil, err
	}
	s := &Postgres{a: p.a, place: at, bin: p.bin, data: filepath.Join(at.dir, "data"), ip: ip, port: port, Host: fmt.Sprintf("%s:%d", ip, port)}
	if err = s.follow(ctx, p); err == nil {
		err = s.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// follow copies the primary, unless there is a copy.
func (p *Postgres) follow(ctx context.Context, primary *Postgres) error {
	if _, err := os.Stat(filepath.Join(p.data, "PG_VERSION")); err == nil {
		return nil
	}
	secret := filepath.Join(p.place.dir, "pgpass")
	if err := os.WriteFile(secret, fmt.Appendf(nil, "%s:%d:*:%s:%s\n", primary.ip, primary.port, postgresAdmin, Password), 0o600); err != nil {
		return fail.E(fail.Unavailable, err, "password of a lab")
	}
	if err := os.Chown(secret, p.a.uid, p.a.gid); err != nil {
		return fail.E(fail.Unavailable, err, "password of a lab")
	}
	source := fmt.Sprintf("host=%s port=%d user=%s passfile=%s", primary.ip, primary.port, postgresAdmin, secret)
	return p.a.run(ctx, p.place.dir, filepath.Join(p.bin, "pg_basebackup"), "--pgdata="+p.data, "--dbname="+source, "--write-recovery-conf",
		"--wal-method=stream", "--checkpoint=fast", "--no-sync")
}

// Promote makes a standby the primary.
func (p *Postgres) Promote(ctx context.Context) error {
	return p.ask(ctx, "postgres", "SELECT pg_promote()")
}
