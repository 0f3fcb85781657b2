package sqldb

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"
)

// remembered is a discovered server in the file, or, without an address, how often a primary of PostgreSQL was replaced.
type remembered struct {
	Addr     string    `json:"addr,omitempty"`
	Group    string    `json:"group"`
	Named    time.Time `json:"named,omitzero"`     // when another server named it last
	Timeline int64     `json:"timeline,omitempty"` // the highest that was seen
}

// memory keeps the discovered servers in a file, so that one address in the configuration is enough even if that server is down at a start; and PostgreSQL's timelines, so that a primary that was
// replaced is told from the one that replaced it also where that is down at a start. Losing the file costs nothing but that.
type memory struct {
	path string // "": nothing is remembered
	kept bool   // the file is another process's: it is read, and left as it is

	mu    sync.Mutex
	last  string // the addresses and timelines that the file holds
	saved time.Time
}

// rewriteEvery is how often the file is written though nothing but times changed.
const rewriteEvery = 24 * time.Hour

func (r *memory) load(log *slog.Logger) []remembered {
	if r.path == "" {
		return nil
	}
	body, err := os.ReadFile(r.path)
	var all []remembered
	if err == nil {
		err = json.Unmarshal(body, &all)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		log.Warn("the servers of the database are not remembered", "file", r.path, "error", err)
		return nil
	}
	return all
}

// discovered answers what is to be remembered: the members that were named lately, and the timelines.
func (s *members) discovered(now time.Time) []remembered {
	all := []remembered{}
	for _, m := range s.all {
		if !m.given && now.Sub(m.named) < forgetTime {
			all = append(all, remembered{Addr: m.addr, Group: m.group, Named: m.named.UTC().Truncate(time.Second)})
		}
	}
	for _, group := range slices.Sorted(maps.Keys(s.timelines)) {
		all = append(all, remembered{Group: group, Timeline: s.timelines[group]})
	}
	return all
}

// save writes the file, if that changes something.
func (r *memory) save(all []remembered, now time.Time, log *slog.Logger) {
	if r.path == "" || r.kept {
		return
	}
	key := ""
	for _, one := range all {
		key += one.Addr + " " + one.Group + " " + strconv.FormatInt(one.Timeline, 10) + "\n"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if key == r.last && now.Sub(r.saved) < rewriteEvery {
		return
	}
	if err := r.write(all); err != nil {
		log.Warn("the servers of the database can't be remembered", "file", r.path, "error", err)
	}
	r.last, r.saved = key, now // also after an error: it would be there each time
}

// write replaces the file as a whole, durably: a power cut must not take a timeline that was written to.
func (r *memory) write(all []remembered) error {
	body, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(r.path), filepath.Base(r.path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(append(body, '\n'))
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), r.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	folder, err := os.Open(filepath.Dir(r.path))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// raise remembers the timeline of a primary before that is written to, so that one that it replaced is never taken for it.
func (w *watch) raise(seen sight) {
	w.mu.Lock()
	if seen.cond < strained || seen.timeline <= w.members.timelines[seen.group] {
		w.mu.Unlock()
		return
	}
	now := w.cfg.Clock()
	w.members.timelines[seen.group] = seen.timeline
	all := w.members.discovered(now)
	w.mu.Unlock()
	w.memory.save(all, now, w.cfg.Log)
}
