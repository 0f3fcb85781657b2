package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	redisPackages = "redis-server"
	// RedisMaster is the name under which Sentinels know the master.
	RedisMaster = "havn"
	// deadAfter is when a silent server counts as dead: short, and longer than a loaded machine lets one wait.
	deadAfter = time.Second
)

// RedisMode is how servers of Redis stand together.
type RedisMode string

// The modes, with the number of servers that a lab starts for each.
const (
	RedisSingle   RedisMode = "single"   // 1
	RedisSentinel RedisMode = "sentinel" // a master and a replica, watched by 3 Sentinels
	RedisCluster  RedisMode = "cluster"  // 3 masters, 3 replicas
)

// RedisOptions say what StartRedis starts.
type RedisOptions struct {
	Dir  string // "": a temporary directory
	Mode RedisMode
	TLS  bool
	Old  bool // as before Redis 6: no HELLO and no users, one password for all
}

// Redis is one server, servers watched by Sentinels, or a cluster. Clients come as User with Password, which may do what RedisRights says. Nothing is on disk.
type Redis struct {
	Mode      RedisMode
	Nodes     []*RedisNode // what holds the data; the first are masters at the start
	Sentinels []*RedisNode
	CAFile    string // with TLS: the certificate of its authority

	a              account
	place          place
	tls            authority
	admin          string // the password of the user default
	old            bool
	server, client string
}

// StartRedis starts servers and waits until all of them serve and replicas are in step.
func StartRedis(ctx context.Context, o RedisOptions) (*Redis, error) {
	r := &Redis{Mode: o.Mode, old: o.Old, admin: redisAdmin}
	if o.Old {
		r.admin = Password
	}
	var err error
	if r.server, err = program(redisPackages, "redis-server"); err != nil {
		return nil, err
	}
	if r.client, err = program(redisPackages, "redis-cli"); err != nil {
		return nil, err
	}
	if r.a, err = accountOf("redis", redisPackages); err != nil {
		return nil, err
	}
	if r.place, err = newPlace(o.Dir, r.a); err != nil {
		return nil, err
	}
	if err = r.start(ctx, o.TLS); err != nil {
		return nil, errors.Join(err, r.Stop())
	}
	return r, nil
}

func (r *Redis) start(ctx context.Context, secure bool) error {
	counts := map[RedisMode][2]int{RedisSingle: {1, 0}, RedisSentinel: {2, 3}, RedisCluster: {6, 0}}[r.Mode]
	var ips []string
	for i := range counts[0] + counts[1] {
		name, sentinel := fmt.Sprintf("r%d", i+1), i >= counts[0]
		if sentinel {
			name = fmt.Sprintf("s%d", i-counts[0]+1)
		}
		n, err := newRedisNode(r, name, sentinel)
		if err != nil {
			return err
		}
		ips = append(ips, n.ip)
		if sentinel {
			r.Sentinels = append(r.Sentinels, n)
		} else {
			r.Nodes = append(r.Nodes, n)
		}
	}
	if secure {
		var err error
		if r.tls, err = newAuthority(r.place.dir, r.a, ips); err != nil {
			return err
		}
		r.CAFile = r.tls.ca
	}
	if err := r.configure(); err != nil {
		return err
	}
	for _, n := range append(append([]*RedisNode{}, r.Nodes...), r.Sentinels...) {
		if err := n.Start(ctx); err != nil {
			return err
		}
	}
	if r.Mode == RedisCluster {
		args := []string{"--cluster", "create"}
		for _, n := range r.Nodes {
			args = append(args, n.Host)
		}
		if _, err := r.cli(ctx, r.admin, append(args, "--cluster-replicas", "1", "--cluster-yes")...); err != nil {
			return err
		}
	}
	return r.Settle(ctx)
}

func (r *Redis) configure() error {
	var errs []error
	first := r.Nodes[0]
	for i, n := range r.Nodes {
		var lines []string
		switch {
		case r.Mode == RedisCluster:
			lines = []string{
				"cluster-enabled yes", "cluster-config-file " + n.dir + "/nodes.conf", fmt.Sprintf("cluster-port %d", n.bus), "cluster-announce-ip " + n.ip,
				fmt.Sprintf("cluster-node-timeout %d", deadAfter.Milliseconds()), "cluster-migration-barrier 1",
			}
			if r.tls.ca != "" {
				lines = append(lines, "tls-cluster yes")
			}
		case i > 0:
			lines = []string{fmt.Sprintf("replicaof %s %d", first.ip, first.port)}
		}
		errs = append(errs, n.configure(lines...))
	}
	for _, n := range r.Sentinels {
		errs = append(errs, n.configure(
			fmt.Sprintf("sentinel monitor %s %s %d 2", RedisMaster, first.ip, first.port), fmt.Sprintf("sentinel auth-pass %s %s", RedisMaster, r.admin),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", RedisMaster, deadAfter.Milliseconds()),
			fmt.Sprintf("sentinel failover-timeout %s 5000", RedisMaster), "sentinel announce-ip "+n.ip))
	}
	return errors.Join(errs...)
}

