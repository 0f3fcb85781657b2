package programs

import (
	"slices"

	"github.com/havn-registry/havn/internal/lab"
)

// Package is a package of Debian and the file in it that the tests need.
type Package = lab.Package

// Packages are those that the tests of this module need.
var Packages = slices.Concat([]Package{
	{Name: "gcc", File: "gcc"}, // of the race detector
	{Name: "libc6-dev", File: "/usr/include/stdlib.h"},
	{Name: "skopeo", File: "skopeo"},
	{Name: "podman", File: "podman"},
	{Name: "buildah", File: "buildah"},
	{Name: "runc", File: "runc"},
	{Name: "containerd", File: "containerd"},
	{Name: "docker.io", File: "/usr/sbin/dockerd"},
	{Name: "docker.io", File: "/usr/bin/docker"},
	{Name: "busybox-static", File: "busybox"},
	{Name: "fuse3", File: "fusermount3"},
	{Name: "librados-dev", File: "/usr/include/rados/librados.h"},
	{Name: "iproute2", File: "ip"},
	{Name: "nodejs", File: "node"},
	{Name: "systemd", File: "systemd-analyze"},
}, lab.Packages)

// Missing names the packages whose files are not there, each once.
func Missing() []string { return lab.Missing(Packages) }
