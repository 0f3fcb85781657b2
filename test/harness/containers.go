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
