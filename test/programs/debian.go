package programs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is a package of Debian and the file in it that the tests need.
type Package struct {
	Name string
	// File is the name of a program on the path, or a pattern of an absolute path.
	File string
}

// Packages are those that the tests of this module need.
var Packages = []Package{
	{"gcc", "gcc"}, // of the race detector
	{"libc6-dev", "/usr/include/stdlib.h"},
	{"skopeo", "skopeo"},
	{"podman", "podman"},
	{"buildah", "buildah"},
	{"runc", "runc"},
	{"containerd", "containerd"},
	{"docker.io", "/usr/sbin/dockerd"},
	{"docker.io", "/usr/bin/docker"},
	{"busybox-static", "busybox"},
	{"fuse3", "fusermount3"},
	{"mariadb-server", "mariadbd"},
	{"galera-4", "/usr/lib/galera/libgalera_smm.so"},
	{"postgresql", "/usr/lib/postgresql/*/bin/postgres"},
	{"ceph-mon", "ceph-mon"},
	{"ceph-osd", "ceph-osd"},
	{"radosgw", "radosgw"},
	{"ceph-common", "ceph"},
	{"librados-dev", "/usr/include/rados/librados.h"},
	{"redis-server", "redis-server"},
	{"iproute2", "ip"},
	{"nftables", "nft"},
	{"nodejs", "node"},
	{"npm", "npm"},
	{"systemd", "systemd-analyze"},
}

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

// Missing names the packages whose files are not there, each once.
func Missing() []string {
	var names []string
	seen := map[string]bool{}
	for _, p := range Packages {
		if !seen[p.Name] && !p.Present() {
			names = append(names, p.Name)
			seen[p.Name] = true
		}
	}
	return names
}
