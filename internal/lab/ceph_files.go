package lab

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

// cephAddress is what a Ceph keeps between starts: the monitor's address is part of its data.
type cephAddress struct {
	IP    string
	Ports [3]int
	IDs   []string
}

func (c *Ceph) addressFile() string { return filepath.Join(c.place.dir, "address.json") }

func (c *Ceph) keyring() string { return filepath.Join(c.place.dir, "keyring") }

// addresses answers those of the earlier start in this directory, or chooses new ones.
func (c *Ceph) addresses() error {
	b, err := os.ReadFile(c.addressFile())
	var was cephAddress
	switch {
	case err == nil:
		if err = json.Unmarshal(b, &was); err != nil || len(was.IDs) != 1+c.options.OSDs {
			return fail.E(fail.Invalid, err, "directory of a lab %s: its Ceph has %d OSDs, not %d", c.place.dir, len(was.IDs)-1, c.options.OSDs)
		}
		c.ip, c.ports, c.ids = was.IP, was.Ports, was.IDs
	case errors.Is(err, os.ErrNotExist):
		c.fresh, c.ip = true, freeIP()
		ports, portErr := freePorts(c.ip, len(c.ports))
		if portErr != nil {
			return portErr
		}
		copy(c.ports[:], ports)
		for range 1 + c.options.OSDs {
			c.ids = append(c.ids, newUUID())
		}
	default:
		return fail.E(fail.Unavailable, err, "address of a lab's Ceph")
	}
	c.GatewayHost = fmt.Sprintf("%s:%d", c.ip, c.ports[2])
	c.Monitors = fmt.Sprintf("[v2:%s:%d/0,v1:%s:%d/0]", c.ip, c.ports[0], c.ip, c.ports[1])
	return nil
}

// finished remembers the addresses: a directory without them holds the rest of a first start that broke off, and is made anew.
func (c *Ceph) finished() error {
	if !c.fresh {
		return nil
	}
	b, err := json.Marshal(cephAddress{IP: c.ip, Ports: c.ports, IDs: c.ids})
	if err == nil {
		err = os.WriteFile(c.addressFile(), b, 0o644)
	}
	if err != nil {
		return fail.E(fail.Unavailable, err, "address of a lab's Ceph")
	}
	return nil
}

// files makes the directories, the configuration and the keys of a fresh Ceph.
func (c *Ceph) files() error {
	dirs := []string{"mon", "rgw", "run", "log", "crash"}
	for i := range c.OSDs {
		dirs = append(dirs, fmt.Sprintf("osd.%d", i))
	}
	for _, name := range dirs {
		if err := os.RemoveAll(filepath.Join(c.place.dir, name)); err != nil {
			return fail.E(fail.Unavailable, err, "directory of a lab")
		}
		if _, err := c.place.sub(c.a, name); err != nil {
			return err
		}
	}
	havn := cephKey()
	keys := []string{
		keyringEntry("mon.", cephKey(), "mon", "allow *"),
		keyringEntry("client.admin", cephKey(), "mon", "allow *", "osd", "allow *"),
		keyringEntry("client.rgw", cephKey(), "mon", "allow rw", "osd", "allow rwx"),
		keyringEntry("client."+CephUser, havn, "mon", "allow r", "osd", "allow rwx pool="+CephPool),
	}
	for i := range c.OSDs {
		keys = append(keys, keyringEntry(fmt.Sprintf("osd.%d", i), cephKey(), "mon", "allow profile osd", "osd", "allow *"))
	}
	for name, text := range map[string]string{c.ConfigFile: c.config(), c.keyring(): strings.Join(keys, ""), c.KeyFile: havn + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return fail.E(fail.Unavailable, err, "files of a lab's Ceph")
		}
	}
	return nil
}

