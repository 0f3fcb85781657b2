package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/havn-registry/havn/internal/fail"
)

// What the lab's Ceph is called inside, and who may use it. The user of radosgw and its subuser are those of Harbor's HA guide.
const (
	CephPool    = "havn" // of librados
	CephUser    = "havn" // of librados: client.havn
	S3AccessKey = "registryaccess"
	S3SecretKey = "registrysecret"
	S3Region    = "default"
	SwiftUser   = "registry:swift"
	SwiftKey    = "swiftsecret"

	gatewayUser  = "registry"
	cephPackages = "ceph-mon ceph-osd radosgw ceph-common"
)

// CephOptions say how large a Ceph is. The zero value is one OSD of 16 GiB.
type CephOptions struct {
	OSDs      int
	Gigabytes int  // of each OSD: a sparse file, which takes what is written
	NoGateway bool // librados alone: a second faster
	// Copies of each object, on different OSDs, of which one is enough to go on; 0: one. With more, a killed OSD costs seconds and nothing else.
	Copies int
	// Groups are those that daemons run as if we are root, by their names, so that a firewall knows them.
	Groups map[string]int
}

// Ceph is a monitor, OSDs on bluestore and a radosgw. There is no manager: `ceph df` reads 0, and `ceph pg stat` hangs for want of it.
type Ceph struct {
	Monitor *CephDaemon
	OSDs    []*CephDaemon
	Gateway *CephDaemon // nil: without
	// GatewayHost is radosgw's host:port; the same after a restart.
	GatewayHost string
	// ConfigFile is ceph.conf; it names a keyring that holds every key, client.havn's among them.
	ConfigFile string
	// KeyFile holds the key of client.havn alone, as librados' option keyfile wants it.
	KeyFile string
	// Monitors are the monitor's addresses, as librados' option mon_host wants them.
	Monitors string

	a       account
	place   place
	options CephOptions
	ip      string
	ports   [3]int // monitor: v2, v1; radosgw
	fresh   bool
	ids     []string // of the OSDs
}

// StartCeph starts a Ceph in dir, or in a temporary directory if dir is "", and waits until all of it answers. A directory that has one
// is started as it was.
func StartCeph(ctx context.Context, dir string, o CephOptions) (*Ceph, error) {
	for _, name := range []string{"ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "ceph", "monmaptool"} {
		if _, err := program(cephPackages, name); err != nil {
			return nil, err
		}
	}
	if o.OSDs == 0 {
		o.OSDs = 1
	}
	if o.Copies == 0 {
		o.Copies = 1
	}
	if o.Gigabytes == 0 {
		o.Gigabytes = 16
	}
	a := account{uid: os.Getuid(), gid: os.Getgid()}
	at, err := newPlace(dir, a)
	if err != nil {
		return nil, err
	}
	c := &Ceph{a: a, place: at, options: o, ConfigFile: filepath.Join(at.dir, "ceph.conf"), KeyFile: filepath.Join(at.dir, "havn.key")}
	if err = c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Ceph) start(ctx context.Context) error {
	if err := c.addresses(); err != nil {
		return err
	}
	c.Monitor = c.daemon("mon.a", "ceph-mon", "-i", "a")
	c.Monitor.ready = c.Monitor.state("mon_status", "leader")
	for i := range c.options.OSDs {
		osd := c.daemon(fmt.Sprintf("osd.%d", i), "ceph-osd", "-i", fmt.Sprint(i))
		// Asked of the OSD itself: after a kill the monitor still calls the old one up for a while.
		osd.ready = osd.state("status", "active")
		c.OSDs = append(c.OSDs, osd)
	}
	if !c.options.NoGateway {
		c.Gateway = c.daemon("client.rgw", "radosgw", "-n", "client.rgw")
		c.Gateway.ready = c.gatewayAnswers
	}
	if c.fresh {
		if err := c.install(ctx); err != nil {
			return err
		}
	} else {
		for _, d := range append([]*CephDaemon{c.Monitor}, c.OSDs...) {
			if err := d.Start(ctx); err != nil {
				return err
			}
		}
	}
	if c.Gateway == nil {
		return c.finished()
	}
	// Only now: a radosgw that has to wait for its pools is 4 s slower.
	if err := c.Gateway.Start(ctx); err != nil {
		return err
	}
	if c.fresh {
		if err := c.users(ctx); err != nil {
			return err
		}
	}
	return c.finished()
}

