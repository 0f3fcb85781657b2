package server

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/blob"
	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/fail"
	"github.com/havn-registry/havn/internal/registry"
	"github.com/havn-registry/havn/internal/sqldb"
)

// writable reports whether this process may make files in a directory.
func writable(dir string) error {
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		return &os.PathError{Op: "access", Path: dir, Err: err}
	}
	return nil
}

// stores looks at the lock and, if nobody serves, at the stores themselves.
func (d *doctor) stores(ctx context.Context) {
	if !exists(d.c.DataDir) { // the first start makes it; the stores may be elsewhere, and are to be right before
		d.addresses()
		d.look(ctx)
		return
	}
	if err := writable(d.c.DataDir); err != nil {
		d.wrong("data_dir", dirError(err, d.c.DataDir))
		return
	}
	if !exists(filepath.Join(d.c.DataDir, lockName)) {
		d.add("lock", Good, "", "free: no process has served this directory")
		d.addresses()
		d.look(ctx)
		return
	}
	held, err := takeLock(filepath.Join(d.c.DataDir, lockName), thisProcess(d.clock()))
	if err != nil {
		if h, ok := fail.DetailOf(err).(Holder); ok {
			d.running(ctx, h)
			if d.c.Database.Engine != config.SQLite {
				db, _ := d.database(ctx) // its servers are for everybody, also while this node serves
				d.leave(db)
			}
			return
		}
		d.wrong("lock", err)
		return
	}
	d.add("lock", Good, "", "free: no process serves this directory now")
	d.addresses()
	d.look(ctx)
	if err = held.release(); err != nil {
		d.wrong("lock", err)
	}
}

// look opens the stores as they are: what is not there is not made.
func (d *doctor) look(ctx context.Context) {
	if d.c.Storage.Driver == config.Memory {
		d.add("database", Good, "", "thrown away at the end, with the blobs in memory")
		return
	}
	db, id := d.database(ctx)
	d.blobs(ctx, id, db)
	d.leave(db)
}

// leave closes the database, if it is open.
func (d *doctor) leave(db *sqldb.DB) {
	if db == nil {
		return
	}
	if err := db.Close(); err != nil {
		d.wrong("database", err)
	}
}

// database answers the open database, nil if it can't be opened, and its id, "" if it has none or does not say it.
func (d *doctor) database(ctx context.Context) (db *sqldb.DB, id string) {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	path := d.c.DatabasePath()
	if d.c.Database.Engine == config.SQLite && !exists(path) {
		d.add("database", Good, "", "%s is not there yet: the first start makes it", path)
		return nil, ""
	}
	cfg, err := databaseConfig(d.c, d.clock, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, "" // a file for TLS: config.Probe says what is wrong with it
	}
	cfg.Path = path
	cfg.KeepMembers = true // a look changes nothing; and who looks may be root, whose files the node could not read
	if db, err = sqldb.Open(ctx, cfg); err != nil {
		d.wrong("database", err)
		return nil, ""
	}
	for _, f := range db.Check(ctx) {
		d.add("database", statusOf(f), f.Hint, "%s", f.What)
	}
	d.skew(ctx, db)
	id = d.key(ctx, db)
	d.clear()
	return db, id
}

// skew compares this machine's clock with that of the database's server.
func (d *doctor) skew(ctx context.Context, db *sqldb.DB) {
	if db.Engine() == sqldb.SQLite {
		return
	}
	off, err := db.Skew(ctx)
	switch {
	case err != nil:
		d.wrong("clock", err)
	case off.Abs() > skewTime:
		d.add("clock", Warning, "keep all clocks with NTP; nothing is unsafe, but tokens and times don't fit", "that of the database's server is %s off this machine's", off.Round(time.Millisecond))
	default:
		d.add("clock", Good, "", "that of the database's server is this machine's within %s", skewTime)
	}
}

func statusOf(f sqldb.Finding) Status {
	switch {
	case f.OK:
		return Good
	case f.Minor:
		return Warning
	}
	return Wrong
}