// config answers ceph.conf. cephx must be on: radosgw does not start without. Few copies and placement groups, because it is small.
func (c *Ceph) config() string {
	w := c.place.dir
	lines := []string{
		"[global]", "fsid = " + c.ids[0], "mon_initial_members = a", "mon_host = " + c.Monitors, "keyring = " + c.keyring(),
		"auth_cluster_required = cephx", "auth_service_required = cephx", "auth_client_required = cephx", "auth_allow_insecure_global_id_reclaim = false",
		"public_addr = " + c.ip, "cluster_addr = " + c.ip,
		"run_dir = " + w + "/run", "crash_dir = " + w + "/crash", "admin_socket = " + w + "/run/$name.$pid.asok",
		"log_file = " + w + "/log/$name.log", "log_to_stderr = false", "log_to_syslog = false", "mon_cluster_log_file = " + w + "/log/cluster.log",
		"debug_rocksdb = 1/1", "debug_bluefs = 0/1",
		fmt.Sprintf("osd_pool_default_size = %d", c.options.Copies), "osd_pool_default_min_size = 1", "osd_pool_default_pg_num = 4", "osd_pool_default_pgp_num = 4",
		"osd_pool_default_pg_autoscale_mode = off", "mon_allow_pool_size_one = true", "mon_warn_on_pool_no_redundancy = false",
		"mon_allow_pool_delete = true", "mon_max_pg_per_osd = 1000", "osd_crush_chooseleaf_type = 0",
		// A loaded machine must not look dead.
		"osd_heartbeat_grace = 20",
		"[mon]", "mon_data = " + w + "/mon", "paxos_propose_interval = 0.05", "paxos_min_wait = 0.01", "mon_data_avail_warn = 2", "mon_data_avail_crit = 1",
		"[osd]", "osd_data = " + w + "/$name", "osd_objectstore = bluestore", "osd_op_num_shards = 2", "osd_op_num_threads_per_shard = 2",
		// One that hangs again and again does not give up for good (by default: the fifth time in ten minutes).
		"osd_max_markdown_count = 100000",
		// Making a bucket waits until every radosgw has acknowledged, and one that was killed counts for so long (by default 30 s).
		"osd_client_watch_timeout = 5",
		fmt.Sprintf("bluestore_block_size = %d", int64(c.options.Gigabytes)<<30), "bluestore_block_create = true", "bluestore_fsck_on_mount = false",
		"osd_memory_target = 939524096", "bluestore_cache_size = 134217728", "bluestore_cache_autotune = false",
		// Clients of the tests ask seconds after a fault; they must not wait for the default of no end.
		"[client]", "rados_mon_op_timeout = 30",
		"[client.rgw]", "rgw_data = " + w + "/rgw", "rgw_frontends = beast endpoint=" + c.GatewayHost, "rgw_thread_pool_size = 64",
		"rgw_run_sync_thread = false", "rgw_enable_usage_log = false",
		// What was deleted gives its room back within two minutes and not two hours.
		"rgw_gc_obj_min_wait = 60", "rgw_gc_processor_period = 60", "rgw_gc_processor_max_time = 60",
	}
	if c.options.Copies > 1 {
		// All OSDs are on one host, so one that sees another hang is enough to be believed: the copies go on without it.
		lines = append(lines, "[global]", "mon_osd_min_down_reporters = 1", "mon_osd_reporter_subtree_level = osd",
			// One that hangs is taken for dead well before a fault of the tests ends. At the default, as long as the fault, it comes back while it is declared dead, and Ceph then sorts
			// itself out for a minute and more.
			"osd_heartbeat_grace = 8",
			// By default recovery rests after each object, for the sake of disks that turn, and looks for free places only every half a minute.
			"osd_recovery_sleep = 0", "osd_recovery_max_active = 16", "osd_max_backfills = 8", "osd_backfill_retry_interval = 2", "osd_recovery_retry_interval = 2")
	}
	return strings.Join(lines, "\n") + "\n"
}

// keyringEntry writes a key with what it may do, as `ceph-authtool` does: starting that for each key would take a second.
func keyringEntry(name, key string, caps ...string) string {
	text := fmt.Sprintf("[%s]\n\tkey = %s\n", name, key)
	for i := 0; i < len(caps); i += 2 {
		text += fmt.Sprintf("\tcaps %s = %q\n", caps[i], caps[i+1])
	}
	return text
}

// cephKey makes a key in Ceph's form: type 1 (AES), when it was made, its length, 16 bytes.
func cephKey() string {
	const secretBytes = 16
	var b [12 + secretBytes]byte
	binary.LittleEndian.PutUint16(b[0:], 1)
	binary.LittleEndian.PutUint32(b[2:], uint32(time.Now().Unix()))
	binary.LittleEndian.PutUint16(b[10:], secretBytes)
	rand.Read(b[12:])
	return base64.StdEncoding.EncodeToString(b[:])
}

func newUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:])
}
