package sqldb

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/havn-registry/havn/internal/fail"
)

// refuseNetwork refuses a directory on a file system whose locks and shared memory do not hold between machines.
func refuseNetwork(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fail.E(fail.Unavailable, err, "directory %s of the database", dir).Hint("make it first")
	}
	name := networkName(uint32(st.Type))
	if st.Type == unix.FUSE_SUPER_MAGIC {
		var err error
		if name, err = inUserSpace(dir); err != nil {
			return err
		}
	}
	if name != "" {
		return fail.E(fail.Unsupported, nil, "the database can't be on %s (%s): a network file system breaks SQLite's locks", name, dir).
			Hint("put the data directory on a local disk, or use MariaDB or PostgreSQL")
	}
	return nil
}

// networkName answers the name of a network file system by its number (statfs(2)), or "".
func networkName(magic uint32) string {
	switch magic {
	case 0x6969:
		return "NFS"
	case 0xff534d42, 0xfe534d42, 0x517b:
		return "SMB"
	case 0x00c36400:
		return "CephFS"
	case 0x01021997:
		return "9p"
	case 0x5346414f, 0x6b414653:
		return "AFS"
	case 0x0bd00bd0:
		return "Lustre"
	case 0x47504653:
		return "GPFS"
	case 0x01161970:
		return "GFS2"
	case 0x7461636f:
		return "OCFS2"
	case 0x73757245:
		return "Coda"
	}
	return ""
}

// networksInUserSpace are file systems of the network that FUSE brings, by the second half of their type: all of FUSE have one number, local ones too.
var networksInUserSpace = []string{
	"beegfs", "blobfuse", "blobfuse2", "ceph", "ceph-fuse", "curlftpfs", "cvmfs2", "davfs", "davfs2", "gcsfuse", "geesefs", "glusterfs", "goofys", "gvfsd-fuse", "hadoop-fuse-dfs", "juicefs", "lizardfs", "mfs",
	"moosefs", "mount-s3", "mountpoint-s3", "rclone", "s3fs", "s3ql", "seaweedfs", "smbnetfs", "sshfs", "vmhgfs-fuse",
}

// inUserSpace answers the name of a network file system of FUSE that a directory is on, or "".
func inUserSpace(dir string) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return "", fail.E(fail.Unavailable, err, "directory %s of the database", dir)
	}
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", fail.E(fail.Unavailable, err, "which file system %s is on", dir)
	}
	_, name, _ := strings.Cut(mountType(string(table), st.Dev), ".")
	if !slices.Contains(networksInUserSpace, name) {
		return "", nil
	}
	return name, nil
}

// mountType answers the type of the file system on a device, by a table of mounts (proc_pid_mountinfo(5)), or "".
func mountType(table string, device uint64) string {
	want := fmt.Sprintf("%d:%d", unix.Major(device), unix.Minor(device))
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		end := slices.Index(fields, "-") // of fields of which there are as many as it wants
		if end > 2 && end+1 < len(fields) && fields[2] == want {
			return fields[end+1]
		}
	}
	return ""
}
