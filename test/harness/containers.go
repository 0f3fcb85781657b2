package harness

import "testing"

// Containers is a shell for podman and buildah: storage of its own, in a namespace where nothing of the machine's is seen. Each
// command is the first one after a boot, as far as they can tell.
func Containers(t testing.TB, program string) (sh *Shell, storage []string) {
	t.Helper()
	NeedRoot(t)
	Need(t, program)
	sh = NewShell(t)
	sh.Isolated = true
	sh.Env = []string{
		"REGISTRY_AUTH_FILE=" + sh.Path("auth.json"),
		"CONTAINERS_CONF=" + sh.Write(t, "containers.conf", "[engine]\n"),
		"CONTAINERS_STORAGE_CONF=" + sh.Write(t, "storage.conf",
			"[storage]\ndriver = \"vfs\"\nrunroot = \"/run/havn\"\ngraphroot = \""+sh.Path("storage")+"\"\n"),
		"CONTAINERS_REGISTRIES_CONF=" + sh.Write(t, "registries.conf", ""),
	}
	storage = []string{program, "--root", sh.Path("storage"), "--runroot", "/run/havn", "--storage-driver", "vfs"}
	if program == "podman" {
		return sh, append(storage, "--events-backend", "file", "--cgroup-manager", "cgroupfs")
	}
	return sh, storage
}

// Skopeo is a shell for skopeo, with a file policy.json that accepts everything, for --policy.
func Skopeo(t testing.TB) *Shell {
	t.Helper()
	NeedRoot(t)
	Need(t, "skopeo")
	sh := NewShell(t)
	sh.Isolated = true // it remembers across commands where it saw which blob
	sh.Env = []string{"REGISTRY_AUTH_FILE=" + sh.Path("auth.json"), "XDG_RUNTIME_DIR=" + sh.Path("tmp")}
	sh.Write(t, "policy.json", `{"default":[{"type":"insecureAcceptAnything"}]}`)
	return sh
}

// DockerEngine starts a Docker engine of the test's own and answers how its client is called. In the shell's environment DOCKER_HOST names the engine, too.
func DockerEngine(t testing.TB) (*Shell, func(args ...string) []string) {
	t.Helper()
	NeedRoot(t)
	Need(t, "docker.io", "containerd", "runc")
	sh := NewShell(t)
	socket := "unix://" + sh.Path("d.sock")
	sh.Env = []string{"DOCKER_BUILDKIT=0", "DOCKER_HOST=" + socket}
	daemon := Launch(t, Spawn{
		Name: "dockerd", Dir: sh.Home, Env: sh.Environ(), Isolated: true,
		Argv: []string{
			"/usr/sbin/dockerd", "--host", socket, "--data-root", sh.Path("data"), "--exec-root", sh.Path("exec"), "--pidfile", sh.Path("pid"),
			"--config-file", sh.Write(t, "daemon.json", "{}"), "--storage-driver", "vfs", "--insecure-registry", "127.0.0.0/8",
			"--iptables=false", "--ip6tables=false", "--bridge=none", "--log-level", "warn",
		},
	})
	docker := func(args ...string) []string { return append([]string{"/usr/bin/docker", "-H", socket}, args...) }
	daemon.Await(t, sh.Answers(t, docker("version")...))
	return sh, docker
}
