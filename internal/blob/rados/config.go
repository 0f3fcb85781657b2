//go:build rados

package rados

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ceph/go-ceph/rados"
	"golang.org/x/sync/semaphore"

	"github.com/havn-registry/havn/internal/blob/arena"
	"github.com/havn-registry/havn/internal/blob/parts"
	"github.com/havn-registry/havn/internal/fail"
)

// Config says where the pool is and how it is used.
type Config struct {
	Monitors   string // as Ceph's option mon_host takes them; "": as ConfigFile says
	ConfigFile string // a ceph.conf; "": /etc/ceph/ceph.conf, unless there are Monitors
	User       string // with or without "client."
	Key        string // of the user; "": from Keyring
	Keyring    string // a file; "": where Ceph looks by itself
	Pool       string
	Namespace  string // "": the pool's own
	Prefix     string // of every RADOS object's name; "" or without slashes at its ends

	StripeBytes int64
	Parts       *parts.Pool // whose streams are cut into stripes
	Dir         string      // for files without names, while names are sorted; "": the machine's own
	Clock       func() time.Time
	// Patience is how long an operation may get no answer, and then is tried again if it is a write; 0: osdPatience.
	Patience time.Duration
}

// What Ceph may take. An operation on objects waits for OSDs that restart, and for the time in which a cluster notices that one has lost its power (20 to 25 s); one
// that got no answer in osdPatience is given up, so that its thread and its memory come back; a write is tried again as long. startPatience bounds a start as a whole.
const (
	connectPatience = 10 * time.Second
	monPatience     = 10 * time.Second
	osdPatience     = 30 * time.Second
	startPatience   = 50 * time.Second
	closePatience   = 5 * time.Second
)

// client is the user's name as Ceph writes it.
func (c *Config) client() string { return "client." + strings.TrimPrefix(c.User, "client.") }

// options are those of librados that Havn sets.
func (c *Config) options() [][2]string {
	seconds := func(d time.Duration) string { return strconv.Itoa(int(d / time.Second)) }
	all := [][2]string{
		{"client_mount_timeout", seconds(connectPatience)},
		{"rados_mon_op_timeout", seconds(monPatience)},
		{"rados_osd_op_timeout", seconds(c.Patience)},
		// Standard error is Havn's log, which has a form.
		{"log_to_stderr", "false"},
		{"err_to_stderr", "false"},
	}
	for _, o := range [][2]string{{"mon_host", c.Monitors}, {"key", c.Key}, {"keyring", c.Keyring}} {
		if o[1] != "" {
			all = append(all, o)
		}
	}
	return all
}

// New connects to the cluster, and proves that objects can be listed, written, read and deleted in the pool. Errors are Unavailable or Invalid, and say what to do.
func New(ctx context.Context, c Config) (*Driver, error) {
	d := &Driver{
		cfg: c, reads: make(slots, readsAtOnce), others: make(slots, othersAtOnce), writing: semaphore.NewWeighted(writeMemory),
	}
	if c.Patience == 0 {
		d.cfg.Patience = osdPatience
	}
	if c.Prefix != "" {
		d.prefix = c.Prefix + "/"
	}
	tameMemory()
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := d.connect(ctx); err != nil {
		return nil, fmt.Errorf("pool %s: %w", d.Place(), err)
	}
	err := d.reserve() // now, because it is never freed: calls that were given up may still write there
	if err == nil {
		err = d.probe(ctx)
	}
	if err != nil {
		d.Close()
		return nil, fmt.Errorf("pool %s: %w", d.Place(), err)
	}
	return d, nil
}

// reserve sets memory apart for reads and writes.
func (d *Driver) reserve() (err error) {
	if d.ahead, err = newBuffers(); err != nil {
		return err
	}
	memory, err := arena.Reserve(piecesAtOnce * int(d.cfg.StripeBytes))
	if err != nil {
		return fail.E(fail.Unavailable, err, "reserve memory for %d stripes of %d bytes", piecesAtOnce, d.cfg.StripeBytes)
	}
	d.pieces = make(chan []byte, piecesAtOnce)
	for piece := range slices.Chunk(memory, int(d.cfg.StripeBytes)) {
		d.pieces <- piece
	}
	return nil
}

