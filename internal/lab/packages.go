package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Package is a package of Debian and the file in it that is needed.
type Package struct {
	Name string
	// File is the name of a program on the path, or a pattern of an absolute path.
	File string
}

// Packages are those of all services that this package starts.
var Packages = slices.Concat(GaleraPackages, PostgresPackages, RedisPackages, CephPackages, LDAPPackages, HAProxyPackages, FirewallPackages)

// The packages of each kind of service.
var (
	GaleraPackages   = []Package{{"mariadb-server", "mariadbd"}, {"galera-4", "/usr/lib/galera/libgalera_smm.so"}, {"rsync", "rsync"}}
	PostgresPackages = []Package{{"postgresql", "/usr/lib/postgresql/*/bin/postgres"}}
	RedisPackages    = []Package{{"redis-server", "redis-server"}}
	CephPackages     = []Package{{"ceph-mon", "ceph-mon"}, {"ceph-osd", "ceph-osd"}, {"radosgw", "radosgw"}, {"ceph-common", "ceph"}}
	LDAPPackages     = []Package{{"slapd", "slapd"}, {"ldap-utils", "ldapadd"}}
	HAProxyPackages  = []Package{{"haproxy", "haproxy"}}
	FirewallPackages = []Package{{"nftables", "nft"}}
)

// Present says whether the package's file is there; the package itself need not be, where a file came another way.
func (p Package) Present() bool {
	if strings.HasPrefix(p.File, "/") {
		found, err := filepath.Glob(p.File)
		return err == nil && len(found) > 0
	}
	if _, err := exec.LookPath(p.File); err == nil {
		return true
	}
	// Debian keeps daemons where the path of an ordinary user does not look.
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if _, err := os.Stat(filepath.Join(dir, p.File)); err == nil {
			return true
		}
	}
	return false
}

// Missing names those of the packages whose files are not there, each once.
func Missing(packages []Package) []string {
	var names []string
	for _, p := range packages {
		if !slices.Contains(names, p.Name) && !p.Present() {
			names = append(names, p.Name)
		}
	}
	return names
}
