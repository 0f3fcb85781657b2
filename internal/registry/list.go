package registry

import (
	"context"
	"fmt"
	"slices"

	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
)

// MaxPage is the largest and the default page of tags and repositories: some 100 KiB.
const MaxPage = 1000

// maxVisible bounds the projects by name in one catalogue query, below what the engines take as parameters.
const maxVisible = 5000

// Page is a part of a list, in the order of the names' bytes. More says that the list goes on.
type Page struct {
	Names []string
	More  bool
}

// Visible says which repositories a caller may see.
type Visible struct {
	All      bool
	Public   bool     // those of public projects
	Projects []string // those of these projects
}

// page reads one more than asked for, to know whether there is more.
func page(n int, read func(limit int) ([]string, error)) (Page, error) {
	n = pageSize(n)
	names, err := read(n + 1)
	if err != nil {
		return Page{}, err
	}
	if len(names) > n {
		return Page{Names: names[:n], More: n > 0}, nil
	}
	return Page{Names: names}, nil
}

func pageSize(n int) int {
	if n < 0 || n > MaxPage {
		return MaxPage
	}
	return n
}

// Tags lists up to n tags behind last; n below 0 means as many as a page may hold. A repository without tags has an empty list.
func (r *Registry) Tags(ctx context.Context, name oci.Name, n int, last string) (Page, error) {
	p, err := page(n, func(limit int) ([]string, error) { return index.TagNames(ctx, r.db, name, last, limit) })
	if err != nil {
		return Page{}, fmt.Errorf("list tags of %s: %w", name, err)
	}
	if len(p.Names) == 0 {
		return p, r.unknown(ctx, name, nil)
	}
	return p, nil
}

// Repositories lists up to n repositories behind last that hold or held a manifest and that the caller may see; n below 0 means as many as a page may hold.
func (r *Registry) Repositories(ctx context.Context, v Visible, n int, last string) (Page, error) {
	p, err := page(n, func(limit int) ([]string, error) {
		switch {
		case v.All:
			return index.RepositoryNames(ctx, r.db, last, limit)
		case !v.Public && len(v.Projects) == 0:
			return []string{}, nil
		case len(v.Projects) <= maxVisible:
			return index.VisibleRepositoryNames(ctx, r.db, v.Public, v.Projects, last, limit)
		}
		return r.visibleInParts(ctx, v, last, limit)
	})
	if err != nil {
		return Page{}, fmt.Errorf("list repositories: %w", err)
	}
	return p, nil
}

// visibleInParts merges the pages of parts of the projects.
func (r *Registry) visibleInParts(ctx context.Context, v Visible, last string, limit int) ([]string, error) {
	var all []string
	for part := range slices.Chunk(v.Projects, maxVisible) {
		names, err := index.VisibleRepositoryNames(ctx, r.db, v.Public, part, last, limit)
		if err != nil {
			return nil, err
		}
		all = append(all, names...)
		slices.Sort(all)
		all = slices.Compact(all)
		all = all[:min(len(all), limit)]
	}
	return all, nil
}
