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

// redisAdmin is the password of the user default, with which servers speak to each other and the lab to them.
const redisAdmin = "havn-lab-admin"

// RedisRights are what Havn's own user may do in every lab: what the documentation tells operators to grant.
const RedisRights = "resetkeys ~havn:* resetchannels -@all +@connection +get +set +del +eval +time +role +cluster|slots +cluster|shards"

// RedisNode is one server: a master, a replica or a Sentinel. Its methods are safe for concurrent use.
type RedisNode struct {
	Host string // host:port; the same after a restart

	r        *Redis
	name     string
	dir      string
	ip       string
	port     int
	bus      int // the cluster's own port
	sentinel bool

	mu sync.Mutex
	p  *process
}

func newRedisNode(r *Redis, name string, sentinel bool) (*RedisNode, error) {
	n := &RedisNode{r: r, name: name, ip: freeIP(), sentinel: sentinel}
	var err error
	if n.dir, err = r.place.sub(r.a, name); err != nil {
		return nil, err
	}
	ports, err := freePorts(n.ip, 2)
	if err != nil {
		return nil, err
	}
	n.port, n.bus = ports[0], ports[1]
	n.Host = fmt.Sprintf("%s:%d", n.ip, n.port)
	return n, nil
}

func (n *RedisNode) config() string { return filepath.Join(n.dir, "redis.conf") }

// Log answers the file with what the server says.
func (n *RedisNode) Log() string { return filepath.Join(n.dir, "log") }

// configure writes the server's configuration, once: servers and Sentinels write what they learn into it.
func (n *RedisNode) configure(lines ...string) error {
	if _, err := os.Stat(n.config()); err == nil {
		return nil
	}
	all := []string{"bind " + n.ip, "bind-source-addr " + n.ip, "dir " + n.dir, "logfile " + n.Log(), "daemonize no", "protected-mode no"}
	if n.r.tls.ca == "" {
		all = append(all, fmt.Sprintf("port %d", n.port))
	} else {
		all = append(all, "port 0", fmt.Sprintf("tls-port %d", n.port), "tls-cert-file "+n.r.tls.cert, "tls-key-file "+n.r.tls.key,
			"tls-ca-cert-file "+n.r.tls.ca, "tls-auth-clients no", "tls-replication yes")
	}
	if !n.sentinel {
		all = append(all, "requirepass "+n.r.admin, "masterauth "+n.r.admin, "save \"\"", "appendonly no", "maxmemory 64mb", "maxmemory-policy allkeys-lru", "replica-announce-ip "+n.ip,
			"repl-diskless-sync-delay 0", "repl-ping-replica-period 1")
		if n.r.old {
			all = append(all, `rename-command HELLO ""`)
		} else {
			all = append(all, fmt.Sprintf("user %s on >%s %s", User, Password, RedisRights))
		}
	}
	text := strings.Join(append(all, lines...), "\n") + "\n"
	err := os.WriteFile(n.config(), []byte(text), 0o600)
	if err == nil {
		err = os.Chown(n.config(), n.r.a.uid, n.r.a.gid)
	}
	if err != nil {
		return fail.E(fail.Unavailable, err, "configuration of Redis %s", n.name)
	}
	return nil
}

// Start starts a server that is down, and waits until it answers. A node of a cluster may need longer until it takes part: see Redis.Settle.
func (n *RedisNode) Start(ctx context.Context) error {
	p, err := n.begin()
	if err != nil {
		return err
	}
	err = p.until(ctx, n.Log(), func(ctx context.Context) error {
		answer, askErr := n.ask(ctx, "PING")
		if askErr == nil && answer != "PONG" {
			askErr = fail.E(fail.Unavailable, nil, "Redis %s answers %q", n.name, answer)
		}
		return askErr
	})
	if err != nil {
		p.kill()
	}
	return err
}

func (n *RedisNode) begin() (*process, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.p != nil && !n.p.ended() {
		return nil, fail.E(fail.Conflict, nil, "Redis %s runs already", n.name)
	}
	args := []string{n.config()}
	if n.sentinel {
		args = append(args, "--sentinel")
	}
	p, err := begin(n.r.a.command(n.dir, n.r.server, args...))
	if err == nil {
		n.p = p
	}
	return p, err
}

func (n *RedisNode) process() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.p
}

// ask runs a command with the command line client.
func (n *RedisNode) ask(ctx context.Context, command ...string) (string, error) {
	password := n.r.admin
	if n.sentinel {
		password = "" // Sentinels have accounts of their own, and ours have none
	}
	return n.r.cli(ctx, password, append([]string{"-h", n.ip, "-p", fmt.Sprint(n.port)}, command...)...)
}

// Role answers what the server says that it is: master, replica or sentinel; in a cluster it is an error if that is not whole.
func (n *RedisNode) Role(ctx context.Context) (string, error) {
	if n.sentinel {
		_, err := n.ask(ctx, "PING")
		return "sentinel", err
	}
	info, err := n.ask(ctx, "INFO", "replication")
	if err != nil {
		return "", err
	}
	role := field(info, "role")
	if role == "slave" {
		role = "replica"
	}
	if n.r.Mode != RedisCluster {
		return role, nil
	}
	state, err := n.ask(ctx, "CLUSTER", "INFO")
	if err == nil && field(state, "cluster_state") != "ok" {
		err = fail.E(fail.Unavailable, nil, "%s; the cluster is %s", role, field(state, "cluster_state"))
	}
	return role, err
}

// Running reports whether the process is there, paused or not.
func (n *RedisNode) Running() bool { return n.process().running() }

// Kill ends the server at once.
func (n *RedisNode) Kill() {
	if p := n.process(); p != nil {
		p.kill()
	}
}

// Pause freezes the server: its connections stay open and nothing answers. Resume lets it go on.
func (n *RedisNode) Pause() error { return n.process().signal(syscall.SIGSTOP) }

// Resume lets a paused server go on.
func (n *RedisNode) Resume() error { return n.process().signal(syscall.SIGCONT) }

// Restart ends the server as Kill does, and starts it again: empty, since nothing of it is on disk.
func (n *RedisNode) Restart(ctx context.Context) error {
	n.Kill()
	return n.Start(ctx)
}

// field answers a line `name:value` of a command's answer, "" if it is not there.
func field(answer, name string) string {
	for line := range strings.Lines(answer) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && key == name {
			return value
		}
	}
	return ""
}

// cli runs the command line client. It answers errors of the server as text, as the client does, except where those end it.
func (r *Redis) cli(ctx context.Context, password string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	all := []string{"--no-auth-warning"}
	if r.tls.ca != "" {
		all = append(all, "--tls", "--cacert", r.tls.ca)
	}
	cmd := exec.CommandContext(ctx, r.client, append(all, args...)...)
	cmd.Env = os.Environ()
	if password != "" {
		cmd.Env = append(cmd.Env, "REDISCLI_AUTH="+password)
	}
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return "", fail.E(fail.Unavailable, errors.Join(err, ctx.Err()), "redis-cli %s: %s", strings.Join(args, " "), text)
	}
	return text, nil
}
