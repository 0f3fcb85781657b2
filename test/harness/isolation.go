package harness

import "syscall"

// private lays out the mounts of an isolated process. Its own /proc, because it has its own process numbers; its own /run and
// /dev/shm, because podman, containerd and docker keep locks, sockets and state there whatever they are told: nothing of an earlier
// run, or of the machine's own daemons, can be in the way, and nothing stays.
const private = `mount --make-rprivate / &&
mount -t proc proc /proc &&
mount -t tmpfs tmpfs /run &&
mount -t tmpfs tmpfs /dev/shm &&
"$@"`

// isolated makes a command the first process of a namespace of processes, with a namespace of mounts: when it dies, the kernel
// kills whatever it left and drops whatever it mounted.
func isolated(attr *syscall.SysProcAttr, argv []string) []string {
	attr.Cloneflags |= syscall.CLONE_NEWNS | syscall.CLONE_NEWPID
	return append([]string{"/bin/sh", "-c", private, "sh"}, argv...)
}
