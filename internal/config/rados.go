package config

import (
	"fmt"
	"os"
	"strings"
)

// RADOS is the pool of the driver rados.
type RADOS struct {
	Monitors   string // "": as ConfigFile says
	ConfigFile string // "": Ceph's own place, where there are no Monitors
	User       string
	Key        Secret
	Keyring    string
	Pool       string
	Namespace  string
	StripeSize int64
}

func radosKeys() []key {
	return []key{
		text("storage.rados.pool", "a pool's name", "", "The pool. Havn does not make it.", func(c *Config) *string { return &c.Storage.RADOS.Pool }, anyText).like("registry").empty("none"),
		text("storage.rados.namespace", "a name", "", "Namespace in the pool, to which a user of Ceph can be confined.", func(c *Config) *string { return &c.Storage.RADOS.Namespace }, anyText).like("havn").
			empty("the pool's own, without a name"),
		text("storage.rados.user", "a user's name, with or without client.", "", "User of Ceph (cephx). He needs `mon 'allow r' osd 'allow rw pool=POOL'`.", func(c *Config) *string { return &c.Storage.RADOS.User }, radosUserText).
			like("havn").empty("none"),
		secret("storage.rados.key", "at most 1024 bytes", "The user's key, as `ceph auth get-key client.USER` prints it.", func(c *Config) *Secret { return &c.Storage.RADOS.Key }, 1, 1024).
			empty("see storage.rados.keyring"),
		text("storage.rados.keyring", "a keyring file of Ceph", "", "File with the user's key, instead of storage.rados.key.", func(c *Config) *string { return &c.Storage.RADOS.Keyring }, anyText).
			like("/etc/ceph/ceph.client.havn.keyring").empty("what Ceph's configuration names, or that place in /etc/ceph"),
		text("storage.rados.monitors", "what Ceph's option mon_host takes", "", "Addresses of the monitors, with commas between.", func(c *Config) *string { return &c.Storage.RADOS.Monitors }, anyText).
			like("10.32.3.70,10.32.3.71,10.32.3.72").empty("as storage.rados.config_file says"),
		text("storage.rados.config_file", "a ceph.conf", "", "Ceph's configuration, of which the keys here take precedence. Havn sets the time-outs itself.", func(c *Config) *string { return &c.Storage.RADOS.ConfigFile }, anyText).
			like("/etc/ceph/ceph.conf").empty("/etc/ceph/ceph.conf, unless storage.rados.monitors is set"),
		size("storage.rados.stripe_size", "4MiB", "Objects longer than this are cut into RADOS objects of this size, four of which are written at once.",
			func(c *Config) *int64 { return &c.Storage.RADOS.StripeSize }, extent{min: mib, max: 32 * mib}),
	}
}

func radosUserText(s string) error {
	if s == "client." || strings.ContainsAny(s, " /") {
		return fmt.Errorf("%q is not a user's name", s)
	}
	return nil
}

// consistentRADOS answers what is wrong between the keys of a pool.
func (c *Config) consistentRADOS(blame func(key, text, allowed string)) {
	r := c.Storage.RADOS
	if c.Storage.Driver != RADOSDriver {
		if r.Pool != "" {
			blame("storage.rados.pool", fmt.Sprintf("is set, and storage.driver is %s", c.Storage.Driver), "storage.driver: rados, or no pool")
		}
		return
	}
	if r.Pool == "" {
		blame("storage.rados.pool", "is not set, and storage.driver is rados", "the pool's name")
	}
	if r.User == "" {
		blame("storage.rados.user", "is not set, and storage.driver is rados", "a user's name, as `ceph auth ls` shows them")
	}
	if r.Key.Reveal() != "" && r.Keyring != "" {
		blame("storage.rados.keyring", "is set, and storage.rados.key too", "one of them")
	}
	if c.Storage.Filesystem.Path != "" {
		blame("storage.filesystem.path", "is set, and storage.driver is rados", "no path, or storage.driver: filesystem")
	}
}

// probeRADOS looks at the files that the keys of a pool name.
func (c *Config) probeRADOS() Problems {
	var all Problems
	if c.Storage.Driver != RADOSDriver {
		return nil
	}
	for _, f := range []struct{ key, path, allowed string }{
		{"storage.rados.keyring", c.Storage.RADOS.Keyring, "a readable keyring file"}, {"storage.rados.config_file", c.Storage.RADOS.ConfigFile, "a readable ceph.conf"},
	} {
		if f.path == "" {
			continue
		}
		file, err := os.Open(f.path)
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			all = append(all, Problem{c.origins[f.key].source, f.key, fmt.Sprintf("%q: %s", f.path, plainError(err)), f.allowed})
		}
	}
	return all
}
