package registry

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
)

// MaxPage is the largest and the default page of tags and repositories: some 100 KiB.
const MaxPage = 1000

// Page is a part of a list, in the order of the names' bytes. More says that the list goes on.
type Page struct {
	Names []string
	More  bool
}

// Viewer is who looks at lists: the zero Viewer sees what is public.
type Viewer struct {
	All   bool  // sees everything
	User  int64 // a user's number: sees the projects of which he or a group of his is a member too
	Robot int64 // a robot's number: sees the projects too in which it may pull
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

// Repositories lists up to n repositories behind last that hold or held a manifest and that the viewer may see; n below 0 means as many as a page may hold.
func (r *Registry) Repositories(ctx context.Context, v Viewer, n int, last string) (Page, error) {
	p, err := page(n, func(limit int) ([]string, error) {
		if v.All {
			return index.RepositoryNames(ctx, r.db, last, limit)
		}
		return index.VisibleRepositoryNames(ctx, r.db, index.Viewer(v), last, limit)
	})
	if err != nil {
		return Page{}, fmt.Errorf("list repositories: %w", err)
	}
	return p, nil
}
