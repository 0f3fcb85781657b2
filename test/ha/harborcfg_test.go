package ha

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/havn-registry/havn/internal/lab"
	"github.com/havn-registry/havn/test/harness"
)

// harborCfg writes the file of a Harbor 1.5 in HA: one address of the Galera cluster, one of the Redis Cluster, radosgw by Swift.
func harborCfg(t *testing.T, db, redis string, c *lab.Ceph) string {
	t.Helper()
	host, port, err := net.SplitHostPort(db)
	need(t, err)
	text := fmt.Sprintf(`_version = 1.5.0
hostname = registry.example.com
ui_url_protocol = http
harbor_admin_password = %s
auth_mode = db_auth
self_registration = off
token_expiration = 30
db_host = %s
db_password = %s
db_port = %s
db_user = %s
redis_url = %s,100,%s,0
registry_storage_provider_name = swift
registry_storage_provider_config = authurl: %s, username: %s, password: %s, container: registry.example.com
`, harness.Password, host, lab.Password, port, lab.User, redis, lab.Password, c.SwiftAuthURL(), lab.SwiftUser, lab.SwiftKey)
	path := filepath.Join(t.TempDir(), "harbor.cfg")
	need(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// harborServes serves on a harbor.cfg as it is, which knows one address of each cluster, and kills just these under the nodes.
func harborServes(t *testing.T, g *lab.Galera) {
	need(t, g.Nodes[0].CreateDatabase(t.Context(), "harborcfg"))
	ceph, err := lab.StartCeph(t.Context(), "", lab.CephOptions{})
	need(t, err)
	t.Cleanup(func() { need(t, ceph.Stop()) })
	redis, err := lab.StartRedis(t.Context(), lab.RedisOptions{Mode: lab.RedisCluster, Old: true})
	need(t, err)
	t.Cleanup(func() { need(t, redis.Stop()) })
	cfg := harborCfg(t, g.Nodes[0].Host, redis.Nodes[0].Host, ceph)
	var all []*harness.Server
	for range 2 {
		s := harness.Start(t, harness.Options{Env: []string{"HAVN_HARBOR_CFG=" + cfg, "HAVN_DATABASE_NAME=harborcfg", "HAVN_ADMIN_PASSWORD=", "HAVN_CLUSTER_SECRET=" + harness.Secret}})
		s.Await(t, func() error {
			if !strings.Contains(s.Log(), "mode=cluster") {
				return fmt.Errorf("Redis is not taken for a cluster")
			}
			text, readErr := os.ReadFile(filepath.Join(s.Data, "database-hosts.json"))
			for _, host := range g.Hosts(0)[1:] {
				if readErr == nil && !strings.Contains(string(text), host) {
					readErr = fmt.Errorf("%s is not remembered: %s", host, text)
				}
			}
			return readErr
		})
		all = append(all, s)
	}
	serveEachOther(t, all)
	g.Nodes[0].Kill()
	defer func() { need(t, g.Nodes[0].Start(t.Context())) }()
	redis.Nodes[0].Kill()
	serveEachOther(t, all)
	for _, s := range all {
		if log := s.Log(); strings.Contains(log, lab.Password) || strings.Contains(log, lab.SwiftKey) || strings.Contains(log, harness.Password) {
			t.Error("a password is in the log")
		}
	}
}
