package filesystem

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/havn-registry/havn/internal/blob"
)

const (
	// pageSize is how many names of one directory are held at most: a directory that holds more is read once for each page.
	pageSize = 8192
	// batch is how many entries are asked of the kernel at once.
	batch = 1024
)

// List walks the tree in the order of names: see blob.Driver.
func (d *Driver) List(ctx context.Context, after string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		d.walk(ctx, "", after, yield)
	}
}

// walk lists what is below the folder and answers whether to go on.
func (d *Driver) walk(ctx context.Context, folder, after string, yield func(blob.Info, error) bool) bool {
	last := ""
	for {
		page, more, err := d.page(folder, last, after)
		if err = errors.Join(err, ctx.Err()); err != nil {
			return yield(blob.Info{}, classified(err, "list folder %s", filepath.Join(d.root, folder))) && false
		}
		for _, entry := range page {
			last = entry
			name, isFolder := strings.CutSuffix(folder+entry, "/")
			if isFolder {
				if !d.walk(ctx, name+"/", after, yield) {
					return false
				}
				continue
			}
			info, statErr := d.Stat(ctx, name)
			if errors.Is(statErr, fs.ErrNotExist) {
				continue // deleted meanwhile
			}
			if !yield(info, statErr) {
				return false
			}
		}
		if !more {
			return true
		}
	}
}

// page answers the next entries of a folder behind last, sorted as their full names are: a folder's entry ends in "/". Those that can't hold a name
// behind after are left out.
func (d *Driver) page(folder, last, after string) (entries []string, more bool, err error) {
	dir, err := os.Open(filepath.Join(d.root, folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	for {
		found, readErr := dir.ReadDir(batch)
		for _, f := range found {
			entry := f.Name()
			if strings.HasPrefix(entry, ".") || folder == "" && entry == "lost+found" {
				continue // not ours, and the second is root's alone
			}
			if f.IsDir() {
				entry += "/"
			}
			full := folder + entry
			behind := full > after || f.IsDir() && strings.HasPrefix(after, full)
			if entry > last && behind {
				entries = append(entries, entry)
			}
		}
		if len(entries) > 2*pageSize {
			slices.Sort(entries)
			entries, more = entries[:pageSize], true
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return nil, false, readErr
		}
	}
	slices.Sort(entries)
	if len(entries) > pageSize {
		entries, more = entries[:pageSize], true
	}
	return entries, more, nil
}
