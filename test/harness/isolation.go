package harness

import "syscall"

// private lays out the mounts of an isolated process. Its own /proc, because it has its own process numbers. Its own /run,
// /dev/shm and /var/lib/containers, because podman, containerd and docker keep locks, sockets, state and caches there whatever
// they are told: nothing of an earlier run, or of the machine's own daemons, can be in the way, and nothing stays. The shell
// stays the first process, for somebody has to bury the orphans.
const private = `mount --make-rprivate / &&
mount -t proc proc /proc &&
mount -t tmpfs tmpfs /run &&
mount -t tmpfs tmpfs /dev/shm &&
mkdir -p /var/lib/containers &&
mount -t tmpfs tmpfs /var/lib/containers || exit 125
"$@"
exit $?`

// isolated makes a command the first process of a namespace of processes, with a namespace of mounts: when it dies, the kernel
// kills whatever it left and drops whatever it mounted.
func isolated(attr *syscall.SysProcAttr, argv []string) []string {
	attr.Cloneflags |= syscall.CLONE_NEWNS | syscall.CLONE_NEWPID
	return append([]string{"/bin/sh", "-c", private, "sh"}, argv...)
}