// clear looks whether passwords go to another machine in the clear.
func (d *doctor) clear() {
	c := d.c.Database
	if c.Engine == config.SQLite || c.TLS.Effective() != config.TLSOff {
		return
	}
	for _, addr := range c.Hosts {
		host, _, err := net.SplitHostPort(addr)
		if ip, ipErr := netip.ParseAddr(host); err == nil && host != "localhost" && (ipErr != nil || !ip.IsLoopback()) {
			d.add("database", Warning, "set database.tls.mode, and database.tls.ca_file", "passwords and data go to %s in the clear", addr)
			return
		}
	}
}

// key looks whether the database has its id and the key that tokens are signed with.
func (d *doctor) key(ctx context.Context, db *sqldb.DB) string {
	var id string
	if err := db.Row(ctx, "SELECT v FROM meta WHERE k = ?", "database_id").Scan(&id); err != nil && !fail.Is(err, fail.NotFound) {
		if !fail.Is(err, fail.Unsupported) { // there are no tables yet
			d.wrong("database", err)
		}
		return ""
	}
	if id == "" {
		return ""
	}
	var kid string
	sealer, err := checkSeal(ctx, d.c, db)
	if err == nil {
		kid, err = access.CheckKey(ctx, db, sealer, d.clock)
	}
	switch {
	case fail.Is(err, fail.NotFound):
		d.add("key", Warning, "the next start makes one; tokens given so far are refused then", "the database has no key to sign tokens with")
	case err != nil:
		d.wrong("key", err)
	default:
		d.add("key", Good, "", "tokens are signed with key %s", kid)
	}
	return id
}

func (d *doctor) blobs(ctx context.Context, id string, db *sqldb.DB) {
	ctx, cancel := context.WithTimeout(ctx, d.patience)
	defer cancel()
	if d.c.Storage.Driver != config.Filesystem {
		d.remote(ctx, id, db)
		return
	}
	path := d.c.BlobPath()
	if !exists(path) {
		if id != "" {
			d.add("blobs", Wrong, "is it mounted? Look at storage.filesystem.path", "%s is not there, and the database has been used with one", path)
			return
		}
		d.add("blobs", Good, "", "%s is not there yet: the first start makes it", path)
		return
	}
	driver, err := openDriver(ctx, d.c, "", d.clock)
	if err != nil {
		d.wrong("blobs", err)
		return
	}
	store := blob.NewStore(driver, blob.StoreConfig{Clock: d.clock})
	found, err := store.ID(ctx)
	switch {
	case fail.Is(err, fail.NotFound) && id == "":
		d.add("blobs", Good, "", "%s can be written and flushed", path)
	case fail.Is(err, fail.NotFound):
		d.add("blobs", Wrong, "is the right directory mounted? Look at storage.filesystem.path", "%s has no id: it is empty, or not the one that the database belongs to", path)
	case err != nil:
		d.wrong("blobs", err)
	case id == "":
		d.add("blobs", Good, "", "%s can be written and flushed, and belongs to database %s", path, found)
	case found != id:
		d.add("blobs", Wrong, "look at storage.filesystem.path and at where the database is: one of them is of another registry", "%s belongs to database %s, and the database is %s", path, found, id)
	default:
		d.add("blobs", Good, "", "%s can be written and flushed, and belongs to the database", path)
		d.epoch(ctx, db, store)
	}
	d.disk(ctx, store)
}

