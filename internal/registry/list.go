package registry

import (
	"context"
	"fmt"

	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/oci"
)

// Page is a part of a list of names.
type Page struct {
	Names []string
	More  bool // there are names behind the last
}

// Visible says which repositories somebody may see.
type Visible struct {
	All      bool     // every one
	Public   bool     // those of public projects
	Projects []string // those of these projects
}

// Tags answers up to n tags behind last ("": from the start), in binary order: one query, however many tags there are. NAME_UNKNOWN.
func (r *Registry) Tags(ctx context.Context, repo oci.Name, n int, last string) (Page, error) {
	names, err := index.ListTags(ctx, r.DB, repo, last, n+1)
	if err != nil {
		return Page{}, fmt.Errorf("list tags of %s: %w", repo, err)
	}
	if len(names) == 0 {
		if _, err = r.mustFind(ctx, repo); err != nil {
			return Page{}, err
		}
	}
	return page(names, n), nil
}

// Repositories answers up to n names of the repositories that may be seen, behind last, in binary order.
func (r *Registry) Repositories(ctx context.Context, v Visible, n int, last string) (Page, error) {
	names, err := index.ListRepositories(ctx, r.DB, index.Visible(v), last, n+1)
	if err != nil {
		return Page{}, fmt.Errorf("list repositories: %w", err)
	}
	return page(names, n), nil
}

func page(names []string, n int) Page {
	if len(names) > n {
		return Page{Names: names[:n], More: true}
	}
	return Page{Names: names}
}
