package sqldb

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// remembered is a discovered server in the file.
type remembered struct {
	Addr  string    `json:"addr"`
	Group string    `json:"group"`
	Named time.Time `json:"named"` // when another server named it last
}

// memory keeps the discovered servers in a file, so that one address in the configuration is enough even if that server is down at a start. Losing the file costs nothing but that.
type memory struct {
	path string // "": nothing is remembered
	kept bool   // the file is another process's: it is read, and left as it is

	mu    sync.Mutex
	last  string // the addresses that the file holds
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

// discovered answers the members to be remembered: those that were named lately.
func (s *members) discovered(now time.Time) []remembered {
	all := []remembered{}
	for _, m := range s.all {
		if !m.given && now.Sub(m.named) < forgetTime {
			all = append(all, remembered{m.addr, m.group, m.named.UTC().Truncate(time.Second)})
		}
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
		key += one.Addr + " " + one.Group + "\n"
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

// write replaces the file as a whole. It is not flushed: a power cut may take it.
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
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), r.path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}