func (d *Driver) connect(ctx context.Context) error {
	c := &d.cfg
	conn, err := rados.NewConnWithClusterAndUser("ceph", c.client())
	if err != nil {
		return d.failed(err, "make a client of Ceph")
	}
	switch {
	case c.ConfigFile != "":
		if err = conn.ReadConfigFile(c.ConfigFile); err != nil {
			return fail.E(fail.Invalid, plain(err), "Ceph's configuration %s", c.ConfigFile).Hint("correct storage.rados.config_file, or the file")
		}
	case c.Monitors == "":
		if err = conn.ReadDefaultConfigFile(); err != nil {
			return fail.E(fail.Invalid, plain(err), "Ceph's configuration /etc/ceph/ceph.conf").Hint("set storage.rados.monitors, or storage.rados.config_file")
		}
	}
	for _, o := range c.options() {
		if err = conn.SetConfigOption(o[0], o[1]); err != nil {
			return fail.E(fail.Invalid, plain(err), "Ceph's option %s", o[0]).Hint("correct the keys of storage.rados")
		}
	}
	if err = run(ctx, d.others, conn.Connect); err != nil {
		return d.refused(err)
	}
	io, err := call(ctx, d.others, func() (*rados.IOContext, error) { return conn.OpenIOContext(c.Pool) })
	if isCode(err, syscall.ENOENT) {
		conn.Shutdown()
		return fail.E(fail.Unavailable, plain(err), "there is no such pool").
			Hint("make it (`ceph osd pool create %s`, `ceph osd pool application enable %s havn`), or correct storage.rados.pool", c.Pool, c.Pool)
	}
	if err != nil {
		conn.Shutdown()
		return d.failed(err, "open the pool")
	}
	io.SetNamespace(c.Namespace)
	d.conn, d.io = conn, io
	return nil
}

// refused says what is wrong where the monitors let nobody in.
func (d *Driver) refused(err error) error {
	e := func(format string, args ...any) error {
		return fail.E(fail.Unavailable, plain(err), "connect as %s", d.cfg.client()).Hint(format, args...)
	}
	a, ok := answerOf(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded), ok && syscall.Errno(a) == syscall.ETIMEDOUT:
		return e("no monitor answers: are the addresses right (storage.rados.monitors, or mon_host in Ceph's configuration), their ports 3300 and 6789 open to this machine, and most monitors running?")
	case !ok:
		return d.failed(err, "connect as %s", d.cfg.client())
	}
	switch syscall.Errno(a) {
	case syscall.EACCES, syscall.EPERM:
		if d.cfg.Key == "" && (d.cfg.Keyring == "" || !exists(d.cfg.Keyring)) {
			return e("is there a key for the user? Set storage.rados.key_file or storage.rados.keyring; `ceph auth get %s` shows it", d.cfg.client())
		}
		return e("the monitors do not know the user, or his key is another one: compare with `ceph auth get %s`; also look whether this machine's clock is right", d.cfg.client())
	case syscall.ENOENT:
		return e("there are no addresses of monitors, or no key for the user: look at storage.rados.monitors, storage.rados.config_file, storage.rados.key_file and storage.rados.keyring")
	case syscall.EINVAL:
		return e("the addresses of the monitors or the key have no form that Ceph knows: look at storage.rados.monitors and storage.rados.key")
	case syscall.EOPNOTSUPP:
		return e("the monitors want another kind of authentication: is cephx on there, and a key given here?")
	default:
		return e("look at `ceph health detail`, and at the keys of storage.rados")
	}
}

// Close ends the connection when no call is under way any more: librados must not be destroyed under one. Calls that hang keep it until the process ends. Nobody may use the
// driver then.
func (d *Driver) Close() {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	if d.idle(ctx) != nil {
		return
	}
	d.io.Destroy()
	d.conn.Shutdown()
}

// idle waits until no call is under way, and lets no more begin.
func (d *Driver) idle(ctx context.Context) error {
	for _, s := range []slots{d.reads, d.others} {
		for range cap(s) {
			select {
			case s <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return d.writing.Acquire(ctx, writeMemory)
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}

// plain is an error of librados in our words.
func plain(err error) error {
	if a, ok := answerOf(err); ok {
		return a
	}
	return err
}

// Place names the pool for people.
func (d *Driver) Place() string {
	at := d.cfg.Pool
	if d.cfg.Namespace != "" {
		at += "/" + d.cfg.Namespace
	}
	if d.prefix != "" {
		at += " (" + d.prefix + "…)"
	}
	if d.cfg.Monitors != "" {
		at += " at " + d.cfg.Monitors
	}
	return at
}