// install makes the monitor's and the OSDs' stores and the pools, and leaves the daemons running.
func (c *Ceph) install(ctx context.Context) error {
	if err := c.files(); err != nil {
		return err
	}
	addrs := fmt.Sprintf("[v2:%s:%d,v1:%s:%d]", c.ip, c.ports[0], c.ip, c.ports[1])
	monmap := filepath.Join(c.place.dir, "monmap")
	if err := c.run(ctx, "monmaptool", "--create", "--clobber", "--fsid", c.ids[0], "--addv", "a", addrs, monmap); err != nil {
		return err
	}
	if err := c.run(ctx, "ceph-mon", "--mkfs", "-i", "a", "-c", c.ConfigFile, "--monmap", monmap, "--keyring", c.keyring()); err != nil {
		return err
	}
	if err := c.Monitor.Start(ctx); err != nil {
		return err
	}
	var commands []string
	for i := range c.OSDs {
		if err := c.run(ctx, "ceph-osd", "--mkfs", "-i", fmt.Sprint(i), "-c", c.ConfigFile, "--osd-uuid", c.ids[1+i]); err != nil {
			return err
		}
		commands = append(commands, fmt.Sprintf("osd new %s %d", c.ids[1+i], i))
	}
	if err := c.commands(ctx, commands); err != nil {
		return err
	}
	for _, osd := range c.OSDs {
		if err := osd.Begin(); err != nil {
			return err
		}
	}
	// While the OSDs start. radosgw would make its own pools one by one, and later.
	commands = []string{"osd pool create " + CephPool + " 8 8", "osd pool application enable " + CephPool + " rados"}
	if c.Gateway != nil {
		for _, name := range []string{".rgw.root", "default.rgw.log", "default.rgw.control", "default.rgw.meta", "default.rgw.buckets.index", "default.rgw.buckets.data", "default.rgw.buckets.non-ec"} {
			commands = append(commands, "osd pool create "+name+" 4 4", "osd pool application enable "+name+" rgw")
		}
	}
	if err := c.commands(ctx, commands); err != nil {
		return err
	}
	for _, osd := range c.OSDs {
		if err := osd.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

// users makes the user of radosgw, for S3, and its subuser, for Swift.
func (c *Ceph) users(ctx context.Context) error {
	if err := c.GatewayAdmin(ctx, "user", "create", "--uid="+gatewayUser, "--display-name="+gatewayUser, "--access-key="+S3AccessKey, "--secret-key="+S3SecretKey); err != nil {
		return err
	}
	return c.GatewayAdmin(ctx, "subuser", "create", "--uid="+gatewayUser, "--subuser="+SwiftUser, "--access=full", "--key-type=swift", "--secret-key="+SwiftKey)
}

// GatewayAdmin runs radosgw-admin.
func (c *Ceph) GatewayAdmin(ctx context.Context, args ...string) error {
	return c.run(ctx, "radosgw-admin", append([]string{"-c", c.ConfigFile, "-n", "client.rgw"}, args...)...)
}

// CreatePool makes another pool for librados, which client.havn may not use.
func (c *Ceph) CreatePool(ctx context.Context, name string) error {
	return c.commands(ctx, []string{"osd pool create " + name + " 4 4", "osd pool application enable " + name + " rados"})
}

// SwiftAuthURL answers the address of Swift's authentication, version 1.
func (c *Ceph) SwiftAuthURL() string { return "http://" + c.GatewayHost + "/auth/v1" }

// S3Endpoint answers the address of the S3 API.
func (c *Ceph) S3Endpoint() string { return "http://" + c.GatewayHost }

// commands gives the monitor several commands at once: each start of the command line client takes half a second.
func (c *Ceph) commands(ctx context.Context, lines []string) error {
	file := filepath.Join(c.place.dir, "commands")
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		return fail.E(fail.Unavailable, err, "commands of a lab")
	}
	return c.run(ctx, "/bin/sh", "-c", fmt.Sprintf("exec ceph -c %s --connect-timeout 30 <%s", c.ConfigFile, file))
}

// run bounds a command by the time of a start: without a manager or an OSD some never end.
func (c *Ceph) run(ctx context.Context, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	path := name
	if name[0] != '/' {
		var err error
		if path, err = program(cephPackages, name); err != nil {
			return err
		}
	}
	return c.a.run(ctx, c.place.dir, path, args...)
}

// gatewayAnswers asks for the buckets that nobody in particular may see.
func (c *Ceph) gatewayAnswers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.GatewayHost+"/", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return err
	}
	if err = answer.Body.Close(); err == nil && answer.StatusCode != http.StatusOK {
		err = fail.E(fail.Unavailable, nil, "radosgw answers %s", answer.Status)
	}
	return err
}

// Kill ends all daemons at once.
func (c *Ceph) Kill() {
	for _, d := range c.daemons() {
		d.Kill()
	}
}

// Restart starts what is down, and waits until all of it answers.
func (c *Ceph) Restart(ctx context.Context) error {
	all := append([]*CephDaemon{c.Monitor}, c.OSDs...)
	if c.Gateway != nil {
		all = append(all, c.Gateway)
	}
	for _, d := range all {
		if d.Running() {
			continue
		}
		if err := d.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Stop ends all daemons and removes their directory if that was made here. It leaves nothing behind.
func (c *Ceph) Stop() error {
	if c.place.ours {
		c.Kill()
		return c.place.remove()
	}
	var errs []error
	for _, d := range c.daemons() {
		errs = append(errs, d.halt(syscall.SIGTERM))
	}
	return errors.Join(errs...)
}

// daemons answers those that were made, in the order in which they end: clients first, the monitor last.
func (c *Ceph) daemons() []*CephDaemon {
	var all []*CephDaemon
	if c.Gateway != nil {
		all = append(all, c.Gateway)
	}
	all = append(all, c.OSDs...)
	if c.Monitor != nil {
		all = append(all, c.Monitor)
	}
	return all
}

// daemon makes one of the daemons, not yet running.
func (c *Ceph) daemon(name, program string, args ...string) *CephDaemon {
	d := &CephDaemon{dir: c.place.dir}
	d.Name, d.log = name, filepath.Join(c.place.dir, "log", name+".log")
	d.command = func() (*exec.Cmd, error) {
		path, err := findCeph(program)
		if err != nil {
			return nil, err
		}
		return c.a.in(c.options.Groups[name]).command(c.place.dir, path, append(args, "-c", c.ConfigFile, "-f")...), nil
	}
	return d
}

func findCeph(name string) (string, error) { return program(cephPackages, name) }
