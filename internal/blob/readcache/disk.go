package readcache

import (
	"container/list"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/havn-registry/havn/internal/fail"
)

const (
	fileMode, dirMode = 0o600, 0o700

	copiesDir, unfinishedDir = "copies", "unfinished"
	lockFile, bootFile       = "lock", "boot"

	// clean stands in bootFile instead of a boot's id after a stop in order.
	clean = "clean"
	// page is how many names are read at once.
	page = 1000
)

// New opens the directory, and makes it where it is absent. Copies that are there are used again, unless the machine was started anew without this process having
// ended in order: they were flushed, but a disk that lied about that is found out by nobody else.
func New(cfg Config) (*Cache, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now //nolint:forbidigo // the default of the package's own clock
	}
	if cfg.BootID == nil {
		cfg.BootID = bootID
	}
	c := &Cache{cfg: cfg, copies: map[key]*list.Element{}, order: list.New(), fills: map[key]*fill{}, write: (*os.File).WriteAt}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.metrics = c.newMetrics(cfg.Metrics)
	if err := c.prepare(); err != nil {
		err = fail.E(fail.Unavailable, err, "read cache %s", cfg.Dir).Hint("storage.cache.path must be a directory on a local disk that Havn's user may write, for one process alone")
		if c.lock != nil {
			err = errors.Join(err, c.lock.Close())
		}
		c.stop()
		return nil, err
	}
	return c, nil
}

func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

func (c *Cache) path(k key) string { return filepath.Join(c.cfg.Dir, copiesDir, k.String()) }

// unfinished is where the nth fill goes: two of one object may be there, one of which is being taken away.
func (c *Cache) unfinished(k key, n int64) string {
	return filepath.Join(c.cfg.Dir, unfinishedDir, k.String()+"-"+strconv.FormatInt(n, 10))
}

// unlock lets another cache have the directory. To close the file is not enough: a child that was forked just now shares it until it runs its program.
func (c *Cache) unlock() error {
	return errors.Join(syscall.Flock(int(c.lock.Fd()), syscall.LOCK_UN), c.lock.Close())
}

func (c *Cache) prepare() error {
	for _, dir := range []string{copiesDir, unfinishedDir} {
		if err := os.MkdirAll(filepath.Join(c.cfg.Dir, dir), dirMode); err != nil {
			return err
		}
	}
	var err error
	if c.lock, err = os.OpenFile(filepath.Join(c.cfg.Dir, lockFile), os.O_CREATE|os.O_RDWR, fileMode); err != nil {
		return err
	}
	if err = syscall.Flock(int(c.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return fail.E(fail.Conflict, err, "another process uses it")
	}
	keep, err := c.trusted()
	if err != nil {
		return err
	}
	err = c.each(unfinishedDir, func(name string, _ fs.DirEntry) error {
		digits, _, ok := strings.Cut(name, "-")
		if _, ours := parseKey(digits); !ok || !ours {
			return nil
		}
		return os.Remove(filepath.Join(c.cfg.Dir, unfinishedDir, name))
	})
	if err != nil {
		return err
	}
	var found []*entry
	err = c.each(copiesDir, func(name string, file fs.DirEntry) error {
		k, ours := parseKey(name)
		switch {
		case !ours:
			return nil
		case !keep:
			return os.Remove(c.path(k))
		}
		info, infoErr := file.Info()
		if infoErr == nil {
			found = append(found, &entry{k, info.Size(), info.ModTime()})
		}
		return infoErr
	})
	if err != nil {
		return err
	}
	c.adopt(found)
	return c.mark(c.cfg.BootID())
}

// trusted reports whether the copies of the last run are to be used.
func (c *Cache) trusted() (bool, error) {
	text, err := os.ReadFile(filepath.Join(c.cfg.Dir, bootFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return string(text) == clean || len(text) > 0 && string(text) == c.cfg.BootID(), err
}

// mark notes under which boot the directory is used, before anything is put there.
func (c *Cache) mark(text string) (err error) {
	f, err := os.OpenFile(filepath.Join(c.cfg.Dir, bootFile), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Sync(), f.Close())
}

// markClean notes that all copies are flushed.
func (c *Cache) markClean() error {
	if err := c.mark(clean); err != nil {
		return fail.E(fail.Unavailable, err, "end the use of the read cache %s", c.cfg.Dir)
	}
	return nil
}

// adopt takes copies over, those that were read last first, as far as there is room.
func (c *Cache) adopt(found []*entry) {
	slices.SortFunc(found, func(a, b *entry) int { return a.noted.Compare(b.noted) })
	c.mu.Lock()
	for _, e := range found {
		c.copies[e.key] = c.order.PushFront(e)
		c.used += room(e.size)
	}
	victims := c.shrink()
	c.mu.Unlock()
	c.remove(victims)
}

// parseKey reads the name of a copy. Files with other names are not ours.
func parseKey(name string) (k key, ok bool) {
	digits, err := hex.DecodeString(name)
	if err != nil || len(digits) != len(k) {
		return k, false
	}
	return key(digits), true
}

// each calls do for each file in a folder.
func (c *Cache) each(folder string, do func(name string, file fs.DirEntry) error) (err error) {
	dir, err := os.Open(filepath.Join(c.cfg.Dir, folder))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	for {
		files, readErr := dir.ReadDir(page)
		for _, file := range files {
			if !file.Type().IsRegular() {
				continue
			}
			if err = do(file.Name(), file); err != nil {
				return err
			}
		}
		if errors.Is(readErr, io.EOF) {
			return nil
		}
		if readErr != nil {
			return readErr
		}
	}
}
