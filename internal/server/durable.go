package server

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// flushNames flushes the directories by whose names the stores are found, before anything in them is acknowledged: else a power cut after the first start
// may take the data directory as a whole. It is done at every start, for the last one may have ended between making and flushing. database is SQLite's file, "" if it is another's.
func (s *stores) flushNames(database string) error {
	if s.trash != "" {
		return nil
	}
	var dirs []string
	if database != "" {
		dirs = append(dirs, filepath.Dir(database), filepath.Dir(filepath.Dir(database)))
	}
	for _, l := range []*lock{s.apart, s.home} {
		if l == nil {
			continue
		}
		dirs = append(dirs, filepath.Dir(l.path), filepath.Dir(filepath.Dir(l.path)))
		for _, made := range l.made {
			dirs = append(dirs, filepath.Dir(made))
		}
	}
	done := map[string]bool{}
	for _, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return dirError(err, dir)
		}
		if done[abs] {
			continue
		}
		done[abs] = true
		if err = flushDir(abs); err != nil {
			return dirError(err, abs)
		}
	}
	return nil
}

// flushDir flushes the names in a directory. One that may not be read is another's, who made what is in it.
func flushDir(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