// remote looks at a blob store behind a network.
func (d *doctor) remote(ctx context.Context, id string, db *sqldb.DB) {
	name := string(d.c.Storage.Driver)
	c := *d.c
	makes := c.Storage.Driver == config.SwiftDriver && c.Storage.Swift.CreateContainer || c.Storage.Driver == config.AzureDriver && c.Storage.Azure.CreateContainer
	c.Storage.Swift.CreateContainer, c.Storage.Azure.CreateContainer = false, false // a look changes nothing
	driver, err := openDriver(ctx, &c, "", d.clock)
	if fail.Is(err, fail.NotFound) && makes && id == "" {
		d.add("blobs", Good, "", "%s can be reached, and the first start makes the container", name)
		return
	}
	if err != nil {
		d.wrong("blobs", err)
		return
	}
	store := blob.NewStore(driver, blob.StoreConfig{Clock: d.clock})
	found, err := store.ID(ctx)
	switch {
	case fail.Is(err, fail.NotFound) && id == "":
		d.add("blobs", Good, "", "%s can be written", name)
	case fail.Is(err, fail.NotFound):
		d.add("blobs", Wrong, "look at the keys of storage."+name+" and at storage.prefix", "the store behind %s has no id: it is empty, or not the one that the database belongs to", name)
	case err != nil:
		d.wrong("blobs", err)
	case id == "":
		d.add("blobs", Good, "", "%s can be written, and belongs to database %s", name, found)
	case found != id:
		d.add("blobs", Wrong, "one of them is of another registry: look at the keys of storage."+name+", storage.prefix and database", "the store behind %s belongs to database %s, and the database is %s", name, found, id)
	default:
		d.add("blobs", Good, "", "%s can be written, and belongs to the database", name)
		d.epoch(ctx, db, store)
	}
}

// epoch looks whether the store is this database's to delete from, or a copy's.
func (d *doctor) epoch(ctx context.Context, db *sqldb.DB, store *blob.Store) {
	if err := registry.CheckEpoch(ctx, db, store); err != nil {
		d.wrong("blobs", err)
	}
}

const (
	// tightRoom and leastRoom of the disk that the database, or else the data directory, is on are warned of: it takes some KiB for each push, and SQLite's log as much again for a while.
	tightRoom = 512 << 20
	leastRoom = 64 << 20
)

// ownDisk looks at the disk of what is not blobs. Where the blobs are on the same one, their watermark keeps it from filling up.
func (d *doctor) ownDisk() {
	// Beside a database of its own the directory holds next to nothing for good: little room there is no fault yet, and a volume may be small on purpose.
	dir, tooLittle, hint := d.c.DataDir, Warning, "free space: a start needs some of it, and parts of blobs wait there while a remote store is slow or away"
	if d.c.Database.Engine == config.SQLite {
		dir, tooLittle, hint = filepath.Dir(d.c.DatabasePath()), Wrong, "free space: when it is full, pushes and deletes are refused, and pulls go on"
	}
	if d.c.Storage.Driver == config.Memory || d.c.Storage.Driver == config.Filesystem && d.c.Storage.LowDisk > 0 && sameDisk(dir, d.c.BlobPath()) {
		return
	}
	at := dir
	for !exists(at) && at != filepath.Dir(at) { // the first start makes it
		at = filepath.Dir(at)
	}
	switch free, ok := d.room(at); {
	case !ok:
	case free < leastRoom:
		d.add("disk", tooLittle, hint, "%d MiB are free for %s", free>>20, dir)
	case free < tightRoom:
		d.add("disk", Warning, hint, "%d MiB are free for %s", free>>20, dir)
	default:
		d.add("disk", Good, "", "%d MiB are free for %s", free>>20, dir)
	}
}

func (d *doctor) disk(ctx context.Context, store *blob.Store) {
	free, total, ok, err := store.Space(ctx)
	switch {
	case err != nil:
		d.wrong("disk", err)
	case !ok:
	case free < d.c.Storage.LowDisk:
		d.add("disk", Wrong, "free space, or lower storage.low_disk: pushes are refused now", "%d of %d MiB are free, less than storage.low_disk", free>>20, total>>20)
	case free < 2*d.c.Storage.LowDisk:
		d.add("disk", Warning, "free space: below storage.low_disk pushes are refused", "%d of %d MiB are free", free>>20, total>>20)
	default:
		d.add("disk", Good, "", "%d of %d MiB are free", free>>20, total>>20)
	}
}
