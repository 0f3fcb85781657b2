package sqldb

import (
	"syscall"

	"github.com/havn-registry/havn/internal/fail"
)

// refuseNetwork refuses a directory on a file system whose locks and shared memory do not hold between machines.
func refuseNetwork(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return fail.E(fail.Unavailable, err, "directory %s of the database", dir).Hint("make it first")
	}
	if name := networkName(uint32(st.Type)); name != "" {
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