// Addrs answers what a client is configured with: the servers, or the Sentinels where there are some.
func (r *Redis) Addrs() []string {
	from := r.Nodes
	if r.Mode == RedisSentinel {
		from = r.Sentinels
	}
	var all []string
	for _, n := range from {
		all = append(all, n.Host)
	}
	return all
}

// Old reports whether this Redis is as before version 6.
func (r *Redis) Old() bool { return r.old }

// Settle waits until every server runs, the cluster or the Sentinels agree, and each replica is in step with its master.
func (r *Redis) Settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		err := r.settled(ctx)
		if err == nil {
			return nil
		}
		pause := time.NewTimer(pollTime)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fail.E(fail.Unavailable, errors.Join(err, ctx.Err()), "Redis does not settle")
		}
	}
}

func (r *Redis) settled(ctx context.Context) error {
	replicas := 0
	for _, n := range r.Nodes {
		info, err := n.ask(ctx, "INFO", "replication")
		if err != nil {
			return err
		}
		if field(info, "role") == "master" {
			continue
		}
		if replicas++; field(info, "master_link_status") != "up" {
			return fail.E(fail.Unavailable, nil, "Redis %s is not in step", n.name)
		}
	}
	if want := len(r.Nodes) / 2; replicas != want {
		return fail.E(fail.Unavailable, nil, "%d replicas of Redis, want %d", replicas, want)
	}
	if r.Mode == RedisCluster {
		for _, n := range r.Nodes {
			info, err := n.ask(ctx, "CLUSTER", "INFO")
			if err != nil {
				return err
			}
			if field(info, "cluster_state") != "ok" || field(info, "cluster_known_nodes") != fmt.Sprint(len(r.Nodes)) || field(info, "cluster_slots_pfail") != "0" {
				return fail.E(fail.Unavailable, nil, "Redis %s sees a cluster that is not whole", n.name)
			}
		}
	}
	for _, n := range r.Sentinels {
		info, err := n.ask(ctx, "INFO", "sentinel")
		if err != nil {
			return err
		}
		if !strings.Contains(info, "name="+RedisMaster+",status=ok,") || !strings.Contains(info, fmt.Sprintf("slaves=%d,sentinels=%d", len(r.Nodes)-1, len(r.Sentinels))) {
			return fail.E(fail.Unavailable, nil, "Sentinel %s does not see all others", n.name)
		}
	}
	return nil
}

// Masters answers the servers that say of themselves that they are masters. Those that do not answer are left out.
func (r *Redis) Masters(ctx context.Context) []*RedisNode {
	var all []*RedisNode
	for _, n := range r.Nodes {
		bounded, cancel := context.WithTimeout(ctx, deadAfter)
		info, err := n.ask(bounded, "INFO", "replication")
		cancel()
		if err == nil && field(info, "role") == "master" {
			all = append(all, n)
		}
	}
	return all
}

// Moved waits until another server than the lost one is known as the master of what that was the master of: by the rest of the cluster, or by the Sentinels.
func (r *Redis) Moved(ctx context.Context, lost *RedisNode) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		moved, err := r.moved(ctx, lost)
		if moved && err == nil {
			return nil
		}
		pause := time.NewTimer(pollTime / 5)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return fail.E(fail.Unavailable, errors.Join(err, ctx.Err()), "nobody takes the place of Redis %s", lost.name)
		}
	}
}

func (r *Redis) moved(ctx context.Context, lost *RedisNode) (bool, error) {
	if r.Mode == RedisSentinel {
		answer, err := r.Sentinels[0].ask(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", RedisMaster)
		return err == nil && !strings.HasPrefix(answer, lost.ip+"\n"), err
	}
	for _, n := range r.Nodes {
		if n == lost {
			continue
		}
		nodes, err := n.ask(ctx, "CLUSTER", "NODES")
		if err != nil {
			return false, err
		}
		for line := range strings.Lines(nodes) {
			// id address flags master ping pong epoch link slots…
			f := strings.Fields(line)
			if len(f) > 8 && strings.HasPrefix(f[1], lost.Host+"@") && strings.Contains(f[2], "master") {
				return false, nil
			}
		}
	}
	return true, nil
}

// Reshard moves slots from one master of a cluster to another while they serve.
func (r *Redis) Reshard(ctx context.Context, from, to *RedisNode, slots int) error {
	var ids []string
	for _, n := range []*RedisNode{from, to} {
		id, err := n.ask(ctx, "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		ids = append(ids, id)
	}
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	for {
		_, err := r.cli(ctx, r.admin, "--cluster", "reshard", from.Host, "--cluster-from", ids[0], "--cluster-to", ids[1], "--cluster-slots", fmt.Sprint(slots), "--cluster-yes")
		if err == nil || !strings.Contains(err.Error(), "agree about configuration") {
			return err
		}
		// Not all have heard of slots that moved a moment ago; nothing was moved.
		pause := time.NewTimer(pollTime)
		select {
		case <-pause.C:
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		}
	}
}

// Stop ends all servers and removes their directory if that was made here.
func (r *Redis) Stop() error {
	for _, n := range append(append([]*RedisNode{}, r.Sentinels...), r.Nodes...) {
		n.Kill()
	}
	return r.place.remove()
}
