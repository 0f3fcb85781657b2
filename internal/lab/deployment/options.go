package deployment

import (
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/lab"
)

// What a deployment can stand on.
const (
	Galera   = "galera"
	Postgres = "postgres"
	S3       = "s3"
	Swift    = "swift"
)

// The choices that Options leave, the defaults first.
var (
	Databases = []string{Galera, Postgres}
	Redises   = []string{string(lab.RedisCluster), string(lab.RedisSentinel), string(lab.RedisSingle)}
	Stores    = []string{S3, Swift}
)

// Options say what is started, and where.
type Options struct {
	Dir      string // everything is below it
	Program  string // the path of havn
	Addr     string // of HAProxy
	Database string // of Databases
	Redis    string // of Redises
	Store    string // of Stores: how Havn speaks to radosgw
	TLS      bool   // at HAProxy
}

// Check reports a choice that is none.
func (o Options) Check() error {
	for _, c := range []struct {
		name, value string
		allowed     []string
	}{{"database", o.Database, Databases}, {"redis", o.Redis, Redises}, {"store", o.Store, Stores}} {
		if !slices.Contains(c.allowed, c.value) {
			return fail.E(fail.Invalid, nil, "no %s %q is known", c.name, c.value).Hint("use %s", strings.Join(c.allowed, " or "))
		}
	}
	return nil
}

// Missing names the packages of Debian that are needed and not there.
func (o Options) Missing() []string {
	database := lab.GaleraPackages
	if o.Database == Postgres {
		database = lab.PostgresPackages
	}
	return lab.Missing(slices.Concat(database, lab.RedisPackages, lab.CephPackages, lab.LDAPPackages, lab.HAProxyPackages, lab.FirewallPackages))
}
